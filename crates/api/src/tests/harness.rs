// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A running server over a fake appliance, and a client that reads what is really on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::FakeAppliance;
use crate::server::{Server, ServerConfig};

/// Longest time that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tcp: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// An answer, its head in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Asserts that this is a problem of that kind, written as one, and gives its detail.
    pub(crate) fn problem(&self, status: u16, slug: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["type"], format!("urn:weir:problem:{slug}"), "{self:?}");
        assert_eq!(json["status"], status, "{self:?}");
        let id = self.header("x-request-id");
        assert_eq!(json["instance"].as_str().map(str::to_ascii_lowercase).as_deref(), Some(id), "{self:?}");
        json["detail"].as_str().expect("words").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

pub(crate) async fn running(appliance: FakeAppliance) -> (Running, Arc<FakeAppliance>) {
    let folder = tempfile::tempdir().expect("a folder");
    let tcp = Some("127.0.0.1:0".parse().expect("an address"));
    let config = ServerConfig { socket: folder.path().join("api.sock"), tcp };
    let server = Server::bind(config).await.expect("the socket is free");
    let tcp = server.tcp_address().expect("TCP was asked for");
    let appliance = Arc::new(appliance);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(Arc::clone(&appliance), async {
        stopped.await.ok();
    }));
    (Running { folder, tcp, stop: Some(stop), task }, appliance)
}

impl Running {
    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("api.sock")).await.expect("the server listens")
    }

    /// Sends `request` on a new connection and reads until the server closes it.
    pub(crate) async fn raw(&self, request: &str) -> String {
        exchange(self.connect().await, request).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, "", "").await
    }

    /// `headers` are whole lines, each with its line end.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        Answer::parse(&self.raw(&request(method, path, "x", headers, body)).await)
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, "content-type: application/json\r\n", body).await
    }

    /// The same over TCP.
    pub(crate) async fn send_tcp(&self, method: &str, path: &str, host: &str, body: &str) -> Answer {
        let stream = TcpStream::connect(self.tcp).await.expect("the server listens");
        Answer::parse(&exchange(stream, &request(method, path, host, "", body)).await)
    }
}

fn request(method: &str, path: &str, host: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}{length}\r\n{body}")
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> String {
    // A server that refuses early may close before it has read everything.
    stream.write_all(request.as_bytes()).await.ok();
    let mut answer = Vec::new();
    let reading = async {
        // A server that refuses a request resets the connection after its answer, for what it left unread.
        while stream.read_buf(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time");
    String::from_utf8(answer).expect("text")
}
