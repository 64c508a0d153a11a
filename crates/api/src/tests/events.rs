// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Following events over a real socket.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::FakeAppliance;
use super::harness::{Answer, PATIENCE, Running, running};
use crate::events::{Change, EVENTS_KEPT, EventLog};
use crate::v1::{Event, EventKind};

/// A reader of the stream: the head is read, the chunks are not taken apart, since lines tell all.
struct Reader(BufReader<UnixStream>);

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    id: String,
    name: String,
    event: Event,
}

impl Reader {
    async fn open(server: &Running, query: &str, headers: &str) -> (Self, String) {
        let mut stream = server.connect().await;
        let request = format!("GET /v1/events{query} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("taken");
        let mut reader = Self(BufReader::new(stream));
        let mut head = String::new();
        while let Some(line) = reader.line().await.filter(|line| !line.is_empty()) {
            head.push_str(&line);
            head.push_str("\r\n");
        }
        (reader, head)
    }

    /// The next line, `None` at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line in time");
        let read = read.expect("text");
        (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next event, `None` at the end of the stream.
    async fn next(&mut self) -> Option<Frame> {
        let (mut id, mut name) = (String::new(), String::new());
        loop {
            let line = self.line().await?;
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.to_owned();
            } else if let Some(value) = line.strip_prefix("event: ") {
                name = value.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some(Frame { id, name, event: serde_json::from_str(data).expect("JSON") });
            }
        }
    }
}

fn publish(log: &EventLog, kind: EventKind, object: &str) {
    log.publish(Change {
        at: SystemTime::UNIX_EPOCH,
        kind,
        object: object.to_owned(),
        from: Some("usable".to_owned()),
        to: Some("failed".to_owned()),
        code: "refused".to_owned(),
        message: "line\nend \u{2028}".to_owned(),
    });
}

async fn watchers(server: &Running, wanted: u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let metrics = server.ask("GET", "/metrics").await.body;
        if metrics.lines().any(|line| line == format!("weir_event_watchers {wanted}")) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    publish(&appliance.events, EventKind::Vip, "vip/before");
    let (mut reader, head) = Reader::open(&server, "", "").await;
    assert!(head.contains("200 OK") && head.contains("content-type: text/event-stream"), "{head}");
    while reader.line().await.expect("more") != "retry: 2000" {}
    publish(&appliance.events, EventKind::Backend, "backend/web/b1");
    let frame = reader.next().await.expect("an event");
    assert_eq!((frame.name.as_str(), frame.event.object.as_str()), ("backend", "backend/web/b1"));
    assert_eq!(frame.id, appliance.events.id(2));
    assert_eq!(frame.event.message, "line\nend \u{2028}");
    publish(&appliance.events, EventKind::Peer, "peer/tor1");
    assert_eq!(reader.next().await.expect("an event").event.object, "peer/tor1");
    watchers(&server, 1).await;
    drop(reader);
    watchers(&server, 0).await;
}

#[tokio::test]
async fn kinds_choose() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    let (mut reader, _head) = Reader::open(&server, "?kinds=vip,document", "").await;
    for (kind, object) in
        [(EventKind::Backend, "b"), (EventKind::Vip, "v"), (EventKind::Peer, "p"), (EventKind::Document, "d")]
    {
        publish(&appliance.events, kind, object);
    }
    assert_eq!(reader.next().await.expect("an event").event.object, "v");
    assert_eq!(reader.next().await.expect("an event").event.object, "d");
    server.ask("GET", "/v1/events?kinds=vips").await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    for object in ["a", "b", "c"] {
        publish(&appliance.events, EventKind::Vip, object);
    }
    let first = appliance.events.id(1);
    let (mut reader, _head) = Reader::open(&server, &format!("?since={first}"), "").await;
    assert_eq!(reader.next().await.expect("an event").event.object, "b");
    let (mut reader, _head) = Reader::open(&server, "?since=oldest", "").await;
    assert_eq!(reader.next().await.expect("an event").event.object, "a");
    let (mut reader, _head) = Reader::open(&server, "", &format!("last-event-id: {first}\r\n")).await;
    assert_eq!(reader.next().await.expect("an event").event.object, "b");
    assert_eq!(reader.next().await.expect("an event").event.object, "c");
    for (unknown, so_far) in [("5f-1", 3), ("x", 4), (appliance.events.id(9).as_str(), 5)] {
        let (mut reader, _head) = Reader::open(&server, &format!("?since={unknown}"), "").await;
        let resync = reader.next().await.expect("an event");
        assert_eq!((resync.name.as_str(), resync.id), ("resync", appliance.events.id(so_far)));
        publish(&appliance.events, EventKind::Vip, "next");
        assert_eq!(reader.next().await.expect("an event").event.object, "next");
    }
}

#[tokio::test]
async fn an_id_that_is_too_old_is_resynced() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    for _ in 0..EVENTS_KEPT + 5 {
        publish(&appliance.events, EventKind::Vip, "a");
    }
    let old = appliance.events.id(3);
    let (mut reader, _head) = Reader::open(&server, &format!("?since={old}"), "").await;
    assert_eq!(reader.next().await.expect("an event").name, "resync");
    let (mut reader, _head) = Reader::open(&server, &format!("?since={}", appliance.events.id(5)), "").await;
    assert_eq!(reader.next().await.expect("an event").id, appliance.events.id(6));
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_and_cut_off() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    let (mut reader, _head) = Reader::open(&server, "", "").await;
    // More than the socket and the ring hold together, while nobody reads.
    for round in 0..EVENTS_KEPT * 3 {
        publish(&appliance.events, EventKind::Vip, "a");
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut last = None;
    while let Some(frame) = reader.next().await {
        last = Some(frame);
    }
    assert_eq!(last.expect("events").name, "overflow");
    let metrics = server.ask("GET", "/metrics").await.body;
    assert!(metrics.lines().any(|line| line == "weir_events_dropped_total 1"), "{metrics}");
}

#[tokio::test]
async fn there_is_room_for_so_many_readers() {
    let (server, appliance) = running(FakeAppliance::default()).await;
    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(Reader::open(&server, "", "").await);
    }
    let words = server.ask("GET", "/v1/events").await.problem(503, "too-many-watchers");
    assert_eq!(words, "64 readers follow the events already");
    publish(&appliance.events, EventKind::Vip, "a");
    for (reader, _head) in &mut readers {
        assert_eq!(reader.next().await.expect("an event").event.object, "a");
    }
    drop(readers);
    watchers(&server, 0).await;
    Reader::open(&server, "", "").await;
}

#[tokio::test]
async fn a_stop_ends_the_streams() {
    let (mut server, _appliance) = running(FakeAppliance::default()).await;
    let (mut reader, _head) = Reader::open(&server, "", "").await;
    server.stop.take().expect("running").send(()).expect("the server waits for it");
    let started = tokio::time::Instant::now();
    let mut lines = Vec::new();
    while let Some(line) = reader.line().await {
        lines.push(line);
    }
    // The last chunk is empty: the end was said, not cut.
    assert!(lines.contains(&"0".to_owned()), "{lines:?}");
    tokio::time::timeout(PATIENCE, server.task).await.expect("in time").expect("no panic");
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for the grace");
}

#[tokio::test]
async fn a_head_request_opens_no_stream() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let answer: Answer = server.ask("HEAD", "/v1/events").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    watchers(&server, 0).await;
}
