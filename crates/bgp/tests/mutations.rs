// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The short form of the fuzz targets: mutated fixtures into every decoder and into sessions, from a fixed seed.
//!
//! Nothing may panic, hang, or give more than the input could hold. `WEIR_BGP_MUTATIONS` changes the number of inputs.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

use std::time::{Duration, Instant};

use support::{Random, corpus, mutated};
use weir_bgp::session::{Session, SessionConfig, SessionEvent, Slot, State};
use weir_bgp::wire::{Capability, DecodeContext, Message, Open, decode_message, encode_keepalive};
use weir_bgp::{Family, PeerConfig, RemoteAs};

const INPUTS: usize = 200_000;

fn inputs() -> usize {
    std::env::var("WEIR_BGP_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(INPUTS)
}

/// That what came out is no more than the octets could hold, and can be shown and answered.
fn check(octets: &[u8], context: &DecodeContext) -> &'static str {
    match decode_message(octets, context) {
        Ok(Message::Open(open)) => {
            assert!(open.capabilities.len() * 2 <= octets.len());
            let shown: usize = open.capabilities.iter().map(|c| c.to_string().len()).sum();
            assert!(shown <= 64 * octets.len());
            let written = open.encode();
            assert!(written.len() <= 4096 + 64, "{}", written.len());
            "open"
        }
        Ok(Message::Update(update)) => {
            assert!(update.announced().count() + update.withdrawals().count() <= octets.len());
            assert!(update.findings.len() <= 8);
            assert_eq!(update.findings.is_empty(), update.treatment.is_none());
            let path = update.attributes.as_path.iter().flat_map(|p| &p.segments).map(|s| s.asns.len());
            assert!(path.sum::<usize>() * 2 <= octets.len());
            if update.treatment.is_some() { "forgiven" } else { "update" }
        }
        Ok(Message::Notification(notification)) => {
            let shown = notification.to_string();
            assert!(shown.len() <= 3 * octets.len() + 200 && !shown.contains(char::is_control));
            assert!(notification.encode().len() <= 4096);
            "notification"
        }
        Ok(Message::Keepalive) => "keepalive",
        Ok(Message::Refresh(refresh)) => {
            assert_eq!(refresh.encode().len(), 23);
            "refresh"
        }
        Err(error) => {
            if let Some(answer) = error.answer() {
                assert!(answer.encode().len() <= 4096 && (1..=7).contains(&answer.code()));
            }
            assert!(error.to_string().len() < 200);
            "refused"
        }
    }
}

#[test]
fn mutated_messages_never_panic_and_never_grow() {
    let (corpus, mut random) = (corpus(), Random(1));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..inputs() {
        let octets = mutated(&mut random, &corpus);
        let local_address = (random.below(2) == 0).then(|| "10.0.4.1".parse().unwrap());
        let context = DecodeContext { four_octet_as: random.below(4) != 0, local_address };
        *seen.entry(check(&octets, &context)).or_insert(0) += 1;
    }
    // The mutations reach behind the header and give every outcome its share.
    for outcome in ["open", "update", "forgiven", "notification", "keepalive", "refresh", "refused"] {
        assert!(seen.get(outcome).is_some_and(|n| *n >= inputs() / 1000), "{outcome}: {seen:?}");
    }
}

fn session(now: Instant, stage: usize) -> Session {
    let peer = PeerConfig::new("peer", "10.0.4.0".parse().unwrap(), RemoteAs::External);
    let config = SessionConfig {
        asn: 65010,
        router_id: "192.0.2.1".parse().unwrap(),
        hostname: "lb".into(),
        software: "weir/0".into(),
        graceful_restart: None,
        restarting_until: None,
        peer: PeerConfig { families: weir_bgp::Families::BOTH, ..peer },
    };
    let mut session = Session::new(config, 1);
    session.handle_start(now);
    session.handle_connected(now, "10.0.4.1:5000".parse().unwrap(), "10.0.4.0:179".parse().unwrap());
    let open = Open {
        two_octet_as: 65000,
        hold_time_s: 9,
        router_id: "10.255.0.1".parse().unwrap(),
        capabilities: vec![
            Capability::FourOctetAs(65000),
            Capability::EnhancedRouteRefresh,
            Capability::Multiprotocol(Family::Ipv4Unicast.into()),
            Capability::Multiprotocol(Family::Ipv6Unicast.into()),
        ],
    };
    if stage > 0 {
        session.handle_octets(now, Slot::Dialled, &open.encode());
    }
    if stage > 1 {
        session.handle_octets(now, Slot::Dialled, &encode_keepalive());
        assert_eq!(session.state(), State::Established);
    }
    session
}

#[test]
fn sessions_survive_mutated_streams() {
    let (corpus, mut random) = (corpus(), Random(2));
    let start = Instant::now();
    let mut ends = std::collections::BTreeMap::new();
    for round in 0..inputs() / 20 {
        let (mut now, mut session) = (start, session(start, round % 3));
        for _ in 0..4 {
            let octets = mutated(&mut random, &corpus);
            let cut = 1 + random.below(octets.len().max(1));
            for chunk in octets.chunks(cut) {
                session.handle_octets(now, Slot::Dialled, chunk);
            }
            now += Duration::from_millis(random.next() % 1000);
            session.handle_timeout(now);
            let mut events = 0;
            while let Some(event) = session.poll_event() {
                events += 1;
                if let SessionEvent::NotificationSent { notification, .. } = event {
                    *ends.entry((notification.code(), notification.subcode())).or_insert(0) += 1;
                }
            }
            assert!(events < 40, "{events} events of {} octets", octets.len());
            let sent = std::iter::from_fn(|| session.poll_transmit(Slot::Dialled)).count();
            assert!(sent < 600, "{sent} messages for {} octets", octets.len());
            let is_waiting = session.poll_timeout().is_some() || session.state() == State::Established;
            assert!(is_waiting, "only an Established session without a hold time waits for nothing");
        }
    }
    for end in [(1, 1), (1, 2), (1, 3), (3, 1), (3, 9), (3, 10), (5, 1), (5, 2), (5, 3)] {
        assert!(ends.contains_key(&end), "{end:?} never happened: {ends:?}");
    }
}
