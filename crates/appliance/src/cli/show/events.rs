// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir show events`: what changed, as the daemon's stream of events tells it, and on request as it goes on.

use std::time::Duration;

use anyhow::Context as _;
use weir_api::v1::{Event, EventKind};

use super::super::client::{Call, Client, path};
use super::super::failure::Failure;
use super::super::output::{self, Output, plain};
use super::super::{Exit, Remote, time};

/// Events that are kept are there at once; after this much silence there are no more.
const QUIET: Duration = Duration::from_millis(300);
/// Longest wait for the first bytes, which a daemon sends before any event.
const FIRST_TIME_MAX: Duration = Duration::from_secs(5);
/// Wait before a stream that ended is followed anew. A daemon that restarts is away for some seconds.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Longest line of the stream. An event is one short JSON object; a longer line is no event.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What asks for all events that are kept.
const OLDEST: &str = "oldest";

/// Arguments of `weir show events`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events after this one; its id is in the first column
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Only these kinds, separated by commas: backend, vip, peer, document, override
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    kinds: Vec<EventKind>,
}

fn kind(text: &str) -> Result<EventKind, String> {
    let known = EventKind::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| {
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

/// Runs `weir show events`.
pub(super) async fn main(remote: &Remote, args: &Args) -> anyhow::Result<Exit> {
    let mut place = args.since.clone().unwrap_or_else(|| OLDEST.to_owned());
    let client = remote.client();
    if !args.follow {
        read(&client, remote.output, args, &mut place, Some(QUIET)).await?;
        return Ok(Exit::Ok);
    }
    let mut is_first = true;
    loop {
        let again = tokio::select! {
            // CANCEL: what was read is printed, the rest nobody wants any more.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("take over SIGINT")?;
                return Ok(Exit::Ok);
            }
            // CANCEL: as above.
            ended = read(&client, remote.output, args, &mut place, None) => ended,
        };
        match again {
            Err(error) if is_first || !is_passing(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        is_first = false;
        tokio::select! {
            // CANCEL: nothing is under way.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("take over SIGINT")?;
                return Ok(Exit::Ok);
            }
            // CANCEL: only the wait is lost.
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

/// Whether a daemon that restarts may be all there is to it.
fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(Failure::is_passing)
}

/// Prints events from `place` on, which moves along, until the stream ends or is quiet for `quiet`.
async fn read(
    client: &Client,
    form: Output,
    args: &Args,
    place: &mut String,
    quiet: Option<Duration>,
) -> anyhow::Result<()> {
    let mut query = format!("{}?since={}", path(&["events"]), encoded(place));
    if !args.kinds.is_empty() {
        let kinds: Vec<&str> = args.kinds.iter().map(|kind| kind.name()).collect();
        query.push_str(&format!("&kinds={}", kinds.join(",")));
    }
    let mut stream = client.stream(&Call::get("show events", query)).await?;
    let mut frames = Frames::default();
    let mut patience = quiet.map(|_| FIRST_TIME_MAX);
    loop {
        let piece = match patience {
            None => stream.next().await?,
            Some(longest) => match tokio::time::timeout(longest, stream.next()).await {
                Ok(piece) => piece?,
                Err(_elapsed) => return Ok(()),
            },
        };
        patience = quiet;
        let Some(piece) = piece else { return Ok(()) };
        for frame in frames.push(&piece) {
            if !frame.id.is_empty() {
                place.clone_from(&frame.id);
            }
            match form {
                Output::Json => output::print(&format!("{}\n", frame.data))?,
                Output::Table => output::print(&line(&frame))?,
            }
        }
    }
}

/// What may stand in a query as it is, else percent-encoded.
fn encoded(text: &str) -> String {
    let path = path(&[text]);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// `18f2-7  2026-03-01 12:00:00Z  backend  web/b1  usable -> failed  refused: connection refused`.
fn line(frame: &Frame) -> String {
    let Ok(event) = serde_json::from_str::<Event>(&frame.data) else {
        // A kind of a later version: shown as it came.
        return format!("{}  {}  {}\n", plain(&frame.id), plain(&frame.event), plain(&frame.data));
    };
    let change = match (&event.from, &event.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(to)) => to.clone(),
        (Some(from), None) => format!("{from} -> gone"),
        (None, None) => String::new(),
    };
    // A refused document has a line an error.
    let message = event.message.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let why = match (event.code.is_empty(), event.message.is_empty()) {
        (false, false) => format!("{}: {message}", event.code),
        _ => format!("{}{message}", event.code),
    };
    let id = if frame.id.is_empty() { "-" } else { &frame.id };
    let words = [id, &time::moment(event.at.0), event.kind.name(), &event.object, &change, &why];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).map(plain).collect();
    format!("{}\n", words.join("  "))
}

/// One event as it stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Frame {
    id: String,
    event: String,
    data: String,
}

/// Takes a stream of server-sent events apart (WHATWG HTML §9.2.6), whatever pieces it comes in.
#[derive(Debug, Default)]
struct Frames {
    line: Vec<u8>,
    is_too_long: bool,
    frame: Frame,
}

impl Frames {
    /// The events that `piece` completes.
    fn push(&mut self, piece: &[u8]) -> Vec<Frame> {
        let mut done = Vec::new();
        for byte in piece {
            match byte {
                b'\n' => done.extend(self.end_of_line()),
                // The daemon ends lines with LF alone; a CR before it is none of the text.
                b'\r' => {}
                _ if self.line.len() >= LINE_BYTES_MAX => self.is_too_long = true,
                byte => self.line.push(*byte),
            }
        }
        done
    }

    fn end_of_line(&mut self) -> Option<Frame> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return (!frame.data.is_empty()).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.frame.id = value.to_owned(),
            "event" => self.frame.event = value.to_owned(),
            "data" if self.frame.data.is_empty() => self.frame.data = value.to_owned(),
            "data" if self.frame.data.len() < LINE_BYTES_MAX => {
                self.frame.data.push('\n');
                self.frame.data.push_str(value);
            }
            // Comments keep the connection alive; `retry` is for those who follow by themselves.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "retry: 2000\n\n: keep-alive\n\nid: 1a-7\nevent: backend\ndata: {\"at\":\"2026-03-01T12:00:00.000001Z\",\
        \"kind\":\"backend\",\"object\":\"backend/web/b1\",\"from\":\"usable\",\"to\":\"failed\",\"code\":\"refused\",\
        \"message\":\"connection refused\"}\n\nevent: later\r\ndata: x\r\ndata:y\r\n\r\ndata: cut";

    #[test]
    fn a_stream_is_read_in_whatever_pieces_it_comes() {
        let whole = Frames::default().push(STREAM.as_bytes());
        assert_eq!(whole.len(), 2, "{whole:?}");
        assert_eq!((whole[0].id.as_str(), whole[0].event.as_str()), ("1a-7", "backend"));
        assert_eq!(whole[1].data, "x\ny");
        for size in 1..STREAM.len() {
            let mut frames = Frames::default();
            let pieces: Vec<Frame> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| frames.push(piece)).collect();
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_dropped_and_the_next_event_is_read() {
        let mut frames = Frames::default();
        frames.push(b"data: ");
        for _ in 0..3 {
            frames.push(&[b'x'; LINE_BYTES_MAX]);
        }
        assert!(frames.line.len() <= LINE_BYTES_MAX);
        assert_eq!(frames.push(b"\n\ndata: y\n\n").len(), 1);
    }

    #[test]
    fn events_are_one_line_each() {
        let frames = Frames::default().push(STREAM.as_bytes());
        assert_eq!(
            line(&frames[0]),
            "1a-7  2026-03-01 12:00:00Z  backend  backend/web/b1  usable -> failed  refused: connection refused\n"
        );
        let two =
            Frame { data: frames[0].data.replace("connection refused", "one\\n  two"), ..frames[0].clone() };
        assert!(line(&two).ends_with("refused: one; two\n"), "{}", line(&two));
        assert_eq!(line(&frames[1]), "  later  x\\ny\n", "a kind of a later version");
    }

    #[test]
    fn kinds_are_the_streams_own() {
        assert_eq!(kind("vip"), Ok(EventKind::Vip));
        assert!(kind("resync").is_err() && kind("").is_err());
    }
}
