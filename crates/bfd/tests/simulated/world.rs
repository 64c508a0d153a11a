// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two `Sessions` and the link between them. Packets take time and can be lost; every packet is checked on its way for what
//! must hold of all packets.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use weir_bfd::packet::{PACKET_LEN, Packet, State};
use weir_bfd::session::{SLOW_INTERVAL, Session, Transition};
use weir_bfd::sessions::{Datagram, Sessions};
use weir_bfd::{SessionConfig, Timing};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

pub(crate) fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(host).expect("two hosts") + 1).into()
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn timing(tx: u64, rx: u64, detect_mult: u8) -> Timing {
    Timing { desired_min_tx: ms(tx), required_min_rx: ms(rx), detect_mult }
}

/// The one session of a host with the other.
pub(crate) fn config(host: usize, timing: Timing) -> SessionConfig {
    SessionConfig { timing, ..SessionConfig::new(address(1 - host)) }
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) from: usize,
    pub(crate) packet: Packet,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Sessions; 2],
    pub(crate) delay: Duration,
    /// Whether the n-th packet of a host is lost.
    pub(crate) is_lost: fn(from: usize, n: usize) -> bool,
    pub(crate) sent: Vec<Sent>,
    pub(crate) transitions: Vec<(Instant, usize, Transition)>,
    flying: VecDeque<(Instant, usize, [u8; PACKET_LEN])>,
    counts: [usize; 2],
    seed: u64,
}

impl World {
    /// Both hosts have a session with the other, and nothing has happened.
    pub(crate) fn new(seed: u64, timings: [Timing; 2]) -> World {
        let mut world = World {
            now: Instant::now(),
            hosts: [Sessions::new(seed), Sessions::new(seed ^ 0xffff)],
            delay: Duration::from_micros(200),
            is_lost: |_, _| false,
            sent: Vec::new(),
            transitions: Vec::new(),
            flying: VecDeque::new(),
            counts: [0, 0],
            seed,
        };
        for host in [A, B] {
            world.set(host, &config(host, timings[host]));
        }
        world
    }

    pub(crate) fn set(&mut self, host: usize, config: &SessionConfig) {
        let wanted = BTreeMap::from([("peer".to_owned(), config.clone())]);
        self.hosts[host].set(wanted, self.now).expect("a good set");
        self.flush(host);
    }

    /// The host loses all that it knew and starts again.
    pub(crate) fn restart(&mut self, host: usize, config: &SessionConfig) {
        self.seed += 1;
        self.hosts[host] = Sessions::new(self.seed);
        self.set(host, config);
    }

    pub(crate) fn session(&self, host: usize) -> &Session {
        let mut entries = self.hosts[host].iter();
        &entries.find(|(_, entry)| !entry.is_leaving()).expect("a session").1.session
    }

    pub(crate) fn state(&self, host: usize) -> State {
        self.session(host).state()
    }

    /// Runs to the next thing that happens, not beyond `until`; `false` when that is reached.
    fn step(&mut self, until: Instant) -> bool {
        let timers = self.hosts.iter().filter_map(Sessions::poll_timeout);
        let next = timers.chain(self.flying.front().map(|(at, ..)| *at)).min().unwrap_or(until);
        if next > until {
            self.now = until;
            return false;
        }
        assert!(next >= self.now || self.hosts.iter().all(|h| h.poll_timeout() >= Some(self.now)));
        self.now = next.max(self.now);
        while self.flying.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, from, octets) = self.flying.pop_front().expect("looked at above");
            let source = address(from);
            let datagram = Datagram { source, interface: 1, hop_limit: Some(255), payload: &octets };
            match self.hosts[1 - from].handle_datagram(&datagram, self.now) {
                // What is refused is counted, and the tests look at the counters.
                Ok(_) | Err(_) => {}
            }
            self.flush(1 - from);
        }
        for host in [A, B] {
            self.hosts[host].handle_timeout(self.now);
            self.flush(host);
        }
        true
    }

    fn flush(&mut self, from: usize) {
        let mut packets = Vec::new();
        self.hosts[from].transmit(|_, _, packet| packets.push(*packet));
        for packet in packets {
            check(&packet);
            self.sent.push(Sent { at: self.now, from, packet });
            self.counts[from] += 1;
            if !(self.is_lost)(from, self.counts[from]) {
                self.flying.push_back((self.now + self.delay, from, packet.encode()));
            }
        }
        for (_, _, transition) in self.hosts[from].transitions() {
            self.transitions.push((self.now, from, transition));
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Runs until it holds, and gives how long that took.
    pub(crate) fn run_until(&mut self, limit: Duration, holds: impl Fn(&World) -> bool) -> Duration {
        let (begun, until) = (self.now, self.now + limit);
        while !holds(self) {
            assert!(self.step(until), "it does not happen within {limit:?}");
        }
        self.now - begun
    }

    /// Up on both ends, with the agreed intervals in force.
    pub(crate) fn bring_up(&mut self) -> Duration {
        self.run_until(ms(10_000), |world| {
            [A, B].iter().all(|host| world.state(*host) == State::Up && !world.session(*host).is_polling())
        })
    }

    /// Times between the packets that a host sent since `from`, without answers to polls.
    pub(crate) fn gaps(&self, host: usize, from: Instant) -> Vec<Duration> {
        let of_host = self.sent.iter().filter(|sent| sent.from == host && sent.at >= from);
        let at: Vec<Instant> = of_host.filter(|sent| !sent.packet.is_final).map(|sent| sent.at).collect();
        at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

/// What holds of every packet that we send.
pub(crate) fn check(packet: &Packet) {
    assert!(!(packet.poll && packet.is_final), "P and F together");
    assert!(packet.state == State::Up || packet.desired_min_tx >= SLOW_INTERVAL, "fast while not Up");
    assert!(packet.required_min_echo_rx.is_zero() && !packet.control_plane_independent);
    assert!(
        packet.your_discriminator.is_some() || matches!(packet.state, State::AdminDown | State::Down),
        "a state that needs the peer's discriminator, without it"
    );
    assert_eq!(Packet::decode(&packet.encode()), Ok(*packet));
}
