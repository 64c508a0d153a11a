// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two of our own speakers and a cable,
//! When both, one or neither have a key or insist on near neighbours, over IPv4, IPv6 and link-local addresses,
//! Then they speak exactly if both say the same; and a range takes whom it may and no more.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_bgp::{Families, PeerConfig, PeerState, Remote, RemoteAs, Secret, SpeakerConfig};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{BedLink, BgpBed, wait_until};

use crate::PATIENCE;
use crate::host::{Host, config};

/// Long enough for several attempts of both sides, each a second after the other.
const NEVER: Duration = Duration::from_secs(4);

/// The peers of each end, by their names.
const PEERS: [&str; 3] = ["v4", "v6", "link-local"];

fn secret(text: &str) -> Option<Secret> {
    Secret::new(text)
}

/// One end of the cable between host 1 and ToR 1, with a peer for each transport.
fn end(is_host: bool, change: impl Fn(PeerConfig) -> PeerConfig) -> SpeakerConfig {
    let link = BedLink { host: 1, tor: 1 };
    let (v4, v6) = if is_host { link.tor_addresses() } else { link.host_addresses() };
    let interface = if is_host { link.host_interface() } else { link.tor_interface() };
    let (asn, remote) = if is_host { (APPLIANCE_AS, TOR_AS) } else { (TOR_AS, APPLIANCE_AS) };
    let remote = RemoteAs::Exact(remote);
    let peers = [
        PeerConfig::new("v4", v4.into(), remote),
        PeerConfig::new("v6", v6.into(), remote),
        PeerConfig::unnumbered("link-local", interface, remote),
    ];
    let peers = peers.map(|peer| change(PeerConfig { connect_retry: Duration::from_secs(1), ..peer }));
    SpeakerConfig { asn, peers: peers.to_vec(), ..config(u8::from(is_host) + 1, []) }
}

/// Whether all sessions come up at both ends; if they shall not, none does for as long as is worth waiting, and not one
/// word gets through to an end that requires something.
fn meet(bed: &BgpBed, ours: SpeakerConfig, theirs: SpeakerConfig, shall: bool) -> Result<()> {
    let is_protected = |config: &SpeakerConfig| config.peers.iter().all(|p| p.md5.is_some() || p.has_gtsm);
    let protected = [is_protected(&ours), is_protected(&theirs)];
    let host = Host::start(bed.host(1), ours)?;
    let tor = Host::start(bed.tor(1), theirs)?;
    if shall {
        for (speaker, name) in [&host, &tor].into_iter().flat_map(|s| PEERS.map(|name| (s, name))) {
            speaker.wait_peer(name, "up", |peer| peer.state == PeerState::Established)?;
        }
        return Ok(());
    }
    let begun = std::time::Instant::now();
    while begun.elapsed() < NEVER {
        for speaker in [&host, &tor] {
            ensure!(speaker.status().established() == 0, "they met: {:?}", speaker.status().peers);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for (speaker, _) in [&host, &tor].into_iter().zip(protected).filter(|(_, protected)| *protected) {
        for (name, peer) in &speaker.status().peers {
            ensure!(peer.counters.messages_in.open == 0, "{name} heard a word: {peer:?}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and netns"]
fn keys_must_be_the_same() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    for (ours, theirs, shall) in [
        (Some("s3cr3t"), Some("s3cr3t"), true),
        (Some("s3cr3t"), Some("other"), false),
        (Some("s3cr3t"), None, false),
        (None, Some("s3cr3t"), false),
    ] {
        let keyed = |is_host, key: Option<&str>| {
            end(is_host, |peer| PeerConfig { md5: key.and_then(secret), ..peer })
        };
        meet(&bed, keyed(true, ours), keyed(false, theirs), shall)
            .unwrap_or_else(|error| panic!("{ours:?} {theirs:?}: {error:#}"));
    }
}

#[test]
#[ignore = "needs root and netns"]
fn near_neighbours_must_both_insist() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    for (ours, theirs) in [(true, true), (true, false), (false, true)] {
        let near = |is_host, has_gtsm| end(is_host, |peer| PeerConfig { has_gtsm, ..peer });
        // Who does not insist sends with the kernel's usual hop limit, which the other end drops.
        meet(&bed, near(true, ours), near(false, theirs), ours && theirs)
            .unwrap_or_else(|error| panic!("{ours} {theirs}: {error:#}"));
    }
}

/// With one end passive, so that each way of connecting is seen.
#[test]
#[ignore = "needs root and netns"]
fn keys_and_hop_limits_hold_whoever_connects() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    for passive_host in [true, false] {
        let strict = |is_host: bool| {
            end(is_host, |peer| PeerConfig {
                md5: secret("both"),
                has_gtsm: true,
                passive: is_host == passive_host,
                ..peer
            })
        };
        meet(&bed, strict(true), strict(false), true)
            .unwrap_or_else(|error| panic!("passive {passive_host}: {error:#}"));
    }
}

#[test]
#[ignore = "needs root and netns"]
fn a_range_takes_whom_it_may() {
    range().expect("a range");
}

fn range() -> Result<()> {
    // Three hosts at one ToR: two by the range, of which the second is one too many, and one with a peer of its own.
    let bed = BgpBed::create(3, 1)?;
    let address = |host| -> IpAddr { BedLink { host, tor: 1 }.host_addresses().0.into() };
    let external = RemoteAs::External;
    let range = PeerConfig {
        remote: Remote::Range { prefix: "10.9.0.0/16".parse()?, sessions_max: 1 },
        md5: secret("range"),
        ..PeerConfig::new("hosts", address(1), external)
    };
    let exact =
        PeerConfig { md5: secret("own"), passive: true, ..PeerConfig::new("third", address(3), external) };
    let tor =
        Host::start(bed.tor(1), SpeakerConfig { asn: TOR_AS, peers: vec![range, exact], ..config(9, []) })?;
    let start = |host: u8, key: &str| -> Result<Host> {
        let to = BedLink { host, tor: 1 }.tor_addresses().0;
        let peer = PeerConfig {
            connect_retry: Duration::from_secs(1),
            families: Families { ipv4: true, ipv6: false },
            md5: secret(key),
            ..PeerConfig::new("tor", to.into(), external)
        };
        let router_id = Ipv4Addr::new(10, 255, 1, host);
        Host::start(
            bed.host(host),
            SpeakerConfig { asn: 65100 + u32::from(host), router_id, peers: vec![peer], ..config(host, []) },
        )
    };
    let first = start(1, "range")?;
    let third = start(3, "own")?;
    for host in [&first, &third] {
        host.wait_peer("tor", "up", |peer| peer.state == PeerState::Established)?;
    }
    let name = format!("hosts/{}", address(1));
    let peer = tor.wait_peer(&name, "up", |peer| peer.state == PeerState::Established)?;
    ensure!(peer.address == Some(address(1)) && peer.remote_as == Some(65101), "{peer:?}");
    tor.wait_peer("third", "up", |peer| peer.state == PeerState::Established)?;
    tor.wait_peer("hosts", "as far as its session", |peer| peer.state == PeerState::Established)?;
    ensure!(tor.status().established() == 2, "{:?}", tor.status().peers.keys());

    let second = start(2, "range")?;
    wait_until("the second to be refused", PATIENCE, || {
        ensure!(tor.status().refused > 0, "{}", tor.status().refused);
        Ok(())
    })?;
    ensure!(second.peer("tor")?.state != PeerState::Established);
    // When the first has gone, there is room for it.
    first.kill()?;
    second.wait_peer("tor", "up", |peer| peer.state == PeerState::Established)?;
    let status = tor.status();
    let sessions: Vec<_> = status.peers.keys().filter(|name| name.contains('/')).collect();
    ensure!(sessions == [&format!("hosts/{}", address(2))], "{sessions:?}");
    status.peers.get("third").context("the third")?;
    Ok(())
}
