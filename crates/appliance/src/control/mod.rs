// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's side of the API: gathers what the parts publish and translates it into the words of `weir_api::v1`.
//!
//! ```text
//!  Store, Reconciler, Speaker, Monitor, OverrideStore, Conditions
//!      │ watch: states                            ▲ commands: traffic, reload, overrides
//!      ├──────► status (pure) ──► View ──► API ───┘
//!      └──────► follow ──► recorder (pure): edges ──► EventLog, counters of edges
//! ```

mod bfd;
mod bgp;
mod checks;
mod overrides;
mod peers;
mod pools;
mod recorder;
mod routes;
mod status;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use weir_api::events::EventLog;
use weir_api::metrics::Telemetry;
use weir_api::v1::{
    AdvertisedRouteList, CheckDetail, FieldError, Override, ReceivedRouteList, Reloaded, Status,
};
use weir_api::{
    ControlPlane, DocumentView, OverrideRefused, OverrideSet, OverrideTarget, OverrideWish, Page, Probes,
    Readiness, ReloadRefused, Unavailable, View,
};
use weir_bgp::SpeakerStatus;
use weir_health::{MonitorGone, MonitorHandle};

use crate::bfd::BfdStatus;
use crate::config::{self, LoadErrors};
use crate::reconcile::Command;
use crate::reconcile::ports::Traffic;
use crate::reconcile::status::ReconcileStatus;
use crate::state::{Conditions, Kept, OverrideStore, STATE_NOT_KEPT};
use crate::store::{Accepted, Rejected, ReloadError};
use crate::supervisor::ReloadRequest;
use checks::Clocks;
use recorder::{Recorder, Seen};
use status::Parts;

/// Age of the reconciler's last turn beyond which the process counts as stuck: several of its slowest rounds.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Name of the dataplane among the parts that `/readyz` waits for.
pub const DATAPLANE: &str = "dataplane";

/// What the parts publish.
#[derive(Debug)]
pub struct Sources {
    /// The accepted document.
    pub accepted: watch::Receiver<Arc<Accepted>>,
    /// The last refusal.
    pub rejected: watch::Receiver<Option<Arc<Rejected>>>,
    /// Outcome of the last pass.
    pub reconcile: watch::Receiver<Arc<ReconcileStatus>>,
    /// When the reconciler last turned.
    pub heartbeat: watch::Receiver<Instant>,
    /// Asks the reconciler.
    pub commands: mpsc::Sender<Command>,
    /// Asks for a reload.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Keeps the overrides.
    pub overrides: Arc<OverrideStore>,
    /// Runs the health checks.
    pub monitor: MonitorHandle,
    /// What is wrong beside the objects.
    pub conditions: Conditions,
    /// What is not up yet.
    pub readiness: Readiness,
}

/// Implements the API's port.
#[derive(Debug)]
pub struct Control {
    sources: Sources,
    /// The speaker's status, once it runs.
    speaker: watch::Sender<Option<watch::Receiver<Arc<SpeakerStatus>>>>,
    /// BFD's status, once it runs.
    bfd: watch::Sender<Option<watch::Receiver<Arc<BfdStatus>>>>,
    is_stopping: AtomicBool,
    started_at: SystemTime,
    kernel: String,
    events: Arc<EventLog>,
    recorder: Mutex<Recorder>,
    /// The canonical form of the document that was asked for last.
    document: Mutex<Option<Arc<DocumentView>>>,
}

impl Control {
    /// A control plane over the parts that are there from the start.
    pub fn new(sources: Sources) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        let kernel = release.map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned());
        let started_at = SystemTime::now();
        let recorder = Mutex::new(Recorder::new(seen(&sources, None)));
        Self {
            sources,
            speaker: watch::Sender::new(None),
            bfd: watch::Sender::new(None),
            is_stopping: AtomicBool::new(false),
            started_at,
            kernel,
            events: Arc::new(EventLog::new(started_at)),
            recorder,
            document: Mutex::default(),
        }
    }

    /// Shows the speaker's status from now on.
    pub fn speaker_runs(&self, status: watch::Receiver<Arc<SpeakerStatus>>) {
        self.speaker.send_replace(Some(status));
    }

    /// Shows BFD's status from now on.
    pub fn bfd_runs(&self, status: watch::Receiver<Arc<BfdStatus>>) {
        self.bfd.send_replace(Some(status));
    }

    /// What is known of BFD; nothing before it runs.
    pub fn bfd(&self) -> Arc<BfdStatus> {
        self.bfd.borrow().as_ref().map(|status| Arc::clone(&status.borrow())).unwrap_or_default()
    }

    /// Shows that the appliance is going down, and is not ready any more.
    pub fn stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Tells changes as events, for as long as the reconciler publishes. To be spawned once.
    pub async fn follow(self: Arc<Self>) {
        let mut reconcile = self.sources.reconcile.clone();
        let mut accepted = self.sources.accepted.clone();
        let mut rejected = self.sources.rejected.clone();
        let mut overrides = self.sources.overrides.subscribe();
        let mut speaker_runs = self.speaker.subscribe();
        let mut speaker = None;
        loop {
            // A fresh clone counts its present value as unseen, so it is taken only when there is another.
            if speaker.is_none() {
                speaker = speaker_runs.borrow_and_update().clone();
            }
            self.look();
            // What changed since the look wakes at once: receivers keep changes that were not seen. All but the
            // reconciler live as long as this process does, or are only waited for while they do.
            let is_over = tokio::select! {
                // CANCEL: a change stays marked as unseen, on every arm.
                changed = reconcile.changed() => changed.is_err(),
                Ok(()) = accepted.changed() => false,
                Ok(()) = rejected.changed() => false,
                Ok(()) = overrides.changed() => false,
                Ok(()) = speaker_runs.changed(), if speaker.is_none() => false,
                () = speaker_changed(speaker.as_mut()) => false,
            };
            if is_over {
                self.look();
                return;
            }
        }
    }

    /// Publishes what changed since the last look.
    fn look(&self) {
        let speaker = self.speaker.borrow().as_ref().map(|status| Arc::clone(&status.borrow()));
        let now = SystemTime::now();
        let changes = locked(&self.recorder).look(seen(&self.sources, speaker), now);
        for change in changes {
            self.events.publish(change);
        }
    }

    async fn traffic(&self) -> Result<Traffic, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.sources.commands.try_send(Command::Traffic(reply)).map_err(|error| refused(&error))?;
        match answer.await {
            Ok(Ok(traffic)) => Ok(traffic),
            Ok(Err(error)) => {
                tracing::warn!(%error, "counters not read");
                Err(Unavailable::Stopped)
            }
            Err(_) => Err(Unavailable::Stopped),
        }
    }

    fn is_kept(&self) -> bool {
        !self.sources.conditions.raised().contains_key(STATE_NOT_KEPT)
    }
}

impl ControlPlane for Control {
    async fn view(&self) -> Result<View, Unavailable> {
        let traffic = self.traffic().await?;
        let accepted = Arc::clone(&self.sources.accepted.borrow());
        Ok(View { status: self.status(&accepted, &traffic), document: self.document_of(&accepted) })
    }

    async fn scrape(&self) -> Result<(Status, Telemetry), Unavailable> {
        let counters = self.sources.monitor.counters().await.map_err(|MonitorGone| Unavailable::Stopped)?;
        let traffic = self.traffic().await?;
        let accepted = Arc::clone(&self.sources.accepted.borrow());
        let status = self.status(&accepted, &traffic);
        let counted = locked(&self.recorder).counted().clone();
        let transitions = counted.backends.iter().flat_map(|((pool, backend), states)| {
            let of_state = |(state, times): (&&'static str, &u64)| {
                (pool.clone(), backend.clone(), (*state).to_owned(), *times)
            };
            states.iter().map(of_state).collect::<Vec<_>>()
        });
        let telemetry = Telemetry {
            checks: checks::by_pool(&counters.pools),
            lateness: Some(checks::lateness(&counters.lateness)),
            in_flight: counters.in_flight as u64,
            update_delay: Some(counted.update_delay.clone()),
            rows_delay: Some(counted.rows_delay.clone()),
            check_path: named(&traffic.checks),
            losses: named(&traffic.losses),
            documents: vec![
                ("applied".to_owned(), counted.applied),
                ("rejected".to_owned(), counted.rejected),
            ],
            backend_transitions: transitions.collect(),
        };
        Ok((status, telemetry))
    }

    fn document(&self) -> Arc<DocumentView> {
        self.document_of(&Arc::clone(&self.sources.accepted.borrow()))
    }

    async fn checks(&self, pool: &str) -> Result<BTreeMap<String, Vec<CheckDetail>>, Unavailable> {
        let status =
            self.sources.monitor.status(Some(pool)).await.map_err(|MonitorGone| Unavailable::Stopped)?;
        Ok(checks::details(&status, Clocks { at: Instant::now(), wall: SystemTime::now() }))
    }

    fn advertised(&self, peer: &str, page: Page) -> Option<AdvertisedRouteList> {
        // The view shares what the speaker wants, so that a long list keeps nobody waiting.
        let told = self.of_peer(peer, |known| known.adj_rib_out.clone())?;
        Some(routes::advertised(&told.unwrap_or_default(), page))
    }

    fn received(&self, peer: &str, page: Page) -> Option<ReceivedRouteList> {
        let heard = self.of_peer(peer, |known| Arc::clone(&known.adj_rib_in))?;
        Some(routes::received(&heard.unwrap_or_default(), page))
    }

    fn overrides(&self) -> Vec<Override> {
        overrides::all(&self.sources.overrides.subscribe().borrow(), self.is_kept())
    }

    async fn set_override(
        &self,
        target: OverrideTarget,
        wish: OverrideWish,
    ) -> Result<OverrideSet, OverrideRefused> {
        let target = overrides::target(target);
        let wanted = overrides::wanted(wish, SystemTime::now());
        let outcome = self.sources.overrides.set(target.clone(), wanted.clone()).await;
        let done = outcome.map_err(|error| overrides::refused(&error))?;
        let set = overrides::dto(&target, &wanted, done.kept == Kept::OnDisk);
        Ok(OverrideSet { set, is_new: done.is_new })
    }

    async fn clear_override(&self, target: OverrideTarget) -> Result<bool, OverrideRefused> {
        Ok(self.sources.overrides.clear(&overrides::target(target)).await.is_some())
    }

    async fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        let (reply, answer) = oneshot::channel();
        self.sources.reloads.try_send(ReloadRequest { reply }).map_err(|error| refused(&error))?;
        match answer.await {
            Ok(Ok(done)) => Ok(Reloaded { generation: done.generation.0, changed: done.is_changed }),
            Ok(Err(ReloadError::Invalid(errors))) => Err(ReloadRefused::Invalid { errors: fields(&errors) }),
            Ok(Err(ReloadError::NeedsRestart { sections })) => {
                let sections = sections.into_iter().map(str::to_owned).collect();
                Err(ReloadRefused::NeedsRestart { sections })
            }
            Err(_) => Err(Unavailable::Stopped.into()),
        }
    }

    fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    fn probes(&self) -> Probes {
        let is_stuck = self.sources.heartbeat.borrow().elapsed() > STUCK_AFTER;
        let mut not_ready = self.sources.readiness.waiting();
        // Up once does not mean up now: an uplink may have gone.
        if !self.sources.reconcile.borrow().is_attached && !not_ready.contains(&DATAPLANE) {
            not_ready.push(DATAPLANE);
        }
        if self.is_stopping.load(Ordering::Relaxed) {
            not_ready.push("stopping");
        }
        Probes { stuck: if is_stuck { vec!["reconcile"] } else { Vec::new() }, not_ready }
    }
}

impl Control {
    fn status(&self, accepted: &Accepted, traffic: &Traffic) -> Status {
        let rejected = self.sources.rejected.borrow().clone();
        let reconcile = Arc::clone(&self.sources.reconcile.borrow());
        let overrides = Arc::clone(&self.sources.overrides.subscribe().borrow());
        let speaker = self.speaker.borrow().as_ref().map(|speaker| Arc::clone(&speaker.borrow()));
        let bfd = self.bfd();
        status::status(&Parts {
            accepted,
            rejected: rejected.as_deref(),
            reconcile: &reconcile,
            speaker: speaker.as_deref(),
            bfd: Some(&bfd),
            traffic,
            health: &self.sources.monitor.snapshot(),
            overrides: &overrides,
            conditions: &self.sources.conditions.raised(),
            waiting_for: self.sources.readiness.waiting(),
            is_stopping: self.is_stopping.load(Ordering::Relaxed),
            started_at: self.started_at,
            kernel: &self.kernel,
            now: Instant::now(),
        })
    }

    /// Something of a peer; `None` inside when the speaker does not know it yet, outside when the document does not.
    fn of_peer<T>(&self, name: &str, what: impl FnOnce(&weir_bgp::PeerStatus) -> T) -> Option<Option<T>> {
        let speaker = self.speaker.borrow().as_ref().map(|speaker| Arc::clone(&speaker.borrow()));
        let known = speaker.as_ref().and_then(|speaker| speaker.peers.get(name));
        let is_known = known.is_some() || self.sources.accepted.borrow().document.peers.contains_key(name);
        is_known.then(|| known.map(what))
    }

    /// The canonical form, made once for each document.
    fn document_of(&self, accepted: &Accepted) -> Arc<DocumentView> {
        let (hash, generation) = (accepted.document.hash.to_string(), accepted.generation.0);
        let mut kept = locked(&self.document);
        match &*kept {
            Some(view) if view.hash == hash && view.generation == generation => Arc::clone(view),
            _ => {
                let json = config::to_json(&accepted.document);
                let view = Arc::new(DocumentView { json, hash, generation });
                *kept = Some(Arc::clone(&view));
                view
            }
        }
    }
}

fn seen(sources: &Sources, speaker: Option<Arc<SpeakerStatus>>) -> Seen {
    Seen {
        accepted: Arc::clone(&sources.accepted.borrow()),
        rejected: sources.rejected.borrow().clone(),
        reconcile: Arc::clone(&sources.reconcile.borrow()),
        overrides: Arc::clone(&sources.overrides.subscribe().borrow()),
        speaker,
    }
}

/// Resolves at a change; never before the speaker runs, nor once it has ended.
async fn speaker_changed(speaker: Option<&mut watch::Receiver<Arc<SpeakerStatus>>>) {
    let is_changed = match speaker {
        Some(status) => status.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending().await
    }
}

fn refused<T>(error: &TrySendError<T>) -> Unavailable {
    match error {
        TrySendError::Full(_) => Unavailable::Busy,
        TrySendError::Closed(_) => Unavailable::Stopped,
    }
}

/// Every error of a document, as `weir check` tells them.
fn fields(errors: &LoadErrors) -> Vec<FieldError> {
    let problems = errors.problems.iter().map(|problem| FieldError {
        path: problem.path.clone(),
        file: Some(errors.file.clone()),
        line: problem.position.map(|position| position.line as u64),
        column: problem.position.map(|position| position.column as u64),
        message: problem.message.clone(),
        hint: Some(problem.help.clone()),
    });
    let more = (errors.more > 0).then(|| FieldError {
        path: String::new(),
        file: Some(errors.file.clone()),
        line: None,
        column: None,
        message: format!("{} more errors", errors.more),
        hint: None,
    });
    problems.chain(more).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic aborts the process, so nobody can have left it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn named(counts: &[(&'static str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
