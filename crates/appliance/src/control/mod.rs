// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's side of the API: gathers what the parts publish and translates it into the words of `weir_api::v1`.

mod peers;
mod status;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use weir_api::v1::Status;
use weir_api::{ControlPlane, Probes, Readiness, Unavailable};
use weir_bgp::SpeakerStatus;

use crate::reconcile::Command;
use crate::reconcile::ports::Traffic;
use crate::reconcile::status::ReconcileStatus;
use crate::store::{Accepted, Rejected};
use status::View;

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
}

impl Control {
    /// A control plane over the parts that are there from the start.
    pub fn new(sources: Sources) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        let kernel = release.map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned());
        let started_at = SystemTime::now();
        Self { sources, speaker: OnceLock::new(), is_stopping: AtomicBool::new(false), started_at, kernel }
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
    async fn status(&self) -> Result<Status, Unavailable> {
        let traffic = self.traffic().await?;
        let accepted = Arc::clone(&self.sources.accepted.borrow());
        let rejected = self.sources.rejected.borrow().clone();
        let reconcile = Arc::clone(&self.sources.reconcile.borrow());
        let speaker = self.speaker.get().map(|speaker| Arc::clone(&speaker.borrow()));
        Ok(status::status(&View {
            accepted: &accepted,
            rejected: rejected.as_deref(),
            reconcile: &reconcile,
            speaker: speaker.as_deref(),
            traffic: &traffic,
            waiting_for: self.sources.readiness.waiting(),
            is_stopping: self.is_stopping.load(Ordering::Relaxed),
            started_at: self.started_at,
            kernel: &self.kernel,
        }))
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
