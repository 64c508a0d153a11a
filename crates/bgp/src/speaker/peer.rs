// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One peer's driver: wait, feed the session, drain it, publish. No rule of the protocol is here.
//!
//! ```text
//!   orders (latest wins) ─┐                       ┌─► octets to either connection, as far as it takes them
//!   accepted connections ─┤                       ├─► dialling, closing
//!   neighbour, its link ──┤                       ├─► neighbour in use
//!   outcome of dialling ──┼─► session::Session ───┼─► status (latest wins)
//!   octets, room to write ┤                       └─► generation handed over
//!   deadline ─────────────┘
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::link::{Link, Written};
use super::socket::{self, Dialling};
use crate::config::{Ending, PathDown, PeerConfig, Remote};
use crate::discovery::task::Found;
use crate::rib::Wanted;
use crate::session::{Session, SessionConfig, SessionEvent, Slot, State};
use crate::status::{PeerStatus, TimedNotification, TimedText};

/// Accepted connections waiting for a peer's driver. When full, further ones are closed: the peer dials too often.
pub(super) const ACCEPTED_DEPTH: usize = 4;
/// Octets read at once, and how often in a row before everything else gets its turn.
const READ_LEN: usize = 64 * 1024;
const READS_IN_A_ROW: usize = 4;
/// Longest time a change of what is advertised waits for one peer's socket before it is reported as handed over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// A list of received routes stands for this long for each route beyond the first few: a peer that changes one of very many
/// routes all the time must not make us copy them all the time. It is several times what copying takes.
const SHOWN_PER_ROUTE: Duration = Duration::from_micros(10);
/// So many routes are copied at every change.
const SHOWN_AT_ONCE: u32 = 256;
/// Connections that may be closing at once: beyond it they are cut without their last word, the peer dials too often.
const CLOSING_MAX: usize = 16;
/// Longest time the last connections are waited for at the end.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What the speaker wants of every peer. Replaced whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// Counts the changes of `wanted`.
    pub(super) generation: u64,
    pub(super) wanted: Arc<Wanted>,
    /// The wanted set is whole: End-of-RIB may follow it.
    pub(super) is_complete: bool,
    /// Our forwarding would not outlive us now.
    pub(super) is_forwarding_lost: bool,
    /// How often, and how at last, the path to a peer was reported dead, by the peer's name.
    pub(super) paths_down: Arc<BTreeMap<String, (u64, PathDown)>>,
    /// End this way.
    pub(super) ending: Option<Ending>,
}

/// The driver's ends of its channels.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) orders: watch::Receiver<Orders>,
    /// Closed by the speaker when the peer of a range was gone for long.
    pub(super) accepted: mpsc::Receiver<Accepted>,
    pub(super) status: watch::Sender<PeerStatus>,
    /// Rung after every new status.
    pub(super) changed: Arc<Notify>,
    /// The generation of orders that was handed to the peer's socket.
    pub(super) handed_over: watch::Sender<u64>,
    /// Of an unnumbered peer.
    pub(super) discovery: Option<DiscoveryPorts>,
}

/// What ties the driver of an unnumbered peer to the discovery on its interface.
#[derive(Debug)]
pub(super) struct DiscoveryPorts {
    pub(super) found: watch::Receiver<Found>,
    /// The neighbour with which a connection stands.
    pub(super) in_use: watch::Sender<Option<Ipv6Addr>>,
}

/// A connection that the peer has made.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
}

type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

struct Driver {
    config: PeerConfig,
    session: Session,
    ports: Ports,
    dialled: Option<Link>,
    accepted: Option<Link>,
    dial: Option<Dial>,
    closing: JoinSet<()>,
    status: PeerStatus,
    rib_version: Option<u64>,
    /// Generation being handed over, and when it counts as such at the latest.
    handing_over: Option<(u64, Instant)>,
    /// Of [`Orders::paths_down`], how many were passed on.
    paths_down: u64,
    adj_rib_in_version: Option<u64>,
    /// The list of received routes is not made anew before.
    shown_until: Instant,
    is_stopped: bool,
}

/// Drives one peer until it is told to stop.
pub(super) async fn run(config: SessionConfig, seed: u64, ports: Ports) {
    let peer = config.peer.clone();
    let status = ports.status.borrow().clone();
    let mut driver = Driver {
        status,
        config: peer,
        session: Session::new(config, seed),
        ports,
        dialled: None,
        accepted: None,
        dial: None,
        closing: JoinSet::new(),
        rib_version: None,
        handing_over: None,
        paths_down: 0,
        adj_rib_in_version: None,
        shown_until: Instant::now(),
        is_stopped: false,
    };
    driver.obey();
    driver.look();
    driver.session.handle_start(Instant::now());
    driver.serve().await;
    let closed =
        tokio::time::timeout(LINGER_MAX, async { while driver.closing.join_next().await.is_some() {} });
    if closed.await.is_err() {
        tracing::debug!(peer = %driver.config.name, "last connections were cut");
    }
    driver.publish();
}

impl Driver {
    async fn serve(&mut self) {
        let mut buffer = vec![0; READ_LEN];
        let mut has_more = false;
        loop {
            self.drain();
            self.tell_in_use();
            self.settle_hand_over();
            self.publish();
            if self.is_stopped {
                return;
            }
            // Waiting for a socket that is ready never yields, and a task that never yields can stop the whole process:
            // sockets and timers of all tasks are looked at between two of them.
            if std::mem::take(&mut has_more) {
                tokio::task::yield_now().await;
            }
            let hand_over = self.handing_over.map(|(_, deadline)| deadline);
            let is_shown = self.adj_rib_in_version == Some(self.session.adj_rib_in().version());
            let show = (!is_shown).then_some(self.shown_until);
            let deadline = [self.session.poll_timeout(), hand_over, show].into_iter().flatten().min();
            // CANCEL: every arm only waits for readiness or owns its result; what it would have seen is seen next time.
            tokio::select! {
                changed = self.ports.orders.changed() => match changed {
                    Ok(()) => self.obey(),
                    // The speaker has gone without a word, which its task never does while peers live.
                    Err(_) => return,
                },
                accepted = self.ports.accepted.recv() => match accepted {
                    Some(accepted) => self.take_accepted(accepted),
                    // A peer of a range that was gone for long: nothing is left to close.
                    None => return,
                },
                () = changed(&mut self.ports.discovery) => self.look(),
                // CANCEL: the attempt stays in `self.dial` and goes on when polled again.
                outcome = outcome(&mut self.dial) => self.take_dialled(outcome),
                ready = ready(self.dialled.as_ref()) => {
                    has_more = self.exchange(Slot::Dialled, ready, &mut buffer);
                }
                ready = ready(self.accepted.as_ref()) => {
                    has_more = self.exchange(Slot::Accepted, ready, &mut buffer);
                }
                () = sleep_until(deadline) => self.session.handle_timeout(Instant::now()),
                // CANCEL: a finished close is reaped next time.
                Some(_) = self.closing.join_next() => {}
            }
        }
    }

    /// Takes over the latest orders.
    fn obey(&mut self) {
        let orders = self.ports.orders.borrow_and_update().clone();
        let now = Instant::now();
        self.session.handle_forwarding(!orders.is_forwarding_lost);
        if let Some((count, why)) = orders.paths_down.get(&self.config.name)
            && std::mem::replace(&mut self.paths_down, *count) != *count
        {
            self.session.handle_path_down(now, *why);
        }
        match orders.ending {
            Some(ending) => self.session.handle_ending(now, &ending),
            None => {
                self.session.handle_wanted(orders.wanted);
                if orders.is_complete {
                    self.session.handle_complete(now);
                }
                self.handing_over = Some((orders.generation, now + HAND_OVER_MAX));
            }
        }
    }

    /// Takes over what discovery found: where to connect to, and whether a connection has lost its link.
    fn look(&mut self) {
        let Some(discovery) = &mut self.ports.discovery else { return };
        let found = discovery.found.borrow_and_update().clone();
        let now = Instant::now();
        let locals = [&self.dialled, &self.accepted].map(|link| link.as_ref().and_then(Link::local_address));
        let is_lost = |local: SocketAddr| matches!(local, SocketAddr::V6(own) if found.has_lost(&own));
        let has_lost = locals.into_iter().flatten().any(is_lost);
        if has_lost {
            self.note_transport("the link is down, or our address on it is gone".into());
        }
        // Without the link nothing that the neighbour told is worth keeping, even if it is stale already.
        if has_lost || !found.status.is_link_up {
            self.session.handle_path_down(now, PathDown::Link);
        }
        let target = found.neighbour.zip(found.index);
        let target =
            target.map(|(address, scope)| SocketAddrV6::new(address, self.config.port, 0, scope).into());
        self.session.handle_remote_changed(now, target);
        self.status.discovery = Some(found.status);
    }

    /// Tells discovery which neighbour must not be exchanged.
    fn tell_in_use(&mut self) {
        let Some(discovery) = &self.ports.discovery else { return };
        let remotes =
            [&self.dialled, &self.accepted].map(|link| link.as_ref().and_then(Link::remote_address));
        let in_use = remotes.into_iter().flatten().find_map(|remote| match remote.ip() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        discovery.in_use.send_if_modified(|known| std::mem::replace(known, in_use) != in_use);
    }

    fn dial(&mut self, remote: SocketAddr) {
        let own = self.ports.discovery.as_ref().and_then(|discovery| discovery.found.borrow().own);
        let dialling = Dialling {
            remote,
            local: own.map(IpAddr::V6).or(self.config.local_address),
            interface: self.config.remote.interface().map(str::to_owned),
            md5: self.config.md5.clone(),
            has_gtsm: self.config.has_gtsm,
        };
        self.dial = Some(Box::pin(socket::dial(dialling)));
    }

    fn take_accepted(&mut self, accepted: Accepted) {
        let Accepted { stream, from } = accepted;
        let (md5, has_gtsm) = (self.config.md5.as_ref(), self.config.has_gtsm);
        if let Err(error) = socket::prepare_accepted(&stream, from.ip(), md5, has_gtsm) {
            return self.note_transport(format!("connection from {from} refused: {error}"));
        }
        // Two neighbours on one link: the one with which we speak already stays.
        let is_other = |link: &Link| link.remote_address().is_some_and(|remote| remote.ip() != from.ip());
        if [&self.dialled, &self.accepted].into_iter().flatten().any(is_other) {
            return self
                .note_transport(format!("connection from {from} refused: another neighbour is spoken with"));
        }
        let link = Link::new(stream);
        let Some((local, remote)) = link.local_address().zip(link.remote_address()) else { return };
        match self.session.handle_accepted(Instant::now(), local, remote) {
            Ok(()) => {
                // An older connection may have to go first.
                self.drain_events();
                self.accepted = Some(link);
            }
            Err(farewell) => {
                tracing::debug!(peer = %self.config.name, %farewell, "connection refused");
                self.close(link, &farewell.encode());
            }
        }
    }

    fn close(&mut self, mut link: Link, farewell: &[u8]) {
        while self.closing.try_join_next().is_some() {}
        if self.closing.len() < CLOSING_MAX {
            link.push(farewell);
            self.closing.spawn(link.close());
        }
    }

    fn take_dialled(&mut self, outcome: io::Result<TcpStream>) {
        self.dial = None;
        let now = Instant::now();
        match outcome.and_then(|stream| Ok((stream.local_addr()?, stream.peer_addr()?, Link::new(stream)))) {
            Ok((local, remote, link)) => {
                self.dialled = Some(link);
                self.session.handle_connected(now, local, remote);
            }
            Err(error) => {
                let target = self.session.target().map(|target| target.to_string()).unwrap_or_default();
                self.note_transport(format!("connect to {target}: {error}"));
                self.session.handle_connect_failed(now);
            }
        }
    }

    /// Reads from a connection that is ready; what is to be written goes with the next drain. `true` if there may be more
    /// to read.
    fn exchange(&mut self, slot: Slot, ready: io::Result<()>, buffer: &mut [u8]) -> bool {
        if let Err(error) = ready {
            self.lose(slot, format!("wait: {error}"));
            return false;
        }
        for _ in 0..READS_IN_A_ROW {
            let Some(link) = self.link_mut(slot).as_mut() else { return false };
            match link.read(buffer) {
                Ok(None) => return false,
                Ok(Some(0)) => {
                    self.lose(slot, "closed by the peer".into());
                    return false;
                }
                Ok(Some(count)) => {
                    self.session.handle_octets(Instant::now(), slot, &buffer[..count]);
                    // What follows may concern a connection that these octets have ended.
                    self.drain_events();
                }
                Err(error) => {
                    self.lose(slot, format!("read: {error}"));
                    return false;
                }
            }
        }
        true
    }

    fn lose(&mut self, slot: Slot, text: String) {
        *self.link_mut(slot) = None;
        self.note_transport(text);
        self.session.handle_closed(Instant::now(), slot);
    }

    fn drain(&mut self) {
        self.drain_events();
        for slot in Slot::ALL {
            self.send(slot);
        }
        self.drain_events();
    }

    /// Moves messages to the socket until either has no more.
    fn send(&mut self, slot: Slot) {
        loop {
            let Some(link) = (match slot {
                Slot::Dialled => self.dialled.as_mut(),
                Slot::Accepted => self.accepted.as_mut(),
            }) else {
                return;
            };
            while link.has_room() {
                let Some(message) = self.session.poll_transmit(slot) else { break };
                link.push(&message);
            }
            if link.is_flushed() {
                return;
            }
            match link.write() {
                Ok(Written::All) => self.session.handle_progress(slot),
                Ok(Written::Blocked(has_progress)) => {
                    if has_progress {
                        self.session.handle_progress(slot);
                    }
                    self.session.handle_blocked(Instant::now(), slot);
                    return;
                }
                Err(error) => return self.lose(slot, format!("write: {error}")),
            }
        }
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.apply(event);
        }
    }

    fn apply(&mut self, event: SessionEvent) {
        let peer = &self.config.name;
        match event {
            SessionEvent::Dial(remote) => self.dial(remote),
            SessionEvent::AbortDial => self.dial = None,
            SessionEvent::Close { slot, farewell } => {
                if let Some(link) = self.link_mut(slot).take() {
                    self.close(link, &farewell.unwrap_or_default());
                }
            }
            SessionEvent::Up => {
                tracing::info!(%peer, remote = %self.config.remote, "peer up");
                self.status.since = Some(SystemTime::now());
                self.status.down_since = None;
                self.status.established_at = Some(Instant::now());
                self.status.negotiated = None;
            }
            SessionEvent::Down => {
                tracing::info!(%peer, remote = %self.config.remote, "peer down");
                self.status.since = None;
                self.status.down_since = Some(SystemTime::now());
                self.status.established_at = None;
            }
            SessionEvent::NotificationSent { notification, why } => {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                tracing::info!(%peer, %notification, %why, "notification sent");
                let text = format!("{notification}{why}");
                let (code, subcode) = (notification.code(), notification.subcode());
                self.status.notifications_sent.count(&notification);
                let at = SystemTime::now();
                self.status.last_sent = Some(TimedNotification { at, code, subcode, text });
            }
            SessionEvent::NotificationReceived(notification) => {
                tracing::info!(%peer, %notification, "notification received");
                let (code, subcode) = (notification.code(), notification.subcode());
                self.status.notifications_received.count(&notification);
                let (at, text) = (SystemTime::now(), notification.to_string());
                self.status.last_received = Some(TimedNotification { at, code, subcode, text });
            }
            SessionEvent::Stopped => self.is_stopped = true,
        }
    }

    fn note_transport(&mut self, text: String) {
        tracing::debug!(peer = %self.config.name, %text, "transport");
        self.status.last_transport = Some(timed(text));
    }

    /// Reports the orders as handed over once nothing is left to say, nobody hears, or time is over.
    fn settle_hand_over(&mut self) {
        let Some((generation, deadline)) = self.handing_over else { return };
        let is_done = match self.session.established_slot() {
            None => true,
            Some(slot) => {
                self.session.rib().is_settled() && self.link_mut(slot).as_ref().is_none_or(Link::is_flushed)
            }
        };
        let is_late = deadline <= Instant::now();
        if is_late && !is_done {
            tracing::warn!(peer = %self.config.name, "peer does not take our updates in time");
        }
        if is_done || is_late {
            self.handing_over = None;
            self.ports.handed_over.send_replace(generation);
        }
    }

    fn publish(&mut self) {
        let status = &mut self.status;
        status.state = self.session.state();
        status.local_address = self.session.local_address();
        if matches!(self.config.remote, Remote::Interface { .. }) {
            let remote = self.session.remote_address().or(self.session.target());
            status.address = remote.map(|remote| remote.ip());
        }
        status.counters.clone_from(self.session.counters());
        let negotiated = self.session.negotiated();
        status.remote_as = negotiated.map(|(n, _)| n.remote_as);
        status.remote_router_id = negotiated.map(|(n, _)| n.remote_router_id);
        // Fixed while Established, and put into words once.
        if status.negotiated.is_none() || status.state != State::Established {
            status.negotiated = self.session.negotiated_status().map(Arc::new);
        }
        status.timers = self.session.timers();
        status.stale_until = self.session.stale_until();
        status.warnings = self.session.warnings();
        let received = self.session.adj_rib_in();
        let now = Instant::now();
        if self.adj_rib_in_version != Some(received.version()) && self.shown_until <= now {
            self.adj_rib_in_version = Some(received.version());
            status.adj_rib_in = received.snapshot(now, SystemTime::now());
            let count = u32::try_from(status.adj_rib_in.len()).unwrap_or(u32::MAX);
            self.shown_until = now + SHOWN_PER_ROUTE * count.saturating_sub(SHOWN_AT_ONCE);
        }
        let rib = self.session.rib();
        // The lists are long and change rarely; half-told ones are not worth their making.
        if self.rib_version != Some(rib.version()) && rib.is_settled() {
            self.rib_version = Some(rib.version());
            if let Some(view) = rib.view() {
                status.adj_rib_out = view;
            }
        }
        self.ports.status.send_replace(status.clone());
        self.ports.changed.notify_one();
    }

    fn link_mut(&mut self, slot: Slot) -> &mut Option<Link> {
        match slot {
            Slot::Dialled => &mut self.dialled,
            Slot::Accepted => &mut self.accepted,
        }
    }
}

fn timed(text: String) -> TimedText {
    TimedText { at: SystemTime::now(), text }
}

async fn changed(discovery: &mut Option<DiscoveryPorts>) {
    let ended = match discovery {
        Some(discovery) => discovery.found.changed().await.is_err(),
        None => true,
    };
    if ended {
        std::future::pending().await
    }
}

async fn outcome(dial: &mut Option<Dial>) -> io::Result<TcpStream> {
    match dial {
        Some(dial) => dial.await,
        None => std::future::pending().await,
    }
}

async fn ready(link: Option<&Link>) -> io::Result<()> {
    match link {
        Some(link) => link.ready().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
