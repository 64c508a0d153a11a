// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's side of the API: gathers what the parts publish and translates it into the words of `weir_api::v1`.

mod peers;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use weir_api::events::EventLog;
use weir_api::metrics::Telemetry;
use weir_api::v1::{CheckDetail, Override, Reloaded};
use weir_api::{
    ControlPlane, DocumentView, OverrideRefused, OverrideSet, OverrideTarget, OverrideWish, Probes,
    Readiness, ReloadRefused, Unavailable, View,
};
use weir_bgp::SpeakerStatus;
use weir_health::MonitorHandle;

use crate::config;
use crate::reconcile::Command;
use crate::reconcile::ports::Traffic;
use crate::reconcile::status::ReconcileStatus;
use crate::state::{Conditions, OverrideStore};
use crate::store::{Accepted, Rejected};
use crate::supervisor::ReloadRequest;
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
    /// Set once the speaker runs.
    speaker: OnceLock<watch::Receiver<Arc<SpeakerStatus>>>,
    is_stopping: AtomicBool,
    started_at: SystemTime,
    kernel: String,
    events: Arc<EventLog>,
}

impl Control {
    /// A control plane over the parts that are there from the start.
    pub fn new(sources: Sources) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        let kernel = release.map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned());
        let started_at = SystemTime::now();
        Self {
            sources,
            speaker: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            started_at,
            kernel,
            events: Arc::new(EventLog::new(started_at)),
        }
    }

    /// Shows the speaker's status from now on.
    pub fn speaker_runs(&self, status: watch::Receiver<Arc<SpeakerStatus>>) {
        // The supervisor starts one speaker, so a second call cannot happen; the first would stay.
        self.speaker.set(status).ok();
    }

    /// Shows that the appliance is going down, and is not ready any more.
    pub fn stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    async fn traffic(&self) -> Result<Traffic, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.sources.commands.try_send(Command::Traffic(reply)).map_err(|error| match error {
            TrySendError::Full(_) => Unavailable::Busy,
            TrySendError::Closed(_) => Unavailable::Stopped,
        })?;
        match answer.await {
            Ok(Ok(traffic)) => Ok(traffic),
            Ok(Err(error)) => {
                tracing::warn!(%error, "counters not read");
                Err(Unavailable::Stopped)
            }
            Err(_) => Err(Unavailable::Stopped),
        }
    }
}

impl ControlPlane for Control {
    async fn view(&self) -> Result<View, Unavailable> {
        let traffic = self.traffic().await?;
        let accepted = Arc::clone(&self.sources.accepted.borrow());
        let rejected = self.sources.rejected.borrow().clone();
        let reconcile = Arc::clone(&self.sources.reconcile.borrow());
        let speaker = self.speaker.get().map(|speaker| Arc::clone(&speaker.borrow()));
        let status = status::status(&Parts {
            accepted: &accepted,
            rejected: rejected.as_deref(),
            reconcile: &reconcile,
            speaker: speaker.as_deref(),
            traffic: &traffic,
            waiting_for: self.sources.readiness.waiting(),
            is_stopping: self.is_stopping.load(Ordering::Relaxed),
            started_at: self.started_at,
            kernel: &self.kernel,
        });
        Ok(View { status, document: document_view(&accepted) })
    }

    async fn telemetry(&self) -> Result<Telemetry, Unavailable> {
        Ok(Telemetry::default())
    }

    fn document(&self) -> Arc<DocumentView> {
        document_view(&self.sources.accepted.borrow())
    }

    async fn checks(&self, _pool: &str) -> Result<BTreeMap<String, Vec<CheckDetail>>, Unavailable> {
        Ok(BTreeMap::new())
    }

    fn overrides(&self) -> Vec<Override> {
        Vec::new()
    }

    async fn set_override(
        &self,
        _target: OverrideTarget,
        _wish: OverrideWish,
    ) -> Result<OverrideSet, OverrideRefused> {
        Err(OverrideRefused::Unavailable(Unavailable::Starting))
    }

    async fn clear_override(&self, _target: OverrideTarget) -> Result<bool, OverrideRefused> {
        Err(OverrideRefused::Unavailable(Unavailable::Starting))
    }

    async fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        Err(ReloadRefused::Unavailable(Unavailable::Starting))
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

fn document_view(accepted: &Accepted) -> Arc<DocumentView> {
    Arc::new(DocumentView {
        json: config::to_json(&accepted.document),
        hash: accepted.document.hash.to_string(),
        generation: accepted.generation.0,
    })
}
