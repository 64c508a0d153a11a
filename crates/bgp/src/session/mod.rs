// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One peer's session without any I/O: two connections at most, their machines and timers, and what the peer is told.
//!
//! Time, octets and the outcome of connecting come in by `handle_*`; octets, wishes and the next deadline go out by
//! `poll_*`. Contract: one `handle_*`, then every `poll_*` until it has nothing more, then wait. Events are drained
//! before octets, and events of one call apply in order.
//!
//! ```text
//!            ┌──────────────── Session ─────────────────┐
//!   Dialled  │ machine, timers, FrameBuffer ─┐          │     two machines of RFC 4271 §8.2.1: what we dial, what we
//!   Accepted │ machine, timers, FrameBuffer ─┴─ AdjRibOut│     accept; §6.8 decides which stays
//!            └───────────────────────────────────────────┘
//! ```
//!
//! After a failure we rest for a while that grows with each failure in a row: we do not dial, but we do accept, for two
//! speakers that rest from each other and refuse meanwhile may never meet (RFC 4271 §8.1.1 leaves this damping optional).
//! Nothing here grows with what a peer sends: one message is collected per connection, and outgoing octets are built
//! when asked for.

mod collision;
mod machine;
mod negotiate;
mod state;
mod timers;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use negotiate::Negotiated;
pub use state::{Action, Input, Notify, State, Step, transition};

use crate::config::PeerConfig;
use crate::rib::{AdjRibOut, Wanted};
use crate::status::Counters;
use crate::wire::iana::{MESSAGE_LEN_MAX, cease};
use crate::wire::{
    Capability, DecodeContext, FrameBuffer, Message, MessageType, Notification, Open, Refresh, Update,
    WireError, encode_keepalive,
};
use collision::{Contender, winner};
use timers::{Random, Timers};

/// A session that lived this long was a good one: failures are counted from zero after it.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// Longest time to get the withdraws of a clean end out before the NOTIFICATION follows anyway.
const STOP_WITHDRAW_MAX: Duration = Duration::from_secs(1);

/// What a session is told once.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our AS.
    pub asn: u32,
    /// Our identifier.
    pub router_id: Ipv4Addr,
    /// Our host name, for capability 73.
    pub hostname: String,
    /// The peer.
    pub peer: PeerConfig,
}

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The one we made.
    Dialled,
    /// The one the peer made.
    Accepted,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::Dialled, Slot::Accepted];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Slot::Dialled => Slot::Accepted,
            Slot::Accepted => Slot::Dialled,
        }
    }
}

/// What the driver is to do or may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Connect to the peer; the answer is [`Session::handle_connected`] or [`Session::handle_connect_failed`].
    Dial,
    /// Give up connecting; no answer is wanted.
    AbortDial,
    /// Write what was polled before, then `farewell`, then close.
    Close {
        /// Which connection.
        slot: Slot,
        /// A last NOTIFICATION.
        farewell: Option<Vec<u8>>,
    },
    /// The session is Established.
    Up,
    /// It is no more.
    Down,
    /// A NOTIFICATION goes out; `why` adds what its code cannot say.
    NotificationSent {
        /// What is sent.
        notification: Notification,
        /// The mistake that led to it.
        why: Option<String>,
    },
    /// The peer sent one.
    NotificationReceived(Notification),
    /// The end asked for by [`Session::handle_stop`] is reached; nothing follows.
    Stopped,
}

/// What comes with an input to the machine.
enum Carried {
    Nothing,
    Open(Open, Box<Negotiated>),
    Update(Box<Update>),
    Refresh(Refresh),
    Error(WireError),
    Reason(Notification),
}

/// What lives as long as a connection.
#[derive(Debug)]
struct Connection {
    local: SocketAddr,
    received: FrameBuffer,
    is_open_due: bool,
    is_keepalive_due: bool,
    /// Of the peer's OPEN, once accepted.
    negotiated: Option<Negotiated>,
    capabilities: Vec<Capability>,
}

/// One of the two machines.
#[derive(Debug)]
struct Link {
    state: State,
    timers: Timers,
    connection: Option<Connection>,
    farewell: Option<Notification>,
}

impl Link {
    fn new() -> Self {
        Self { state: State::Idle, timers: Timers::default(), connection: None, farewell: None }
    }
}

/// A clean end under way.
#[derive(Debug)]
struct Stopping {
    reason: Notification,
    /// When the NOTIFICATION goes out at the latest.
    deadline: Instant,
    /// [`SessionEvent::Stopped`] was told.
    is_done: bool,
}

/// One peer's session.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    random: Random,
    dialled: Link,
    accepted: Link,
    rib: AdjRibOut,
    events: VecDeque<SessionEvent>,
    is_running: bool,
    stopping: Option<Stopping>,
    idle_hold: Option<Instant>,
    failures: u32,
    up_since: Option<Instant>,
    counters: Counters,
}

impl Session {
    /// A session in Idle. `seed` decides the jitter.
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            dialled: Link::new(),
            accepted: Link::new(),
            rib: AdjRibOut::default(),
            events: VecDeque::new(),
            is_running: false,
            stopping: None,
            idle_hold: None,
            failures: 0,
            up_since: None,
            counters: Counters::default(),
        }
    }

    /// Begins to connect and to accept.
    pub fn handle_start(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.is_running = true;
            self.tend(now);
        }
    }

    /// Ends for good: withdraws everything, then sends Cease with `text` and closes, then [`SessionEvent::Stopped`].
    pub fn handle_stop(&mut self, now: Instant, text: &str) {
        if self.stopping.is_some() {
            return;
        }
        self.is_running = false;
        self.idle_hold = None;
        self.rib.set_wanted(Arc::new(Wanted::default()));
        let (reason, deadline) = (Notification::shutdown(text), now + STOP_WITHDRAW_MAX);
        self.stopping = Some(Stopping { reason, deadline, is_done: false });
        for slot in Slot::ALL {
            if self.link(slot).state != State::Established {
                self.stop_link(now, slot);
            }
        }
        self.tend(now);
    }

    /// Replaces what the peer is to hold.
    pub fn handle_wanted(&mut self, wanted: Arc<Wanted>) {
        if self.stopping.is_none() {
            self.rib.set_wanted(wanted);
        }
    }

    /// The connection asked for by [`SessionEvent::Dial`] stands.
    pub fn handle_connected(&mut self, now: Instant, local: SocketAddr) {
        self.connected(now, Slot::Dialled, local);
    }

    /// The connection asked for by [`SessionEvent::Dial`] could not be made.
    pub fn handle_connect_failed(&mut self, now: Instant) {
        self.input(now, Slot::Dialled, Input::TcpFailed, Carried::Nothing);
        self.tend(now);
    }

    /// The peer has connected. On refusal: send this, then close. On acceptance drain the events first, an older
    /// connection may have to be closed.
    pub fn handle_accepted(&mut self, now: Instant, local: SocketAddr) -> Result<(), Notification> {
        if !self.is_running {
            return Err(Notification::cease(cease::CONNECTION_REJECTED));
        }
        if self.established_slot().is_some() {
            return Err(Notification::cease(cease::COLLISION));
        }
        // The peer would not dial again if it still held the older one: it is dead, whatever TCP thinks.
        if self.accepted.state.is_connected() {
            self.input(now, Slot::Accepted, Input::CollisionLost, Carried::Nothing);
        }
        self.input(now, Slot::Accepted, Input::StartPassive, Carried::Nothing);
        self.connected(now, Slot::Accepted, local);
        Ok(())
    }

    fn connected(&mut self, now: Instant, slot: Slot, local: SocketAddr) {
        let link = self.link_mut(slot);
        if !link.state.is_connected() && link.state != State::Idle {
            link.connection = Some(Connection {
                local,
                received: FrameBuffer::new(MESSAGE_LEN_MAX),
                is_open_due: false,
                is_keepalive_due: false,
                negotiated: None,
                capabilities: Vec::new(),
            });
        }
        self.input(now, slot, Input::Connected, Carried::Nothing);
        self.tend(now);
    }

    /// The connection has ended, by the peer or by an error.
    pub fn handle_closed(&mut self, now: Instant, slot: Slot) {
        self.input(now, slot, Input::TcpFailed, Carried::Nothing);
        self.tend(now);
    }

    /// Octets the peer sent, in any cut. The work is proportional to their number.
    pub fn handle_octets(&mut self, now: Instant, slot: Slot, mut octets: &[u8]) {
        // A connection that is closed half-way leaves no connection, and the rest is nobody's.
        while let Some(connection) = &mut self.link_mut(slot).connection {
            let context = DecodeContext {
                four_octet_as: connection.negotiated.as_ref().is_some_and(|n| n.four_octet_as),
                local_address: Some(connection.local.ip()),
            };
            match connection.received.fill(&mut octets) {
                Ok(false) => break,
                Ok(true) => {
                    let Some((kind, body)) = connection.received.message() else { break };
                    let decoded = Message::decode(kind, body, &context);
                    connection.received.clear();
                    self.counters.messages_in.add(kind);
                    self.message(now, slot, kind, decoded);
                }
                Err(error) => self.bad_message(now, slot, error.into()),
            }
        }
        self.tend(now);
    }

    fn message(&mut self, now: Instant, slot: Slot, kind: MessageType, decoded: Result<Message, WireError>) {
        let state = self.link(slot).state;
        let input = match kind {
            MessageType::Open => Input::OpenReceived,
            MessageType::Update => Input::UpdateReceived,
            MessageType::Notification => Input::NotificationReceived,
            MessageType::Keepalive => Input::KeepaliveReceived,
            MessageType::Refresh => Input::RefreshReceived,
        };
        // A message out of place is an error of the machine, whatever is in it.
        let is_out_of_place =
            transition(state, input).actions.iter().any(|a| matches!(a, Action::Notify(Notify::Fsm(_))));
        match decoded {
            _ if is_out_of_place => self.input(now, slot, input, Carried::Nothing),
            Ok(Message::Open(open)) => self.open(now, slot, open),
            Ok(Message::Update(update)) => self.input(now, slot, input, Carried::Update(update)),
            Ok(Message::Refresh(refresh)) => self.input(now, slot, input, Carried::Refresh(refresh)),
            Ok(Message::Keepalive) => self.input(now, slot, input, Carried::Nothing),
            Ok(Message::Notification(notification)) => {
                self.events.push_back(SessionEvent::NotificationReceived(notification.clone()));
                self.input(now, slot, input, Carried::Reason(notification));
            }
            // Never answered: as if it had been readable (RFC 4271 §6.4).
            Err(WireError::Notification(_)) => {
                self.input(now, slot, Input::NotificationReceived, Carried::Nothing);
            }
            Err(error) => self.bad_message(now, slot, error),
        }
    }

    fn bad_message(&mut self, now: Instant, slot: Slot, error: WireError) {
        self.input(now, slot, Input::BadMessage, Carried::Error(error));
    }

    /// Judges the peer's OPEN, then the collision it may bring to light.
    fn open(&mut self, now: Instant, slot: Slot, open: Open) {
        let negotiated = match negotiate::negotiate(&self.config, &open) {
            Ok(negotiated) => negotiated,
            Err(error) => return self.bad_message(now, slot, error.into()),
        };
        let local = Contender { router_id: self.config.router_id, asn: self.config.asn };
        let remote = Contender { router_id: open.router_id, asn: negotiated.remote_as };
        match self.link(slot.other()).state {
            State::Idle | State::Connect | State::Active | State::OpenSent => {}
            State::OpenConfirm if winner(local, remote) == slot => {
                self.input(now, slot.other(), Input::CollisionLost, Carried::Nothing);
            }
            State::OpenConfirm | State::Established => {
                return self.input(now, slot, Input::CollisionLost, Carried::Nothing);
            }
        }
        self.input(now, slot, Input::OpenReceived, Carried::Open(open, Box::new(negotiated)));
    }

    /// Octets could not be written: the send hold timer runs until [`Session::handle_progress`].
    pub fn handle_blocked(&mut self, now: Instant, slot: Slot) {
        let wait = timers::send_hold(self.hold_time(slot));
        let link = self.link_mut(slot);
        if link.connection.is_some() {
            link.timers.send_hold.get_or_insert(now + wait);
        }
    }

    /// Octets could be written.
    pub fn handle_progress(&mut self, slot: Slot) {
        self.link_mut(slot).timers.send_hold = None;
    }

    /// Something in [`Session::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in Slot::ALL {
            // Each timer at most once: what is armed anew lies in the future.
            while let Some(input) = self.link_mut(slot).timers.take_expired(now) {
                self.timer(now, slot, input);
            }
        }
        if self.idle_hold.is_some_and(|at| at <= now) {
            self.idle_hold = None;
        }
        self.tend(now);
    }

    fn timer(&mut self, now: Instant, slot: Slot, input: Input) {
        // No second attempt while the peer's connection is being talked on.
        if input == Input::ConnectRetryExpired && self.link(slot.other()).state.is_connected() {
            self.link_mut(slot).timers.connect_retry = Some(now + self.config.peer.connect_retry);
            return;
        }
        self.input(now, slot, input, Carried::Nothing);
    }

    /// The next message for this connection. May change after every `handle_*`.
    pub fn poll_transmit(&mut self, slot: Slot) -> Option<Vec<u8>> {
        let is_up = self.link(slot).state == State::Established;
        let connection = self.link_mut(slot).connection.as_mut()?;
        let (kind, message) = if std::mem::take(&mut connection.is_open_due) {
            (MessageType::Open, negotiate::our_open(&self.config).encode())
        } else if std::mem::take(&mut connection.is_keepalive_due) {
            (MessageType::Keepalive, encode_keepalive())
        } else if is_up {
            let message = self.rib.poll()?;
            let kind =
                message.get(18).copied().and_then(MessageType::from_raw).unwrap_or(MessageType::Update);
            (kind, message)
        } else {
            return None;
        };
        self.counters.messages_out.add(kind);
        Some(message)
    }

    /// The next thing to do or to know. May change after every `handle_*`.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When to call [`Session::handle_timeout`]; may lie in the past. May change after every `handle_*` and
    /// [`Session::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().filter(|_| self.established_slot().is_some()).map(|stopping| {
            // Everything was said: due at once.
            if self.rib.is_settled() { stopping.deadline - STOP_WITHDRAW_MAX } else { stopping.deadline }
        });
        [self.dialled.timers.next(), self.accepted.timers.next(), self.idle_hold, stop]
            .into_iter()
            .flatten()
            .min()
    }

    /// State of the further of the two connections; without any, what our own attempts are doing: Idle while resting.
    pub fn state(&self) -> State {
        let is_connected = self.accepted.state.is_connected() || self.dialled.state.is_connected();
        if self.idle_hold.is_some() && !is_connected {
            return State::Idle;
        }
        if self.accepted.state.is_connected() || self.dialled.state == State::Idle {
            self.accepted.state.max(self.dialled.state)
        } else {
            self.dialled.state
        }
    }

    /// What the OPENs agreed on and the peer's capabilities, of the further connection.
    pub fn negotiated(&self) -> Option<(&Negotiated, &[Capability])> {
        let connection = self.foremost()?;
        Some((connection.negotiated.as_ref()?, &connection.capabilities))
    }

    /// Our end of the further connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.foremost().map(|c| c.local)
    }

    fn foremost(&self) -> Option<&Connection> {
        let (dialled, accepted) = (&self.dialled, &self.accepted);
        let (first, second) =
            if dialled.state >= accepted.state { (dialled, accepted) } else { (accepted, dialled) };
        first.connection.as_ref().or(second.connection.as_ref())
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the peer is told.
    pub fn rib(&self) -> &AdjRibOut {
        &self.rib
    }

    /// Which connection is Established.
    pub fn established_slot(&self) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.link(*slot).state == State::Established)
    }

    fn link(&self, slot: Slot) -> &Link {
        match slot {
            Slot::Dialled => &self.dialled,
            Slot::Accepted => &self.accepted,
        }
    }

    fn link_mut(&mut self, slot: Slot) -> &mut Link {
        match slot {
            Slot::Dialled => &mut self.dialled,
            Slot::Accepted => &mut self.accepted,
        }
    }

    fn hold_time(&self, slot: Slot) -> Option<Duration> {
        self.link(slot).connection.as_ref()?.negotiated.as_ref()?.hold_time
    }
}

#[cfg(test)]
mod tests;
