// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The task between speaker and BFD: wait, compare, tell. Every rule is in [`super::sessions`] and [`super::coupling`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use weir_bfd::{Bfd, BfdConfig, BfdHandle, Scheduling, SessionConfig, Snapshot, Wanted};
use weir_bgp::{PathDown, SpeakerHandle, SpeakerStatus};

use super::coupling::{WORD_WAIT, failed, is_standing, may_be_restart, protection};
use super::sessions::{asked_for, wanted};
use super::status::{BfdPeer, BfdStatus, Protection};
use super::{BFD_DOWN, BFD_NEVER_UP, BFD_NOT_REAL_TIME, BFD_NOT_STARTED};
use crate::model::Peer;
use crate::state::{Conditions, Severity};

/// Between two attempts to start: whoever has the port may go.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Names that a condition lists; more are counted.
const NAMES_MAX: usize = 5;

/// What the supervisor wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Orders {
    pub(super) is_forwarding_lost: bool,
    pub(super) is_ending: bool,
}

/// Why a run of BFD is over.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// The process ends: nothing follows.
    Ended,
    /// Its thread went; it is started again.
    Gone,
}

#[derive(Debug)]
pub(super) struct Driver {
    /// Those that ask for BFD.
    peers: BTreeMap<String, Peer>,
    speaker: SpeakerHandle,
    speaker_status: watch::Receiver<Arc<SpeakerStatus>>,
    conditions: Conditions,
    orders: watch::Receiver<Orders>,
    publish: watch::Sender<Arc<BfdStatus>>,
    /// What was set last.
    sessions: BTreeMap<String, SessionConfig>,
    /// Peers that said themselves that their BFD ends, and when it shows whether their BGP did too.
    words: BTreeMap<String, Instant>,
}

impl Driver {
    pub(super) fn new(
        peers: BTreeMap<String, Peer>,
        speaker: SpeakerHandle,
        conditions: Conditions,
        orders: watch::Receiver<Orders>,
        publish: watch::Sender<Arc<BfdStatus>>,
    ) -> Self {
        let speaker_status = speaker.status();
        let (sessions, words) = (BTreeMap::new(), BTreeMap::new());
        Self { peers, speaker, speaker_status, conditions, orders, publish, sessions, words }
    }

    /// Runs until told to end, or until nobody is left who could tell.
    pub(super) async fn run(mut self) {
        loop {
            match Bfd::start(&BfdConfig::default()) {
                Ok(handle) => {
                    self.conditions.clear(BFD_NOT_STARTED);
                    if self.serve(handle).await == Over::Ended {
                        return;
                    }
                    self.conditions.raise(BFD_NOT_STARTED, Severity::Error, "BFD's thread has ended");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    let message = format!(
                        "{error}{}; the paths to peers with `bfd` are not watched",
                        cause.unwrap_or_default()
                    );
                    self.conditions.raise(BFD_NOT_STARTED, Severity::Error, message);
                }
            }
            self.show(None);
            // CANCEL: orders are state; what an arm that lost did not see is seen in the next round.
            tokio::select! {
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
                changed = self.orders.changed() => {
                    if changed.is_err() || self.orders.borrow_and_update().is_ending {
                        return;
                    }
                }
            }
        }
    }

    async fn serve(&mut self, handle: BfdHandle) -> Over {
        let mut snapshots = handle.subscribe();
        // What is there before the thread's first word is a blank.
        let mut seen = None;
        self.sessions.clear();
        loop {
            self.settle(&handle);
            self.settle_words();
            let word_at = self.words.values().min().copied();
            // CANCEL: three are states of which the latest wins, and a wait that is cut short begins anew.
            tokio::select! {
                biased;
                changed = snapshots.changed() => {
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    self.look(seen.as_deref(), &snapshot);
                    if changed.is_err() || snapshot.is_stopped {
                        return Over::Gone;
                    }
                    seen = Some(snapshot);
                }
                changed = self.orders.changed() => match changed {
                    Ok(()) if self.orders.borrow_and_update().is_ending => return self.goodbye(handle).await,
                    Ok(()) => {}
                    // Whoever could say goodbye is gone: so ends a process that failed, and peers shall see it as that.
                    Err(_) => return Over::Ended,
                },
                () = sleep_until(word_at) => {}
                changed = self.speaker_status.changed() => {
                    if changed.is_err() {
                        // Without a speaker there is nothing to protect.
                        return self.goodbye(handle).await;
                    }
                    self.speaker_status.mark_unchanged();
                }
            }
            self.show(seen.as_deref());
        }
    }

    /// Sets the sessions that follow from what the speaker knows, if they are others than before.
    fn settle(&mut self, handle: &BfdHandle) {
        let purpose = match self.orders.borrow().is_forwarding_lost {
            true => Wanted::ForwardingLost,
            false => Wanted::Up,
        };
        let sessions = wanted(&self.peers, &self.speaker_status.borrow(), &self.sessions, purpose);
        if sessions == self.sessions {
            return;
        }
        if let Err(error) = handle.set_sessions(sessions.clone()) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(%error, cause = error.source().map(tracing::field::display), "BFD sessions were refused");
        }
        // Refused or not: the same set would be refused again.
        self.sessions = sessions;
    }

    /// Tells the speaker which paths have failed.
    fn look(&mut self, before: Option<&Snapshot>, after: &Snapshot) {
        for name in failed(before, after) {
            if after.sessions.get(name).is_some_and(may_be_restart) {
                let at = Instant::now() + WORD_WAIT;
                self.words.entry(name.to_owned()).or_insert(at);
            } else {
                self.path_down(name);
            }
        }
    }

    /// Decides about the words that have waited long enough.
    fn settle_words(&mut self) {
        let now = Instant::now();
        while let Some(name) = self.words.iter().find(|(_, at)| **at <= now).map(|(name, _)| name.clone()) {
            self.words.remove(&name);
            if is_standing(self.speaker_status.borrow().peers.get(&name)) {
                self.path_down(&name);
            } else {
                tracing::info!(peer = name, "BFD: ended by the peer with its BGP, as by a restart");
            }
        }
    }

    fn path_down(&self, peer: &str) {
        tracing::warn!(peer, "BFD: the path is down, its BGP session ends");
        self.speaker.path_down(peer, PathDown::Bfd);
    }

    async fn goodbye(&self, handle: BfdHandle) -> Over {
        // It blocks until the peers have heard, or two seconds.
        if tokio::task::spawn_blocking(move || handle.stop()).await.is_err() {
            tracing::warn!("BFD ended without a goodbye");
        }
        Over::Ended
    }

    /// Publishes the picture, and what is wrong in it.
    fn show(&self, snapshot: Option<&Snapshot>) {
        let status = {
            let speaker = self.speaker_status.borrow();
            picture(&self.peers, &speaker, snapshot, Instant::now())
        };
        self.condition(&status, Protection::NeverUp, BFD_NEVER_UP, |peers| {
            format!(
                "BGP is Established with {peers}, but BFD, asked for, never came up: the peer does not speak single-hop BFD \
                 with us, or its packets are lost (FRR turns BFD into multihop where `ttl-security` is on)"
            )
        });
        self.condition(&status, Protection::Lost, BFD_DOWN, |peers| {
            format!(
                "BGP is Established with {peers}, but BFD is down: a failure is noticed by the hold time only"
            )
        });
        let is_ordinary = matches!(status.scheduling, Some(Scheduling::Nice { .. } | Scheduling::Ordinary));
        if let (Some(scheduling), true) = (status.scheduling, is_ordinary) {
            let message = format!("BFD's thread is {scheduling}: the unit needs `LimitRTPRIO=10`");
            self.conditions.raise(BFD_NOT_REAL_TIME, Severity::Warning, message);
        } else {
            self.conditions.clear(BFD_NOT_REAL_TIME);
        }
        self.publish.send_if_modified(|published| {
            let is_new = **published != status;
            if is_new {
                *published = Arc::new(status);
            }
            is_new
        });
    }

    fn condition(
        &self,
        status: &BfdStatus,
        protection: Protection,
        code: &'static str,
        message: impl FnOnce(String) -> String,
    ) {
        let peers = status.peers.iter().filter(|(_, peer)| peer.protection == protection);
        let names: Vec<&str> = peers.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            self.conditions.clear(code);
        } else {
            self.conditions.raise(code, Severity::Warning, message(listed(&names)));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// What is known, put together.
fn picture(
    peers: &BTreeMap<String, Peer>,
    speaker: &SpeakerStatus,
    snapshot: Option<&Snapshot>,
    now: Instant,
) -> BfdStatus {
    let of = |(name, peer): (&String, &weir_bgp::PeerStatus)| {
        let (_, wanted) = asked_for(peers, name)?;
        let is_range = matches!(peer.remote, weir_bgp::Remote::Range { .. }) && peer.address.is_none();
        // The range itself is nobody.
        if is_range {
            return None;
        }
        let session = snapshot.and_then(|snapshot| snapshot.sessions.get(name)).cloned();
        let protection = protection(peer, session.as_ref(), now);
        Some((name.clone(), BfdPeer { wanted, session, protection }))
    };
    BfdStatus {
        peers: speaker.peers.iter().filter_map(of).collect(),
        scheduling: snapshot.map(|snapshot| snapshot.scheduling),
        discards: snapshot.map(|snapshot| snapshot.discards).unwrap_or_default(),
        late_max: snapshot.map(|snapshot| snapshot.late_max).unwrap_or_default(),
        late_recent: snapshot.map(|snapshot| snapshot.late_recent).unwrap_or_default(),
    }
}

/// The first names, and how many more.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
