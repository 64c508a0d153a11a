// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides and reloads, bad bodies, and who may write.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FakeAppliance;
use super::harness::{Answer, PATIENCE, running};
use crate::control::ReloadRefused;
use crate::v1::{FieldError, Reloaded};

const BACKEND: &str = "/v1/pools/web/backends/b1/override";

#[tokio::test]
async fn an_override_is_set_read_replaced_and_cleared() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    assert_eq!(
        server.ask("GET", BACKEND).await.problem(404, "not-found"),
        "`backend/web/b1` has no override"
    );
    let body = r#"{"state":"drain","reason":"disk","author":"ada","until":"2030-01-01T00:00:00Z"}"#;
    let set = server.put(BACKEND, body).await;
    assert_eq!(set.status, 201, "{set:?}");
    let json = set.json();
    assert_eq!((json["id"].as_str(), json["state"].as_str()), (Some("backend/web/b1"), Some("drain")));
    assert_eq!((json["author"].as_str(), json["reason"].as_str()), (Some("ada"), Some("disk")));
    assert_eq!(json["until"], "2030-01-01T00:00:00.000Z");
    assert_eq!(server.put(BACKEND, r#"{"state":"disable","for":"10m"}"#).await.status, 200);
    let read = server.ask("GET", BACKEND).await.json();
    assert_eq!(read["state"], "disable");
    assert!(read["author"].as_str().expect("a word").starts_with("uid "), "{read}");
    assert!(read["until"].is_string());
    assert_eq!(server.ask("GET", "/v1/overrides").await.json()["items"][0], read);
    let cleared = server.ask("DELETE", BACKEND).await;
    assert_eq!((cleared.status, cleared.body.as_str()), (204, ""));
    server.ask("DELETE", BACKEND).await.problem(404, "not-found");
}

#[tokio::test]
async fn every_kind_of_object_has_its_override() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    for (path, id) in [
        ("/v1/appliance/override", "appliance"),
        ("/v1/vips/www/override", "vip/www"),
        ("/v1/pools/web/override", "pool/web"),
        (BACKEND, "backend/web/b1"),
    ] {
        assert_eq!(server.put(path, r#"{"state":"withhold"}"#).await.json()["id"], id);
        assert_eq!(server.ask("GET", path).await.json()["id"], id);
        assert_eq!(server.ask("DELETE", path).await.status, 204);
    }
    for path in ["/v1/vips/wwww/override", "/v1/pools/x/override", "/v1/pools/web/backends/b9/override"] {
        server.put(path, r#"{"state":"drain"}"#).await.problem(404, "not-found");
        server.ask("DELETE", path).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_bad_body_is_a_problem_that_says_what_is_wrong() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    for body in ["{", "", "drain", "{\"state\":\"drain\"}}", "\u{0}"] {
        server.put(BACKEND, body).await.problem(400, "not-json");
    }
    for (body, path) in [
        ("{}", ""),
        ("null", ""),
        (r#"{"state":"off"}"#, "state"),
        (r#"{"state":"drain","whom":"b1"}"#, "whom"),
        (r#"{"state":"drain","until":"tomorrow"}"#, "until"),
        (r#"{"state":"drain","for":"soon"}"#, "for"),
        (r#"{"state":"drain","for":"1m","until":"2030-01-01T00:00:00Z"}"#, "for"),
        (r#"{"state":"drain","reason":["a"]}"#, "reason"),
    ] {
        let answer = server.put(BACKEND, body).await;
        answer.problem(422, "invalid-field");
        assert_eq!(answer.json()["errors"][0]["path"], path, "{body}");
    }
    let refused = server.put(BACKEND, r#"{"state":"drain","reason":"refuse"}"#).await;
    refused.problem(409, "too-many-overrides");
    let form =
        server.send("PUT", BACKEND, "content-type: application/x-www-form-urlencoded\r\n", "a=b").await;
    form.problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let fits = format!(r#"{{"state":"drain","reason":"{}"}}"#, "x".repeat(64 * 1024 - 29));
    assert_eq!(fits.len(), 64 * 1024);
    assert_eq!(server.put(BACKEND, &fits).await.status, 201);
    server.put(BACKEND, &format!("{fits} ")).await.problem(413, "body-too-large");
    // Without a length, so that only reading shows it.
    let chunk = format!("10001\r\n{} \r\n0\r\n\r\n", fits);
    let head = format!(
        "PUT {BACKEND} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    Answer::parse(&server.raw(&(head + &chunk)).await).problem(413, "body-too-large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let mut stream = server.connect().await;
    let head =
        format!("PUT {BACKEND} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.expect("taken");
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("text");
    Answer::parse(&answer).problem(408, "body-timeout");
}

#[tokio::test]
async fn a_reload_is_accepted_or_refused_with_every_error() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    let reload = "/v1/document/reload";
    assert_eq!(
        server.ask("POST", reload).await.json(),
        serde_json::json!({"generation": 4, "changed": true})
    );
    let error = |path: &str, line| FieldError {
        path: path.into(),
        file: Some("weir.toml".into()),
        line: Some(line),
        column: Some(11),
        message: "found `x`".into(),
        hint: Some("write a number".into()),
    };
    let errors = vec![error("pools.web.backends.b1.weight", 12), error("vips.www.address", 30)];
    *appliance.reload.lock().expect("no panic") = Err(ReloadRefused::Invalid { errors });
    let refused = server.ask("POST", reload).await;
    assert_eq!(refused.problem(422, "invalid-document"), "the document has 2 errors");
    assert_eq!(refused.json()["errors"][1]["line"], 30);
    assert_eq!(refused.json()["errors"][0]["hint"], "write a number");
    let sections = vec!["bgp".to_owned(), "peers".to_owned()];
    *appliance.reload.lock().expect("no panic") = Err(ReloadRefused::NeedsRestart { sections });
    let words = server.ask("POST", reload).await.problem(409, "needs-restart");
    assert_eq!(words, "a change of `bgp`, `peers` needs a restart");
    *appliance.reload.lock().expect("no panic") = Ok(Reloaded { generation: 4, changed: false });
    assert_eq!(server.ask("POST", reload).await.json()["changed"], false);
}

#[tokio::test]
async fn tcp_reads_and_does_not_write() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    let body = r#"{"state":"drain"}"#;
    for (method, path) in
        [("PUT", BACKEND), ("DELETE", BACKEND), ("POST", "/v1/document/reload"), ("PATCH", "/")]
    {
        let words = server.send_tcp(method, path, "localhost", body).await.problem(403, "forbidden");
        assert_eq!(words, "nothing can be changed over TCP: use the unix socket");
    }
    assert!(appliance.overrides.lock().expect("no panic").is_empty());
    for host in ["localhost:9180", "127.0.0.1", "[::1]:9180"] {
        assert_eq!(server.send_tcp("GET", "/v1/status", host, "").await.status, 200, "{host}");
    }
    for host in ["example.org", "localhost.example.org", "192.0.2.1:9180"] {
        server.send_tcp("GET", "/v1/status", host, "").await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    for name in ["www", "other", "none"] {
        server.ask("GET", &format!("/v1/vips/{name}")).await;
    }
    server.put(BACKEND, r#"{"state":"drain"}"#).await;
    server.ask("BREW", "/v1/nothing").await;
    let metrics = server.ask("GET", "/metrics").await.body;
    for expected in [
        r#"weir_api_requests_total{route="/v1/vips/{vip}",method="GET",code="200"} 2"#,
        r#"weir_api_requests_total{route="/v1/vips/{vip}",method="GET",code="404"} 1"#,
        r#"weir_api_requests_total{route="/v1/pools/{pool}/backends/{backend}/override",method="PUT",code="201"} 1"#,
        r#"weir_api_requests_total{route="unmatched",method="other",code="404"} 1"#,
        r#"weir_api_request_duration_seconds_count{route="/v1/vips/{vip}"} 3"#,
    ] {
        assert!(metrics.lines().any(|line| line == expected), "{expected}\n{metrics}");
    }
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_write_leaves_an_audit_line() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    // The server runs on the thread of this test.
    let _guard = tracing::subscriber::set_default(subscriber);
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let headers = "x-request-id: ab-1\r\n";
    server.send("PUT", BACKEND, headers, r#"{"state":"drain"}"#).await;
    server.send("PUT", BACKEND, "x-request-id: ab-2\r\n", "{").await;
    server.send("DELETE", "/v1/vips/www/override", "x-request-id: ab-3\r\n", "").await;
    server.ask("GET", "/v1/status").await;
    server.send_tcp("POST", "/v1/document/reload", "localhost", "").await;
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &serde_json::Value| line["target"] == "weir::audit")
        .collect();
    let fields: Vec<_> = lines
        .iter()
        .map(|line| {
            let field = |name: &str| line["fields"][name].as_str().unwrap_or_default().to_owned();
            (field("method"), field("path"), field("result"), line["fields"]["status"].as_u64())
        })
        .collect();
    let line = |method: &str, path: &str, result: &str, status| {
        (method.to_owned(), path.to_owned(), result.to_owned(), Some(status))
    };
    assert_eq!(
        fields,
        [
            line("PUT", BACKEND, "ok", 201),
            line("PUT", BACKEND, "not-json", 400),
            line("DELETE", "/v1/vips/www/override", "not-found", 404),
            line("POST", "/v1/document/reload", "forbidden", 403),
        ]
    );
    assert_eq!(lines[0]["fields"]["request_id"], "ab-1");
    assert!(lines[0]["fields"]["who"].as_str().expect("words").starts_with("uid "), "{}", lines[0]);
    assert_eq!(lines[3]["fields"]["who"], "tcp");
}
