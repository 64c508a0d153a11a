// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One session, sans-IO: packets and time in, packets and transitions out. Owns the variables of RFC 5880 §6.8.1 and the
//! procedures of §6.8; knows neither sockets nor addresses.
//!
//! ```text
//!   handle_packet ─┐                       ┌─► poll_transmit    until None
//!   handle_timeout ├──► variables, timers ─┼─► poll_transition  until None
//!   set_*         ─┘                       └─► poll_timeout     when to call handle_timeout
//! ```
//! Two times are kept of each thing that a Poll Sequence confirms (§6.8.3): what is *advertised*, and what is *in force*
//! until the peer has answered. Faster sending and slower detection apply at once, slower sending and faster detection
//! wait, because only then both ends agree at every moment on how long silence may last.
//!
//! Demand mode, the Echo function and authentication are not spoken; the C bit is clear, because BFD ends with the daemon.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::config::{Timing, Wanted};
use crate::packet::{Diagnostic, Packet, State};
use crate::random::Random;
use crate::transition::{Next, next};

/// Least transmit interval while a session is not Up (RFC 5880 §6.8.3).
pub const SLOW_INTERVAL: Duration = Duration::from_secs(1);

/// What the peer is taken to accept before it has said so (RFC 5880 §6.8.1).
const REMOTE_MIN_RX_INITIAL: Duration = Duration::from_micros(1);

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// State before.
    pub from: State,
    /// State after.
    pub to: State,
    /// Our reason.
    pub diagnostic: Diagnostic,
    /// The peer's state at that moment: AdminDown tells a wish from a failure.
    pub remote_state: State,
    /// The peer's reason for its own last change.
    pub remote_diagnostic: Diagnostic,
}

/// Why a session left Up though both ends wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Our reason: silence, or the peer's word.
    pub diagnostic: Diagnostic,
    /// The peer's reason at that moment.
    pub remote_diagnostic: Diagnostic,
    /// The peer's C bit: its BFD does not end with its control plane (RFC 5882 §4.3).
    pub remote_is_independent: bool,
}

impl Failure {
    /// Whether the peer has ended its BFD, and may have done so because it restarts: it told us itself, names no failure of
    /// the path, and its BFD shares the fate of its control plane (RFC 5882 §4.3.2).
    pub fn is_peer_ending(&self) -> bool {
        let names_none = matches!(
            self.remote_diagnostic,
            Diagnostic::NONE | Diagnostic::NEIGHBOUR_SIGNALED_DOWN | Diagnostic::ADMINISTRATIVELY_DOWN
        );
        self.diagnostic == Diagnostic::NEIGHBOUR_SIGNALED_DOWN && names_none && !self.remote_is_independent
    }
}

/// A Poll Sequence (RFC 5880 §6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Idle,
    Running,
    /// Values changed while it ran, so its answer may speak of older ones: another one follows.
    RunningStale,
}

/// What the peer said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its name for the session; `None` before the first packet and after a detection time of silence.
    pub discriminator: Option<NonZeroU32>,
    /// Its state; Down before the first packet.
    pub state: State,
    /// Its reason.
    pub diagnostic: Diagnostic,
    /// Its detection multiplier; zero before the first packet.
    pub detect_mult: u8,
    /// How fast it wants to send; zero before the first packet.
    pub desired_min_tx: Duration,
    /// How fast it can receive.
    pub required_min_rx: Duration,
    /// Its BFD does not end with its control plane (C bit).
    pub is_independent: bool,
}

const REMOTE_UNKNOWN: Remote = Remote {
    discriminator: None,
    state: State::Down,
    diagnostic: Diagnostic::NONE,
    detect_mult: 0,
    desired_min_tx: Duration::ZERO,
    required_min_rx: REMOTE_MIN_RX_INITIAL,
    is_independent: false,
};

/// What became of a packet that was for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was used.
    Used,
    /// We are AdminDown: only what it says of the peer was kept.
    AdminDown,
}

/// One BFD session, always in the active role.
#[derive(Debug)]
pub struct Session {
    local_discriminator: NonZeroU32,
    timing: Timing,
    wanted: Wanted,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    poll: Poll,
    /// Transmit interval that we may use; see the head.
    tx_in_force: Duration,
    /// Receive interval that counts for detection; see the head.
    rx_in_force: Duration,
    /// Base of the running transmit timer, before jitter.
    tx_interval: Duration,
    last_tx: Option<Instant>,
    next_tx: Option<Instant>,
    last_rx: Option<Instant>,
    owes_final: bool,
    owes_packet: bool,
    transition: Option<Transition>,
    transitions: u64,
    ups: u64,
    downs: u64,
    failures: u64,
    last_failure: Option<Failure>,
    random: Random,
}

impl Session {
    /// A session that has heard nothing and wants to send at once.
    pub fn new(
        timing: Timing,
        wanted: Wanted,
        discriminator: NonZeroU32,
        seed: u64,
        now: Instant,
    ) -> Session {
        let mut session = Session {
            local_discriminator: discriminator,
            timing,
            wanted: Wanted::Up,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: REMOTE_UNKNOWN,
            poll: Poll::Idle,
            tx_in_force: timing.desired_min_tx.max(SLOW_INTERVAL),
            rx_in_force: timing.required_min_rx,
            tx_interval: Duration::ZERO,
            last_tx: None,
            next_tx: None,
            last_rx: None,
            owes_final: false,
            owes_packet: true,
            transition: None,
            transitions: 0,
            ups: 0,
            downs: 0,
            failures: 0,
            last_failure: None,
            random: Random::new(seed),
        };
        session.set_wanted(wanted, now);
        session.schedule(now);
        session
    }

    /// Takes a packet whose Your Discriminator is ours, or that carries none and comes from our peer.
    pub fn handle_packet(&mut self, packet: &Packet, now: Instant) -> Heard {
        self.remote = Remote {
            discriminator: Some(packet.my_discriminator),
            state: packet.state,
            diagnostic: packet.diagnostic,
            detect_mult: packet.detect_mult,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            is_independent: packet.control_plane_independent,
        };
        self.last_rx = Some(now);
        if packet.is_final {
            self.finish_poll();
        }
        let heard = match next(self.state, packet.state) {
            Next::Discard => Heard::AdminDown,
            Next::Stay => Heard::Used,
            Next::Go(to, diagnostic) => {
                if self.wanted == Wanted::Up || matches!(to, State::Down) {
                    self.go(to, diagnostic);
                }
                Heard::Used
            }
        };
        // A Poll is answered in every state but AdminDown, where the packet has been discarded by then.
        if packet.poll && heard == Heard::Used {
            self.owes_final = true;
        }
        self.schedule(now);
        heard
    }

    /// Does what is due; to be called when [`Session::poll_timeout`] has passed, harmless earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.detection_deadline().is_some_and(|at| at <= now) {
            // Silence for a detection time: whatever is known of the peer is void (bfd.RemoteDiscr, RFC 5880 §6.8.1).
            self.last_rx = None;
            self.remote = Remote { state: State::Down, diagnostic: self.remote.diagnostic, ..REMOTE_UNKNOWN };
            self.poll = Poll::Idle;
            self.owes_final = false;
            match self.state {
                State::Init | State::Up => self.go(State::Down, Diagnostic::DETECTION_EXPIRED),
                State::AdminDown | State::Down => {}
            }
            self.schedule(now);
        }
        if self.next_tx.is_some_and(|at| at <= now) {
            self.owes_packet = true;
            self.last_tx = Some(now);
            self.next_tx = Some(now + self.random.jittered(self.tx_interval, self.timing.detect_mult));
        }
    }

    /// New timing; a running session confirms it with the peer by a Poll Sequence.
    pub fn set_timing(&mut self, timing: Timing, now: Instant) {
        if timing == self.timing {
            return;
        }
        let before = self.advertised();
        self.timing = timing;
        self.owes_packet = true;
        self.renegotiate(before, self.state);
        self.schedule(now);
    }

    /// What the session is for from now on.
    pub fn set_wanted(&mut self, wanted: Wanted, now: Instant) {
        if wanted == self.wanted {
            return;
        }
        self.wanted = wanted;
        match wanted {
            Wanted::AdminDown => self.go(State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN),
            Wanted::Up | Wanted::ForwardingLost => {
                let diagnostic = match wanted {
                    Wanted::ForwardingLost => Diagnostic::FORWARDING_PLANE_RESET,
                    Wanted::Up | Wanted::AdminDown => Diagnostic::NONE,
                };
                if self.state == State::Down {
                    self.diagnostic = diagnostic;
                    self.owes_packet = true;
                } else {
                    self.go(State::Down, diagnostic);
                }
            }
        }
        self.schedule(now);
    }

    /// The next packet to send; ask until `None` after each other call. At most two each time.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        if self.owes_final {
            self.owes_final = false;
            // The answer says all that is new as well; P and F never meet in one packet (RFC 5880 §6.5).
            self.owes_packet &= self.poll != Poll::Idle;
            return Some(Packet { poll: false, is_final: true, ..self.packet() });
        }
        if self.owes_packet {
            self.owes_packet = false;
            return Some(self.packet());
        }
        None
    }

    /// The last change of state that was not asked for yet; changes after each `handle_*` and `set_*`.
    pub fn poll_transition(&mut self) -> Option<Transition> {
        self.transition.take()
    }

    /// When to call [`Session::handle_timeout`]; changes after every other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_tx, self.detection_deadline()].into_iter().flatten().min()
    }

    /// Our state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is so.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Our name for the session.
    pub fn local_discriminator(&self) -> NonZeroU32 {
        self.local_discriminator
    }

    /// What the peer said last.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Time between two packets of ours, before jitter; `None`: the peer wants none.
    pub fn transmit_interval(&self) -> Option<Duration> {
        let wanted = self.remote.required_min_rx;
        (!wanted.is_zero()).then(|| self.tx_in_force.max(wanted))
    }

    /// Time between two packets of the peer at the most, before its jitter; `None` before it has said anything.
    pub fn receive_interval(&self) -> Option<Duration> {
        (self.remote.detect_mult != 0).then(|| self.rx_in_force.max(self.remote.desired_min_tx))
    }

    /// Silence that means the end: the peer's multiplier times [`Session::receive_interval`] (RFC 5880 §6.8.4).
    pub fn detection_time(&self) -> Option<Duration> {
        Some(self.receive_interval()? * u32::from(self.remote.detect_mult))
    }

    /// Changes of state since the beginning.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// How often it came Up.
    pub fn ups(&self) -> u64 {
        self.ups
    }

    /// How often it left Up, for whatever reason.
    pub fn downs(&self) -> u64 {
        self.downs
    }

    /// How often it left Up though both ends wanted it: the path failed, and who relies on it has to know. Neither our own
    /// wish nor the peer's AdminDown counts (RFC 5882 §3.2).
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Why it failed last.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure
    }

    /// Whether it ever was Up.
    pub fn was_up(&self) -> bool {
        self.ups > 0
    }

    /// Whether new timing waits for the peer's answer.
    pub fn is_polling(&self) -> bool {
        self.poll != Poll::Idle
    }

    /// Whether a packet waits for [`Session::poll_transmit`].
    pub fn owes(&self) -> bool {
        self.owes_final || self.owes_packet
    }

    /// Whether nobody is left who would take our silence for a failure: the peer said that it is not Up, or is unknown.
    pub fn is_peer_down(&self) -> bool {
        matches!(self.remote.state, State::AdminDown | State::Down)
    }

    fn packet(&self) -> Packet {
        let (desired_min_tx, required_min_rx) = self.advertised();
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.poll != Poll::Idle,
            is_final: false,
            control_plane_independent: false,
            detect_mult: self.timing.detect_mult,
            my_discriminator: self.local_discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx: Duration::ZERO,
        }
    }

    /// Desired Min TX and Required Min RX as our packets say them.
    fn advertised(&self) -> (Duration, Duration) {
        let desired = self.timing.desired_min_tx;
        let desired = if self.state == State::Up { desired } else { desired.max(SLOW_INTERVAL) };
        (desired, self.timing.required_min_rx)
    }

    fn detection_deadline(&self) -> Option<Instant> {
        Some(self.last_rx? + self.detection_time()?)
    }

    fn go(&mut self, to: State, diagnostic: Diagnostic) {
        let (from, before) = (self.state, self.advertised());
        self.state = to;
        self.diagnostic = diagnostic;
        if from != to {
            self.count(from, to);
        }
        // The peer should not wait a second for the news (RFC 5880 §6.8.7).
        self.owes_packet = true;
        if from != to {
            self.transitions += 1;
            let (remote_state, remote_diagnostic) = (self.remote.state, self.remote.diagnostic);
            self.transition = Some(Transition { from, to, diagnostic, remote_state, remote_diagnostic });
        }
        if to == State::AdminDown {
            self.poll = Poll::Idle;
            self.owes_final = false;
        }
        self.renegotiate(before, from);
    }

    fn count(&mut self, from: State, to: State) {
        self.ups += u64::from(to == State::Up);
        let is_left = from == State::Up;
        self.downs += u64::from(is_left);
        let is_wish = self.wanted != Wanted::Up || self.remote.state == State::AdminDown;
        if is_left && !is_wish {
            self.failures += 1;
            self.last_failure = Some(Failure {
                diagnostic: self.diagnostic,
                remote_diagnostic: self.remote.diagnostic,
                remote_is_independent: self.remote.is_independent,
            });
        }
    }

    /// Brings what is in force in line with what is advertised, at once or by a Poll Sequence (RFC 5880 §6.8.3).
    fn renegotiate(&mut self, before: (Duration, Duration), was: State) {
        let now = self.advertised();
        let stays_up = was == State::Up && self.state == State::Up;
        if !stays_up || now.0 <= self.tx_in_force {
            self.tx_in_force = now.0;
        }
        if !stays_up || now.1 >= self.rx_in_force {
            self.rx_in_force = now.1;
        }
        // Without a peer there is nobody to answer, and it hears the new values in the first packet.
        if now != before && self.state != State::AdminDown && self.remote.discriminator.is_some() {
            self.poll = match self.poll {
                Poll::Idle => Poll::Running,
                Poll::Running | Poll::RunningStale => Poll::RunningStale,
            };
        }
    }

    fn finish_poll(&mut self) {
        self.poll = match self.poll {
            Poll::Idle => return,
            Poll::RunningStale => Poll::Running,
            Poll::Running => {
                (self.tx_in_force, self.rx_in_force) = self.advertised();
                Poll::Idle
            }
        };
    }

    /// Sets the transmit timer anew if its interval changed; the last packet stays where it was.
    fn schedule(&mut self, now: Instant) {
        let Some(interval) = self.transmit_interval() else {
            self.next_tx = None;
            self.tx_interval = Duration::ZERO;
            return;
        };
        if interval == self.tx_interval && self.next_tx.is_some() {
            return;
        }
        self.tx_interval = interval;
        let wait = self.random.jittered(interval, self.timing.detect_mult);
        self.next_tx = Some((self.last_tx.unwrap_or(now) + wait).max(now));
    }
}
