// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker: one task that owns what is wanted, hands accepted connections to the drivers of their peers and
//! publishes what those report.
//!
//! ```text
//!   SpeakerHandle ──commands──► task::Task ──watch<Orders>──► peer::run   × peers ◄──watch<Found>── discovery
//!                                ▲    ▲  └──mpsc accepted───►    │                 ──in use───────►
//!              listener::run ────┘    └─────watch<PeerStatus>────┘
//! ```
//!
//! `admission` says whose a connection is, `keys` and `near` what the listeners require, `pace` how often is too often: all pure.
//! Orders are state, not a queue: a peer that is busy sees the latest. Dropping every handle ends the speaker as
//! [`SpeakerHandle::shutdown`] without a text does.

mod admission;
mod import;
mod keys;
mod link;
mod listener;
mod near;
mod pace;
mod peer;
mod roster;
mod security;
mod socket;
mod task;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::advertise::Advertisement;
use crate::config::{Ending, PathDown, Remote, SpeakerConfig};
use crate::discovery::links;
use crate::error::{SpeakerGone, StartError};
use crate::rib::Wanted;
use crate::status::SpeakerStatus;
use import::Import;
use peer::Orders;
use roster::{Roster, Starter};
use task::{Listeners, Task};

pub use security::{TcpAo, TcpAoError, probe_tcp_ao, refuse_tcp_ao};

/// Commands waiting for the speaker task. Callers are one reconciler and one signal handler; when full, they wait.
const COMMAND_DEPTH: usize = 8;

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
        let (incoming_tx, incoming) = mpsc::channel(listener::INCOMING_DEPTH);
        let listeners = Listeners::open(&config, &incoming_tx)?;
        let import = Import::start(&config).map_err(StartError::Fib)?;
        let (commands_tx, commands) = mpsc::channel(COMMAND_DEPTH);
        let (orders, _) = watch::channel(Orders::default());
        let (links_tx, _) = watch::channel(None);
        let peers = config.peers.clone();
        let (asn, router_id, software) = (config.asn, config.router_id, config.software.clone());
        let restarting = config.graceful_restart.filter(|restart| restart.is_restarting);
        let mut starter = Starter {
            restarting_until: restarting.map(|restart| Instant::now() + restart.restart_time),
            config: SpeakerConfig { peers: Vec::new(), ..config },
            orders: orders.clone(),
            changed: Arc::new(Notify::new()),
            drivers: JoinSet::new(),
            links: links_tx.clone(),
        };
        let roster = Roster::start(&mut starter, &peers);
        if peers.iter().any(|peer| matches!(peer.remote, Remote::Interface { .. })) {
            // It ends when the last discovery does.
            tokio::spawn(links::run(links_tx));
        }
        tracing::info!(asn, %router_id, peers = peers.len(), %software, "speaker started");
        let (task, status) = Task::new(starter, roster, listeners, import);
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
        let before = Arc::clone(&self.orders.borrow().wanted);
        let set = Arc::new(Wanted::after(&wanted, &before));
        self.commands.send(Command::Advertise { wanted: set, reply }).await.map_err(|_| SpeakerGone)?;
        // Ten thousand small pieces: not before the peers are told, and not after it either.
        drop((wanted, before));
        let (generation, peers) = answer.await.map_err(|_| SpeakerGone)?;
        handed_over(generation, peers).await;
        if self.orders.borrow().ending.is_some() { Err(SpeakerGone) } else { Ok(()) }
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

/// Waits until every peer has this generation, or is gone: a peer of a range may be forgotten meanwhile, and hears nothing.
async fn handed_over(generation: u64, peers: Vec<watch::Receiver<u64>>) {
    for mut peer in peers {
        if peer.wait_for(|handed| *handed >= generation).await.is_err() {
            tracing::debug!("a peer went before it was told");
        }
    }
}

#[cfg(test)]
mod tests;
