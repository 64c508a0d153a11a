// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of any octets, shared by the targets; a violated rule panics, which is what the fuzzer looks for.

pub mod bfd;

use std::time::{Duration, Instant};

use weir_bgp::session::{Session, SessionConfig, SessionEvent, Slot, State};
use weir_bgp::wire::{
    Capability, DecodeContext, FrameBuffer, Message, NextHop, Notification, Open, PathToSend, Update,
    UpdateEncoder, WireError, decode_message, encode_keepalive,
};
use weir_bgp::{Families, Family, PeerConfig, RemoteAs};

/// OPEN.
pub fn open(body: &[u8]) {
    match Open::decode(body) {
        Ok(open) => {
            assert!(open.capabilities.len() * 2 <= body.len());
            let shown: usize = open.capabilities.iter().map(|c| c.to_string().len()).sum();
            assert!(shown <= 64 * body.len());
            let written = open.encode();
            let again = Open::decode(&written[19..]).expect("what we write can be read");
            assert_eq!(
                (again.asn(), again.hold_time_s, again.router_id),
                (open.asn(), open.hold_time_s, open.router_id)
            );
            assert_eq!(again.families().collect::<Vec<_>>(), open.families().collect::<Vec<_>>());
        }
        Err(error) => answered(error.into(), 2),
    }
}

/// UPDATE; the first octet chooses the context.
pub fn update(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    let context = DecodeContext {
        four_octet_as: choice & 1 == 0,
        local_address: (choice & 2 != 0).then(|| std::net::Ipv4Addr::new(10, 0, 0, 1).into()),
    };
    let update = match Update::decode(body, &context) {
        Ok(update) => update,
        Err(error) => return answered(error.into(), 3),
    };
    assert!(update.announced().count() + update.withdrawals().count() <= body.len());
    assert!(update.findings.len() <= 8);
    assert_eq!(update.findings.is_empty(), update.treatment.is_none());
    let asns: usize = update.attributes.as_path.iter().flat_map(|p| &p.segments).map(|s| s.asns.len()).sum();
    assert!(asns * 2 <= body.len());
    if update.treatment.is_none() {
        rewrite(&update, &context);
    }
}

/// Writes a flawless UPDATE again, as far as we could send it, and reads that.
fn rewrite(update: &Update, context: &DecodeContext) {
    let encoder = UpdateEncoder { four_octet_as: context.four_octet_as, message_max: 4096 };
    let attributes = &update.attributes;
    let (Some(as_path), Some(origin)) = (&attributes.as_path, attributes.origin) else { return };
    let path = PathToSend {
        as_path,
        origin,
        med: attributes.med,
        communities: &attributes.communities,
        extended_communities: &attributes.extended_communities,
        large_communities: &attributes.large_communities,
    };
    for family in Family::ALL {
        let prefixes: Vec<_> = update.announced().filter(|p| p.family() == family).collect();
        let next_hop = NextHop::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let Some((message, count)) = encoder.announce(path, next_hop, family, &prefixes) else { continue };
        assert!(message.len() <= 4096);
        let again = Update::decode(&message[19..], context).expect("what we write can be read");
        assert!(again.announced().eq(prefixes[..count].iter().copied()));
        assert_eq!(again.attributes.communities, attributes.communities);
        assert_eq!(again.attributes.large_communities, attributes.large_communities);
    }
}

/// NOTIFICATION.
pub fn notification(body: &[u8]) {
    let Ok(notification) = Notification::decode(body) else {
        assert!(body.len() < 2);
        return;
    };
    let shown = notification.to_string();
    assert!(!shown.contains(char::is_control) && shown.len() <= 3 * body.len() + 200);
    let written = notification.encode();
    assert!(written.len() <= 4096);
    assert_eq!(Notification::decode(&written[19..]), Ok(notification));
}

/// A stream; its first octet is the size of the chunks it comes in.
pub fn stream(octets: &[u8]) {
    let Some((cut, stream)) = octets.split_first() else { return };
    let whole = messages(stream.chunks(stream.len().max(1)));
    let cut = messages(stream.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole, cut);
    if let Err(error) = decode_message(stream, &CONTEXT) {
        answered(error, 0);
    }
}

const CONTEXT: DecodeContext = DecodeContext { four_octet_as: true, local_address: None };

fn messages<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Message, WireError>> {
    let mut buffer = FrameBuffer::new(4096);
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match buffer.fill(&mut chunk) {
                Ok(false) => break,
                Ok(true) => {
                    let (kind, body) = buffer.message().expect("it is whole");
                    seen.push(Message::decode(kind, body, &CONTEXT));
                    buffer.clear();
                }
                Err(error) => {
                    seen.push(Err(error.into()));
                    return seen;
                }
            }
        }
    }
    seen
}

/// An error has an answer of the right code that fits a message; code 0 stands for any.
fn answered(error: WireError, code: u8) {
    assert!(error.to_string().len() < 200);
    if let Some(answer) = error.answer() {
        assert!(code == 0 || answer.code() == code);
        assert!(answer.encode().len() <= 4096);
    }
}

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
            drop(session.handle_accepted(now, (std::net::Ipv4Addr::new(10, 0, 0, 2), 179).into()));
        }
        let mut events = 0;
        while let Some(event) = session.poll_event() {
            events += 1;
            if event == SessionEvent::Dial && wait & 1 == 0 {
                session.handle_connected(now, (std::net::Ipv4Addr::new(10, 0, 0, 2), 5000).into());
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
        peer: PeerConfig { families: Families::BOTH, ..peer },
    };
    let mut session = Session::new(config, 1);
    session.handle_start(now);
    session.handle_connected(now, (std::net::Ipv4Addr::new(10, 0, 0, 2), 5000).into());
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
