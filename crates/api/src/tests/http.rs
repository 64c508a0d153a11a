// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes, problems and limits over the unix socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::FakeAppliance;
use super::harness::{Answer, running};
use crate::control::Unavailable;

#[tokio::test]
async fn status_is_the_whole_document() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let Answer { status, head, body } = server.ask("GET", "/v1/status").await;
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
    let Answer { status, head, body } = server.ask("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("weir_backend_packets_total{pool=\"web\",backend=\"b1\"} 40\n"), "{body}");
}

#[tokio::test]
async fn probes_name_what_is_missing() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    assert_eq!(server.ask("GET", "/readyz").await.status, 200);
    assert_eq!(server.ask("GET", "/livez").await.body, "alive\n");
    appliance.probes.lock().expect("no panic").not_ready = vec!["dataplane", "api"];
    let Answer { status, body, .. } = server.ask("GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "not ready\ndataplane\napi\n"));
    assert_eq!(server.ask("GET", "/livez").await.status, 200);
    appliance.probes.lock().expect("no panic").stuck = vec!["reconcile"];
    assert_eq!(server.ask("GET", "/livez").await.status, 503);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    for path in ["/v1/nothing", "/", "/v1/vips/", "/v1/pools/web/backends/b1/override/more", "/v2/status"] {
        let words = server.ask("GET", path).await.problem(404, "not-found");
        assert_eq!(words, format!("nothing at {path}"));
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/status", "get,head"),
        ("PUT", "/v1/document", "get,head"),
        ("GET", "/v1/document/reload", "post"),
        ("PATCH", "/v1/vips/www/override", "get,head,put,delete"),
        ("BREW", "/livez", "get,head"),
    ] {
        let answer = server.ask(method, path).await;
        assert_eq!(answer.problem(405, "method-not-allowed"), format!("{method} is not allowed on {path}"));
        assert_eq!(answer.header("allow"), allow);
    }
}

#[tokio::test]
async fn a_busy_or_stopped_appliance_is_503() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    for (error, slug) in [(Unavailable::Busy, "too-many-requests"), (Unavailable::Stopped, "stopped")] {
        *appliance.status.lock().expect("no panic") = Err(error);
        for path in ["/v1/status", "/metrics"] {
            let Answer { status, body, .. } = server.ask("GET", path).await;
            assert_eq!(status, 503);
            assert!(body.contains(slug), "{body}");
        }
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let (server, _appliance) =
        running(FakeAppliance { delay: Duration::from_secs(60), ..FakeAppliance::default() }).await;
    let Answer { status, body, .. } = server.ask("GET", "/v1/status").await;
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
    for _ in 0..256 {
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
    assert!(early.is_err(), "the 257th connection was served");
    held.pop();
    let served = tokio::time::timeout(Duration::from_secs(10), late.read_to_string(&mut answer)).await;
    served.expect("served once there was room").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_full_port_does_not_keep_the_socket_out() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let mut held = Vec::new();
    // Whoever is accepted says nothing, the rest fill the queue.
    for _ in 0..300 {
        held.push(TcpStream::connect(server.tcp).await.expect("the server listens"));
    }
    let mut asked = server.connect().await;
    asked.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    // Well before the first of the silent ones is given up.
    let served = tokio::time::timeout(Duration::from_secs(5), asked.read_to_string(&mut answer)).await;
    served.expect("served beside a full port").expect("text");
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
