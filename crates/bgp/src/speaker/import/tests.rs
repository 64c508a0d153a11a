// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From published states to candidates and completeness, without a kernel.

use std::time::SystemTime;

use super::*;
use crate::config::{PeerConfig, RemoteAs};
use crate::status::NegotiatedStatus;

fn config(peers: Vec<PeerConfig>) -> SpeakerConfig {
    SpeakerConfig {
        asn: 65010,
        router_id: [192, 0, 2, 1].into(),
        listen: Vec::new(),
        hostname: String::new(),
        software: String::new(),
        graceful_restart: None,
        fib: None,
        peers,
    }
}

fn unnumbered(name: &str, interface: &str) -> PeerConfig {
    let peer = PeerConfig::unnumbered(name, interface, RemoteAs::External);
    PeerConfig { import_default: Families::BOTH, ..peer }
}

fn route(prefix: &str, next_hops: &[&str]) -> ReceivedRoute {
    ReceivedRoute {
        prefix: prefix.parse().unwrap(),
        next_hops: next_hops.iter().map(|text| text.parse().unwrap()).collect(),
        as_path: "65000".into(),
        as_path_len: 1,
        first_as: Some(65000),
        origin: 0,
        med: None,
        communities: Vec::new(),
        large_communities: Vec::new(),
        is_stale: false,
        received_at: SystemTime::UNIX_EPOCH,
    }
}

fn established(peer: &PeerConfig, scope: u32, routes: Vec<ReceivedRoute>) -> PeerStatus {
    let own = std::net::SocketAddrV6::new("fe80::2".parse().unwrap(), 179, 0, scope);
    let negotiated = NegotiatedStatus {
        hold_time: None,
        families: Families::BOTH,
        capabilities: Vec::new(),
        offered: Vec::new(),
        has_extended_next_hop: true,
        has_refresh: true,
        has_enhanced_refresh: true,
        four_octet_as: true,
        has_extended_message: false,
        graceful_restart: None,
    };
    PeerStatus {
        state: PeerState::Established,
        address: Some("fe80::1".parse().unwrap()),
        local_address: Some(own.into()),
        negotiated: Some(Arc::new(negotiated)),
        adj_rib_in: routes.into(),
        ..PeerStatus::new(peer)
    }
}

fn read(policy: &mut Policy, sessions: &[(&str, &PeerStatus)]) -> Vec<Candidate> {
    policy.read(sessions.iter().copied()).0
}

fn completeness(policy: &mut Policy, sessions: &[(&str, &PeerStatus)]) -> Completeness {
    policy.read(sessions.iter().copied()).1
}

#[test]
fn an_ipv4_default_with_a_link_local_next_hop_leads_over_the_sessions_interface() {
    let tor = unnumbered("tor1", "eth1");
    let mut policy = Policy::new(&config(vec![tor.clone()]));
    let routes = vec![route("0.0.0.0/0", &["fe80::1", "fe80::1"]), route("10.0.0.0/8", &["fe80::1"])];
    let status = established(&tor, 7, routes);
    let candidates = read(&mut policy, &[("tor1", &status)]);
    assert_eq!(candidates.len(), 1, "only default routes: {candidates:?}");
    assert_eq!((candidates[0].gateway.to_string().as_str(), candidates[0].interface), ("fe80::1", Some(7)));
}

#[test]
fn nothing_is_taken_that_the_policy_does_not_name() {
    let tor =
        PeerConfig { import_default: Families { ipv4: false, ipv6: true }, ..unnumbered("tor1", "eth1") };
    let silent = PeerConfig { import_default: Families::default(), ..unnumbered("tor2", "eth2") };
    let mut policy = Policy::new(&config(vec![tor.clone(), silent.clone()]));
    let routes = vec![route("0.0.0.0/0", &["fe80::1"]), route("::/0", &["fe80::1"])];
    let (one, two) = (established(&tor, 7, routes.clone()), established(&silent, 8, routes));
    let candidates = read(&mut policy, &[("tor1", &one), ("tor2", &two)]);
    let taken: Vec<_> = candidates.iter().map(|c| (c.family, c.interface)).collect();
    assert_eq!(taken, [(Family::Ipv6Unicast, Some(7))]);
}

#[test]
fn a_restarting_peers_stale_route_keeps_its_interface_and_a_lost_ones_goes() {
    let tor = unnumbered("tor1", "eth1");
    let mut policy = Policy::new(&config(vec![tor.clone()]));
    let status = established(&tor, 7, vec![route("0.0.0.0/0", &["fe80::1"])]);
    read(&mut policy, &[("tor1", &status)]);
    let stale = ReceivedRoute { is_stale: true, ..route("0.0.0.0/0", &["fe80::1"]) };
    let gone = PeerStatus { state: PeerState::Connect, local_address: None, ..status };
    let restarting = PeerStatus { adj_rib_in: [stale].into(), ..gone.clone() };
    let candidates = read(&mut policy, &[("tor1", &restarting)]);
    assert_eq!(candidates.iter().map(|c| (c.interface, c.is_stale)).collect::<Vec<_>>(), [(Some(7), true)]);
    assert_eq!(read(&mut policy, &[("tor1", &gone)]), [], "fresh routes of no session");
}

#[test]
fn a_leaving_peer_is_marked_and_our_own_address_is_no_way_out() {
    let tor = unnumbered("tor1", "eth1");
    let mut policy = Policy::new(&config(vec![tor.clone()]));
    let leaving = ReceivedRoute { communities: vec![GRACEFUL_SHUTDOWN], ..route("0.0.0.0/0", &["fe80::1"]) };
    let status = established(&tor, 7, vec![leaving, route("::/0", &["fe80::2"])]);
    let candidates = read(&mut policy, &[("tor1", &status)]);
    assert_eq!(candidates.iter().map(|c| c.is_leaving).collect::<Vec<_>>(), [true]);
}

#[test]
fn sessions_of_a_range_have_its_policy() {
    let range = PeerConfig {
        remote: Remote::Range { prefix: "10.0.0.0/24".parse().unwrap(), sessions_max: 4 },
        ..unnumbered("leaf", "eth1")
    };
    let mut policy = Policy::new(&config(vec![range.clone()]));
    let mut status = established(&range, 0, vec![route("0.0.0.0/0", &["10.0.0.9"])]);
    status.address = Some("10.0.0.9".parse().unwrap());
    status.local_address = Some("10.0.0.1:179".parse().unwrap());
    let (candidates, completeness) = policy.read([("leaf/10.0.0.9", &status)]);
    assert_eq!(candidates.len(), 1);
    assert_eq!(completeness, Completeness::Partial, "who else will come is not known");
}

#[test]
fn the_set_is_whole_once_every_importing_peer_has_told_all() {
    let (one, two) = (unnumbered("tor1", "eth1"), unnumbered("tor2", "eth2"));
    let other = PeerConfig { import_default: Families::default(), ..unnumbered("tor3", "eth3") };
    let mut policy = Policy::new(&config(vec![one.clone(), two.clone(), other]));
    let told = |peer: &PeerConfig| {
        let mut status = established(peer, 7, Vec::new());
        status.counters.received_ipv4.end_of_rib = 1;
        status.counters.received_ipv6.end_of_rib = 1;
        status
    };
    let mut silent = established(&two, 8, Vec::new());
    assert_eq!(completeness(&mut policy, &[]), Completeness::Partial);
    assert_eq!(completeness(&mut policy, &[("tor1", &told(&one)), ("tor2", &silent)]), Completeness::Partial);
    // The first one goes again: what it had told counts.
    silent.counters.received_ipv4.end_of_rib = 1;
    assert_eq!(completeness(&mut policy, &[("tor2", &silent)]), Completeness::Partial, "IPv6 is missing");
    silent.negotiated = silent.negotiated.map(|negotiated| {
        Arc::new(NegotiatedStatus { families: Families { ipv4: true, ipv6: false }, ..(*negotiated).clone() })
    });
    assert_eq!(completeness(&mut policy, &[("tor2", &silent)]), Completeness::Whole, "IPv6 is not spoken");
}

#[test]
fn without_importing_peers_there_is_nothing_to_wait_for() {
    let silent = PeerConfig { import_default: Families::default(), ..unnumbered("tor1", "eth1") };
    assert_eq!(completeness(&mut Policy::new(&config(vec![silent])), &[]), Completeness::Whole);
}
