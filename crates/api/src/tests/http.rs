// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes, problems and limits over the unix socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::FakeAppliance;
use crate::control::Unavailable;
use crate::server::{Server, ServerConfig};

struct Running {
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

async fn running(appliance: FakeAppliance) -> (Running, Arc<FakeAppliance>) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = ServerConfig { socket: folder.path().join("api.sock"), tcp: None };
    let server = Server::bind(config).await.expect("the socket is free");
    let appliance = Arc::new(appliance);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(Arc::clone(&appliance), async {
        stopped.await.ok();
    }));
    (Running { folder, stop: Some(stop), task }, appliance)
}

impl Running {
    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("api.sock")).await.expect("the server listens")
    }

    /// Sends `request` on a new connection and reads until the server closes it.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = Vec::new();
        let reading = async {
            // A server that refuses a request resets the connection after its answer, for what it left unread.
            while stream.read_buf(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time");
        String::from_utf8(answer).expect("text")
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let answer =
            self.raw(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }
}

#[tokio::test]
async fn status_is_the_whole_document() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let (status, head, body) = server.ask("GET", "/v1/status").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(json["appliance"]["state"], "running");
    assert_eq!(json["appliance"]["started_at"], "2026-01-01T00:00:00.250Z");
    assert_eq!(json["vips"]["other"]["withheld"][0], "backends");
    assert_eq!(json["pools"]["web"]["backends"]["b2"]["next_hop"]["detail"], "no route");
    assert_eq!(json["peers"]["tor1"]["state"], "established");
    assert_eq!(json["dataplane"]["uplinks"]["eth0"]["verdicts"]["forwarded"], 80);
}

#[tokio::test]
async fn metrics_are_text() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let (status, head, body) = server.ask("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("weir_backend_packets_total{pool=\"web\",backend=\"b1\"} 40\n"), "{body}");
}

#[tokio::test]
async fn probes_name_what_is_missing() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    assert_eq!(server.ask("GET", "/readyz").await.0, 200);
    assert_eq!(server.ask("GET", "/livez").await.2, "alive\n");
    appliance.probes.lock().expect("no panic").not_ready = vec!["dataplane", "api"];
    let (status, _head, body) = server.ask("GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "not ready\ndataplane\napi\n"));
    assert_eq!(server.ask("GET", "/livez").await.0, 200);
    appliance.probes.lock().expect("no panic").stuck = vec!["reconcile"];
    assert_eq!(server.ask("GET", "/livez").await.0, 503);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let (status, head, body) = server.ask("GET", "/v1/nothing").await;
    assert_eq!(status, 404);
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(json["type"], "urn:weir:problem:not-found");
    assert_eq!(json["status"], 404);
    let (status, head, body) = server.ask("DELETE", "/v1/status").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: get,head"), "{head}");
    assert!(body.contains("urn:weir:problem:method-not-allowed"), "{body}");
}

#[tokio::test]
async fn a_busy_or_stopped_appliance_is_503() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    for (error, slug) in [(Unavailable::Busy, "too-many-requests"), (Unavailable::Stopped, "stopped")] {
        *appliance.status.lock().expect("no panic") = Err(error);
        for path in ["/v1/status", "/metrics"] {
            let (status, _head, body) = server.ask("GET", path).await;
            assert_eq!(status, 503);
            assert!(body.contains(slug), "{body}");
        }
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let (server, _appliance) =
        running(FakeAppliance { delay: Duration::from_secs(60), ..FakeAppliance::default() }).await;
    let (status, _head, body) = server.ask("GET", "/v1/status").await;
    assert_eq!(status, 503);
    assert!(body.contains("urn:weir:problem:timeout"), "{body}");
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let answer =
        server.raw(&format!("GET /livez HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "a".repeat(17_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "h: 1\r\n".repeat(65);
    let answer = server.raw(&format!("GET /livez HTTP/1.1\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("answered and kept open");
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut late = server.connect().await;
    late.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("queued");
    let mut answer = String::new();
    let early = tokio::time::timeout(Duration::from_millis(300), late.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "the 65th connection was served");
    held.pop();
    let served = tokio::time::timeout(Duration::from_secs(10), late.read_to_string(&mut answer)).await;
    served.expect("served once there was room").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn stopping_removes_the_socket() {
    let (mut server, _appliance) = running(FakeAppliance::default()).await;
    let path = server.folder.path().join("api.sock");
    let idle = server.connect().await;
    assert!(path.exists());
    server.stop.take().expect("running").send(()).expect("the server waits for it");
    tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("in time").expect("no panic");
    assert!(!path.exists());
    drop(idle);
}
