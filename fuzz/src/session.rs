// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of a BGP session, whatever the peer sends and however long it waits.

use std::time::{Duration, Instant};

use weir_bgp::session::{Session, SessionConfig, SessionEvent, Slot, State};
use weir_bgp::wire::{Capability, Open, encode_keepalive};
use weir_bgp::{Families, PeerConfig, RemoteAs};

const LOCAL: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 2);
const REMOTE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);

/// A session: first octet the stage it is brought to, then chunks of (length, wait in 64 ms, octets).
pub fn session(octets: &[u8]) {
    let Some((stage, mut rest)) = octets.split_first() else { return };
    let mut now = Instant::now();
    let mut session = brought_to(now, stage % 3);
    while let [length, wait, tail @ ..] = rest {
        let (chunk, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        let slot = if wait & 0x80 == 0 { Slot::Dialled } else { Slot::Accepted };
        session.handle_octets(now, slot, chunk);
        now += Duration::from_millis(u64::from(wait & 0x7f) * 64);
        session.handle_timeout(now);
        if length & 0x3f == 0x3f {
            drop(session.handle_accepted(now, (LOCAL, 179).into(), (REMOTE, 5000).into()));
        }
        let mut events = 0;
        while let Some(event) = session.poll_event() {
            events += 1;
            if matches!(event, SessionEvent::Dial(_)) && wait & 1 == 0 {
                session.handle_connected(now, (LOCAL, 5000).into(), (REMOTE, 179).into());
            }
        }
        assert!(events < 100);
        for slot in Slot::ALL {
            assert!(std::iter::from_fn(|| session.poll_transmit(slot)).count() < 200);
        }
        // Only an Established session without a hold time waits for nothing.
        assert!(session.poll_timeout().is_some() || session.state() == State::Established);
    }
}

fn brought_to(now: Instant, stage: u8) -> Session {
    let peer = PeerConfig::new("peer", std::net::Ipv4Addr::new(10, 0, 0, 1).into(), RemoteAs::External);
    let config = SessionConfig {
        asn: 65010,
        router_id: std::net::Ipv4Addr::new(192, 0, 2, 1),
        hostname: "lb".into(),
        software: "weir/0".into(),
        graceful_restart: None,
        restarting_until: None,
        peer: PeerConfig { families: Families::BOTH, ..peer },
    };
    let mut session = Session::new(config, 1);
    session.handle_start(now);
    session.handle_connected(now, (LOCAL, 5000).into(), (REMOTE, 179).into());
    if stage > 0 {
        let open = Open {
            two_octet_as: 65000,
            hold_time_s: 9,
            router_id: std::net::Ipv4Addr::new(10, 255, 0, 1),
            capabilities: vec![Capability::FourOctetAs(65000), Capability::EnhancedRouteRefresh],
        };
        session.handle_octets(now, Slot::Dialled, &open.encode());
    }
    if stage > 1 {
        session.handle_octets(now, Slot::Dialled, &encode_keepalive());
        assert_eq!(session.state(), State::Established);
    }
    session
}
