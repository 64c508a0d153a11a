// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads an HTTP/1.x answer as far as a check needs it, from octets as they come. Sans-IO, bounded, never panics.
//!
//! Head (RFC 9112 §4, interim 1xx answers are skipped) up to [`HEAD_MAX`]; body by chunks, by length or to the end of the
//! connection (§6.3), the first [`BODY_MAX`] octets after decoding. It answers as soon as it can: at the status if
//! no text is wanted, at the text if it is found.

use httparse::{EMPTY_HEADER, Header, Response, Status};

use crate::check::StatusSet;
use crate::failure::{Failure, Outcome};

/// Largest head, interim answers included.
pub const HEAD_MAX: usize = 16 * 1024;
/// Part of the body in which the text must be.
pub const BODY_MAX: usize = 64 * 1024;
/// Header fields of one answer.
const HEADERS_MAX: usize = 96;
/// Longest line that announces a chunk, with its extensions.
const CHUNK_LINE_MAX: usize = 256;

/// An answer on its way.
#[derive(Debug)]
pub(super) struct ResponseReader<'a> {
    expected: &'a StatusSet,
    text: Option<&'a [u8]>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head { octets: Vec<u8>, skipped: usize },
    Body { framing: Framing, octets: Vec<u8> },
}

/// How the end of the body is known.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Connection,
    Chunks(Chunk),
}

#[derive(Debug)]
enum Chunk {
    Line(Vec<u8>),
    Data(u64),
    /// The line end behind the data.
    End,
    Last,
}

impl<'a> ResponseReader<'a> {
    pub(super) const fn new(expected: &'a StatusSet, text: Option<&'a [u8]>) -> Self {
        Self { expected, text, stage: Stage::Head { octets: Vec::new(), skipped: 0 } }
    }

    /// More of the answer; `Some` once the outcome is known, and then nothing more is to be fed.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Option<Outcome> {
        match &mut self.stage {
            Stage::Body { .. } => self.body(bytes),
            Stage::Head { octets, .. } => {
                // A head ends behind a line end: without a new one there is nothing new to see.
                octets.extend_from_slice(bytes);
                let has_line_end = bytes.contains(&b'\n');
                self.head(has_line_end)
            }
        }
    }

    /// The peer has ended the connection.
    pub(super) fn handle_end(&self) -> Outcome {
        match &self.stage {
            // The text was looked for with each octet.
            Stage::Body { framing: Framing::Connection, .. } => Err(Failure::Body),
            Stage::Body { .. } | Stage::Head { .. } => Err(Failure::Protocol),
        }
    }

    fn head(&mut self, has_line_end: bool) -> Option<Outcome> {
        let Stage::Head { octets, skipped } = &mut self.stage else { return None };
        let mut may_end = has_line_end;
        while may_end {
            let mut fields = [EMPTY_HEADER; HEADERS_MAX];
            let mut response = Response::new(&mut fields);
            let (length, status) = match response.parse(octets) {
                Err(_) => return Some(Err(Failure::Protocol)),
                Ok(Status::Partial) => break,
                Ok(Status::Complete(length)) => (length, response.code.unwrap_or(0)),
            };
            if *skipped + length > HEAD_MAX || !starts_like_http(octets) {
                return Some(Err(Failure::Protocol));
            }
            if (100..200).contains(&status) && status != SWITCHING_PROTOCOLS {
                *skipped += length;
                octets.drain(..length);
                may_end = !octets.is_empty();
                continue;
            }
            if !self.expected.contains(status) {
                return Some(Err(Failure::Status(status)));
            }
            if self.text.is_none() {
                return Some(Ok(()));
            }
            let framing = match framing(status, response.headers) {
                Ok(framing) => framing,
                Err(failure) => return Some(Err(failure)),
            };
            let rest = octets.split_off(length);
            self.stage = Stage::Body { framing, octets: Vec::new() };
            return self.body(&rest);
        }
        (octets.len() + *skipped > HEAD_MAX || !starts_like_http(octets)).then_some(Err(Failure::Protocol))
    }

    fn body(&mut self, bytes: &[u8]) -> Option<Outcome> {
        let Stage::Body { framing, octets } = &mut self.stage else { return None };
        let text = self.text?;
        let before = octets.len();
        let decoded = framing.decode(bytes, octets);
        // The text may have begun in what was there before.
        let from = before.saturating_sub(text.len() - 1);
        if octets[from..].windows(text.len()).any(|window| window == text) {
            return Some(Ok(()));
        }
        // Only now: what is wrong behind the text would not have been read had it come later.
        match decoded {
            Err(failure) => Some(Err(failure)),
            Ok(is_complete) => (is_complete || octets.len() >= BODY_MAX).then_some(Err(Failure::Body)),
        }
    }
}

/// RFC 9110 §15.2.2: what follows is no longer HTTP, so this is a final answer.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Garbage is told from a slow answer by its first octets.
fn starts_like_http(octets: &[u8]) -> bool {
    octets.iter().zip(b"HTTP/1.").all(|(octet, wanted)| octet == wanted)
}

/// How the body ends (RFC 9112 §6.3).
fn framing(status: u16, fields: &[Header<'_>]) -> Result<Framing, Failure> {
    // No Content and Not Modified have no body.
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    let named = |name: &'static str| {
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    };
    let mut codings = named("transfer-encoding");
    if let Some(coding) = codings.next() {
        // We ask for no coding; chunks are the one that needs no asking.
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        return if is_chunked {
            Ok(Framing::Chunks(Chunk::Line(Vec::new())))
        } else {
            Err(Failure::Protocol)
        };
    }
    let mut lengths = named("content-length");
    let Some(length) = lengths.next() else { return Ok(Framing::Connection) };
    if lengths.any(|other| other != length) {
        return Err(Failure::Protocol);
    }
    number(length, 10).map(Framing::Length)
}

impl Framing {
    /// Appends what is body, up to [`BODY_MAX`]; true at its end.
    fn decode(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<bool, Failure> {
        match self {
            Self::Connection => {
                append(body, bytes);
                Ok(false)
            }
            Self::Length(left) => {
                append(body, take(bytes, left).0);
                Ok(*left == 0)
            }
            Self::Chunks(chunk) => {
                let mut rest = bytes;
                // Each turn takes at least one octet.
                while !rest.is_empty() && body.len() < BODY_MAX && !matches!(chunk, Chunk::Last) {
                    rest = chunk.decode(rest, body)?;
                }
                Ok(matches!(chunk, Chunk::Last))
            }
        }
    }
}

impl Chunk {
    /// Takes one element from the front of `bytes`, which is not empty; gives back what is left.
    fn decode<'b>(&mut self, bytes: &'b [u8], body: &mut Vec<u8>) -> Result<&'b [u8], Failure> {
        match self {
            Self::Line(line) => {
                let end = bytes.iter().position(|&octet| octet == b'\n');
                line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len()).min(CHUNK_LINE_MAX + 1)]);
                if line.len() > CHUNK_LINE_MAX {
                    return Err(Failure::Protocol);
                }
                let Some(end) = end else { return Ok(&[]) };
                let size = line.split(|&octet| octet == b';').next().unwrap_or_default();
                // Trailers say nothing about health: a chunk of size zero is the end.
                *self = match number(size.trim_ascii(), 16)? {
                    0 => Self::Last,
                    size => Self::Data(size),
                };
                Ok(&bytes[end + 1..])
            }
            Self::Data(left) => {
                let (data, rest) = take(bytes, left);
                append(body, data);
                if *left == 0 {
                    *self = Self::End;
                }
                Ok(rest)
            }
            Self::End => match bytes {
                [b'\r', rest @ ..] => Ok(rest),
                [b'\n', rest @ ..] => {
                    *self = Self::Line(Vec::new());
                    Ok(rest)
                }
                _ => Err(Failure::Protocol),
            },
            Self::Last => Ok(&[]),
        }
    }
}

fn append(body: &mut Vec<u8>, bytes: &[u8]) {
    let room = BODY_MAX.saturating_sub(body.len());
    body.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// As much of `bytes` as `left` allows, and the rest.
fn take<'b>(bytes: &'b [u8], left: &mut u64) -> (&'b [u8], &'b [u8]) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= count as u64;
    bytes.split_at(count)
}

/// Digits and nothing else: `from_str_radix` alone would take a sign.
fn number(digits: &[u8], radix: u32) -> Result<u64, Failure> {
    let text = std::str::from_utf8(digits).map_err(|_error| Failure::Protocol)?;
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::Protocol);
    }
    u64::from_str_radix(text, radix).map_err(|_error| Failure::Protocol)
}

#[cfg(test)]
mod tests;
