// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A monitor with real sockets on loopback: nothing leaks, and ten thousand checks keep their times.
//!
//! Given servers on loopback, good and bad / When a monitor checks them for a while / Then verdicts are right and every
//! descriptor comes back.

mod network;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use weir_health::{
    Check, CheckKey, CheckKind, CheckSpec, CheckerConfig, Failure, HttpCheck, Method, Monitor, Route,
    SocketOptions, SocketProber, StatusSet, Timing,
};

/// Both tests count what the process uses.
static ALONE: Mutex<()> = Mutex::const_new(());

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

fn check(spec: &Arc<CheckSpec>, target: SocketAddr, address: IpAddr) -> Check {
    Check { spec: Arc::clone(spec), target, address, route: Route::Ready, socket: SocketOptions::default() }
}

fn http(path: &str) -> CheckKind {
    let text = Some(b"all is well".to_vec());
    CheckKind::Http(HttpCheck::new(Method::Get, path, "www", StatusSet::default(), text).expect("valid"))
}

/// Answers by the path of the request.
async fn answer(mut stream: TcpStream) {
    let mut request = [0; 1_024];
    let count = stream.read(&mut request).await.unwrap_or(0);
    let path = String::from_utf8_lossy(&request[..count]).split(' ').nth(1).unwrap_or_default().to_owned();
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well";
    let sent = match path.as_str() {
        "/ok" => stream.write_all(ok).await,
        "/half" => stream.write_all(&ok[..20]).await,
        "/garbage" => stream.write_all(&[0x16; 64]).await,
        "/drip" => loop {
            let sent = stream.write_all(b"HTTP/1.1 100 C\r\n\r\n").await;
            if sent.is_err() {
                break sent;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
        "/reset" => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        // Stays until the client leaves.
        _ => stream.read(&mut request).await.map(drop),
    };
    // The client leaves by a reset whenever it has heard enough.
    sent.unwrap_or(());
}

/// The only good backend, then each bad one with the failure it is to show.
const MANNERS: [(&str, Option<Failure>); 6] = [
    ("/ok", None),
    ("/half", Some(Failure::Protocol)),
    ("/garbage", Some(Failure::Protocol)),
    ("/drip", Some(Failure::TimeoutRead)),
    ("/reset", Some(Failure::Reset)),
    ("/stay", Some(Failure::TimeoutRead)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_descriptor_is_left_whatever_backends_do() {
    let _alone = ALONE.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let target = listener.local_addr().expect("address");
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(answer(stream));
        }
    });
    // Silent: its queue is full and it drops what comes. Refused: nobody listens.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    silent.listen(0).expect("listen");
    let silent_target = silent.local_addr().expect("address").as_socket().expect("an IP address");
    let fill = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("socket");
        socket.connect(&silent_target.into()).unwrap_or(());
        socket
    };
    let _queue: Vec<Socket> = (0..8).map(fill).collect();
    let refused_target = {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        closed.local_addr().expect("address")
    };
    let before = descriptors();

    let timing = Timing {
        interval: Duration::from_millis(200),
        timeout: Duration::from_millis(100),
        fast_interval: Duration::from_millis(50),
        down_interval: Duration::from_millis(50),
        ..Timing::default()
    };
    let mut checks = BTreeMap::new();
    let mut expected = BTreeMap::new();
    let mut add = |name: &str, copy: u8, kind: CheckKind, target, failure: Option<Failure>| {
        let key = CheckKey::new("pool", &format!("{name}-{copy}"), "check");
        let spec = Arc::new(CheckSpec::new(kind, timing).expect("valid"));
        // Told apart, so that the budget of one address does not hold them up.
        checks.insert(key.clone(), check(&spec, target, IpAddr::from([10, 1, copy, 1])));
        expected.insert(key, failure);
    };
    for copy in 0..20 {
        for (path, failure) in MANNERS {
            add(path, copy, http(path), target, failure);
        }
        add("tcp", copy, CheckKind::Tcp, target, None);
        add("silent", copy, CheckKind::Tcp, silent_target, Some(Failure::TimeoutConnect));
        add("refused", copy, CheckKind::Tcp, refused_target, Some(Failure::Refused));
    }

    let (handle, task) = Monitor::spawn(CheckerConfig::default(), SocketProber);
    handle.set_checks(checks).await.expect("taken");
    let mut snapshots = handle.subscribe();
    let decided = snapshots.wait_for(|snapshot| snapshot.checks.len() == 180 && snapshot.counts()[0] == 0);
    drop(tokio::time::timeout(Duration::from_secs(20), decided).await.expect("in time").expect("runs"));
    let deadline = Instant::now() + Duration::from_secs(30);
    let counters = loop {
        let counters = handle.counters().await.expect("runs");
        if counters.successes > 300 && counters.failures.iter().sum::<u64>() > 2_000 {
            break counters;
        }
        assert!(Instant::now() < deadline, "{counters:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("{counters:?}");
    assert_eq!(counters.failures[Failure::Local.index()], 0);
    for status in handle.status(None).await.expect("runs") {
        let wanted = expected[&*status.key];
        let right = status.results.iter().filter(|result| result.outcome.err() == wanted).count();
        // A busy machine may cost an attempt its 100 ms.
        assert!(right * 2 > status.results.len(), "{}: {:?}", status.key.backend, status.results);
    }

    drop(handle);
    drop(snapshots);
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("in time").expect("no panic");
    let deadline = Instant::now() + Duration::from_secs(5);
    while descriptors() > before {
        assert!(Instant::now() < deadline, "{} descriptors, {before} before", descriptors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.abort();
}

/// User and system time of this process so far, and of its threads called `checker`.
fn cpu_time() -> (Duration, Duration) {
    let ticks = |path: std::path::PathBuf| {
        // The name may hold spaces; what follows its closing bracket does not.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    };
    let of_checker =
        std::fs::read_dir("/proc/self/task").expect("procfs").filter_map(Result::ok).filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "checker")
        });
    let checker: u64 = of_checker.map(|task| ticks(task.path().join("stat"))).sum();
    // USER_HZ is 100 on every architecture that this runs on.
    (Duration::from_millis(ticks("/proc/self/stat".into()) * 10), Duration::from_millis(checker * 10))
}

#[test]
#[ignore = "a measurement of 12 s; run alone, with --release and --nocapture"]
fn ten_thousand_real_checks_every_two_seconds() {
    const CHECKS: usize = 10_000;
    const RUN: Duration = Duration::from_secs(10);
    let _alone = ALONE.blocking_lock();
    let runtime = |name: &str| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name(name).enable_all().build().expect("runtime")
    };
    let servers = runtime("server");
    let target = servers.block_on(async {
        // A deep queue: all connect to one port.
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
        socket.listen(4_096).expect("listen");
        let listener = TcpListener::from_std(socket.into()).expect("listener");
        let target = listener.local_addr().expect("address");
        tokio::spawn(async move {
            loop {
                // A client that reset already is not worth a word.
                drop(listener.accept().await);
            }
        });
        target
    });

    let checker = runtime("checker");
    checker.block_on(async {
        let spec = Arc::new(CheckSpec::new(CheckKind::Tcp, Timing::default()).expect("valid"));
        let one = |number: usize| {
            let [.., high, low] = u32::try_from(number).expect("small").to_be_bytes();
            let key = CheckKey::new("pool", &format!("b{number}"), "tcp");
            (key, check(&spec, target, IpAddr::from([10, 1, high, low])))
        };
        let (handle, _task) = Monitor::spawn(CheckerConfig::default(), SocketProber);
        handle.set_checks((0..CHECKS).map(one).collect()).await.expect("taken");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, cpu_before) = (handle.counters().await.expect("runs"), cpu_time());
        tokio::time::sleep(RUN).await;
        let (after, cpu_after) = (handle.counters().await.expect("runs"), cpu_time());
        let starts = after.lateness.starts() - before.lateness.starts();
        let cpu = cpu_after.1 - cpu_before.1;
        println!(
            "{starts} checks in {RUN:?}, {} good, failures {:?}; lateness worst {:?}, mean {:?}, buckets {:?}",
            after.successes - before.successes,
            after.failures,
            after.lateness.max,
            after.lateness.sum / u32::try_from(after.lateness.starts()).expect("fits"),
            after.lateness.buckets,
        );
        println!(
            "checker {:.2} of a core, {:.1} us a check; with the servers {:.2} of a core",
            cpu.as_secs_f64() / RUN.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / starts as f64,
            (cpu_after.0 - cpu_before.0).as_secs_f64() / RUN.as_secs_f64(),
        );
        assert_eq!(handle.snapshot().counts(), [0, CHECKS, 0]);
        assert_eq!(after.failures, [0; Failure::CODES.len()]);
        assert!((50_000..=56_000).contains(&starts), "{starts}");
        assert!(!after.is_overloaded);
    });
}
