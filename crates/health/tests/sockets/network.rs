// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attempts across a link: what the mark does, and what a router's answers come to.
//!
//! Given a neighbour behind a link that holds a VIP, refuses some prefixes by ICMP and swallows another / When attempts
//! go there / Then each has the code that tells our side, the network and the backend apart.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_health::{
    Check, CheckKind, CheckSpec, Failure, Outcome, ProbeResult, Prober as _, Route, SocketOptions,
    SocketProber, Timing,
};

const FAR: &str = "hc-far";
/// Marks: one with a route, one without.
const ROUTED: u32 = 0x0a10_0001;
const STALE: u32 = 0x0a10_0002;

/// Runs `ip` with each line; panics with what it said.
fn ip(lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = Command::new("ip").args(line.split_whitespace()).output().expect("iproute2");
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The neighbour and the way to it; gone with the value.
struct Neighbour;

impl Neighbour {
    fn new() -> Self {
        assert_eq!(
            std::env::var("WEIR_ISOLATED").as_deref(),
            Ok("1"),
            "runs in a throw-away set of namespaces only"
        );
        ip(&format!("netns add {FAR}"));
        let neighbour = Self;
        ip(&format!(
            "link add hc-near type veth peer name hc-link netns {FAR}
             addr add 10.97.0.1/24 dev hc-near
             addr add 2001:db8:97::1/64 dev hc-near nodad
             link set hc-near up
             -n {FAR} link set lo up
             -n {FAR} addr add 10.97.0.2/24 dev hc-link
             -n {FAR} addr add 2001:db8:97::2/64 dev hc-link nodad
             -n {FAR} link set hc-link up
             -n {FAR} addr add 203.0.113.10/32 dev lo
             -n {FAR} addr add 2001:db8:f::10/128 dev lo
             -n {FAR} route add unreachable 192.0.2.0/25
             -n {FAR} route add prohibit 192.0.2.128/25
             -n {FAR} route add blackhole 198.51.100.0/24
             route add 192.0.2.0/24 via 10.97.0.2
             route add 198.51.100.0/24 via 10.97.0.2
             rule add fwmark {ROUTED} lookup 9701
             -6 rule add fwmark {ROUTED} lookup 9701
             route add 203.0.113.10/32 via 10.97.0.2 table 9701
             -6 route add 2001:db8:f::10/128 via 2001:db8:97::2 table 9701"
        ));
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let net = format!("--net=/run/netns/{FAR}");
        let status = Command::new("nsenter").args([&net, "sh", "-c", forward]).status().expect("nsenter");
        assert!(status.success());
        neighbour
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let mark = ROUTED.to_string();
        for arguments in [
            vec!["link", "del", "hc-near"],
            vec!["netns", "del", FAR],
            vec!["rule", "del", "fwmark", &mark],
            vec!["-6", "rule", "del", "fwmark", &mark],
        ] {
            // After a failure half of it may not be there.
            drop(Command::new("ip").args(arguments).output());
        }
    }
}

async fn attempt(target: &str, mark: Option<u32>) -> ProbeResult {
    let timeout = Duration::from_millis(400);
    let timing = Timing { interval: timeout * 2, timeout, ..Timing::with_interval(timeout * 2) };
    let target: SocketAddr = target.parse().expect("an address");
    let check = Check {
        spec: Arc::new(CheckSpec::new(CheckKind::Tcp, timing).expect("valid")),
        target,
        address: IpAddr::from([10, 97, 0, 2]),
        route: Route::Ready,
        socket: SocketOptions { mark, ..SocketOptions::default() },
    };
    SocketProber.probe(Arc::new(check)).await
}

#[test]
#[ignore = "needs root and netns"]
fn codes_tell_our_side_the_network_and_the_backend_apart() {
    let _neighbour = Neighbour::new();
    let cases: [(&str, Option<u32>, Outcome); 9] = [
        // The mark finds the VIP; nobody listens there. Without it there is no way, and nothing leaves.
        ("203.0.113.10:80", Some(ROUTED), Err(Failure::Refused)),
        ("203.0.113.10:80", None, Err(Failure::Local)),
        ("203.0.113.10:80", Some(STALE), Err(Failure::Local)),
        ("[2001:db8:f::10]:80", Some(ROUTED), Err(Failure::Refused)),
        ("[2001:db8:f::10]:80", Some(STALE), Err(Failure::Local)),
        ("192.0.2.1:80", None, Err(Failure::Unreachable)),
        ("192.0.2.129:80", None, Err(Failure::Unreachable)),
        ("198.51.100.1:80", None, Err(Failure::TimeoutConnect)),
        // On the link, but nobody has the address: silent as well, as long as the kernel still asks.
        ("10.97.0.77:80", None, Err(Failure::TimeoutConnect)),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    // IPv6 takes a moment on a new link.
    let deadline = Instant::now() + Duration::from_secs(10);
    while runtime.block_on(attempt("[2001:db8:97::2]:80", None)).outcome != Err(Failure::Refused) {
        assert!(Instant::now() < deadline, "no answer over IPv6");
    }
    for (target, mark, outcome) in cases {
        let result = runtime.block_on(attempt(target, mark));
        println!("{target} {mark:?}: {result:?}");
        assert_eq!(result.outcome, outcome, "{target}, mark {mark:?}");
    }
}
