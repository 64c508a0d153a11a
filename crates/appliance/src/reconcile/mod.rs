// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one place where the desired becomes real.
//!
//! ```text
//!  documents ─┐                                    ┌─► Forwarder (dataplane)
//!  next hops ─┤ wake  ┌─────────┐  ┌──────┐ steps ┌┴───────┐
//!  admin ─────┼─────► │ desired │─►│ plan │──────►│ apply  │──► Announcer (speaker)
//!  retry ─────┤       └─────────┘  └──────┘ ◄─────└┬───────┘
//!  drained ───┘           pure       pure  observed└─► watch<ReconcileStatus>
//! ```
//!
//! An event only wakes the loop; what is done follows from the whole state each time. The invariant, held by a property
//! test with siblings that fail: no VIP is announced unless its forwarding is in place. Going up, forwarding comes first
//! and the announcement last; going down, the withdraw first, then a wait, then the removal.

pub mod adapters;
pub mod apply;
pub mod desired;
pub mod plan;
pub mod ports;
pub mod status;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use weir_dataplane::next_hop::NextHops;

use crate::store::Accepted;
use desired::{Admin, Desired, desired};
use plan::{Observed, StepKind};
use ports::{Announcer, Forwarder, PortError, Traffic};
use status::{ReconcileStatus, VipOutcome};

/// Questions waiting for the loop. Small on purpose: the one asker is the API; when full, it answers 503.
pub const COMMAND_QUEUE_DEPTH: usize = 16;
/// First wait before failed steps are tried again; it doubles with each failed pass.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest wait before failed steps are tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often flows that ended are cleared.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What the reconciler listens to.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The accepted document.
    pub documents: watch::Receiver<Arc<Accepted>>,
    /// Next hops of all backends.
    pub next_hops: watch::Receiver<Arc<NextHops>>,
    /// What operators allow.
    pub admin: watch::Receiver<Admin>,
}

/// What the loop may be asked.
#[derive(Debug)]
pub enum Command {
    /// The counters of the packet path.
    Traffic(oneshot::Sender<Result<Traffic, PortError>>),
    /// Take XDP off and remove the pins, then end the loop. Everything must be withdrawn before.
    Detach(oneshot::Sender<Result<(), PortError>>),
}

/// The loop's state; [`Self::pass`] is one turn of it.
#[derive(Debug)]
pub struct Reconciler<F, A> {
    inputs: Inputs,
    forwarder: F,
    announcer: Option<A>,
    observed: Observed,
    status: watch::Sender<Arc<ReconcileStatus>>,
    /// When the loop last turned.
    heartbeat: watch::Sender<Instant>,
    /// Passes that failed in a row.
    failures: u32,
}

impl<F: Forwarder, A: Announcer> Reconciler<F, A> {
    /// A reconciler that has done nothing yet and knows no speaker.
    pub fn new(inputs: Inputs, forwarder: F) -> Self {
        let status = watch::Sender::new(Arc::new(ReconcileStatus::default()));
        let heartbeat = watch::Sender::new(now());
        Self {
            inputs,
            forwarder,
            announcer: None,
            observed: Observed::default(),
            status,
            heartbeat,
            failures: 0,
        }
    }

    /// When the loop last turned; it does at least every [`SWEEP_INTERVAL`].
    pub fn heartbeat(&self) -> watch::Receiver<Instant> {
        self.heartbeat.subscribe()
    }

    /// Outcomes of passes, the latest.
    pub fn status(&self) -> watch::Receiver<Arc<ReconcileStatus>> {
        self.status.subscribe()
    }

    /// Gives it the speaker, which has told its peers nothing so far.
    pub fn announce_through(&mut self, announcer: A) {
        self.announcer = Some(announcer);
    }

    /// Takes XDP off and removes the pins, for a start that failed half way.
    pub fn detach(&mut self) -> Result<(), PortError> {
        self.forwarder.detach()
    }

    /// One pass over a snapshot of all inputs. Returns when it must run again even if no input changes.
    pub async fn pass(&mut self) -> Option<Instant> {
        let desired = self.snapshot();
        let started = now();
        let announcer = self.announcer.as_mut();
        let failed = apply::pass(&desired, &mut self.observed, &mut self.forwarder, announcer, started).await;
        self.failures = if failed.is_empty() { 0 } else { self.failures.saturating_add(1) };
        let retry_in = (!failed.is_empty()).then(|| retry_wait(self.failures));
        let ended = now();
        for (step, error) in &failed {
            tracing::warn!(step = step.name(), %error, retry_in_s = retry_in.map(|wait| wait.as_secs_f64()), "step failed");
        }
        self.publish(&desired, failed, ended.duration_since(started), retry_in);
        let drained = plan::wake_at(&desired, &self.observed, ended);
        [retry_in.map(|wait| ended + wait), drained].into_iter().flatten().min()
    }

    /// Runs passes until it is told to detach, or a sibling has ended.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), PortError> {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wake = self.pass().await;
        loop {
            self.check_siblings()?;
            self.heartbeat.send_replace(now());
            tokio::select! {
                // CANCEL: a change stays marked as unseen.
                changed = self.inputs.documents.changed() => changed.map_err(|_| gone("the document store"))?,
                // CANCEL: as above.
                changed = self.inputs.next_hops.changed() => changed.map_err(|_| gone("the next-hop resolver"))?,
                // CANCEL: as above.
                changed = self.inputs.admin.changed() => changed.map_err(|_| gone("the supervisor"))?,
                // CANCEL: only a wait is lost, it is computed again.
                () = sleep_until(wake) => {}
                // CANCEL: a command that was not received stays in the queue.
                command = commands.recv() => {
                    if self.answer(command).is_break() {
                        return Ok(());
                    }
                    continue;
                }
                // CANCEL: a tick that was not seen comes again.
                _ = sweep.tick() => {
                    self.sweep();
                    if !self.observed.is_attached || self.forwarder.is_attached() {
                        continue;
                    }
                }
            }
            wake = self.pass().await;
        }
    }

    fn snapshot(&mut self) -> Desired {
        let accepted = Arc::clone(&self.inputs.documents.borrow_and_update());
        let next_hops = Arc::clone(&self.inputs.next_hops.borrow_and_update());
        let admin = *self.inputs.admin.borrow_and_update();
        desired(&accepted.document, accepted.generation, &next_hops, admin)
    }

    fn answer(&mut self, command: Option<Command>) -> std::ops::ControlFlow<()> {
        // An asker that went away does not want its answer any more, so a failed send is fine.
        match command {
            Some(Command::Traffic(reply)) => {
                reply.send(self.forwarder.traffic()).ok();
                std::ops::ControlFlow::Continue(())
            }
            Some(Command::Detach(reply)) => {
                reply.send(self.forwarder.detach()).ok();
                std::ops::ControlFlow::Break(())
            }
            // Nobody is left who could ask for the detach: leave the pins for the next start.
            None => std::ops::ControlFlow::Break(()),
        }
    }

    fn sweep(&mut self) {
        match self.forwarder.sweep() {
            Ok(used) => self.status.send_modify(|status| Arc::make_mut(status).flow_slots_used = used),
            Err(error) => tracing::warn!(%error, "flows that ended were not cleared"),
        }
    }

    /// A sibling that has ended is not worth a retry. While stopping, siblings end before this loop does.
    fn check_siblings(&self) -> Result<(), PortError> {
        if self.inputs.admin.borrow().is_stopping {
            return Ok(());
        }
        let status = self.status.borrow();
        let gone = status.failed.iter().find(|(_, error)| matches!(error, PortError::Gone { .. }));
        gone.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    fn publish(
        &self,
        desired: &Desired,
        failed: Vec<(StepKind, PortError)>,
        took: Duration,
        retry_in: Option<Duration>,
    ) {
        let before = Arc::clone(&self.status.borrow());
        let is_applied = failed.is_empty() && self.announcer.is_some();
        let status = ReconcileStatus {
            applied: if is_applied { Some(desired.generation) } else { before.applied },
            passes: before.passes + 1,
            failed_passes: before.failed_passes + u64::from(!failed.is_empty()),
            ended_at: Some(wall_clock()),
            took,
            failed,
            retry_in,
            is_attached: self.observed.is_attached,
            flow_slots_used: before.flow_slots_used,
            vips: self.vip_outcomes(desired, &before.vips),
            backends: desired.backends.clone(),
        };
        log_changes(&before, &status);
        self.status.send_replace(Arc::new(status));
    }

    fn vip_outcomes(
        &self,
        desired: &Desired,
        before: &BTreeMap<String, VipOutcome>,
    ) -> BTreeMap<String, VipOutcome> {
        let mut withheld = plan::withheld(desired, &self.observed);
        let told: BTreeSet<IpAddr> =
            self.observed.advertised.iter().map(|one| one.prefix.address()).collect();
        let mut outcome = |name: &String, address| {
            let before = before.get(name);
            let is_told = told.contains(&address);
            let was_told = before.is_some_and(|before| before.is_told);
            VipOutcome {
                address,
                is_told,
                withheld: withheld.remove(name).unwrap_or_default(),
                announced: before.map_or(0, |before| before.announced) + u64::from(is_told && !was_told),
                withdrawn: before.map_or(0, |before| before.withdrawn) + u64::from(!is_told && was_told),
            }
        };
        desired.vips.iter().map(|(name, vip)| (name.clone(), outcome(name, vip.address))).collect()
    }
}

/// One line for each VIP and backend whose outcome changed.
fn log_changes(before: &ReconcileStatus, after: &ReconcileStatus) {
    for (vip, now) in &after.vips {
        let was = before.vips.get(vip);
        let reasons: Vec<&str> = now.withheld.iter().map(|reason| reason.name()).collect();
        let was_told = was.is_some_and(|was| was.is_told);
        if now.is_told && !was_told {
            tracing::info!(vip, address = %now.address, "vip announced");
        } else if was_told && !now.is_told {
            tracing::info!(vip, address = %now.address, reason = reasons.join(","), "vip withdrawn");
        } else if !reasons.is_empty() && was.is_none_or(|was| was.withheld != now.withheld) {
            tracing::info!(vip, address = %now.address, reason = reasons.join(","), "vip withheld");
        }
    }
    for (vip, was) in before.vips.iter().filter(|(vip, was)| was.is_told && !after.vips.contains_key(*vip)) {
        tracing::info!(vip, address = %was.address, reason = "removed", "vip withdrawn");
    }
    for ((pool, backend), now) in &after.backends {
        let was = before.backends.get(&(pool.clone(), backend.clone()));
        if was.is_none_or(|was| was.condition != now.condition) {
            let reason = now.next_hop.as_ref().and_then(|hop| hop.as_ref().err()).map(ToString::to_string);
            tracing::info!(pool, backend, condition = ?now.condition, reason, "backend changed");
        }
    }
    if before.applied != after.applied
        && let Some(generation) = after.applied
    {
        tracing::info!(generation = generation.0, took_s = after.took.as_secs_f64(), "document in force");
    }
}

/// Wait after the `failures`th failed pass in a row: doubles from [`RETRY_MIN`] to [`RETRY_MAX`].
fn retry_wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (RETRY_MIN * 2u32.pow(doublings)).min(RETRY_MAX)
}

fn gone(part: &'static str) -> PortError {
    PortError::Gone { part }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The clock of the loop; desired and plan take the time as an argument.
fn now() -> Instant {
    Instant::now()
}

fn wall_clock() -> SystemTime {
    SystemTime::now()
}
