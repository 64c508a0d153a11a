// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 19-octet header, cutting a stream into messages, and the sum of all message types (RFC 4271 §4.1).
//!
//! ```text
//!   0                16      18     19
//!   │ marker, all ones │ length │ type │ body …        length counts the header
//! ```

use std::net::IpAddr;

use super::error::{HeaderError, WireError};
use super::iana::{HEADER_LEN, MESSAGE_LEN_MAX, message_type};
use super::notification::Notification;
use super::open::Open;
use super::refresh::Refresh;
use super::update::Update;

/// The five message types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// Type 1.
    Open,
    /// Type 2.
    Update,
    /// Type 3.
    Notification,
    /// Type 4.
    Keepalive,
    /// Type 5.
    Refresh,
}

impl MessageType {
    /// The type of this number, if assigned.
    pub fn from_raw(value: u8) -> Option<Self> {
        Some(match value {
            message_type::OPEN => Self::Open,
            message_type::UPDATE => Self::Update,
            message_type::NOTIFICATION => Self::Notification,
            message_type::KEEPALIVE => Self::Keepalive,
            message_type::ROUTE_REFRESH => Self::Refresh,
            _ => return None,
        })
    }

    /// Least and most octets of a message of this type, header included, where `max` bounds every message.
    ///
    /// OPEN and KEEPALIVE never grow beyond 4096 (RFC 8654 §4).
    fn bounds(self, max: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, MESSAGE_LEN_MAX),
            Self::Update => (23, max),
            Self::Notification => (21, max),
            Self::Keepalive => (HEADER_LEN, HEADER_LEN),
            Self::Refresh => (23, max),
        }
    }
}

/// What decoding needs to know of the session.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext {
    /// Both sides sent capability 65, so that AS_PATH holds four-octet numbers.
    pub four_octet_as: bool,
    /// Our own address of the session: a next hop equal to it is refused.
    pub local_address: Option<IpAddr>,
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// OPEN.
    Open(Open),
    /// UPDATE; RFC 7606 findings are inside.
    Update(Box<Update>),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    Refresh(Refresh),
}

impl Message {
    /// Reads the body of a message whose header was accepted.
    pub fn decode(kind: MessageType, body: &[u8], context: &DecodeContext) -> Result<Self, WireError> {
        Ok(match kind {
            MessageType::Open => Self::Open(Open::decode(body)?),
            MessageType::Update => Self::Update(Box::new(Update::decode(body, context)?)),
            MessageType::Notification => Self::Notification(Notification::decode(body)?),
            MessageType::Keepalive => Self::Keepalive,
            MessageType::Refresh => Self::Refresh(Refresh::decode(body)?),
        })
    }
}

/// Collects octets of a stream until they are a message; never holds more than one.
#[derive(Debug)]
pub struct FrameBuffer {
    octets: Vec<u8>,
    /// Octets of the message being collected, known once its header was accepted.
    wanted: Option<usize>,
    max: usize,
}

impl FrameBuffer {
    /// A buffer for messages of at most `max` octets.
    pub fn new(max: usize) -> Self {
        Self { octets: Vec::new(), wanted: None, max }
    }

    /// Lets messages be this long from the next header on: the peer's OPEN was accepted, and both sides sent the
    /// capability for extended messages (RFC 8654). OPEN and KEEPALIVE keep their limit.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Takes octets from the front of `input` until a message is whole, or `input` is empty.
    ///
    /// `true` when [`FrameBuffer::message`] holds a whole message; call [`FrameBuffer::clear`] before filling again.
    /// The header is judged as soon as it is there. After an error the stream cannot be read on.
    pub fn fill(&mut self, input: &mut &[u8]) -> Result<bool, HeaderError> {
        if self.wanted.is_none() {
            self.collect(input, HEADER_LEN);
            let Some(header) = self.octets.first_chunk::<HEADER_LEN>() else { return Ok(false) };
            self.wanted = Some(check_header(header, self.max)?);
        }
        let wanted = self.wanted.unwrap_or(HEADER_LEN);
        self.collect(input, wanted);
        Ok(self.octets.len() >= wanted)
    }

    fn collect(&mut self, input: &mut &[u8], upto: usize) {
        let count = upto.saturating_sub(self.octets.len()).min(input.len());
        let (taken, rest) = input.split_at(count);
        self.octets.extend_from_slice(taken);
        *input = rest;
    }

    /// Type and body of the whole message, `None` before it is whole.
    pub fn message(&self) -> Option<(MessageType, &[u8])> {
        let wanted = self.wanted?;
        let whole = self.octets.get(..wanted)?;
        Some((MessageType::from_raw(*whole.get(HEADER_LEN - 1)?)?, whole.get(HEADER_LEN..)?))
    }

    /// Makes room for the next message.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.wanted = None;
    }
}

/// Judges a header and gives the message's length.
fn check_header(header: &[u8; HEADER_LEN], max: usize) -> Result<usize, HeaderError> {
    let (marker, fields) = header.split_at(16);
    if marker != [0xff; 16] {
        return Err(HeaderError::Marker);
    }
    let length = u16::from_be_bytes([fields[0], fields[1]]);
    let octets = usize::from(length);
    if octets < HEADER_LEN || octets > max {
        return Err(HeaderError::Length { length });
    }
    let kind = MessageType::from_raw(fields[2]).ok_or(HeaderError::Type { value: fields[2] })?;
    let (least, most) = kind.bounds(max);
    if octets < least || octets > most {
        return Err(HeaderError::Length { length });
    }
    Ok(octets)
}

/// Reads exactly one whole message of at most 4096 octets; octets missing or left over are a bad length.
pub fn decode_message(octets: &[u8], context: &DecodeContext) -> Result<Message, WireError> {
    let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
    let mut rest = octets;
    let is_whole = buffer.fill(&mut rest)?;
    match buffer.message() {
        Some((kind, body)) if is_whole && rest.is_empty() => Message::decode(kind, body, context),
        _ => {
            let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
            Err(HeaderError::Length { length }.into())
        }
    }
}

/// The KEEPALIVE message.
pub fn encode_keepalive() -> Vec<u8> {
    encode_message(message_type::KEEPALIVE, |_| {})
}

/// A message of type `kind` whose body `write` appends. The caller keeps the body within 65,516 octets.
pub(crate) fn encode_message(kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, kind]);
    write(&mut out);
    let length = u16::try_from(out.len()).expect("bodies are built within the message limit");
    out[16..18].copy_from_slice(&length.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::super::iana::MESSAGE_LEN_MAX_EXTENDED;
    use super::*;

    fn header(length: u16, kind: u8) -> Vec<u8> {
        let mut out = vec![0xff; 16];
        out.extend_from_slice(&length.to_be_bytes());
        out.push(kind);
        out
    }

    #[test]
    fn lengths_are_judged_by_type() {
        let judge = |length, kind| check_header(header(length, kind).first_chunk().unwrap(), MESSAGE_LEN_MAX);
        let bad = |length| Err(HeaderError::Length { length });
        for (kind, least) in [(1, 29), (2, 23), (3, 21), (4, 19), (5, 23)] {
            assert_eq!(judge(least, kind), Ok(usize::from(least)));
            assert_eq!(judge(least - 1, kind), bad(least - 1));
        }
        assert_eq!(judge(20, 4), bad(20), "a keepalive has no body");
        assert_eq!(judge(4096, 2), Ok(4096));
        assert_eq!(judge(4097, 2), bad(4097));
        assert_eq!(judge(40, 0), Err(HeaderError::Type { value: 0 }));
        assert_eq!(judge(40, 6), Err(HeaderError::Type { value: 6 }));
        let extended = |length, kind| check_header(header(length, kind).first_chunk().unwrap(), 65535);
        assert_eq!(extended(65535, 2), Ok(65535));
        assert_eq!(extended(4097, 1), bad(4097), "open stays within 4096");
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_messages() {
        let refresh = [header(23, 5), vec![0, 1, 0, 1]].concat();
        let stream = [encode_keepalive(), refresh, encode_keepalive()].concat();
        for cut in 1..stream.len() {
            let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
            let mut seen = vec![];
            for mut chunk in stream.chunks(cut) {
                while buffer.fill(&mut chunk).unwrap() {
                    seen.push(buffer.message().map(|(kind, body)| (kind, body.len())).unwrap());
                    buffer.clear();
                }
            }
            assert_eq!(
                seen,
                [(MessageType::Keepalive, 0), (MessageType::Refresh, 4), (MessageType::Keepalive, 0)]
            );
        }
    }

    #[test]
    fn a_raised_maximum_counts_from_the_next_header() {
        let long = [header(5000, 2), vec![0; 5000 - HEADER_LEN]].concat();
        let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
        assert_eq!(buffer.fill(&mut &long[..]), Err(HeaderError::Length { length: 5000 }));
        let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
        assert!(buffer.fill(&mut &encode_keepalive()[..]).unwrap());
        buffer.set_max(MESSAGE_LEN_MAX_EXTENDED);
        buffer.clear();
        assert!(buffer.fill(&mut &long[..]).unwrap());
        assert_eq!(
            buffer.message().map(|(kind, body)| (kind, body.len())),
            Some((MessageType::Update, 4981))
        );
        for (length, kind) in [(4097, 1), (20, 4)] {
            buffer.clear();
            assert_eq!(buffer.fill(&mut &header(length, kind)[..]), Err(HeaderError::Length { length }));
        }
    }

    #[test]
    fn the_buffer_never_holds_more_than_one_message() {
        let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
        let stream = encode_keepalive().repeat(1000);
        let mut input = stream.as_slice();
        assert!(buffer.fill(&mut input).unwrap());
        assert_eq!(input.len(), stream.len() - HEADER_LEN);
        assert!(buffer.fill(&mut input).unwrap(), "still whole, nothing taken");
        assert_eq!(input.len(), stream.len() - HEADER_LEN);
    }
}
