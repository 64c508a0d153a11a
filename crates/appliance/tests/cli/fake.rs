// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A daemon's API over a real unix socket, with answers made up by the test. One request a connection, as the command
//! line does it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Lines of the head after the first, in lower case.
    pub(crate) head: Vec<String>,
    /// `Null` without a body.
    pub(crate) body: Value,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole answer.
    Whole(u16, String),
    /// A problem with this status, slug and detail.
    Problem(u16, &'static str, String),
    /// These bytes instead of HTTP, and the end.
    Raw(&'static [u8]),
    /// A stream of events that goes on in silence after these, until the reader goes.
    Stream(String),
}

impl Reply {
    /// A JSON body, 200 when there is one and 404 when there is none.
    pub(crate) fn json(value: Option<Value>, path: &str) -> Self {
        match value {
            Some(value) => Self::Whole(200, value.to_string()),
            None => Self::Problem(404, "not-found", format!("nothing at {path}")),
        }
    }
}

/// A running fake. Its threads end with the test's process.
pub(crate) struct Fake {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Answers every request by `answer`, which gets the request and how many came before it.
    pub(crate) fn new(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("api.sock")).expect("the path is free");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                let stream = stream.expect("a connection");
                // A connection that breaks is the command's to report.
                std::thread::spawn(move || drop(serve(stream, answer.as_ref(), &seen)));
            }
        });
        Self { folder, requests }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panicked with it").clone()
    }
}

fn serve(
    mut stream: UnixStream,
    answer: &(dyn Fn(&Request, usize) -> Reply + Send + Sync),
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = Request { method, path, head, body };
    let before = {
        let mut seen = seen.lock().expect("no test panicked with it");
        seen.push(request.clone());
        seen.len() - 1
    };
    let (status, kind, body) = match answer(&request, before) {
        Reply::Whole(status, body) => (status, "application/json", body),
        Reply::Problem(status, slug, detail) => {
            let body = serde_json::json!({ "type": format!("urn:weir:problem:{slug}"), "title": slug,
                "status": status, "detail": detail, "instance": "r1" });
            (status, "application/problem+json", body.to_string())
        }
        Reply::Raw(bytes) => return stream.write_all(bytes),
        Reply::Stream(text) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
            // A busy daemon: the head is there before the first event.
            std::thread::sleep(std::time::Duration::from_millis(700));
            stream.write_all(text.as_bytes())?;
            // Until the reader has gone.
            reader.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
    };
    let length = body.len();
    match status {
        204 => write!(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
        _ => write!(
            stream,
            "HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    }
}
