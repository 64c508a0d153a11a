// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of a BGP session, whatever the peer, the network and the operator do, in any order.
//!
//! ```text
//!   input ──► commands ──► Session ──► events, messages ──► a model of both sockets and of what the peer holds
//! ```
//!
//! - Up and Down alternate and tell whether a connection is Established; no connection is used before it stands or after
//!   its end; the first message on one is OPEN, routes follow KEEPALIVE only.
//! - Everything sent can be read without a finding and is no longer than was negotiated.
//! - Once everything was said, the peer holds exactly what is wanted, of the families agreed on.
//! - Events, messages, received routes and the time of stale routes are bounded; a timer is never left in the past.
//! - After its end a session says and wants nothing more.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_bgp::rib::Wanted;
use weir_bgp::session::{Session, SessionConfig, SessionEvent, Slot, State};
use weir_bgp::wire::{DecodeContext, Message, MessageType, Update};
use weir_bgp::{
    Advertisement, Ending, Families, Family, GracefulRestart, PathDown, PeerConfig, Prefix, RemoteAs,
};

use crate::peer;

/// Commands of one input: enough for a session to come up, end and come up again a few times.
const COMMANDS_MAX: usize = 96;
/// Longest time that a peer's routes are kept while it restarts.
const HELPER_MAX: Duration = Duration::from_secs(60);
const PREFIXES_MAX: u32 = 3;

/// Runs one input: an octet for the configuration, then commands.
pub fn session(octets: &[u8]) {
    let Some((choice, rest)) = octets.split_first() else { return };
    let mut world = World::new(*choice);
    let mut input = Input { rest };
    for _ in 0..COMMANDS_MAX {
        let Some(command) = input.octet() else { break };
        world.apply(command, &mut input);
        world.settle();
        world.check();
    }
}

/// The unread rest of an input.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn argument(&mut self) -> u8 {
        self.octet().unwrap_or_default()
    }

    fn octets(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(self.rest.len().min(count));
        self.rest = rest;
        taken
    }
}

/// A connection as both ends see it.
#[derive(Default)]
struct Socket {
    is_open: bool,
    sent: usize,
}

struct World {
    session: Session,
    now: Instant,
    sockets: [Socket; 2],
    is_dialling: bool,
    is_up: bool,
    is_ending: bool,
    is_stopped: bool,
    wanted: BTreeSet<Prefix>,
    /// What the peer holds of the session that stands.
    held: BTreeSet<Prefix>,
    is_v6: bool,
}

fn index(slot: Slot) -> usize {
    match slot {
        Slot::Dialled => 0,
        Slot::Accepted => 1,
    }
}

impl World {
    fn new(choice: u8) -> Self {
        let has = |bit: u8| choice & (1 << bit) != 0;
        let is_v6 = has(0);
        let address: IpAddr =
            if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::new(10, 0, 0, 1).into() };
        let mut peer = PeerConfig::new("peer", address, RemoteAs::External);
        peer.families = Families::BOTH;
        peer.passive = has(1);
        peer.hold_time = Duration::from_secs(if has(2) { 0 } else { 9 });
        peer.prefixes_max = PREFIXES_MAX;
        peer.next_hop_v4 = has(3).then_some(Ipv4Addr::new(10, 0, 0, 2));
        peer.next_hop_v6 = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
        let now = Instant::now();
        let restart_time = Duration::from_secs(20);
        let config = SessionConfig {
            asn: 65010,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            hostname: "lb".into(),
            software: "weir/0".into(),
            graceful_restart: (!has(4)).then_some(GracefulRestart {
                restart_time,
                is_restarting: has(5),
                helper_max: HELPER_MAX,
            }),
            restarting_until: (!has(4) && has(5)).then_some(now + restart_time),
            peer,
        };
        let mut session = Session::new(config, u64::from(choice));
        session.handle_start(now);
        Self {
            session,
            now,
            sockets: Default::default(),
            is_dialling: false,
            is_up: false,
            is_ending: false,
            is_stopped: false,
            wanted: BTreeSet::new(),
            held: BTreeSet::new(),
            is_v6,
        }
        .begun()
    }

    fn begun(mut self) -> Self {
        self.settle();
        self
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let end = |last: u8, port| -> SocketAddr {
            let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last));
            if self.is_v6 { (v6, port).into() } else { (Ipv4Addr::new(10, 0, 0, last), port).into() }
        };
        (end(2, 40000), end(1, 179))
    }

    fn apply(&mut self, command: u8, input: &mut Input<'_>) {
        let slot = if command & 0x80 == 0 { Slot::Dialled } else { Slot::Accepted };
        let now = self.now;
        match command & 0x0f {
            // What a peer says that knows the protocol; most of the input's way.
            0..=3 => {
                let message = peer::message(input.argument(), input.argument());
                self.receive(slot, &message);
            }
            4 => {
                let count = usize::from(input.argument());
                let octets = input.octets(count);
                self.receive(slot, octets);
            }
            5 | 6 => {
                self.now += Duration::from_millis(u64::from(input.argument()) * 100);
                self.session.handle_timeout(self.now);
            }
            7 => self.answer_dial(command & 0x40 == 0),
            8 => {
                let (local, remote) = self.ends();
                // An older one is closed by an event, which is settled first.
                if self.session.handle_accepted(now, local, remote).is_ok() {
                    self.events();
                    self.sockets[index(Slot::Accepted)] = Socket { is_open: true, sent: 0 };
                }
            }
            9 => {
                if std::mem::take(&mut self.sockets[index(slot)].is_open) {
                    self.session.handle_closed(now, slot);
                }
            }
            10 => self.want(input.argument()),
            11 => {
                self.session.handle_path_down(
                    now,
                    if slot == Slot::Dialled { PathDown::Bfd } else { PathDown::Link },
                );
            }
            12 => match input.argument() % 8 {
                0 => self.session.handle_complete(now),
                1 => self.session.handle_forwarding(false),
                2 => self.session.handle_forwarding(true),
                3 => self.session.handle_remote_changed(now, None),
                _ => {
                    let (_, remote) = self.ends();
                    self.session.handle_remote_changed(now, Some(remote));
                }
            },
            13 => self.session.handle_blocked(now, slot),
            14 => self.session.handle_progress(slot),
            _ => {
                let text = "maintenance".to_owned();
                let is_stop = input.argument() & 1 == 0;
                let ending = if is_stop { Ending::Stop { text } } else { Ending::Restart { text } };
                self.is_ending = true;
                self.session.handle_ending(now, &ending);
            }
        }
    }

    /// The driver reads from open sockets only.
    fn receive(&mut self, slot: Slot, octets: &[u8]) {
        if self.sockets[index(slot)].is_open {
            self.session.handle_octets(self.now, slot, octets);
        }
    }

    fn answer_dial(&mut self, is_connected: bool) {
        if !std::mem::take(&mut self.is_dialling) {
            return;
        }
        if is_connected {
            self.sockets[index(Slot::Dialled)] = Socket { is_open: true, sent: 0 };
            let (local, remote) = self.ends();
            self.session.handle_connected(self.now, local, remote);
        } else {
            self.session.handle_connect_failed(self.now);
        }
    }

    /// A set by the bits of an octet: four prefixes of each family, some with attributes of their own.
    fn want(&mut self, bits: u8) {
        let prefix = |n: u8| -> Prefix {
            if n < 4 {
                Prefix::host(Ipv4Addr::new(192, 0, 2, n).into())
            } else {
                Prefix::host(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(n)).into())
            }
        };
        let chosen: BTreeSet<Prefix> = (0..8).filter(|n| bits & (1 << n) != 0).map(prefix).collect();
        let advertisement = |prefix: &Prefix| {
            let mut advertisement = Advertisement::plain(*prefix);
            advertisement.med = bits.is_multiple_of(3).then_some(u32::from(bits));
            advertisement.communities = if bits.is_multiple_of(5) { vec![0xffff_0000] } else { vec![] };
            advertisement
        };
        let advertisements: BTreeSet<Advertisement> = chosen.iter().map(advertisement).collect();
        if !self.is_ending {
            self.wanted = chosen;
        }
        self.session.handle_wanted(Arc::new(Wanted::new(&advertisements)));
    }

    /// What the driver does after every input: events, then octets, until there is nothing more.
    fn settle(&mut self) {
        for _ in 0..8 {
            let events = self.events();
            let messages = Slot::ALL.into_iter().map(|slot| self.transmit(slot)).sum::<usize>();
            // The timers that are due by now, such as the end that everything was waiting for.
            if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                self.session.handle_timeout(self.now);
            } else if events + messages == 0 {
                return;
            }
        }
        panic!("a session that is not left alone and does not come to rest");
    }

    fn events(&mut self) -> usize {
        let mut count = 0;
        while let Some(event) = self.session.poll_event() {
            count += 1;
            assert!(count < 64, "events without end");
            assert!(
                !self.is_stopped || matches!(event, SessionEvent::Close { .. }),
                "{event:?} after the end"
            );
            match event {
                SessionEvent::Dial(_) => {
                    assert!(!std::mem::replace(&mut self.is_dialling, true), "two attempts at once");
                    assert!(!self.sockets[index(Slot::Dialled)].is_open);
                }
                SessionEvent::AbortDial => self.is_dialling = false,
                SessionEvent::Close { slot, farewell } => {
                    // What was said before is written first; a farewell is a NOTIFICATION.
                    self.sockets[index(slot)].is_open = false;
                    if let Some(octets) = farewell {
                        let (message, kind) = read(&octets, 4096);
                        assert!(kind == MessageType::Notification, "{message:?}");
                    }
                }
                SessionEvent::Up => {
                    assert!(!std::mem::replace(&mut self.is_up, true), "up twice");
                    self.held.clear();
                }
                SessionEvent::Down => assert!(std::mem::take(&mut self.is_up), "down twice"),
                SessionEvent::NotificationSent { notification, .. } => {
                    assert!(notification.encode().len() <= 4096);
                }
                SessionEvent::NotificationReceived(_) => {}
                SessionEvent::Stopped => {
                    assert!(self.is_ending);
                    self.is_stopped = true;
                }
            }
        }
        count
    }

    fn transmit(&mut self, slot: Slot) -> usize {
        let mut count = 0;
        while let Some(octets) = self.session.poll_transmit(slot) {
            count += 1;
            assert!(count < 100, "messages without end");
            let max = match self.session.negotiated() {
                Some((negotiated, _)) if negotiated.has_extended_message => 65535,
                _ => 4096,
            };
            let (message, kind) = read(&octets, max);
            let socket = &mut self.sockets[index(slot)];
            assert!(socket.is_open, "{kind:?} on a connection that is not there");
            assert_eq!(socket.sent == 0, kind == MessageType::Open, "OPEN comes first and once");
            socket.sent += 1;
            if kind == MessageType::Update || kind == MessageType::Refresh {
                assert_eq!(self.session.established_slot(), Some(slot));
                assert!(socket.sent > 2, "OPEN and KEEPALIVE come before routes");
            }
            if let Message::Update(update) = message {
                self.peer_reads(&update);
            }
        }
        count
    }

    fn peer_reads(&mut self, update: &Update) {
        assert_eq!(update.treatment, None, "{:?}", update.findings);
        for prefix in update.withdrawals() {
            self.held.remove(&prefix);
        }
        self.held.extend(update.announced());
        // Our AS is in every path we send, first, and never in a set.
        if update.announced().next().is_some() {
            assert!(update.has_loop(65010));
        }
    }

    fn check(&self) {
        let session = &self.session;
        assert_eq!(session.established_slot().is_some(), self.is_up);
        assert_eq!(self.is_up, session.state() == State::Established);
        if let Some(slot) = session.established_slot() {
            assert!(self.sockets[index(slot)].is_open);
        }
        for family in Family::ALL {
            assert!(session.adj_rib_in().len(family) <= PREFIXES_MAX);
        }
        if let Some(until) = session.stale_until() {
            assert!(until <= self.now + HELPER_MAX && until > self.now);
        }
        assert!(session.warnings().len() <= 8);
        if self.is_stopped {
            assert!(!self.is_up && !self.is_dialling && self.sockets.iter().all(|socket| !socket.is_open));
        }
        assert!(session.poll_timeout().is_none_or(|at| at > self.now), "what is due is done");
        if self.is_up && !self.is_ending && session.rib().is_settled() {
            let (negotiated, _) = session.negotiated().expect("it is up");
            let is_sent = |p: &&Prefix| {
                negotiated.families.contains(p.family())
                    && session.rib().export().is_some_and(|e| e.sends_family(p.family()))
            };
            let wanted: BTreeSet<Prefix> = self.wanted.iter().filter(is_sent).copied().collect();
            assert_eq!(self.held, wanted, "the peer holds what is wanted");
            assert_eq!(session.negotiated_status().is_some(), self.is_up);
        }
    }
}

/// Reads one message that was sent.
fn read(octets: &[u8], max: usize) -> (Message, MessageType) {
    assert!(octets.len() <= max, "{} octets", octets.len());
    let mut buffer = weir_bgp::wire::FrameBuffer::new(max);
    assert_eq!(buffer.fill(&mut &octets[..]), Ok(true));
    let (kind, body) = buffer.message().expect("it is whole");
    let context = DecodeContext { four_octet_as: true, local_address: None };
    // Of a two-octet peer the path has another width; its prefixes are the same.
    let message = Message::decode(kind, body, &context).expect("what is sent can be read");
    match message {
        Message::Update(update) if update.treatment.is_some() => {
            let context = DecodeContext { four_octet_as: false, ..context };
            (Message::decode(kind, body, &context).expect("what is sent can be read"), kind)
        }
        other => (other, kind),
    }
}
