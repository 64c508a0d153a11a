// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real siblings behind the ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::block_in_place;
use weir_bgp::{Advertisement, SpeakerGone, SpeakerHandle};
use weir_dataplane::forwarding::Service;
use weir_dataplane::{BackendIds, Dataplane, ServiceCounters};
use weir_health::{Check, CheckKey, MonitorHandle, SetChecksError};

use super::desired::Target;
use super::ports::{Announcer, Checker, Count, Flows, Forwarder, PortError, Traffic};

/// The dataplane; its calls block, so other tasks of the thread are moved away first.
pub struct KernelForwarder {
    /// `None` once detached.
    dataplane: Option<Dataplane>,
}

impl KernelForwarder {
    /// Drives `dataplane`.
    pub fn new(dataplane: Dataplane) -> Self {
        Self { dataplane: Some(dataplane) }
    }

    fn with<T, E: std::error::Error>(
        &mut self,
        f: impl FnOnce(&mut Dataplane) -> Result<T, E>,
    ) -> Result<T, PortError> {
        let dataplane = self.dataplane.as_mut().ok_or(PortError::Gone { part: "the dataplane" })?;
        block_in_place(|| f(dataplane)).map_err(|error| PortError::failed(&error))
    }
}

impl Forwarder for KernelForwarder {
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError> {
        let applied = self.with(|dataplane| dataplane.set_forwarding(&target.state, &target.next_hops))?;
        tracing::debug!(writes = applied.writes, pools_rebuilt = ?applied.pools_rebuilt, "forwarding applied");
        Ok(())
    }

    fn attach(&mut self) -> Result<(), PortError> {
        self.with(Dataplane::attach)
    }

    fn is_attached(&mut self) -> bool {
        let Some(dataplane) = &self.dataplane else { return false };
        if dataplane.is_attached() {
            return true;
        }
        // Of several uplinks one came back, or lost its program: nothing has to be withdrawn for that while the others work.
        dataplane.is_attached_somewhere()
            && match self.attach() {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "an uplink has no program");
                    false
                }
            }
    }

    fn detach(&mut self) -> Result<(), PortError> {
        let dataplane = self.dataplane.take().ok_or(PortError::Gone { part: "the dataplane" })?;
        block_in_place(|| dataplane.detach()).map_err(|error| PortError::failed(&error))
    }

    fn traffic(&mut self) -> Result<Traffic, PortError> {
        let counters = self.with(|dataplane| dataplane.counters())?;
        let checks = self.with(|dataplane| dataplane.check_counters())?;
        let losses = self.with(|dataplane| dataplane.loss_counters())?;
        Ok(Traffic {
            verdicts: counters.verdicts.iter().map(|one| (one.verdict.name(), one.packets)).collect(),
            checks: checks.into_iter().map(|one| (one.verdict.name(), one.packets)).collect(),
            losses: losses.into_iter().map(|one| (one.loss.name(), one.frames)).collect(),
            services: counters.services.into_iter().map(|(name, one)| (name, count(one))).collect(),
            backends: counters.backends.into_iter().map(|(name, one)| (name, count(one))).collect(),
        })
    }

    fn sweep(&mut self) -> Result<Option<Flows>, PortError> {
        let Some(swept) = self.with(Dataplane::sweep_slice)? else { return Ok(None) };
        tracing::debug!(
            used = swept.used,
            cleared = swept.cleared,
            took_s = swept.duration.as_secs_f64(),
            longest_slice_s = swept.longest_slice.as_secs_f64(),
            "swept"
        );
        Ok(Some(Flows { slots_used: swept.used, by_backend: Some(Arc::new(swept.flows)) }))
    }

    fn backend_ids(&mut self) -> Arc<BackendIds> {
        self.dataplane.as_ref().map(Dataplane::backend_ids).unwrap_or_default()
    }

    fn verify(&mut self, services: &BTreeMap<String, Service>) -> BTreeMap<String, Result<(), String>> {
        let mut verify = |(name, service): (&String, &Service)| {
            let outcome = self.with(|dataplane| dataplane.verify(service));
            (name.clone(), outcome.map(drop).map_err(|error| error.to_string()))
        };
        services.iter().map(&mut verify).collect()
    }

    fn open_check_path(&mut self) -> Result<(), PortError> {
        self.with(Dataplane::open_check_path)
    }

    fn keep_clones(&mut self) {
        if let Some(dataplane) = &mut self.dataplane {
            block_in_place(|| dataplane.keep_clones());
        }
    }
}

fn count(counters: ServiceCounters) -> Count {
    Count { packets: counters.packets, bytes: counters.bytes, new_flows: counters.new_flows }
}

/// The health monitor.
pub struct MonitorChecker(pub MonitorHandle);

impl Checker for MonitorChecker {
    async fn set_checks(&mut self, checks: BTreeMap<CheckKey, Check>) -> Result<(), PortError> {
        match self.0.set_checks(checks).await {
            Ok(_) => Ok(()),
            Err(SetChecksError::Gone(_)) => Err(PortError::Gone { part: "the health monitor" }),
            Err(error @ SetChecksError::TooMany { .. }) => Err(PortError::failed(&error)),
        }
    }
}

/// The BGP speaker.
pub struct SpeakerAnnouncer(pub SpeakerHandle);

impl Announcer for SpeakerAnnouncer {
    async fn set_advertisements(&mut self, wanted: &BTreeSet<Advertisement>) -> Result<(), PortError> {
        let outcome = self.0.set_advertisements(wanted.clone()).await;
        outcome.map_err(|SpeakerGone| PortError::Gone { part: "the speaker" })
    }

    fn handle_complete(&mut self) {
        self.0.release_end_of_rib();
    }

    fn set_forwarding(&mut self, is_preserved: bool) {
        self.0.set_forwarding(is_preserved);
    }
}
