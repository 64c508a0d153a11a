// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker's task: commands in, orders out, connections to their peers, one status of all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::import::Import;
use super::keys::{self, Keys};
use super::listener::{self, Incoming};
use super::near::Rule;
use super::pace::Pace;
use super::roster::{self, Admitted, Roster, Starter};
use super::{Command, security, socket};
use crate::advertise::Prefix;
use crate::config::{Ending, Remote, SpeakerConfig};
use crate::error::StartError;
use crate::rib::Wanted;
use crate::status::SpeakerStatus;

/// Longest time all peers together may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(4);
/// Least time between two publications of the whole status: it copies that of every peer, and drivers report with every
/// message.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(10);
/// Strangers that are logged at once, and the time until the next one is.
const STRANGERS_LOGGED: u32 = 3;
const STRANGERS_INTERVAL: Duration = Duration::from_secs(60);

/// The listening sockets, their tasks, and what they require of whom.
pub(super) struct Listeners {
    sockets: Vec<(SocketAddr, Arc<TcpListener>)>,
    _tasks: JoinSet<()>,
    keys: Keys,
    rules: Vec<Rule>,
}

impl Listeners {
    /// Listens wherever the configuration says.
    pub(super) fn open(
        config: &SpeakerConfig,
        incoming: &mpsc::Sender<Incoming>,
    ) -> Result<Self, StartError> {
        let keyed = config.peers.iter().map(|config| {
            // What is fixed is known; what is learnt follows.
            let learnt = match &config.remote {
                Remote::Interface { address, .. } => *address,
                Remote::Address(_) | Remote::Range { .. } => None,
            };
            keys::Keyed { config, learnt }
        });
        let (keys, _) = keys::wanted(keyed);
        let sends_far = config.peers.iter().any(|peer| peer.has_gtsm);
        let rules: Vec<Rule> = config.peers.iter().filter_map(|peer| roster::rule(peer, None)).collect();
        let mut sockets = Vec::new();
        let mut tasks = JoinSet::new();
        for address in &config.listen {
            let listener = socket::listen(*address, &keys, &rules, sends_far);
            let listener =
                listener.map_err(|source| StartError::Listen { address: *address, source }).map(Arc::new)?;
            tasks.spawn(listener::run(Arc::clone(&listener), incoming.clone()));
            sockets.push((*address, listener));
        }
        Ok(Self { sockets, _tasks: tasks, keys, rules })
    }

    /// Makes the sockets know exactly these keys; what the kernel refuses is told.
    fn set_keys(&mut self, wanted: Keys, faults: &mut Vec<String>) {
        for (prefix, key) in keys::changes(&self.keys, &wanted) {
            let of_family = |address: &SocketAddr| address.is_ipv4() == prefix.address().is_ipv4();
            for (_, socket) in self.sockets.iter().filter(|(address, _)| of_family(address)) {
                let result = match key {
                    Some(key) => security::set_md5(socket, prefix, key),
                    None => security::remove_md5(socket, prefix).map(drop),
                };
                if let Err(error) = result {
                    faults.push(format!("MD5 key of {prefix}: {error}"));
                }
            }
        }
        self.keys = wanted;
    }

    /// Makes the sockets insist on exactly these neighbours being near.
    fn set_rules(&mut self, wanted: Vec<Rule>, faults: &mut Vec<String>) {
        if self.rules == wanted {
            return;
        }
        for (address, socket) in &self.sockets {
            if let Err(error) = socket::set_filter(&SockRef::from(&**socket), address.is_ipv4(), &wanted) {
                faults.push(format!("filter of near neighbours on {address}: {error}"));
            }
        }
        self.rules = wanted;
    }
}

/// What the task owns.
pub(super) struct Task {
    starter: Starter,
    roster: Roster,
    listeners: Option<Listeners>,
    import: Option<Import>,
    status: watch::Sender<Arc<SpeakerStatus>>,
    published_at: Instant,
    /// Something is to be published, as soon as it may.
    is_stale: bool,
    rejected: Arc<[Prefix]>,
    faults: Arc<[String]>,
    strangers: u64,
    refused: u64,
    stranger_log: Pace,
}

impl Task {
    pub(super) fn new(
        starter: Starter,
        roster: Roster,
        listeners: Listeners,
        import: Option<Import>,
    ) -> (Self, watch::Receiver<Arc<SpeakerStatus>>) {
        let (status, receiver) = watch::channel(Arc::default());
        let mut task = Self {
            starter,
            roster,
            listeners: Some(listeners),
            import,
            status,
            published_at: Instant::now(),
            is_stale: false,
            rejected: Arc::default(),
            faults: Arc::default(),
            strangers: 0,
            refused: 0,
            stranger_log: Pace::new(STRANGERS_LOGGED, STRANGERS_INTERVAL),
        };
        task.protect();
        task.publish();
        (task, receiver)
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut incoming: mpsc::Receiver<Incoming>,
        _keeps_incoming_open: mpsc::Sender<Incoming>,
    ) {
        let changed = Arc::clone(&self.starter.changed);
        let (ending, reply) = loop {
            let publish_at = self.is_stale.then(|| self.published_at + PUBLISH_INTERVAL);
            let deadline = [publish_at, self.roster.poll_timeout()].into_iter().flatten().min();
            // CANCEL: channels and `Notify` keep what an arm that lost did not take.
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Advertise { wanted, reply }) => self.advertise(wanted, reply),
                    Some(Command::End { ending, reply }) => break (ending, Some(reply)),
                    None => break (Ending::Stop { text: String::new() }, None),
                },
                () = changed.notified() => {
                    if self.roster.has_moved() {
                        self.protect();
                    }
                    // At once, not with the next publication: a route that is lost leads nowhere.
                    self.update_import();
                    self.is_stale = true;
                }
                () = Import::changed(&mut self.import) => self.is_stale = true,
                () = sleep_until(deadline) => {}
                Some((stream, from)) = incoming.recv() => self.admit(stream, from),
            }
            let now = Instant::now();
            if self.is_stale && self.published_at + PUBLISH_INTERVAL <= now {
                self.roster.tend(now);
                self.publish();
            } else if self.roster.poll_timeout().is_some_and(|at| at <= now) {
                self.roster.tend(now);
                self.is_stale = true;
            }
        };
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
        let mut generation = 0;
        self.starter.orders.send_modify(|orders| {
            orders.generation += 1;
            orders.wanted = wanted;
            generation = orders.generation;
        });
        if reply.send((generation, self.roster.handed_over())).is_err() {
            tracing::debug!("nobody waits for the advertisements any more");
        }
        self.is_stale = true;
    }

    /// Hands a connection to its peer; a stranger's is closed without a word.
    fn admit(&mut self, stream: tokio::net::TcpStream, from: SocketAddr) {
        let now = Instant::now();
        match self.roster.admit(&mut self.starter, now, stream, from) {
            Admitted::Yes => {}
            Admitted::TooMany => self.refused += 1,
            Admitted::Stranger => {
                self.strangers += 1;
                if self.stranger_log.take(now) {
                    tracing::warn!(%from, strangers = self.strangers, "connection from a stranger");
                }
            }
        }
        self.is_stale = true;
    }

    fn protect(&mut self) {
        let Some(listeners) = &mut self.listeners else { return };
        let (keys, mut faults) = self.roster.keys();
        listeners.set_keys(keys, &mut faults);
        listeners.set_rules(self.roster.rules(), &mut faults);
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
            tracing::warn!(%fault, "what protects sessions");
        }
        self.faults = faults.into();
    }

    fn update_import(&mut self) {
        if let Some(import) = &mut self.import {
            import.update(self.roster.sessions());
        }
    }

    fn publish(&mut self) {
        self.is_stale = false;
        self.published_at = Instant::now();
        let peers = self.roster.statuses();
        self.update_import();
        self.status.send_replace(Arc::new(SpeakerStatus {
            peers,
            rejected: Arc::clone(&self.rejected),
            strangers: self.strangers,
            refused: self.refused,
            faults: Arc::clone(&self.faults),
            fib: self.import.as_ref().map(Import::status),
        }));
    }

    async fn shut_down(&mut self, ending: Ending) {
        // Nobody comes any more, and the ports are free for the next.
        self.listeners = None;
        // What peers are told on the way out changes no imported route: those are dealt with once, at the end.
        let import = self.import.take();
        self.starter.orders.send_modify(|orders| orders.ending = Some(ending.clone()));
        let drivers = &mut self.starter.drivers;
        let ended = async { while drivers.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
            tracing::warn!("peers did not end in time and were cut");
            self.starter.drivers.abort_all();
        }
        if let Some(import) = import {
            import.end(&ending).await;
        }
        self.publish();
        tracing::info!("speaker ended");
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
