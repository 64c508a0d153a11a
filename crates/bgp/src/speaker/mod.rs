// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker: one task that owns what is wanted, hands accepted connections to the drivers of their peers and
//! publishes what those report.
//!
//! ```text
//!   SpeakerHandle ──commands──► speaker task ──watch<Orders>──► peer::run   × peers
//!                                ▲    ▲   └──mpsc accepted────►    │
//!              listener::run ────┘    └──────watch<PeerStatus>─────┘
//! ```
//!
//! Orders are state, not a queue: a peer that is busy sees the latest. Dropping every handle ends the speaker as
//! [`SpeakerHandle::shutdown`] without a text does.

mod import;
mod link;
mod listener;
mod peer;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::advertise::{Advertisement, Prefix};
use crate::config::{Ending, PathDown, SpeakerConfig};
use crate::error::{SpeakerGone, StartError};
use crate::rib::Wanted;
use crate::session::SessionConfig;
use crate::status::{PeerStatus, SpeakerStatus};
use import::Import;
use listener::Incoming;
use peer::{Orders, Ports};

/// Commands waiting for the speaker task. Callers are one reconciler and one signal handler; when full, they wait.
const COMMAND_DEPTH: usize = 8;
/// Longest time all peers together may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(4);

/// Starts speakers.
#[derive(Debug)]
pub struct Speaker;

/// A running speaker; clones are the same one.
#[derive(Debug, Clone)]
pub struct SpeakerHandle {
    commands: mpsc::Sender<Command>,
    orders: watch::Sender<Orders>,
    status: watch::Receiver<Arc<SpeakerStatus>>,
}

#[derive(Debug)]
enum Command {
    /// Answered with one receiver per peer, each reaching `generation` when the peer's socket has it.
    Advertise {
        wanted: Arc<Wanted>,
        reply: oneshot::Sender<(u64, Vec<watch::Receiver<u64>>)>,
    },
    End {
        ending: Ending,
        reply: oneshot::Sender<()>,
    },
}

impl Speaker {
    /// Checks the configuration, listens, and begins to meet the peers; nothing is advertised yet.
    ///
    /// Must be called within a tokio runtime with I/O and time.
    pub async fn start(config: SpeakerConfig) -> Result<SpeakerHandle, StartError> {
        config.validate().map_err(StartError::Config)?;
        let listeners = config.listen.iter().map(|address| {
            socket::listen(*address).map_err(|source| StartError::Listen { address: *address, source })
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let import = Import::start(&config).map_err(StartError::Fib)?;
        let (incoming_tx, incoming) = mpsc::channel(listener::INCOMING_DEPTH);
        let mut listening = JoinSet::new();
        for listener in listeners {
            listening.spawn(listener::run(listener, incoming_tx.clone()));
        }
        let (commands_tx, commands) = mpsc::channel(COMMAND_DEPTH);
        let (orders, _) = watch::channel(Orders::default());
        let changed = Arc::new(Notify::new());
        let mut drivers = JoinSet::new();
        let peers: Vec<PeerPort> = config
            .peers
            .iter()
            .map(|peer| PeerPort::spawn(&mut drivers, &config, peer, orders.subscribe(), &changed))
            .collect();
        let status = SpeakerStatus {
            peers: peers.iter().map(|p| (p.name.clone(), p.status.borrow().clone())).collect(),
            ..SpeakerStatus::default()
        };
        let (status_tx, status) = watch::channel(Arc::new(status));
        tracing::info!(asn = config.asn, router_id = %config.router_id, peers = peers.len(), software = %config.software,
            "speaker started");
        let task = Task {
            peers,
            orders: orders.clone(),
            drivers,
            listening,
            changed,
            import,
            status: status_tx,
            rejected: Arc::default(),
            strangers: 0,
        };
        // `incoming_tx` lives in the task's hands so that a speaker without listeners waits instead of spinning.
        tokio::spawn(task.run(commands, incoming, incoming_tx));
        Ok(SpeakerHandle { commands: commands_tx, orders, status })
    }
}

impl SpeakerHandle {
    /// Replaces the whole advertised set.
    ///
    /// Resolves once the UPDATEs that follow from it were handed to the sockets of all Established peers, withdraws
    /// first; a peer that does not take them within two seconds is not waited for longer, and gets them when it does.
    pub async fn set_advertisements(&self, wanted: BTreeSet<Advertisement>) -> Result<(), SpeakerGone> {
        let (reply, answer) = oneshot::channel();
        let wanted = Arc::new(Wanted::new(&wanted));
        self.commands.send(Command::Advertise { wanted, reply }).await.map_err(|_| SpeakerGone)?;
        let (generation, peers) = answer.await.map_err(|_| SpeakerGone)?;
        for mut handed_over in peers {
            handed_over.wait_for(|handed| *handed >= generation).await.map_err(|_| SpeakerGone)?;
        }
        Ok(())
    }

    /// What is known of the speaker; changes with every message and every state.
    pub fn status(&self) -> watch::Receiver<Arc<SpeakerStatus>> {
        self.status.clone()
    }

    /// The advertised set is whole: a speaker that restarts may say End-of-RIB after it. Once said, it stays said.
    pub fn release_end_of_rib(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.is_complete, true));
    }

    /// Says whether forwarding would outlive this process now, as at the start is taken for granted. If not, graceful
    /// restart is not offered to sessions that begin; those that stand are not touched.
    pub fn set_forwarding(&self, is_preserved: bool) {
        self.orders.send_if_modified(|orders| {
            std::mem::replace(&mut orders.is_forwarding_lost, !is_preserved) == is_preserved
        });
    }

    /// The path to a peer was found dead: its session ends, and nothing of it is kept. It is tried again as after any loss.
    pub fn path_down(&self, peer: &str, why: PathDown) {
        self.orders.send_modify(|orders| {
            let down = Arc::make_mut(&mut orders.paths_down).entry(peer.to_owned()).or_insert((0, why));
            *down = (down.0 + 1, why);
        });
    }

    /// Ends the speaker. Resolves when done, within five seconds. A speaker that has ended is fine.
    pub async fn end(&self, ending: Ending) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::End { ending, reply }).await.is_ok() && answer.await.is_err() {
            tracing::debug!("another end was faster");
        }
    }

    /// [`SpeakerHandle::end`] for good, with this text.
    pub async fn shutdown(&self, text: &str) {
        self.end(Ending::Stop { text: text.to_owned() }).await;
    }
}

/// The task's end of one peer's channels.
struct PeerPort {
    name: String,
    address: Option<IpAddr>,
    accepted: mpsc::Sender<TcpStream>,
    status: watch::Receiver<PeerStatus>,
    handed_over: watch::Receiver<u64>,
}

impl PeerPort {
    fn spawn(
        drivers: &mut JoinSet<()>,
        config: &SpeakerConfig,
        peer: &crate::config::PeerConfig,
        orders: watch::Receiver<Orders>,
        changed: &Arc<Notify>,
    ) -> Self {
        let (accepted_tx, accepted) = mpsc::channel(peer::ACCEPTED_DEPTH);
        let (status_tx, status) = watch::channel(PeerStatus::new(peer));
        let (handed_over_tx, handed_over) = watch::channel(0);
        let restarting = config.graceful_restart.filter(|restart| restart.is_restarting);
        let restarting_until = restarting.map(|restart| std::time::Instant::now() + restart.restart_time);
        let session = SessionConfig {
            asn: config.asn,
            router_id: config.router_id,
            hostname: config.hostname.clone(),
            software: config.software.clone(),
            graceful_restart: config.graceful_restart,
            restarting_until,
            peer: peer.clone(),
        };
        let changed = Arc::clone(changed);
        let ports = Ports { orders, accepted, status: status_tx, changed, handed_over: handed_over_tx };
        drivers.spawn(peer::run(session, seed(), ports));
        Self {
            name: peer.name.clone(),
            address: peer.remote.address(),
            accepted: accepted_tx,
            status,
            handed_over,
        }
    }
}

/// A seed for jitter that differs between speakers and runs; the hasher's keys are random.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

struct Task {
    peers: Vec<PeerPort>,
    orders: watch::Sender<Orders>,
    drivers: JoinSet<()>,
    listening: JoinSet<()>,
    changed: Arc<Notify>,
    import: Option<Import>,
    status: watch::Sender<Arc<SpeakerStatus>>,
    rejected: Arc<[Prefix]>,
    strangers: u64,
}

impl Task {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut incoming: mpsc::Receiver<Incoming>,
        _keeps_incoming_open: mpsc::Sender<Incoming>,
    ) {
        let reply = loop {
            // CANCEL: channels and `Notify` keep what an arm that lost did not take.
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Advertise { wanted, reply }) => self.advertise(wanted, reply),
                    Some(Command::End { ending, reply }) => break (ending, Some(reply)),
                    None => break (Ending::Stop { text: String::new() }, None),
                },
                Some((stream, from)) = incoming.recv() => self.dispatch(stream, from.ip()),
                () = self.changed.notified() => self.publish(),
                () = Import::changed(&mut self.import) => self.publish(),
            }
        };
        let (ending, reply) = reply;
        self.shut_down(ending).await;
        // The caller may have stopped waiting, which changes nothing.
        if reply.is_some_and(|reply| reply.send(()).is_err()) {
            tracing::debug!("nobody waits for the end any more");
        }
    }

    fn advertise(&mut self, wanted: Arc<Wanted>, reply: oneshot::Sender<(u64, Vec<watch::Receiver<u64>>)>) {
        if !wanted.rejected().is_empty() {
            tracing::warn!(count = wanted.rejected().len(), first = %wanted.rejected()[0], "advertisements rejected");
        }
        self.rejected = wanted.rejected().into();
        self.orders.send_modify(|orders| {
            orders.generation += 1;
            orders.wanted = wanted;
        });
        let generation = self.orders.borrow().generation;
        let handed_over = self.peers.iter().map(|p| p.handed_over.clone()).collect();
        if reply.send((generation, handed_over)).is_err() {
            tracing::debug!("nobody waits for the advertisements any more");
        }
        self.publish();
    }

    /// Hands a connection to its peer, who is known by address alone; a stranger's is closed without a word.
    fn dispatch(&mut self, stream: TcpStream, from: IpAddr) {
        let Some(peer) = self.peers.iter().find(|p| p.address == Some(from)) else {
            self.strangers += 1;
            tracing::debug!(%from, "connection from a stranger");
            return self.publish();
        };
        if peer.accepted.try_send(stream).is_err() {
            tracing::debug!(peer = %peer.name, "too many connections at once");
        }
    }

    fn publish(&mut self) {
        let peers: BTreeMap<String, PeerStatus> =
            self.peers.iter().map(|p| (p.name.clone(), p.status.borrow().clone())).collect();
        if let Some(import) = &mut self.import {
            import.update(&peers);
        }
        let (rejected, strangers) = (Arc::clone(&self.rejected), self.strangers);
        let fib = self.import.as_ref().map(Import::status);
        self.status.send_replace(Arc::new(SpeakerStatus { peers, rejected, strangers, fib }));
    }

    async fn shut_down(&mut self, ending: Ending) {
        self.listening.abort_all();
        // What peers are told on the way out changes no imported route: those are dealt with once, at the end.
        let import = self.import.take();
        self.orders.send_modify(|orders| orders.ending = Some(ending.clone()));
        let ended = async { while self.drivers.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
            tracing::warn!("peers did not end in time and were cut");
            self.drivers.abort_all();
        }
        if let Some(import) = import {
            import.end(&ending).await;
        }
        self.publish();
        tracing::info!("speaker ended");
    }
}

#[cfg(test)]
mod tests;
