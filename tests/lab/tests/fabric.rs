// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lab itself, without Weir: if these fail, no scenario means anything.

use std::time::Duration;

use weir_lab::document::{self, Subnet, VIP_V4, VIP_V6};
use weir_lab::{Capture, Downloads, Fabric, Frr, Layout, Misbehaviour, XdpPass, get, requests, wait_until};

fn bare() -> Fabric {
    // No `weir` is started by these tests.
    Fabric::build(&Layout::demo("/nonexistent/weir")).expect("the fabric comes up")
}

/// Given static ECMP routes of the VIPs from the ToR straight to the backends, when a client asks, then every request is
/// answered and each backend answers some, over both families.
#[test]
#[ignore = "needs root and netns"]
fn requests_spread_over_backends_by_plain_routing() {
    let fabric = bare();
    let hops = |v6: bool| {
        let hop = |n: u8| {
            let (a, b) = Subnet::Backend(n).host();
            format!("nexthop via {}", if v6 { b.to_string() } else { a.to_string() })
        };
        (1..=3).map(hop).collect::<Vec<_>>().join(" ")
    };
    fabric.tor.ip(&format!("route add {VIP_V4}/32 {}", hops(false))).expect("v4 route");
    fabric.tor.ip(&format!("route add {VIP_V6}/128 {}", hops(true))).expect("v6 route");
    let downloads = Downloads::start(&fabric.client, &document::targets(), "b2", 10).expect("downloads");
    let tally = requests(&fabric.client, &document::targets(), 300).expect("the load runs");
    assert_eq!((tally.total, tally.failed), (300, 0), "{:?}", tally.reasons);
    assert_eq!(tally.spread.len(), 3);
    assert!(tally.spread.values().all(|count| *count > 50), "{:?}", tally.spread);
    assert!(downloads.all_running(), "too short to be called long");
    assert_eq!(downloads.finish().expect("every byte"), 10);
}

/// Given FRR instances in place of the appliances, when they announce the VIPs, then the ToR's kernel holds an ECMP route to
/// both; when one dies, then only the other is left.
#[test]
#[ignore = "needs root and netns"]
fn the_tor_builds_ecmp_routes_and_drops_a_dead_peer() {
    let fabric = bare();
    let mut speakers: Vec<Frr> = (1..=2)
        .map(|number: u8| {
            let (v4, v6) = Subnet::Appliance(number).tor();
            let config = format!(
                "router bgp 65010\n bgp router-id 192.0.2.{number}\n no bgp default ipv4-unicast\n \
                 no bgp ebgp-requires-policy\n no bgp network import-check\n \
                 neighbor {v4} remote-as 65000\n neighbor {v6} remote-as 65000\n \
                 address-family ipv4 unicast\n  network {VIP_V4}/32\n  neighbor {v4} activate\n exit-address-family\n \
                 address-family ipv6 unicast\n  network {VIP_V6}/128\n  neighbor {v6} activate\n exit-address-family\nexit\n"
            );
            let netns = fabric.appliances[usize::from(number) - 1].netns();
            Frr::start(netns, &fabric.logs, &format!("lb{number}"), &config).expect("FRR starts")
        })
        .collect();
    for number in 1..=2 {
        fabric.wait_sessions(number).expect("sessions");
    }
    fabric.wait_routes(&[1, 2], Duration::from_secs(20)).expect("both");
    let seen =
        Capture::start(&fabric.tor, "lb1", "tcp port 179", &fabric.logs.file("bgp.log")).expect("tcpdump");
    for (family, prefix) in ["ipv4", "ipv6"].iter().zip(document::vip_prefixes()) {
        assert_eq!(seen.withdrawals(&prefix), [] as [f64; 0]);
        let command = format!("no network {prefix}");
        let words =
            ["configure terminal", "router bgp 65010", &format!("address-family {family} unicast"), &command];
        speakers[0].configure(&words).expect("withdrawn");
        wait_until("the withdrawal on the wire", Duration::from_secs(5), || {
            let times = seen.withdrawals(&prefix);
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
            anyhow::ensure!(times.len() == 1 && (now - times[0]).abs() < 10.0, "{times:?} at {now}");
            Ok(())
        })
        .expect("seen");
    }
    fabric.wait_routes(&[2], Duration::from_secs(5)).expect("one is left");
    let words =
        ["configure terminal", "router bgp 65010", "address-family ipv4 unicast", "network 198.51.100.10/32"];
    speakers[0].configure(&words).expect("announced again");
    let [_, v6] = document::vip_prefixes();
    let words =
        ["configure terminal", "router bgp 65010", "address-family ipv6 unicast", &format!("network {v6}")];
    speakers[0].configure(&words).expect("announced again");
    fabric.wait_routes(&[1, 2], Duration::from_secs(20)).expect("both");
    speakers.pop();
    fabric.wait_routes(&[1], Duration::from_secs(5)).expect("one is left");
}

/// Given an interface of a namespace, when the passing program is attached and its value dropped, then it is there and gone.
#[test]
#[ignore = "needs root and netns"]
fn the_passing_program_comes_and_goes_with_its_value() {
    let fabric = bare();
    let lb1 = &fabric.appliances[0];
    assert_eq!(lb1.xdp_program().expect("ip link"), None);
    let pass = XdpPass::attach(lb1.netns(), "eth0").expect("attaches");
    assert!(lb1.xdp_program().expect("ip link").is_some());
    drop(pass);
    assert_eq!(lb1.xdp_program().expect("ip link"), None);
}

/// Given a backend, when its web server misbehaves, dies, or its link goes down, then a client sees exactly that, and all is
/// well again afterwards.
#[test]
#[ignore = "needs root and netns"]
fn a_backend_fails_as_it_is_told() {
    let mut fabric = bare();
    let to = std::net::SocketAddr::new(Subnet::Backend(1).host().0.into(), document::PORT);
    let ask = |fabric: &Fabric| {
        fabric.client.enter(|| get(to, "/healthz", Duration::from_millis(500))).expect("the namespace")
    };
    assert_eq!(ask(&fabric).expect("an answer").body, "ok");
    for (how, said) in [
        (Misbehaviour::Garbage, "not contain valid UTF-8"),
        (Misbehaviour::HalfClose, "not a header"),
        (Misbehaviour::Mute, "temporarily unavailable"),
        (Misbehaviour::Reset, "reset"),
        (Misbehaviour::Endless, "header lines"),
    ] {
        fabric.backends[0].misbehave(how).expect("it misbehaves");
        let error = format!("{:#}", ask(&fabric).expect_err("no answer"));
        assert!(error.contains(said), "{how:?}: {error}");
        assert_eq!(fabric.backends[0].rogue().map(weir_lab::Rogue::taken), Some(1));
    }
    fabric.backends[0].misbehave(Misbehaviour::Unwell).expect("it misbehaves");
    assert_eq!(ask(&fabric).expect("an answer").status, 503);
    fabric.backends[0].misbehave(Misbehaviour::Stall).expect("it misbehaves");
    let begun = std::time::Instant::now();
    assert_eq!(ask(&fabric).expect("an answer").status, 200);
    assert!(begun.elapsed() > Duration::from_secs(5), "it did not stall: {:?}", begun.elapsed());
    fabric.backends[0].start_web().expect("it serves");
    assert_eq!(ask(&fabric).expect("an answer").status, 200);
    fabric.backends[0].kill_web().expect("it dies");
    assert!(format!("{:#}", ask(&fabric).expect_err("no server")).contains("refused"));
    fabric.backends[0].start_web().expect("it serves");
    fabric.silence(1).expect("the link goes");
    ask(&fabric).expect_err("no link");
    fabric.unsilence(1).expect("the link comes");
    wait_until("the backend to answer again", Duration::from_secs(5), || ask(&fabric)).expect("an answer");
}
