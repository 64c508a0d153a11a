// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A host that announces: a speaker on a thread of its own in a namespace.
//!
//! All of the speaker's tasks share that thread. Dropping its runtime is what the kernel does for a process that was
//! killed: sockets close, nobody says goodbye. Keeping the thread busy is what SIGSTOP does: sockets stay, nothing is
//! answered.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use weir_bgp::{
    Advertisement, Families, PeerConfig, PeerStatus, Prefix, RemoteAs, Secret, Speaker, SpeakerConfig,
    SpeakerHandle, SpeakerStatus,
};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{Netns, TorSession, Transport, wait_until};

use crate::PATIENCE;

/// A running speaker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Host {
    handle: SpeakerHandle,
    end: Option<oneshot::Sender<()>>,
    // Taken for a moment every few milliseconds by the speaker's thread: who holds it stops that thread.
    gate: Arc<Mutex<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts the speaker in a namespace.
    pub(crate) fn start(netns: &Netns, config: SpeakerConfig) -> Result<Host> {
        let (started_tx, started) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let gate = Arc::<Mutex<()>>::default();
        let gate_of_thread = Arc::clone(&gate);
        // A thread that is made inside the namespace stays there.
        let thread = netns.enter(|| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime");
                runtime.block_on(run(config, &started_tx, ended, &gate_of_thread));
                runtime.shutdown_background();
            })
        })?;
        let handle = started.recv().context("the speaker's thread ended")??;
        Ok(Host { handle, end: Some(end), gate, thread: Some(thread) })
    }

    /// The speaker.
    pub(crate) fn handle(&self) -> &SpeakerHandle {
        &self.handle
    }

    /// Its status now.
    pub(crate) fn status(&self) -> Arc<SpeakerStatus> {
        Arc::clone(&self.handle.status().borrow())
    }

    /// Status of the peer of a session.
    pub(crate) fn peer(&self, name: &str) -> Result<PeerStatus> {
        self.status().peers.get(name).cloned().with_context(|| format!("no peer {name}"))
    }

    /// Waits until a condition of a peer's status holds.
    pub(crate) fn wait_peer(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&PeerStatus) -> bool,
    ) -> Result<PeerStatus> {
        wait_until(&format!("{name}: {what}"), PATIENCE, || {
            let peer = self.peer(name)?;
            anyhow::ensure!(holds(&peer), "{peer:?}");
            Ok(peer)
        })
    }

    /// Announces exactly these, and returns once the sockets have it.
    pub(crate) fn announce(&self, wanted: impl IntoIterator<Item = Advertisement>) -> Result<()> {
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        Ok(block_on(self.handle.set_advertisements(wanted))??)
    }

    /// Stops all its tasks from running until the value is dropped.
    pub(crate) fn freeze(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it as SIGKILL would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.die()
    }

    fn die(&mut self) -> Result<()> {
        // Either is gone already if the thread has ended by itself, which `join` tells.
        drop(self.end.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow::anyhow!("the speaker's thread panicked"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.die() {
            eprintln!("speaker: {error:#}");
        }
    }
}

/// Runs a future of the speaker's handle from a scenario.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

async fn run(
    config: SpeakerConfig,
    started: &mpsc::Sender<Result<SpeakerHandle>>,
    mut ended: oneshot::Receiver<()>,
    gate: &Mutex<()>,
) {
    let handle = Speaker::start(config).await.context("start the speaker");
    let is_running = handle.is_ok();
    if started.send(handle).is_err() || !is_running {
        return;
    }
    let mut often = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        // CANCEL: a tick that is lost comes again, the end is kept by its channel.
        tokio::select! {
            _ = &mut ended => return,
            _ = often.tick() => {
                drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// A speaker with a peer for each session, named as the session is.
pub(crate) fn config<'a>(number: u8, sessions: impl IntoIterator<Item = &'a TorSession>) -> SpeakerConfig {
    SpeakerConfig {
        asn: APPLIANCE_AS,
        router_id: Ipv4Addr::new(192, 0, 2, number),
        listen: vec!["0.0.0.0:179".parse().expect("an address"), "[::]:179".parse().expect("an address")],
        hostname: format!("lb{number}"),
        software: "weir/lab".to_owned(),
        graceful_restart: None,
        fib: None,
        peers: sessions.into_iter().map(peer).collect(),
    }
}

/// Name of the peer at the other end of a session.
pub(crate) fn peer_name(session: &TorSession) -> String {
    let tor = session.link.host_interface();
    format!("{tor}{}", session.name().trim_start_matches(&session.link.tor_interface()))
}

/// The host's side of a session, as the ToR's side says it.
pub(crate) fn peer(session: &TorSession) -> PeerConfig {
    let (v4, v6) = session.link.tor_addresses();
    let (_, own_v6) = session.link.host_addresses();
    let name = peer_name(session);
    let tor = RemoteAs::Exact(TOR_AS);
    let peer = match session.transport {
        Transport::V4 => PeerConfig::new(name, v4.into(), tor),
        Transport::V6 => PeerConfig::new(name, v6.into(), tor),
        Transport::Unnumbered => PeerConfig::unnumbered(name, session.link.host_interface(), tor),
    };
    PeerConfig {
        connect_retry: std::time::Duration::from_secs(1),
        families: Families { ipv4: session.has_ipv4, ipv6: session.has_ipv6 },
        next_hop_v6: (session.transport == Transport::V4).then_some(own_v6),
        md5: session.md5.as_deref().map(|key| Secret::new(key).expect("a key of a scenario")),
        has_gtsm: session.has_gtsm,
        has_graceful_restart: session.has_graceful_restart,
        ..peer
    }
}

/// A prefix with no further attributes.
pub(crate) fn plain(prefix: &str) -> Advertisement {
    Advertisement::plain(prefix.parse::<Prefix>().expect("a prefix of a scenario"))
}
