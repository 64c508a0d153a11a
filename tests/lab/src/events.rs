// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's stream of events (server-sent events over its unix socket), read in the background and looked at later.

use std::io::{BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api::Api;
use crate::http::read_head;
use crate::wait::wait_until;

/// Events kept; a scenario sees some hundreds. Beyond it the stream is not read any further.
const EVENTS_MAX: usize = 10_000;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number in the daemon's life, `<boot>-<sequence>`.
    pub id: String,
    /// Its kind: `backend`, `vip`, `peer`, `document`, `override`, or what is said of the stream itself.
    pub kind: String,
    /// What happened.
    pub data: Value,
}

/// An open stream; closed when dropped.
#[derive(Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<Event>>>,
    stream: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Events {
    /// Opens `/v1/events` with a query such as `?kinds=vip`; returns once the daemon has answered.
    pub fn open(api: &Api, query: &str) -> Result<Events> {
        let mut stream = api.connect()?;
        // The older version has no chunks: the body is the lines as they are.
        let request = format!("GET /v1/events{query} HTTP/1.0\r\nHost: weir\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let head = read_head(&mut lines)?;
        if head.status != 200 {
            bail!("/v1/events{query}: {}", head.status);
        }
        // From here on silence is normal.
        stream.set_read_timeout(None)?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let reader = std::thread::spawn(move || read(lines, &sink));
        Ok(Events { seen, stream, reader: Some(reader) })
    }

    /// What has come so far, in its order.
    pub fn seen(&self) -> Vec<Event> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first event that `is_it` accepts.
    pub fn wait(&self, what: &str, limit: Duration, is_it: impl Fn(&Event) -> bool) -> Result<Event> {
        wait_until(what, limit, || {
            let seen = self.seen();
            seen.iter().find(|event| is_it(event)).cloned().with_context(|| format!("only {seen:?}"))
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Err(error) = self.stream.shutdown(Shutdown::Both)
            && error.kind() != std::io::ErrorKind::NotConnected
        {
            eprintln!("lab: close the stream of events: {error}");
        }
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            eprintln!("lab: the reader of events panicked");
        }
    }
}

/// Reads events until the stream ends.
fn read(lines: impl BufRead, sink: &Mutex<Vec<Event>>) {
    let mut parser = Parser::default();
    for line in lines.lines().map_while(std::result::Result::ok) {
        let Some(event) = parser.line(&line) else { continue };
        let mut seen = sink.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == EVENTS_MAX {
            return;
        }
        seen.push(event);
    }
}

/// Lines of the stream to events (the HTML standard, "event stream interpretation").
#[derive(Debug, Default)]
struct Parser {
    id: String,
    kind: String,
    data: String,
}

impl Parser {
    /// Takes one line; an event when it was the empty one behind its fields.
    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let kind = std::mem::take(&mut self.kind);
            if data.is_empty() && kind.is_empty() {
                return None;
            }
            let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
            return Some(Event { id: self.id.clone(), kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.to_owned(),
            "event" => self.kind = value.to_owned(),
            "data" => self.data += value,
            // Comments keep the connection alive, `retry` is for browsers.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_lines() {
        let text = ": hello\nretry: 2000\n\nid: 7-1\nevent: vip\ndata: {\"to\":\"announced\"}\n\n: still here\n\nid: 7-2\n\
                    event: backend\ndata: {}\n\n";
        let seen = Mutex::new(Vec::new());
        read(text.as_bytes(), &seen);
        let seen = seen.into_inner().expect("no panic");
        let names: Vec<_> = seen.iter().map(|event| (event.id.as_str(), event.kind.as_str())).collect();
        assert_eq!(names, [("7-1", "vip"), ("7-2", "backend")]);
        assert_eq!(seen[0].data["to"], "announced");
    }
}
