// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attempts against servers on loopback that behave as servers should not.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::check::{CheckSpec, HttpCheck, Method, SocketOptions, StatusSet, Timing};

/// Long enough for a busy machine, short enough to wait for.
const TIMEOUT: Duration = Duration::from_millis(300);
/// What an attempt may take beyond its timeout on a busy machine.
const SLACK: Duration = Duration::from_millis(200);

fn check(kind: CheckKind, target: SocketAddr, timeout: Duration) -> Check {
    let timing = Timing { timeout, ..Timing::default() };
    let spec = Arc::new(CheckSpec::new(kind, timing).expect("valid"));
    let socket = SocketOptions::default();
    Check { spec, target, address: target.ip(), route: Route::Ready, socket }
}

fn http(text: Option<&str>) -> CheckKind {
    let text = text.map(|text| text.as_bytes().to_vec());
    CheckKind::Http(
        HttpCheck::new(Method::Get, "/healthz", "www", StatusSet::default(), text).expect("valid"),
    )
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

async fn attempt(check: &Check) -> ProbeResult {
    super::attempt(Arc::new(check.clone())).await
}

/// What a server does with one connection whose request it has read.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Says(&'static [u8]),
    SaysAndStays(&'static [u8]),
    /// Repeats it octet by octet without an end.
    Drips(&'static [u8]),
    /// Repeats it as fast as it can.
    Floods(&'static [u8]),
    Resets,
    SaysAndResets(&'static [u8]),
    Stays,
}

async fn behave(mut stream: TcpStream, manner: Manner) {
    let mut request = [0; 4_096];
    let count = stream.read(&mut request).await.unwrap_or(0);
    assert!(request[..count].starts_with(b"GET /healthz HTTP/1.1\r\nHost: www\r\n") || count == 0);
    let reset = |stream: &TcpStream| SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("linger");
    match manner {
        // The client hangs up when it has heard enough, so a failed write is no failure here.
        Manner::Says(text) => stream.write_all(text).await.unwrap_or(()),
        Manner::SaysAndStays(text) => {
            stream.write_all(text).await.unwrap_or(());
            drop(stream.read(&mut request).await);
        }
        Manner::Drips(text) => {
            for octet in text.iter().cycle() {
                if stream.write_all(&[*octet]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Manner::Floods(text) => while stream.write_all(text).await.is_ok() {},
        Manner::Resets => reset(&stream),
        Manner::SaysAndResets(text) => {
            stream.write_all(text).await.unwrap_or(());
            // The text has to be read before the reset throws it away.
            tokio::time::sleep(Duration::from_millis(50)).await;
            reset(&stream);
        }
        Manner::Stays => drop(stream.read(&mut request).await),
    }
}

/// Serves one connection in the given manner.
async fn server(manner: Manner) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        behave(stream, manner).await;
    });
    address
}

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nal\n\r\n2\r\nok\r\n0\r\n\r\n";
const OPEN_BODY: &[u8] =
    b"HTTP/1.1 200 OK\r\n\r\n................................................................";

#[tokio::test]
async fn http_attempts_come_to_the_right_code_within_the_timeout() {
    let ok: Outcome = Ok(());
    let cases = [
        (Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), None, ok),
        (Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Some("ok"), ok),
        (Manner::SaysAndStays(b"HTTP/1.1 200 OK\r\n\r\nis ok"), Some("ok"), ok),
        (Manner::SaysAndStays(CHUNKED), Some("ok"), ok),
        (Manner::SaysAndStays(CHUNKED), Some("no"), Err(Failure::Body)),
        (Manner::SaysAndStays(b"HTTP/1.1 503 Busy\r\n\r\n"), None, Err(Failure::Status(503))),
        (Manner::Says(b"HTTP/1.1 200 OK\r\n\r\nnot yet"), Some("ok"), Err(Failure::Body)),
        (Manner::Says(b""), None, Err(Failure::Protocol)),
        (Manner::Says(b"HTTP/1.1 200 OK\r\nServer"), None, Err(Failure::Protocol)),
        (
            Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
            Some("ok"),
            Err(Failure::Protocol),
        ),
        (Manner::SaysAndStays(b"220 mail ready\r\n"), None, Err(Failure::Protocol)),
        (Manner::Floods(b"\x16\x03\x01 garbage"), None, Err(Failure::Protocol)),
        (Manner::Floods(b"HTTP/1.1 200 OK\r\nA: "), None, Err(Failure::Protocol)),
        (Manner::Floods(OPEN_BODY), Some("ok"), Err(Failure::Body)),
        (Manner::SaysAndStays(b"HTTP/1.1 200 OK\r\n"), None, Err(Failure::TimeoutRead)),
        (Manner::SaysAndStays(OPEN_BODY), Some("ok"), Err(Failure::TimeoutRead)),
        (Manner::Drips(b"HTTP/1.1 100 Continue\r\n\r\n"), None, Err(Failure::TimeoutRead)),
        (Manner::Stays, None, Err(Failure::TimeoutRead)),
        (Manner::Resets, None, Err(Failure::Reset)),
        (Manner::SaysAndResets(b"HTTP/1.1 200 OK\r\n"), None, Err(Failure::Reset)),
    ];
    for (manner, text, outcome) in cases {
        let target = server(manner).await;
        let result = attempt(&check(http(text), target, TIMEOUT)).await;
        assert_eq!(result.outcome, outcome, "{manner:?}, {text:?}");
        assert!(result.duration < TIMEOUT + SLACK, "{manner:?}: {:?}", result.duration);
        let is_timeout = outcome == Err(Failure::TimeoutRead);
        assert_eq!(result.duration >= TIMEOUT, is_timeout, "{manner:?}: {:?}", result.duration);
    }
}

#[tokio::test]
async fn a_tcp_attempt_ends_in_a_reset_and_leaves_nothing() {
    let (listener, target) = listen().await;
    let result = attempt(&check(CheckKind::Tcp, target, TIMEOUT)).await;
    assert_eq!(result.outcome, Ok(()));
    let (mut stream, _) = listener.accept().await.expect("accept");
    let error = stream.read(&mut [0; 1]).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_closed_port_is_refused_at_once() {
    let (listener, target) = listen().await;
    drop(listener);
    for kind in [CheckKind::Tcp, http(None)] {
        let result = attempt(&check(kind, target, TIMEOUT)).await;
        assert_eq!(result.outcome, Err(Failure::Refused));
        assert!(result.duration < TIMEOUT / 2, "{:?}", result.duration);
    }
}

/// A listener whose queue is full drops what comes: as silent as a dead host.
fn silent_listener() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    listener.listen(0).expect("listen");
    let target = listener.local_addr().expect("address").as_socket().expect("an IP address");
    let fill = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("socket");
        // In progress, and for most of them for good.
        socket.connect(&target.into()).unwrap_or(());
        socket
    };
    (listener, (0..8).map(fill).collect(), target)
}

#[tokio::test]
async fn a_silent_host_costs_the_timeout_and_no_more() {
    let (_listener, _queue, target) = silent_listener();
    for kind in [CheckKind::Tcp, http(None)] {
        let result = attempt(&check(kind, target, TIMEOUT)).await;
        assert_eq!(result.outcome, Err(Failure::TimeoutConnect));
        assert!(result.duration >= TIMEOUT && result.duration < TIMEOUT + SLACK, "{:?}", result.duration);
    }
}

#[tokio::test]
async fn the_source_address_is_the_one_asked_for() {
    let (listener, target) = listen().await;
    let source = IpAddr::from([127, 0, 0, 9]);
    let mut check = check(CheckKind::Tcp, target, TIMEOUT);
    check.socket.source = Some(source);
    assert_eq!(attempt(&check).await.outcome, Ok(()));
    assert_eq!(listener.accept().await.expect("accept").1.ip(), source);
}

#[tokio::test]
async fn trouble_on_our_side_is_local() {
    let (_listener, target) = listen().await;
    let mut check = check(CheckKind::Tcp, target, TIMEOUT);
    // Documentation addresses are not this host's, and an IPv6 source cannot carry IPv4.
    for source in ["192.0.2.77", "2001:db8::77"] {
        check.socket.source = Some(source.parse().expect("an address"));
        assert_eq!(attempt(&check).await.outcome, Err(Failure::Local), "{source}");
    }
}

#[tokio::test]
async fn without_a_next_hop_nothing_is_sent() {
    let (listener, target) = listen().await;
    let mut check = check(CheckKind::Tcp, target, TIMEOUT);
    check.route = Route::NoNextHop;
    assert_eq!(attempt(&check).await.outcome, Err(Failure::NoNextHop));
    check.route = Route::Ready;
    check.socket.source = Some(IpAddr::from([127, 0, 0, 10]));
    assert_eq!(attempt(&check).await.outcome, Ok(()));
    // The first to arrive is the second attempt.
    assert_eq!(listener.accept().await.expect("accept").1.ip(), IpAddr::from([127, 0, 0, 10]));
}

#[tokio::test]
async fn the_other_address_family_is_checked_alike() {
    let listener = TcpListener::bind("[::1]:0").await.expect("bind");
    let target = listener.local_addr().expect("address");
    assert_eq!(attempt(&check(CheckKind::Tcp, target, TIMEOUT)).await.outcome, Ok(()));
    drop(listener);
    assert_eq!(attempt(&check(CheckKind::Tcp, target, TIMEOUT)).await.outcome, Err(Failure::Refused));
}

#[tokio::test]
async fn a_failure_seen_by_a_process_that_stood_still_is_local() {
    let target = server(Manner::Stays).await;
    let (started_tx, mut started) = mpsc::channel(1);
    let attempt = tokio::spawn(async move {
        started_tx.send(()).await.expect("heard");
        attempt(&check(http(None), target, TIMEOUT)).await
    });
    started.recv().await.expect("started");
    // Blocks the only thread of this runtime, as SIGSTOP would.
    std::thread::sleep(TIMEOUT + STALL_MARGIN * 2);
    assert_eq!(attempt.await.expect("ended").outcome, Err(Failure::Local));
}
