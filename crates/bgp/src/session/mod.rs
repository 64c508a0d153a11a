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
//! Only a peer that announced too many prefixes is refused while we rest.
//! Always true, whatever the order of inputs: routes are only kept while Established, or stale until a known time, or by a
//! process that makes room for the next; Up and Down alternate; a prefix is never announced with a next hop that the peer
//! did not agree to; after `Stopped` nothing more is said.
//! Nothing here grows with what a peer sends: one message is collected per connection, a bounded number of routes is
//! kept, and outgoing octets are built when asked for.

mod collision;
mod end;
mod machine;
mod negotiate;
mod receive;
mod restart;
mod state;
mod timers;
mod view;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use negotiate::Negotiated;
pub use state::{Action, Input, Notify, State, Step, transition};

use crate::config::{ExportPolicy, GracefulRestart, PathDown, PeerConfig, Remote};
use crate::rib::{AdjRibIn, AdjRibOut, TooMany, Wanted};
use crate::status::Counters;
use crate::wire::iana::{MESSAGE_LEN_MAX, cease};
use crate::wire::{
    Capability, DecodeContext, FrameBuffer, Message, MessageType, Notification, Open, Refresh, Update,
    WireError, encode_keepalive,
};
use collision::{Contender, winner};
use end::Stopping;
use restart::Restart;
pub(crate) use timers::Random;
use timers::Timers;

/// A session that lived this long was a good one: failures are counted from zero after it.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// A session younger than this is not given up for another connection of the peer, which is a late collision then.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// What a session is told once.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our AS.
    pub asn: u32,
    /// Our identifier.
    pub router_id: Ipv4Addr,
    /// Our host name, for capability 73.
    pub hostname: String,
    /// Our name and version, for capability 75.
    pub software: String,
    /// Graceful restart, if it is offered at all.
    pub graceful_restart: Option<GracefulRestart>,
    /// With [`GracefulRestart::is_restarting`]: the start of the process plus the restart time. Until then OPENs say that we
    /// have restarted and End-of-RIB waits for [`Session::handle_complete`].
    pub restarting_until: Option<Instant>,
    /// The peer. Only a numbered one can be connected to without [`Session::handle_remote_changed`].
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
    /// Connect to the peer there; the answer is [`Session::handle_connected`] or [`Session::handle_connect_failed`].
    Dial(SocketAddr),
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
    /// The end asked for by [`Session::handle_ending`] is reached; nothing follows.
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
    remote: SocketAddr,
    /// Our OPEN on it.
    ours: Open,
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

/// One peer's session.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    random: Random,
    dialled: Link,
    accepted: Link,
    rib: AdjRibOut,
    adj_rib_in: AdjRibIn,
    policy: Arc<ExportPolicy>,
    restart: Restart,
    events: VecDeque<SessionEvent>,
    is_running: bool,
    stopping: Option<Stopping>,
    /// Where the peer is, if that is known.
    target: Option<SocketAddr>,
    idle_hold: Option<Instant>,
    failures: u32,
    /// How often in a row either side had too many prefixes.
    refusals: u32,
    /// The peer announced too many; until the session is up again.
    exceeded: Option<TooMany>,
    /// The peer said that we do; until the session is up again.
    is_refused: bool,
    /// The last session ended before the peer had heard every withdraw.
    owes_withdraws: bool,
    up_since: Option<Instant>,
    counters: Counters,
}

impl Session {
    /// A session in Idle. `seed` decides the jitter.
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        let peer = &config.peer;
        let target = match &peer.remote {
            Remote::Address(address) => Some(SocketAddr::new(*address, peer.port)),
            // A link-local address is none without its interface's number, which only the driver knows.
            Remote::Interface { .. } | Remote::Range { .. } => None,
        };
        Self {
            adj_rib_in: AdjRibIn::new(peer.prefixes_max),
            policy: Arc::new(peer.export.clone()),
            restart: Restart::new(&config),
            target,
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
            refusals: 0,
            exceeded: None,
            is_refused: false,
            owes_withdraws: false,
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

    /// Replaces what the peer is to hold.
    pub fn handle_wanted(&mut self, wanted: Arc<Wanted>) {
        if self.stopping.is_none() {
            self.rib.set_wanted(wanted);
        }
    }

    /// The wanted set is whole: End-of-RIB need not wait any more. Said once, it stays said.
    pub fn handle_complete(&mut self, now: Instant) {
        self.restart.is_complete = true;
        self.tend_restart(now);
    }

    /// Whether our forwarding would outlive us, as is taken for granted at the start. What a session that stands has agreed
    /// on is not touched: the caller withdraws what cannot be forwarded.
    pub fn handle_forwarding(&mut self, is_preserved: bool) {
        self.restart.set_forwarding(is_preserved, self.established_slot().is_some());
    }

    /// The path to the peer is dead, whatever TCP thinks: the session ends, and nothing the peer told is kept.
    pub fn handle_path_down(&mut self, now: Instant, why: PathDown) {
        self.path_down(now, why);
        self.tend(now);
    }

    /// The peer is now to be found there, or nowhere. A connection that stands is left alone; an attempt to connect is made
    /// anew.
    pub fn handle_remote_changed(&mut self, now: Instant, remote: Option<SocketAddr>) {
        if self.target == remote {
            return;
        }
        self.target = remote;
        if matches!(self.dialled.state, State::Connect | State::Active) {
            self.input(now, Slot::Dialled, Input::Stop, Carried::Nothing);
        }
        // Somebody else may be there, who did not fail yet. The next failure rests as long as ever.
        if self.exceeded.is_none() && !self.is_refused {
            self.idle_hold = None;
        }
        self.tend(now);
    }

    /// The connection asked for by [`SessionEvent::Dial`] stands, between these ends, link-local ones with their scope.
    pub fn handle_connected(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr) {
        self.connected(now, Slot::Dialled, local, remote);
    }

    /// The connection asked for by [`SessionEvent::Dial`] could not be made.
    pub fn handle_connect_failed(&mut self, now: Instant) {
        self.input(now, Slot::Dialled, Input::TcpFailed, Carried::Nothing);
        self.tend(now);
    }

    /// The peer has connected. On refusal: send this, then close. On acceptance drain the events first, an older
    /// connection may have to be closed.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), Notification> {
        if !self.is_running || (self.exceeded.is_some() && self.idle_hold.is_some()) {
            return Err(Notification::cease(cease::CONNECTION_REJECTED));
        }
        if let Some(slot) = self.established_slot() {
            if !self.has_peer_restarted(now) {
                return Err(Notification::cease(cease::COLLISION));
            }
            // It would not connect again if it still held the session (RFC 4724 §4.2): as if that had been closed.
            self.input(now, slot, Input::TcpFailed, Carried::Nothing);
            self.idle_hold = None;
        }
        // The peer would not dial again if it still held the older one: it is dead, whatever TCP thinks.
        if self.accepted.state.is_connected() {
            self.input(now, Slot::Accepted, Input::CollisionLost, Carried::Nothing);
        }
        self.input(now, Slot::Accepted, Input::StartPassive, Carried::Nothing);
        self.connected(now, Slot::Accepted, local, remote);
        Ok(())
    }

    fn connected(&mut self, now: Instant, slot: Slot, local: SocketAddr, remote: SocketAddr) {
        let state = self.link(slot).state;
        if !state.is_connected() && state != State::Idle {
            let restart = self.restart_offer(now);
            let ours = negotiate::our_open(&self.config, local.is_ipv6(), restart);
            self.link_mut(slot).connection = Some(Connection {
                local,
                remote,
                ours,
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
        let Some(connection) = &self.link(slot).connection else { return };
        let negotiated = match negotiate::negotiate(&self.config, &connection.ours, &open) {
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
        self.tend_restart(now);
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
            (MessageType::Open, connection.ours.encode())
        } else if std::mem::take(&mut connection.is_keepalive_due) {
            (MessageType::Keepalive, encode_keepalive())
        } else if is_up {
            let message = self.rib.poll()?;
            self.restart.told(&self.rib);
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
