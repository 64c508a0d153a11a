// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with a cable to each of two ToRs, all ends with the same two link-local addresses, and our own speaker at
//! every end, told nothing but names of interfaces,
//! When addresses change, cables are pulled, interfaces come back as others, and strangers call,
//! Then the right two ends speak with each other, at once again after each change, and nobody else does.

use std::net::{Ipv4Addr, SocketAddrV6, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_bgp::{Family, PeerConfig, PeerState, PeerStatus, RemoteAs, SpeakerConfig};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{BedLink, BgpBed, Daemon, Netns, TOR_LINK_LOCAL, Tor, TorSession, Transport, wait_until};

use crate::PATIENCE;
use crate::host::{Host, config, plain};

const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:100::1/128";

/// A speaker with unnumbered peers on these interfaces, named after them.
fn speaker(asn: u32, number: u8, remote_as: u32, interfaces: &[&str]) -> SpeakerConfig {
    let peer = |interface: &&str| PeerConfig {
        connect_retry: Duration::from_secs(1),
        ..PeerConfig::unnumbered(*interface, *interface, RemoteAs::Exact(remote_as))
    };
    SpeakerConfig {
        asn,
        router_id: Ipv4Addr::new(10, 255, 0, number),
        peers: interfaces.iter().map(peer).collect(),
        ..config(number, [])
    }
}

struct Lab {
    bed: BgpBed,
    host: Host,
    tors: Vec<Host>,
}

impl Lab {
    fn up() -> Result<Lab> {
        let bed = BgpBed::create(1, 2)?;
        let begun = Instant::now();
        let host = Host::start(bed.host(1), speaker(APPLIANCE_AS, 1, TOR_AS, &["t1", "t2"]))?;
        let tor = |number| Host::start(bed.tor(number), speaker(TOR_AS, 10 + number, APPLIANCE_AS, &["h1"]));
        let lab = Lab { tors: vec![tor(1)?, tor(2)?], host, bed };
        lab.all_up()?;
        eprintln!("two unnumbered sessions after {:?}", begun.elapsed());
        Ok(lab)
    }

    fn all_up(&self) -> Result<()> {
        for name in ["t1", "t2"] {
            self.established(name)?;
        }
        for tor in &self.tors {
            tor.wait_peer("h1", "up", |peer| peer.state == PeerState::Established)?;
        }
        Ok(())
    }

    fn established(&self, name: &str) -> Result<PeerStatus> {
        self.host.wait_peer(name, "up", |peer| peer.state == PeerState::Established)
    }
}

#[test]
#[ignore = "needs root and netns"]
fn the_same_addresses_on_two_links_are_two_neighbours() {
    let lab = Lab::up().expect("sessions");
    told(&lab).expect("told");
    another_address(&lab).expect("another address of a neighbour");
    another_address_of_ours(&lab).expect("another address of ours");
    a_pulled_cable(&lab).expect("a pulled cable");
    another_interface(&lab).expect("another interface");
    a_stranger(&lab).expect("a stranger");
}

fn told(lab: &Lab) -> Result<()> {
    lab.host.announce([plain(V4), plain(V6)])?;
    for tor in &lab.tors {
        let peer = tor.wait_peer("h1", "both prefixes", |peer| peer.adj_rib_in.len() == 2)?;
        for route in peer.adj_rib_in.iter() {
            ensure!(route.next_hops == ["fe80::1:2".parse::<std::net::IpAddr>()?], "{route:?}");
        }
        ensure!(peer.negotiated.context("negotiated")?.has_extended_next_hop);
        ensure!(peer.interface.as_deref() == Some("h1") && peer.address == "fe80::1:2".parse().ok());
    }
    for name in ["t1", "t2"] {
        let told = |peer: &PeerStatus| peer.adj_rib_out.len(Family::Ipv4Unicast) == 1;
        let peer = lab.host.wait_peer(name, "told", told)?;
        let discovery = peer.discovery.context("discovery")?;
        ensure!(discovery.neighbour == "fe80::1".parse().ok() && discovery.own == "fe80::1:2".parse().ok());
        ensure!(discovery.sent > 0 && discovery.is_link_up && discovery.error.is_none(), "{discovery:?}");
    }
    Ok(())
}

/// The session of `t1` ends and comes up again while `change` is made; that of `t2` does not notice.
fn again(lab: &Lab, what: &str, change: impl FnOnce() -> Result<()>) -> Result<PeerStatus> {
    let (before, other) = (lab.host.peer("t1")?, lab.host.peer("t2")?);
    let begun = Instant::now();
    change()?;
    let up = lab.host.wait_peer("t1", what, |peer| {
        peer.state == PeerState::Established
            && peer.counters.established > before.counters.established
            && peer.adj_rib_out.len(Family::Ipv4Unicast) == 1
    })?;
    eprintln!("{what}: up again after {:?}", begun.elapsed());
    lab.all_up()?;
    ensure!(lab.host.peer("t2")?.counters.established == other.counters.established, "t2 noticed");
    Ok(up)
}

/// Gives an end of a link another link-local address in place of the one it has.
fn change_link_local(netns: &Netns, interface: &str, address: &str) -> Result<()> {
    netns.ip(&format!("address flush dev {interface} scope link"))?;
    netns.ip(&format!("address add {address}/64 dev {interface} nodad"))
}

fn another_address(lab: &Lab) -> Result<()> {
    let up = again(lab, "another address of the neighbour", || {
        change_link_local(lab.bed.tor(1), "h1", "fe80::77")
    })?;
    ensure!(up.address == "fe80::77".parse().ok(), "{up:?}");
    Ok(())
}

fn another_address_of_ours(lab: &Lab) -> Result<()> {
    let up = again(lab, "another address of ours", || change_link_local(lab.bed.host(1), "t1", "fe80::66"))?;
    ensure!(up.local_address.map(|local| local.ip()) == "fe80::66".parse().ok(), "{up:?}");
    Ok(())
}

fn a_pulled_cable(lab: &Lab) -> Result<()> {
    // Pulled at the far end: what we see is that the carrier goes.
    let begun = Instant::now();
    let link = BedLink { host: 1, tor: 1 };
    lab.bed.unplug(link)?;
    lab.host.wait_peer("t1", "down", |peer| peer.state != PeerState::Established)?;
    let took = begun.elapsed();
    eprintln!("a pulled cable was noticed after {took:?}");
    // The kernel tells of a lost carrier within a second; the hold time is nine.
    ensure!(took < Duration::from_secs(3), "not by the hold time: {took:?}");
    lab.host.wait_peer("t1", "no neighbour", |peer| {
        peer.discovery.as_ref().is_some_and(|d| !d.is_link_up && d.neighbour.is_none())
    })?;
    again(lab, "the cable is back", || lab.bed.plug(link, TOR_LINK_LOCAL))?;
    Ok(())
}

fn another_interface(lab: &Lab) -> Result<()> {
    again(lab, "another interface of the same name", || {
        lab.bed.host(1).ip("link del t1")?;
        lab.host.wait_peer("t1", "down", |peer| peer.state != PeerState::Established)?;
        weir_lab::Veth { a: (lab.bed.tor(1), "h1"), b: (lab.bed.host(1), "t1"), mtu: 1500 }.create()
    })?;
    Ok(())
}

/// On the link of a session that stands, and on one where nobody is a peer.
fn a_stranger(lab: &Lab) -> Result<()> {
    let before = lab.host.status().strangers;
    lab.bed.tor(2).ip("address add fe80::bad/64 dev h1 nodad")?;
    let scope = lab.bed.tor(2).enter(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6"))??;
    let line = scope.lines().find(|line| line.ends_with(" h1")).context("h1 has an address")?;
    let index = u32::from_str_radix(line.split_whitespace().nth(1).context("an index")?, 16)?;
    lab.bed.tor(2).enter(|| -> Result<()> {
        let from = SocketAddrV6::new("fe80::bad".parse()?, 0, 0, index);
        let to = SocketAddrV6::new("fe80::1:2".parse()?, 179, 0, index);
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&to.into())?;
        let mut stream = TcpStream::from(socket);
        let heard = std::io::Read::read(&mut stream, &mut [0; 64])?;
        ensure!(heard == 0, "a stranger is told nothing");
        Ok(())
    })??;
    wait_until("the stranger to be counted", PATIENCE, || {
        ensure!(lab.host.status().strangers == before + 1, "{}", lab.host.status().strangers);
        Ok(())
    })?;
    ensure!(lab.host.peer("t2")?.state == PeerState::Established);
    Ok(())
}

/// FRR speaks with whom it has heard an advertisement of, and with nobody else.
#[test]
#[ignore = "needs root and netns"]
fn frr_is_met_by_the_name_of_an_interface() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    let session = TorSession::plain(BedLink { host: 1, tor: 1 }, Transport::Unnumbered);
    let tor = Tor::start(&bed, 1, Daemon::Frr, vec![session]).expect("FRR");
    let begun = Instant::now();
    let host = Host::start(bed.host(1), speaker(APPLIANCE_AS, 1, TOR_AS, &["t1"])).expect("a speaker");
    tor.wait_established(PATIENCE).expect("a session");
    eprintln!("FRR is met after {:?}", begun.elapsed());
    host.announce([plain(V4), plain(V6)]).expect("announced");
    for prefix in [V4, V6] {
        tor.wait_learnt(prefix, PATIENCE).expect("learnt");
    }
    let discovery = host.peer("t1").expect("a peer").discovery.expect("discovery");
    assert!(discovery.received > 0 && discovery.neighbour.is_some(), "{discovery:?}");
}
