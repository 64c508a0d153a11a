// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with sessions to routers that take three prefixes, and to one that leaks a hundred thousand,
//! When it announces more than three, then the routers end their sessions, and it does not hammer them;
//! When it is leaked to, then it ends that session, takes no memory for it, and stays announced everywhere else.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_bgp::PeerState;
use weir_lab::{BedLink, BgpBed, Daemon, Tor, TorSession, Transport, wait_until};

use crate::host::{Host, config, peer_name, plain};
use crate::{PATIENCE, sessions_of};

const VIP: &str = "198.51.100.1/32";

/// How many prefixes a router takes.
const TAKEN: u32 = 3;
const LEAKED: u32 = 100_000;

/// Memory that the leak may cost: one message's worth and what the allocator keeps.
const GROWTH_MAX_KIB: u64 = 8 * 1024;

#[test]
#[ignore = "needs root and netns"]
fn announced_by_the_host() {
    let bed = BgpBed::create(1, 2).expect("a bed");
    let tors = [(1, Daemon::Frr), (2, Daemon::Bird)].map(|(number, daemon)| {
        let plain = TorSession::plain(BedLink { host: 1, tor: number }, Transport::V4);
        let session = TorSession { prefixes_max: Some(TAKEN), ..plain };
        Tor::start(&bed, number, daemon, vec![session]).expect("a router")
    });
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    host.announce((1..=TAKEN).map(vip)).expect("announced");
    for tor in &tors {
        tor.wait_learnt("198.51.100.3/32", PATIENCE).expect("taken");
    }
    host.announce((1..=TAKEN + 2).map(vip)).expect("announced");
    for session in sessions_of(&tors, 1) {
        backs_off(&host, &peer_name(session)).expect("backs off");
    }
}

fn vip(number: u32) -> weir_bgp::Advertisement {
    plain(&format!("198.51.100.{number}/32"))
}

/// It was told why, and does not come again soon.
fn backs_off(host: &Host, name: &str) -> Result<()> {
    // Two connections that met may have ended one of them with words of their own before.
    let peer = host.wait_peer(name, "the end of the session for its prefixes", |peer| {
        peer.last_received.as_ref().is_some_and(|last| last.text.contains("refix"))
    })?;
    let before = peer.counters.established;
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("some seconds without it", PATIENCE, || {
        let now = host.peer(name)?;
        assert!(now.counters.established <= before, "it came again: {now:?}");
        ensure!(Instant::now() >= until, "not yet");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and netns"]
fn leaked_to_the_host() {
    let bed = BgpBed::create(1, 2).expect("a bed");
    let session = |tor| TorSession::plain(BedLink { host: 1, tor }, Transport::V4);
    let careful = Tor::start(&bed, 1, Daemon::Frr, vec![session(1)]).expect("a router");
    let host = Host::start(bed.host(1), config(1, [&session(1), &session(2)])).expect("a speaker");
    host.announce([plain(VIP)]).expect("announced");
    careful.wait_learnt(VIP, PATIENCE).expect("learnt");
    let before = resident_kib().expect("memory");
    let leaking = TorSession { originates_default: true, ..session(2) };
    let leaking = Tor::start_with(&bed, 2, Daemon::Bird, vec![leaking], &table()).expect("a router");
    let name = peer_name(&leaking.sessions()[0]);
    let ended = host.wait_peer(&name, "the end of the session for its prefixes", |peer| {
        peer.last_sent.as_ref().is_some_and(|last| last.text.contains("refix"))
    });
    ended.expect("ended");
    let growth = resident_kib().expect("memory").saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB more");
    let peer = host.peer(&name).expect("a peer");
    assert_ne!(peer.state, PeerState::Established);
    assert!(peer.adj_rib_in.is_empty(), "{} routes kept", peer.adj_rib_in.len());
    assert!(careful.learnt(VIP).expect("paths").len() == 1, "announced elsewhere");
    assert_eq!(host.peer(&peer_name(&session(1))).expect("a peer").counters.established, 1);
}

/// Static routes of BIRD's, all exported.
fn table() -> String {
    let mut text = "protocol static leak { ipv4;\n".to_owned();
    for number in 0..LEAKED {
        let address = std::net::Ipv4Addr::from_bits(0x6440_0000 + number);
        // Writing to a string cannot fail.
        writeln!(text, "route {address}/32 blackhole;").ok();
    }
    text + "}\n"
}

/// Memory of this process, in which the speaker runs.
fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")
}
