// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Talking to a daemon: HTTP/1.1 over its unix socket, or over TCP on loopback. One connection a request, each step with
//! a time limit and each answer with a size limit, so that no command hangs or fills memory whatever answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Exit;
use super::failure::{self, Failure};

/// Where the daemon listens unless told otherwise.
pub(super) const SERVER_DEFAULT: &str = "unix:/run/weir/api.sock";

/// Longest wait for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Longest wait from the request to the end of the answer: longer than the daemon gives itself for a reload, so that its own
/// words arrive.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(25);
/// Largest answer that is read: the status of 16,384 backends, with room.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Largest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// A unix socket.
    Unix(PathBuf),
    /// HTTP without TLS, on loopback.
    Tcp(SocketAddr),
}

/// `unix:PATH` or `http://ADDRESS:PORT`.
impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err("the path of the socket is missing: unix:/run/weir/api.sock".to_owned()),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        let Some(authority) = text.strip_prefix("http://") else {
            return Err("write it like unix:/run/weir/api.sock or http://127.0.0.1:9180".to_owned());
        };
        let authority = authority.trim_end_matches('/');
        let authority = authority
            .strip_prefix("localhost")
            .map_or_else(|| authority.to_owned(), |port| format!("127.0.0.1{port}"));
        authority
            .parse()
            .map(Self::Tcp)
            .map_err(|_| "write address and port, like http://127.0.0.1:9180 or http://[::1]:9180".to_owned())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

/// One request of a command.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    /// What it is for, as `cannot …` goes on: `drain `web/b1``.
    pub(super) purpose: &'a str,
    method: Method,
    path: String,
    body: Option<Value>,
}

impl<'a> Call<'a> {
    /// Reads.
    pub(super) fn get(purpose: &'a str, path: impl Into<String>) -> Self {
        Self { purpose, method: Method::GET, path: path.into(), body: None }
    }

    /// Sets.
    pub(super) fn put(purpose: &'a str, path: impl Into<String>, body: Value) -> Self {
        Self { purpose, method: Method::PUT, path: path.into(), body: Some(body) }
    }

    /// Clears.
    pub(super) fn delete(purpose: &'a str, path: impl Into<String>) -> Self {
        Self { purpose, method: Method::DELETE, path: path.into(), body: None }
    }

    /// Orders.
    pub(super) fn post(purpose: &'a str, path: impl Into<String>) -> Self {
        Self { purpose, method: Method::POST, path: path.into(), body: None }
    }
}

/// A daemon to talk to.
#[derive(Debug, Clone)]
pub(super) struct Client {
    server: Server,
}

/// An answer of the kind that was hoped for.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The body as it came.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as a `T`.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure {
            what: "cannot read the daemon's answer".to_owned(),
            why: vec![error.to_string()],
            remedy: "use the `weir` of the daemon's version, or --output json".to_owned(),
            slug: "unknown-answer".to_owned(),
            exit: Exit::Failed,
            body: None,
        })
    }
}

/// An answer without end, read piece by piece.
#[derive(Debug)]
pub(super) struct Stream {
    body: Incoming,
    server: Server,
}

impl Stream {
    /// The next piece, `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(broken_off(&self.server, "follow the events", &error)),
            }
        }
    }
}

impl Client {
    /// A client of the daemon at `server`. Nothing is sent yet.
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    /// Sends a request and reads the whole answer; any answer but 2xx is a [`Failure`].
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let work = async {
            let response = self.send(call, "application/json").await?;
            let is_success = response.status().is_success();
            let status = response.status().as_u16();
            let limit = if is_success { ANSWER_BYTES_MAX } else { REFUSAL_BYTES_MAX };
            let body = self.body(call, response, limit).await?;
            match is_success {
                true => Ok(Answer { body }),
                false => Err(failure::refused(&format!("cannot {}", call.purpose), status, body)),
            }
        };
        timeout(ANSWER_TIME_MAX, work).await.unwrap_or_else(|_elapsed| Err(self.too_slow(call)))
    }

    /// Sends a request whose answer goes on; the time limit is for its head.
    pub(super) async fn stream(&self, call: &Call<'_>) -> Result<Stream, Failure> {
        let head = timeout(ANSWER_TIME_MAX, self.send(call, "text/event-stream")).await;
        let response = head.unwrap_or_else(|_elapsed| Err(self.too_slow(call)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Stream { body: response.into_body(), server: self.server.clone() });
        }
        let body = timeout(ANSWER_TIME_MAX, self.body(call, response, REFUSAL_BYTES_MAX)).await;
        let body = body.unwrap_or_else(|_elapsed| Err(self.too_slow(call)))?;
        Err(failure::refused(&format!("cannot {}", call.purpose), status.as_u16(), body))
    }

    async fn send(&self, call: &Call<'_>, accept: &str) -> Result<Response<Incoming>, Failure> {
        let connected = timeout(CONNECT_TIME_MAX, self.connect()).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(call.purpose, &error)),
            Err(_elapsed) => {
                return Err(self.unreachable(call.purpose, &io::Error::from(io::ErrorKind::TimedOut)));
            }
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken_off(&self.server, call.purpose, &error))?;
        // The connection ends with its request; what goes wrong on it the request says.
        drop(tokio::spawn(connection));
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, self.host())
            .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, accept)
            .header(header::CONNECTION, "close");
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .expect("paths are percent-encoded and headers are constants or addresses");
        sender.send_request(request).await.map_err(|error| broken_off(&self.server, call.purpose, &error))
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match &self.server {
            Server::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Server::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        })
    }

    fn host(&self) -> String {
        match &self.server {
            Server::Unix(_) => "localhost".to_owned(),
            Server::Tcp(address) => address.to_string(),
        }
    }

    async fn body(
        &self,
        call: &Call<'_>,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure {
                what: format!("cannot {}", call.purpose),
                why: vec![format!("the answer of {} is larger than {limit} bytes", self.server)],
                remedy: "see that a Weir daemon answers there".to_owned(),
                slug: "answer-too-large".to_owned(),
                exit: Exit::Failed,
                body: None,
            }),
            Err(error) => Err(broken_off(&self.server, call.purpose, error.as_ref())),
        }
    }

    fn unreachable(&self, purpose: &str, error: &io::Error) -> Failure {
        let remedy = match (error.kind(), &self.server) {
            (io::ErrorKind::PermissionDenied, Server::Unix(_)) => {
                "run it as root or as a member of the socket's group"
            }
            (_, Server::Unix(_)) => {
                "start the daemon (`systemctl start weir`), or name its socket with --server"
            }
            (_, Server::Tcp(_)) => {
                "see that the daemon runs and that `bootstrap.api_listen` names this address"
            }
        };
        Failure {
            what: format!("cannot {purpose}: no daemon at {}", self.server),
            why: vec![words(error)],
            remedy: remedy.to_owned(),
            slug: "unreachable".to_owned(),
            exit: Exit::Unreachable,
            body: None,
        }
    }

    fn too_slow(&self, call: &Call<'_>) -> Failure {
        Failure {
            what: format!("cannot {}: no answer from {}", call.purpose, self.server),
            why: vec![format!("it took longer than {} s", ANSWER_TIME_MAX.as_secs())],
            remedy: "see the daemon's log, and `weir status` before you repeat: it may have been done"
                .to_owned(),
            slug: "timeout".to_owned(),
            exit: Exit::Unreachable,
            body: None,
        }
    }
}

/// A stream of either kind.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

fn broken_off(server: &Server, purpose: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why.push_str(": ");
        why.push_str(&error.to_string());
        source = error.source();
    }
    Failure {
        what: format!("cannot {purpose}: {server} broke off"),
        why: vec![why],
        remedy: "see that a Weir daemon answers there, and its log".to_owned(),
        slug: "broken-off".to_owned(),
        exit: Exit::Unreachable,
        body: None,
    }
}

/// What an error of the system says, without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// A path of the API from its parts; what a user typed cannot leave its segment.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/v1");
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(char::from(byte)),
                // A lone dot would be taken for a step in the tree.
                byte => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_written() {
        for (text, shown) in [
            ("unix:/run/weir/api.sock", "unix:/run/weir/api.sock"),
            ("unix:///run/weir/api.sock", "unix:/run/weir/api.sock"),
            ("unix:api.sock", "unix:api.sock"),
            ("http://127.0.0.1:9180", "http://127.0.0.1:9180"),
            ("http://localhost:9180/", "http://127.0.0.1:9180"),
            ("http://[::1]:9180", "http://[::1]:9180"),
        ] {
            assert_eq!(text.parse::<Server>().map(|server| server.to_string()).as_deref(), Ok(shown));
        }
        for text in
            ["", "unix:", "unix://", "/run/weir/api.sock", "http://127.0.0.1", "https://127.0.0.1:9180"]
        {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
        assert!(SERVER_DEFAULT.parse::<Server>().is_ok());
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(path(&["pools", "web", "backends", "b1"]), "/v1/pools/web/backends/b1");
        assert_eq!(path(&["vips", "../x?y#ü"]), "/v1/vips/%2E%2E%2Fx%3Fy%23%C3%BC");
        assert_eq!(path(&["vips", ""]), "/v1/vips/");
    }

    /// A daemon that sends `bytes` to whoever connects, and then holds the connection.
    fn silent_after(bytes: &'static [u8]) -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("the path is free");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                // A client that has gone is what the test waits for.
                tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await.ok();
                held.push(stream);
            }
        });
        (folder, Client::new(Server::Unix(path)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_falls_silent_is_not_waited_for_for_ever() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            b"HTTP/1.1 404 No\r\ncontent-length: 9\r\n\r\n",
        ] {
            let (_folder, client) = silent_after(bytes);
            let failure = client.call(&Call::get("read", "/v1/status")).await.expect_err("no answer");
            assert_eq!((failure.exit, failure.slug.as_str()), (Exit::Unreachable, "timeout"));
        }
        let (_folder, client) = silent_after(b"");
        let failure = client.stream(&Call::get("follow", "/v1/events")).await.expect_err("no head");
        assert_eq!(failure.slug, "timeout");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        const ENDLESS: &[u8] = &[b'x'; REFUSAL_BYTES_MAX + 1024];
        static ANSWER: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| [b"HTTP/1.1 500 No\r\n\r\n", ENDLESS].concat());
        let (_folder, client) = silent_after(&ANSWER);
        let failure = client.call(&Call::get("read", "/v1/status")).await.expect_err("too much");
        assert_eq!((failure.exit, failure.slug.as_str()), (Exit::Failed, "answer-too-large"));
    }
}
