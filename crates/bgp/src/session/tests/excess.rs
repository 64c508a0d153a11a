// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a peer may tell, what is kept of it, and what happens when it is too much.

use super::script::{Script, open, raw};
use super::*;
use crate::config::Family;
use crate::status::PeerWarning;
use std::time::SystemTime;

/// An UPDATE of AS `asns` for these IPv4 prefixes.
fn update(asns: &[u32], prefixes: &[&str]) -> Vec<u8> {
    let count = u8::try_from(asns.len()).unwrap();
    let mut path = vec![0x40, 2, 2 + 4 * count, 2, count];
    asns.iter().for_each(|asn| path.extend_from_slice(&asn.to_be_bytes()));
    let attributes = [&[0x40, 1, 1, 0][..], &path, &[0x40, 3, 4, 10, 0, 0, 1]].concat();
    let mut body = vec![0, 0];
    body.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&attributes);
    for prefix in prefixes {
        let prefix: Prefix = prefix.parse().unwrap();
        let IpAddr::V4(address) = prefix.address() else { panic!() };
        body.push(prefix.length());
        body.extend_from_slice(&address.octets()[..usize::from(prefix.length().div_ceil(8))]);
    }
    raw(2, &body)
}

fn kept(script: &Script) -> Vec<String> {
    let routes = script.session.adj_rib_in().snapshot(script.now, SystemTime::now());
    routes.iter().map(|r| format!("{} {}", r.prefix, r.as_path)).collect()
}

fn established(max: u32) -> Script {
    let mut config = config(65010, "192.0.2.1", "10.0.0.1", 65000);
    config.peer.prefixes_max = max;
    let mut script = Script::started(config);
    script.dial("10.0.0.2:5000", "10.0.0.1:179");
    script.meet(&open(65000));
    script.sent();
    script
}

#[test]
fn what_the_peer_tells_is_kept_and_shown() {
    let mut script = established(4);
    script.hear(&update(&[65000, 65001], &["0.0.0.0/0", "10.0.0.0/8"]));
    assert_eq!(kept(&script), ["0.0.0.0/0 65000 65001", "10.0.0.0/8 65000 65001"]);
    let route = &script.session.adj_rib_in().snapshot(script.now, SystemTime::now())[0];
    assert_eq!((route.as_path_len, route.first_as, route.origin), (2, Some(65000), 0));
    assert_eq!(route.next_hops, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    // Replaced by a path through us, which is none.
    script.hear(&update(&[65000, 65010], &["10.0.0.0/8"]));
    assert_eq!(kept(&script), ["0.0.0.0/0 65000 65001"]);
    let version = script.session.adj_rib_in().version();
    script.hear(&raw(2, &[0, 1, 0, 0, 0]));
    assert!(kept(&script).is_empty() && script.session.adj_rib_in().version() != version);
    script.hear(&update(&[65000], &["0.0.0.0/0"]));
    script.session.handle_closed(script.now, Slot::Dialled);
    assert!(kept(&script).is_empty(), "no session, no routes");
    assert_eq!(script.session.counters().flaps, 1);
}

#[test]
fn loops_are_not_counted_against_the_limit() {
    let mut script = established(1);
    for third in 0..100 {
        script.hear(&update(&[65000, 65010], &[&format!("192.0.{third}.0/24")]));
    }
    script.hear(&update(&[65000], &["0.0.0.0/0"]));
    assert_eq!((script.session.state(), kept(&script).len()), (State::Established, 1));
}

#[test]
fn a_loop_is_dropped_before_anything_of_it_is_judged() {
    let mut script = established(4);
    script.hear(&update(&[65000], &["192.0.2.0/24"]));
    // Our own prefix told back to us, on a shared subnet with our own address as next hop, and with a bad MED.
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xf2];
    attributes.extend_from_slice(&[0x40, 3, 4, 10, 0, 0, 2, 0x80, 4, 1, 0]);
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    script.hear(&raw(2, &[&[0, 0][..], &length, &attributes, &[24, 192, 0, 2]].concat()));
    let counters = script.session.counters();
    assert_eq!((counters.treated_as_withdraw, counters.last_finding.as_deref()), (0, None));
    assert_eq!((counters.received_ipv4.looped, counters.received_ipv4.withdrawn), (1, 0));
    assert!(kept(&script).is_empty(), "what the peer told before is gone");
}

#[test]
fn what_is_not_told_again_between_the_borders_of_a_refresh_goes() {
    let border = |kind: u8, afi: u8| raw(5, &[0, afi, kind, 1]);
    for has_borders in [true, false] {
        let mut theirs = open(65000);
        theirs.capabilities.retain(|c| *c != Capability::EnhancedRouteRefresh);
        theirs.capabilities.extend(has_borders.then_some(Capability::EnhancedRouteRefresh));
        let mut script = Script::started(config(65010, "192.0.2.1", "10.0.0.1", 65000));
        script.dial("10.0.0.2:5000", "10.0.0.1:179");
        script.meet(&theirs);
        script.hear(&update(&[65000], &["10.0.0.0/8", "11.0.0.0/8"]));
        script.hear(&border(2, 1));
        assert_eq!(kept(&script).len(), 2, "an end without a begin means nothing");
        script.hear(&border(1, 2));
        script.hear(&border(2, 1));
        assert_eq!(kept(&script).len(), 2, "another family");
        script.hear(&border(1, 1));
        let routes = script.session.adj_rib_in().snapshot(script.now, SystemTime::now());
        assert!(routes.iter().all(|route| !route.is_stale), "as good as ever meanwhile");
        script.hear(&update(&[65000], &["11.0.0.0/8", "12.0.0.0/8"]));
        assert_eq!(kept(&script).len(), 3);
        script.hear(&border(2, 1));
        let left = ["10.0.0.0/8 65000", "11.0.0.0/8 65000", "12.0.0.0/8 65000"];
        assert_eq!(kept(&script), left[usize::from(has_borders)..], "borders agreed on: {has_borders}");
        script.hear(&raw(5, &[0, 1, 77, 1]));
        assert_eq!(script.session.state(), State::Established, "an unknown subtype is ignored");
    }
}

#[test]
fn as_many_prefixes_as_allowed_may_change_and_be_told_again() {
    let mut script = established(2);
    for _ in 0..3 {
        script.hear(&update(&[65000], &["10.0.0.0/8", "11.0.0.0/8", "10.0.0.0/8"]));
        script.hear(&update(&[65000, 65001], &["11.0.0.0/8"]));
    }
    // One for another, in one message: what is withdrawn goes first.
    let mut exchange = update(&[65000], &["12.0.0.0/8"])[19..].to_vec();
    exchange.splice(0..2, [0, 2, 8, 10]);
    script.hear(&raw(2, &exchange));
    assert_eq!(kept(&script), ["11.0.0.0/8 65000 65001", "12.0.0.0/8 65000"]);
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn one_prefix_too_many_ends_the_session_and_the_peer_waits_outside() {
    let mut script = established(4);
    script.hear(&update(&[65000], &["10.0.0.0/8", "11.0.0.0/8"]));
    assert!(script.session.warnings().is_empty());
    script.hear(&update(&[65000], &["12.0.0.0/8"]));
    let high = PeerWarning::PrefixesHigh { family: Family::Ipv4Unicast, count: 3, max: 4 };
    assert_eq!(script.session.warnings(), [high]);
    script.hear(&update(&[65000], &["13.0.0.0/8", "12.0.0.0/8", "14.0.0.0/8", "15.0.0.0/8"]));
    let Some(SessionEvent::Down) = script.session.poll_event() else { panic!() };
    let Some(SessionEvent::NotificationSent { notification, .. }) = script.session.poll_event() else {
        panic!()
    };
    let limit = Some((Family::Ipv4Unicast.into(), 4));
    assert_eq!((notification.code(), notification.subcode(), notification.prefix_limit()), (6, 1, limit));
    assert_eq!(script.events(), ["close 6/1"]);
    let exceeded = PeerWarning::PrefixesExceeded { family: Family::Ipv4Unicast, max: 4 };
    assert_eq!((script.session.warnings(), kept(&script)), (vec![exceeded], vec![]));
    let wait = script.session.timers().idle_until.unwrap() - script.now;
    assert!(wait >= Duration::from_secs(30), "{wait:?}");
    script.wait(29);
    let ends: [SocketAddr; 2] = ["10.0.0.2:179", "10.0.0.1:6000"].map(|text| text.parse().unwrap());
    let refused = script.session.handle_accepted(script.now, ends[0], ends[1]);
    assert_eq!(refused, Err(Notification::cease(cease::CONNECTION_REJECTED)));
    assert_eq!((script.events(), script.session.state()), (vec![], State::Idle));
    script.wait(12);
    assert_eq!(script.session.handle_accepted(script.now, ends[0], ends[1]), Ok(()));
}

#[test]
fn the_wait_after_too_many_prefixes_doubles_up_to_ten_minutes() {
    let mut script = established(1);
    let mut waits = vec![];
    for round in 0..7 {
        if round > 0 {
            script.now = script.session.timers().idle_until.unwrap();
            script.session.handle_timeout(script.now);
            script.dial("10.0.0.2:5000", "10.0.0.1:179");
            script.meet(&open(65000));
            script.sent();
        }
        script.hear(&update(&[65000], &["10.0.0.0/8", "11.0.0.0/8"]));
        assert_eq!(script.events(), ["Down", "sent 6/1", "close 6/1"]);
        waits.push((script.session.timers().idle_until.unwrap() - script.now).as_secs_f64());
    }
    for (wait, full) in waits.iter().zip([40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]) {
        assert!(*wait >= 0.75 * full && *wait <= full, "{waits:?}");
    }
}

#[test]
fn a_peer_that_has_too_much_of_us_is_seen_and_left_alone() {
    for cease in [
        Notification::prefixes_exceeded(Family::Ipv4Unicast.into(), 3),
        Notification::hard_reset_of(&Notification::prefixes_exceeded(Family::Ipv4Unicast.into(), 3)),
    ] {
        let mut script = established(4);
        script.hear(&cease.encode());
        assert!(script.session.poll_timeout().unwrap() >= script.now + Duration::from_secs(30));
        assert_eq!(script.session.warnings(), [PeerWarning::Refused]);
    }
}

#[test]
fn routes_that_were_not_negotiated_are_treated_as_withdrawn() {
    let mut script = established(4);
    // MP_REACH of 1/1 with an IPv6 next hop; extended next hops were not agreed on.
    let reach =
        [&[0x80, 14, 22, 0, 1, 1, 16][..], &"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets()];
    let reach = [&reach.concat()[..], &[0, 0]].concat();
    let attributes = [&reach[..], &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8]].concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    script.hear(&raw(2, &[&[0, 0][..], &length, &attributes].concat()));
    let counters = script.session.counters();
    assert_eq!((counters.treated_as_withdraw, counters.received_ipv4.withdrawn), (1, 1));
    assert!(counters.last_finding.as_ref().unwrap().contains("not negotiated"));
    assert!(kept(&script).is_empty() && script.session.state() == State::Established);
}
