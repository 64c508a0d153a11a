// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two sessions joined by a simulated network: connections with latency in order of sending, silence, closes, refusals.

use super::*;
use crate::advertise::Advertisement;
use crate::config::{Ending, Family};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
enum Delivery {
    /// The acceptor hears of a new connection.
    Syn,
    /// The dialler hears that it stands.
    SynAck,
    /// The dialler hears that it does not.
    Refused,
    Octets(Vec<u8>),
    Closed,
}

/// One side of the link.
pub(super) struct Node {
    pub(super) session: Session,
    config: SessionConfig,
    /// Connection under way, and the ones that stand.
    dialling: Option<usize>,
    standing: BTreeMap<u8, usize>,
    log: Vec<(Duration, SessionEvent)>,
    is_dead: bool,
}

pub(super) struct World {
    pub(super) nodes: [Node; 2],
    start: Instant,
    pub(super) now: Instant,
    random: Random,
    /// (when, order) -> (node, connection, what).
    network: BTreeMap<(Instant, u64), (usize, usize, Delivery)>,
    /// Who dialled each connection.
    diallers: Vec<usize>,
    /// Last delivery of a connection towards a node, so that nothing overtakes.
    last: BTreeMap<(usize, usize), Instant>,
    order: u64,
    /// Nothing arrives until this ends.
    pub(super) is_silent: bool,
    /// Connecting fails.
    pub(super) is_refusing: bool,
    pub(super) latency_max: Duration,
}

fn key(slot: Slot) -> u8 {
    match slot {
        Slot::Dialled => 0,
        Slot::Accepted => 1,
    }
}

impl World {
    pub(super) fn new(seed: u64, change: impl Fn(usize, &mut SessionConfig)) -> Self {
        let start = Instant::now();
        let node = |index: usize, mut config: SessionConfig| {
            change(index, &mut config);
            Node {
                session: Session::new(config.clone(), seed * 2 + index as u64),
                config,
                dialling: None,
                standing: BTreeMap::new(),
                log: vec![],
                is_dead: false,
            }
        };
        let nodes = [
            node(0, config(65010, "192.0.2.1", "10.0.0.2", 65000)),
            node(1, config(65000, "10.255.0.1", "10.0.0.1", 65010)),
        ];
        Self {
            nodes,
            start,
            now: start,
            random: Random::new(seed),
            network: BTreeMap::new(),
            diallers: vec![],
            last: BTreeMap::new(),
            order: 0,
            is_silent: false,
            is_refusing: false,
            latency_max: Duration::from_millis(2),
        }
    }

    fn started(seed: u64) -> Self {
        let mut world = Self::new(seed, |_, _| {});
        world.start_all();
        world
    }

    pub(super) fn start_all(&mut self) {
        for index in 0..2 {
            self.nodes[index].session.handle_start(self.now);
            self.drain(index);
        }
    }

    fn send(&mut self, to: usize, connection: usize, delivery: Delivery) {
        let latency = self.chance(self.latency_max) + Duration::from_micros(10);
        let at = (self.now + latency).max(self.last.get(&(to, connection)).copied().unwrap_or(self.now));
        self.last.insert((to, connection), at);
        self.order += 1;
        self.network.insert((at, self.order), (to, connection, delivery));
    }

    /// Anything from nothing to `max`.
    pub(super) fn chance(&mut self, max: Duration) -> Duration {
        self.random.jittered(max * 4).saturating_sub(max * 3)
    }

    pub(super) fn drain(&mut self, index: usize) {
        let other = 1 - index;
        while let Some(event) = self.nodes[index].session.poll_event() {
            match &event {
                SessionEvent::Dial(_) => {
                    let connection = self.diallers.len();
                    self.diallers.push(index);
                    self.nodes[index].dialling = Some(connection);
                    let (to, what) =
                        if self.is_refusing { (index, Delivery::Refused) } else { (other, Delivery::Syn) };
                    self.send(to, connection, what);
                }
                SessionEvent::AbortDial => self.nodes[index].dialling = None,
                SessionEvent::Close { slot, farewell } => {
                    if let Some(connection) = self.nodes[index].standing.remove(&key(*slot)) {
                        if let Some(farewell) = farewell {
                            self.send(other, connection, Delivery::Octets(farewell.clone()));
                        }
                        self.send(other, connection, Delivery::Closed);
                    }
                }
                _ => {}
            }
            self.nodes[index].log.push((self.now - self.start, event));
        }
        for slot in Slot::ALL {
            while let Some(message) = self.nodes[index].session.poll_transmit(slot) {
                let connection = self.nodes[index].standing[&key(slot)];
                self.send(other, connection, Delivery::Octets(message));
            }
        }
    }

    fn deliver(&mut self, index: usize, connection: usize, delivery: Delivery) {
        let (now, other) = (self.now, 1 - index);
        let [local, remote] =
            [index, other].map(|index| format!("10.0.0.{}:179", index + 1).parse().unwrap());
        let slot = if self.diallers[connection] == index { Slot::Dialled } else { Slot::Accepted };
        let is_standing = self.nodes[index].standing.get(&key(slot)) == Some(&connection);
        match delivery {
            Delivery::Syn if self.nodes[index].is_dead => self.send(other, connection, Delivery::Refused),
            Delivery::Syn => {
                self.send(other, connection, Delivery::SynAck);
                match self.nodes[index].session.handle_accepted(now, local, remote) {
                    Ok(()) => {
                        // Events first: an older connection may be closed by them.
                        let mut pending = vec![];
                        while let Some(event) = self.nodes[index].session.poll_event() {
                            pending.push(event);
                        }
                        for event in pending {
                            if let SessionEvent::Close { slot, farewell } = &event
                                && let Some(old) = self.nodes[index].standing.remove(&key(*slot))
                            {
                                let farewell = farewell.clone().unwrap_or_default();
                                self.send(other, old, Delivery::Octets(farewell));
                                self.send(other, old, Delivery::Closed);
                            }
                            self.nodes[index].log.push((self.now - self.start, event));
                        }
                        self.nodes[index].standing.insert(key(slot), connection);
                    }
                    Err(farewell) => {
                        self.send(other, connection, Delivery::Octets(farewell.encode()));
                        self.send(other, connection, Delivery::Closed);
                    }
                }
            }
            Delivery::SynAck => {
                if self.nodes[index].dialling == Some(connection) {
                    self.nodes[index].dialling = None;
                    self.nodes[index].standing.insert(key(slot), connection);
                    self.nodes[index].session.handle_connected(now, local, remote);
                } else {
                    self.send(other, connection, Delivery::Closed);
                }
            }
            Delivery::Refused => {
                if self.nodes[index].dialling == Some(connection) {
                    self.nodes[index].dialling = None;
                    self.nodes[index].session.handle_connect_failed(now);
                }
            }
            Delivery::Octets(octets) if is_standing => {
                // Any cut must do.
                let cut = 1 + usize::try_from(self.order % 40).unwrap();
                for chunk in octets.chunks(cut) {
                    self.nodes[index].session.handle_octets(now, slot, chunk);
                }
            }
            Delivery::Closed if is_standing => {
                self.nodes[index].session.handle_closed(now, slot);
            }
            Delivery::Octets(_) | Delivery::Closed => {}
        }
        self.drain(index);
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..1_000_000 {
            let delivery = self.network.keys().next().map(|(at, _)| *at);
            let timeouts = self.nodes.iter().filter_map(|n| n.session.poll_timeout());
            let Some(next) = timeouts.chain(delivery).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if delivery == Some(next) {
                let ((at, _), (index, connection, what)) = self.network.pop_first().unwrap();
                if self.is_silent {
                    // TCP tries again, in order, for as long as the connection lives.
                    let again = (at + Duration::from_millis(200)).max(self.last[&(index, connection)]);
                    self.last.insert((index, connection), again);
                    self.order += 1;
                    self.network.insert((again, self.order), (index, connection, what));
                } else {
                    self.deliver(index, connection, what);
                }
            } else {
                for index in 0..2 {
                    self.nodes[index].session.handle_timeout(self.now);
                    self.drain(index);
                }
            }
        }
        panic!("a million steps in {duration:?}: {:?}", self.nodes.each_ref().map(|n| n.session.state()));
    }

    pub(super) fn states(&self) -> [State; 2] {
        self.nodes.each_ref().map(|n| n.session.state())
    }

    /// Both Established, on one and the same connection, and no other connection left.
    pub(super) fn assert_met(&self, what: &str) {
        assert_eq!(
            self.states(),
            [State::Established; 2],
            "{what}: {:#?}",
            self.nodes.each_ref().map(|n| &n.log)
        );
        let stands = self.nodes.each_ref().map(|n| n.standing.values().copied().collect::<Vec<_>>());
        assert_eq!(stands[0], stands[1], "{what}");
        assert_eq!(stands[0].len(), 1, "{what}");
    }

    pub(super) fn count(&self, index: usize, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.nodes[index].log.iter().filter(|(_, event)| wanted(event)).count()
    }

    pub(super) fn heard(&self, index: usize) -> Vec<String> {
        let heard = self.nodes[index].log.iter().filter_map(|(_, event)| match event {
            SessionEvent::NotificationReceived(n) => Some(n.to_string()),
            _ => None,
        });
        heard.collect()
    }

    /// The process of a node is gone without a word: the kernel closes what it had.
    pub(super) fn kill(&mut self, index: usize) {
        for connection in std::mem::take(&mut self.nodes[index].standing).into_values() {
            self.send(1 - index, connection, Delivery::Closed);
        }
        let node = &mut self.nodes[index];
        (node.dialling, node.is_dead) = (None, true);
        node.session = Session::new(node.config.clone(), 0);
    }

    /// Another process takes its place, with these words about what was before.
    pub(super) fn revive(&mut self, index: usize, change: impl FnOnce(&mut SessionConfig)) {
        self.order += 1;
        let node = &mut self.nodes[index];
        change(&mut node.config);
        node.is_dead = false;
        node.session = Session::new(node.config.clone(), self.order);
        node.session.handle_start(self.now);
        self.drain(index);
    }

    /// The network cuts every connection, telling both sides.
    pub(super) fn cut(&mut self) {
        for index in 0..2 {
            for slot in Slot::ALL {
                if self.nodes[index].standing.contains_key(&key(slot)) {
                    self.nodes[index].session.handle_closed(self.now, slot);
                    self.drain(index);
                }
            }
        }
    }
}

pub(super) fn wanted(prefixes: &[&str]) -> Arc<Wanted> {
    let set: BTreeSet<_> = prefixes.iter().map(|p| Advertisement::plain(p.parse().unwrap())).collect();
    Arc::new(Wanted::new(&set))
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn two_sessions_meet_and_stay() {
    let mut world = World::new(1, |index, config| config.peer.passive = index == 1);
    world.start_all();
    world.run(Duration::from_millis(100));
    world.assert_met("one dials");
    world.run(10 * MINUTE);
    world.assert_met("ten minutes later");
    for index in 0..2 {
        assert_eq!(world.count(index, |e| *e == SessionEvent::Up), 1);
        let keepalives = world.nodes[index].session.counters().messages_in.keepalive;
        assert!((200..=267).contains(&keepalives), "{keepalives} keepalives in ten minutes");
    }
}

#[test]
fn dialling_at_the_same_time_ends_in_one_connection() {
    let (mut resolved, mut flapped) = (0, 0);
    for seed in 0..500 {
        let mut world = World::new(seed, |_, _| {});
        world.latency_max = Duration::from_millis([0, 2, 50, 400][usize::try_from(seed % 4).unwrap()]);
        // The second starts somewhat later, sometimes.
        world.nodes[0].session.handle_start(world.now);
        world.drain(0);
        let later = world.chance(world.latency_max * 2);
        world.run(later);
        world.nodes[1].session.handle_start(world.now);
        world.drain(1);
        world.run(MINUTE);
        world.assert_met(&format!("seed {seed}"));
        let is_collision = |e: &SessionEvent| {
            matches!(e, SessionEvent::NotificationSent { notification: n, .. }
            if (n.code(), n.subcode()) == (6, 7))
        };
        resolved += usize::from((0..2).any(|index| world.count(index, is_collision) > 0));
        flapped += usize::from((0..2).any(|index| world.count(index, |e| *e == SessionEvent::Down) > 0));
    }
    assert!(resolved > 100, "collisions really happened: {resolved} of 500");
    assert!(flapped < 50, "{flapped} of 500 came up and went down again");
}

#[test]
fn silence_expires_the_hold_timer_on_both_sides_and_they_meet_again() {
    let mut world = World::started(3);
    world.run(MINUTE);
    world.assert_met("before");
    let since = world.now - world.start;
    world.is_silent = true;
    world.run(Duration::from_secs(10));
    for index in 0..2 {
        let (at, _) = world.nodes[index].log.iter().rfind(|(_, e)| *e == SessionEvent::Down).unwrap();
        let waited = *at - since;
        assert!(waited >= Duration::from_secs(6) && waited <= Duration::from_secs(9), "{waited:?}");
    }
    world.is_silent = false;
    world.run(MINUTE);
    world.assert_met("after");
}

#[test]
fn a_connection_that_closes_is_down_at_once_and_up_again_soon() {
    let mut world = World::started(4);
    world.run(MINUTE);
    world.cut();
    assert!(world.states().iter().all(|s| *s != State::Established));
    world.run(Duration::from_secs(8));
    world.assert_met("eight seconds later");
}

#[test]
fn a_network_that_refuses_for_an_hour_is_met_within_the_retry_time() {
    let mut world = World::new(5, |_, _| {});
    world.is_refusing = true;
    world.start_all();
    world.run(60 * MINUTE);
    assert_eq!(world.count(0, |e| *e == SessionEvent::Up), 0);
    world.is_refusing = false;
    world.run(Duration::from_secs(6));
    world.assert_met("after an hour");
}

#[test]
fn prefixes_arrive_and_a_clean_end_says_why() {
    let mut world = World::started(6);
    world.nodes[0].session.handle_wanted(wanted(&["192.0.2.1/32", "2001:db8:ffff::1/128"]));
    world.drain(0);
    world.run(Duration::from_secs(10));
    let counters = world.nodes[1].session.counters().clone();
    assert_eq!((counters.received_ipv4.announced, counters.received_ipv6.announced), (1, 1));
    assert_eq!((counters.received_ipv4.end_of_rib, counters.received_ipv6.end_of_rib), (1, 1));
    assert_eq!(world.nodes[0].session.rib().view().unwrap().len(Family::Ipv4Unicast), 1);
    let ending = Ending::Stop { text: "rack 12".into() };
    world.nodes[0].session.handle_ending(world.now, &ending);
    world.drain(0);
    world.run(Duration::from_millis(20));
    let counters = world.nodes[1].session.counters();
    assert_eq!((counters.received_ipv4.withdrawn, counters.received_ipv6.withdrawn), (1, 1));
    assert_eq!(world.heard(1), ["cease (6), administrative shutdown (2): rack 12"]);
    assert_eq!(world.count(0, |e| *e == SessionEvent::Stopped), 1);
    world.run(10 * MINUTE);
    assert!(world.nodes[0].standing.is_empty() && world.nodes[0].session.state() == State::Idle);
}

#[test]
fn a_wrong_as_is_told_and_not_hammered() {
    let mut world = World::new(7, |index, config| {
        if index == 0 {
            config.peer.remote_as = RemoteAs::Exact(64999);
        }
    });
    world.start_all();
    world.run(10 * MINUTE);
    assert!(world.heard(1).iter().any(|t| t == "open message error (2), bad peer AS (2)"));
    let told = world.heard(1).iter().filter(|t| t.contains("bad peer AS")).count();
    assert!(told < 60, "{told} in ten minutes");
    assert_eq!(world.count(0, |e| *e == SessionEvent::Up), 0);
}

#[test]
fn whatever_the_network_does_they_meet_once_it_is_well() {
    for seed in 0..100 {
        let mut world = World::started(seed);
        world.latency_max = Duration::from_millis(20);
        for round in 0..20 {
            let pause = world.chance(Duration::from_secs(16));
            match (seed + round) % 4 {
                0 => world.cut(),
                1 => world.is_silent = !world.is_silent,
                2 => world.is_refusing = !world.is_refusing,
                _ => {
                    let index = usize::try_from(round % 2).unwrap();
                    world.nodes[index].session.handle_wanted(wanted(&[&format!("192.0.2.{round}/32")]));
                    world.drain(index);
                }
            }
            world.run(pause);
        }
        (world.is_silent, world.is_refusing) = (false, false);
        world.run(4 * MINUTE + MINUTE);
        world.assert_met(&format!("seed {seed}"));
        for node in &world.nodes {
            assert!(node.session.rib().is_settled());
        }
    }
}
