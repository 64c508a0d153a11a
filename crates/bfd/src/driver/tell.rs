// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread that tells the world: publishes snapshots and writes the log. Here a slow reader or a full pipe may cost
//! time; in the packet thread it would cost sessions.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::error::StartError;
use crate::packet::State;
use crate::session::Transition;
use crate::status::Snapshot;

/// News that wait for this thread. When it is full the packet thread keeps what it has and offers it again, with a newer
/// snapshot, a tenth of a second later.
const QUEUE_MAX: usize = 64;

/// Transitions kept for the log while the queue is full; older ones are lost to the log, not to the counters.
pub(super) const PENDING_MAX: usize = 1024;

/// What is to be told.
#[derive(Debug)]
pub(super) struct News {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) transitions: Vec<(String, Transition)>,
    /// Transitions that found no room.
    pub(super) lost: u64,
}

/// The packet thread's end of the queue.
#[derive(Debug)]
pub(super) struct Teller(SyncSender<News>);

impl Teller {
    /// Hands the news over without waiting; gives them back when there is no room.
    pub(super) fn tell(&self, news: News) -> Result<(), Box<News>> {
        match self.0.try_send(news) {
            // The other thread ends only after this one has: nobody is left to tell.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(news)) => Err(Box::new(news)),
        }
    }

    /// Hands the last news over, and waits for room.
    pub(super) fn tell_last(&self, news: News) {
        // As above: nobody is left to tell.
        drop(self.0.send(news));
    }
}

type Started = (Teller, watch::Receiver<Arc<Snapshot>>, JoinHandle<()>);

/// Starts the thread; it ends when the [`Teller`] is dropped.
pub(super) fn start(first: Snapshot) -> Result<Started, StartError> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let (publish, status) = watch::channel(Arc::new(first));
    let name = "weir-bfd-tell";
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || run(&receiver, &publish))
        .map_err(|source| StartError::Thread { name, source })?;
    Ok((Teller(sender), status, thread))
}

fn run(news: &Receiver<News>, publish: &watch::Sender<Arc<Snapshot>>) {
    let mut scheduling = None;
    while let Ok(News { snapshot, transitions, lost }) = news.recv() {
        if scheduling != Some(snapshot.scheduling) {
            tracing::info!(scheduling = %snapshot.scheduling, "BFD thread is scheduled");
            scheduling = Some(snapshot.scheduling);
        }
        publish.send_replace(snapshot);
        for (session, Transition { from, to, diagnostic: reason, remote_state, remote_diagnostic }) in
            transitions
        {
            // A wish of either end is no reason for anybody to look.
            let is_failure = from == State::Up && to == State::Down && remote_state != State::AdminDown;
            if is_failure {
                tracing::warn!(session, %from, %to, %reason, peer = %remote_state, peer_reason = %remote_diagnostic,
                    "BFD session left Up");
            } else {
                tracing::info!(session, %from, %to, %reason, peer = %remote_state, peer_reason = %remote_diagnostic,
                    "BFD session changed");
            }
        }
        if lost > 0 {
            tracing::warn!(lost, "BFD sessions changed faster than the log could be written");
        }
    }
}
