// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every rule that drops a datagram has its own counter, drops, and changes nothing (RFC 5880 §6.8.6, RFC 5881 §5).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use weir_bfd::packet::{Packet, State};
use weir_bfd::sessions::{Datagram, Discard, Sessions};
use weir_bfd::{SessionConfig, Wanted};

use crate::pairs::packet;

const INTERFACE: u32 = 5;

fn peer() -> IpAddr {
    "fe80::1".parse().expect("an address")
}

fn config(interface: &str, wanted: Wanted) -> SessionConfig {
    SessionConfig { interface: Some(interface.into()), wanted, ..SessionConfig::new(peer()) }
}

/// One session over link-local, and our discriminator.
fn sessions(wanted: Wanted, now: Instant) -> (Sessions, NonZeroU32) {
    let mut sessions = Sessions::new(1);
    sessions.set(BTreeMap::from([("tor".into(), config("eth0", wanted))]), now).expect("a good set");
    let ours = sessions.iter().next().expect("one").0;
    sessions.set_interface(ours, Some(INTERFACE));
    (sessions, ours)
}

#[test]
fn each_rule_counts_its_own_and_changes_nothing() {
    let now = Instant::now();
    type Change = fn(&mut Vec<u8>);
    let by_octets: [(Discard, Change); 9] = [
        (Discard::TooShort, |o| o.truncate(23)),
        (Discard::Version, |o| o[0] = 0x40),
        (Discard::Length, |o| o[3] = 25),
        (Discard::DetectMultZero, |o| o[2] = 0),
        (Discard::Multipoint, |o| o[1] |= 1),
        (Discard::MyDiscriminatorZero, |o| o[4..8].fill(0)),
        (Discard::YourDiscriminatorZero, |o| {
            o[1] = 0x80;
            o[8..12].fill(0);
        }),
        (Discard::Authentication, |o| {
            o[1] |= 4;
            o[3] = 28;
            o.extend([1, 4, 0, 0]);
        }),
        (Discard::Demand, |o| o[1] |= 2),
    ];
    let mut seen = Vec::new();
    for (discard, change) in by_octets {
        let (mut sessions, ours) = sessions(Wanted::Up, now);
        let mut octets = good(ours).encode().to_vec();
        change(&mut octets);
        refused(&mut sessions, (peer(), INTERFACE, Some(255)), &octets, discard, now);
        seen.push(discard);
    }
    let here = (peer(), INTERFACE, Some(255));
    for hop_limit in [Some(254), Some(1), Some(0), None] {
        let (mut sessions, ours) = sessions(Wanted::Up, now);
        refused(&mut sessions, (here.0, here.1, hop_limit), &good(ours).encode(), Discard::HopLimit, now);
    }
    seen.push(Discard::HopLimit);

    let (mut one, ours) = sessions(Wanted::Up, now);
    let mut stranger = good(ours);
    stranger.your_discriminator = NonZeroU32::new(ours.get() ^ 1);
    refused(&mut one, here, &stranger.encode(), Discard::UnknownDiscriminator, now);
    seen.push(Discard::UnknownDiscriminator);

    // Ours, but from another address, or by another interface, where the same link-local address may live as well.
    let other: IpAddr = "fe80::2".parse().expect("an address");
    for place in [(other, INTERFACE, Some(255)), (peer(), 6, Some(255))] {
        let (mut sessions, ours) = sessions(Wanted::Up, now);
        refused(&mut sessions, place, &good(ours).encode(), Discard::WrongSource, now);
        let first = Packet { your_discriminator: None, ..packet(State::Down) };
        refused(&mut sessions, place, &first.encode(), Discard::UnknownSource, now);
    }
    seen.extend([Discard::WrongSource, Discard::UnknownSource]);

    let (mut held, ours) = sessions(Wanted::AdminDown, now);
    refused(&mut held, here, &good(ours).encode(), Discard::AdminDown, now);
    seen.push(Discard::AdminDown);

    seen.sort();
    let mut all = Discard::ALL;
    all.sort();
    assert_eq!(seen, all, "every rule has its case");
}

fn good(ours: NonZeroU32) -> Packet {
    Packet { your_discriminator: Some(ours), ..packet(State::Init) }
}

type Place = (IpAddr, u32, Option<u8>);

fn refused(sessions: &mut Sessions, place: Place, octets: &[u8], discard: Discard, now: Instant) {
    let before = *sessions.discards();
    let state = |sessions: &Sessions| sessions.iter().map(|(_, e)| e.session.state()).collect::<Vec<_>>();
    let states = state(sessions);
    let (source, interface, hop_limit) = place;
    let datagram = Datagram { source, interface, hop_limit, payload: octets };
    assert_eq!(sessions.handle_datagram(&datagram, now), Err(discard));
    assert_eq!(state(sessions), states, "{}", discard.name());
    for (reason, count) in sessions.discards().iter() {
        assert_eq!(count, before.of(reason) + u64::from(reason == discard), "{}", reason.name());
    }
}

/// The same link-local address on two interfaces is two peers.
#[test]
fn interfaces_tell_equal_addresses_apart() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    let two = [("one", "eth0"), ("two", "eth1")];
    let wanted = two.map(|(name, interface)| (name.to_owned(), config(interface, Wanted::Up)));
    sessions.set(wanted.into(), now).expect("a good set");
    let index = |name: &str| if name == "one" { 5 } else { 6 };
    let all: Vec<_> = sessions.iter().map(|(ours, entry)| (ours, entry.name.clone())).collect();
    let first = Packet { your_discriminator: None, ..packet(State::Down) }.encode();
    for (ours, name) in &all {
        let datagram =
            Datagram { source: peer(), interface: index(name), hop_limit: Some(255), payload: &first };
        // An interface that is not known yet hears nothing.
        assert_eq!(sessions.handle_datagram(&datagram, now), Err(Discard::UnknownSource));
        sessions.set_interface(*ours, Some(index(name)));
        assert_eq!(sessions.handle_datagram(&datagram, now), Ok(*ours));
    }
    assert!(sessions.iter().all(|(_, entry)| entry.session.state() == State::Init));
}

#[test]
fn sets_that_cannot_work_are_refused_whole() {
    let now = Instant::now();
    let (mut sessions, ours) = sessions(Wanted::Up, now);
    let refuse = |sessions: &mut Sessions, set: Vec<(String, SessionConfig)>| {
        sessions.set(set.into_iter().collect(), now).expect_err("refused").to_string()
    };
    let host = |n: u16| SessionConfig::new(std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(n)).into());
    let many = (1..=257).map(|n| (n.to_string(), host(n))).collect();
    assert_eq!(refuse(&mut sessions, many), "257 sessions, at most 256 are possible");
    let twice = vec![("a".to_owned(), host(1)), ("b".to_owned(), host(1))];
    assert_eq!(refuse(&mut sessions, twice), "sessions `a` and `b` have the same peer");
    let long = vec![("x".repeat(129), host(1))];
    assert_eq!(refuse(&mut sessions, long), "a session's name has 129 octets, at most 128 are possible");
    assert_eq!(
        refuse(&mut sessions, vec![("a".to_owned(), host(0)), ("z".to_owned(), SessionConfig::new(peer()))]),
        "session `z`"
    );
    assert!(sessions.contains(ours), "the set before stays");
}
