// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one place where the desired becomes real.
//!
//! ```text
//!  documents ─┐                                            ┌─► Forwarder (dataplane)
//!  next hops ─┤ wake  ┌─────────┐  ┌──────┐  ┌──────┐ steps┌┴───────┐
//!  health ────┼─────► │ desired │─►│ gate │─►│ plan │─────►│ apply  │──► Announcer (speaker)
//!  overrides ─┤       └─────────┘  └──────┘  └──────┘ ◄────└┬───────┘
//!  admin ─────┤           pure        pure      pure observed├─► Checker (health)
//!  times ─────┘                                              └─► watch<ReconcileStatus>
//! ```
//!
//! An event only wakes the loop; what is done follows from the whole state each time. The invariant, held by a property
//! test with siblings that fail: no VIP is announced unless its forwarding is in place. Going up, forwarding comes first
//! and the announcement last; going down, the withdraw first, then a wait, then the removal.

pub mod adapters;
pub mod apply;
pub mod backends;
pub mod checks;
pub mod desired;
mod doubt;
pub mod first_results;
pub mod gate;
mod memory;
pub mod plan;
pub mod ports;
mod publish;
pub mod status;
mod verified;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use weir_bgp::Prefix;
use weir_dataplane::next_hop::NextHops;
use weir_health::HealthSnapshot;

use crate::model::Generation;
use crate::overrides::Overrides;
use crate::store::Accepted;
use apply::Pass;
use checks::Targets;
use desired::{Admin, Desired, Reason, VipWish};
use first_results::FirstResults;
use gate::{Gates, Outcome};
use memory::{Made, Memory, World};
use plan::{Observed, StepKind};
use ports::{Announcer, Checker, Forwarder, PortError, Traffic};
use publish::{Calendar, Report};
use status::{Change, ReconcileStatus};

/// Questions waiting for the loop. Small on purpose: the one asker is the API; when full, it answers 503.
pub const COMMAND_QUEUE_DEPTH: usize = 16;
/// First wait before failed steps are tried again; it doubles with each failed pass.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest wait before failed steps are tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often flows that ended are cleared: a sweep of the flow table begins, unless one is under way.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Between two slices of a sweep, for everything else: with 262,144 slots a slice the largest flow table (2,048 slices) is seen
/// every half minute.
const SLICE_PAUSE: Duration = Duration::from_millis(10);

/// What the reconciler listens to.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The accepted document.
    pub documents: watch::Receiver<Arc<Accepted>>,
    /// Next hops of all backends.
    pub next_hops: watch::Receiver<Arc<NextHops>>,
    /// Verdicts of the checks.
    pub health: watch::Receiver<Arc<HealthSnapshot>>,
    /// What operators set beside the document.
    pub overrides: watch::Receiver<Arc<Overrides>>,
    /// What the process itself allows.
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
pub struct Reconciler<F, C, A> {
    inputs: Inputs,
    forwarder: F,
    checker: C,
    announcer: Option<A>,
    observed: Observed,
    gates: Gates,
    first_results: FirstResults,
    /// Where the pools of the document of this generation are checked.
    targets: Option<(Generation, Arc<Targets>)>,
    status: watch::Sender<Arc<ReconcileStatus>>,
    /// When the loop last turned.
    heartbeat: watch::Sender<Instant>,
    calendar: Calendar,
    /// What the last pass went by.
    memory: Memory,
    /// Nothing was to be done in the last pass, and nothing will be until an input changes, somebody else meddles, or then.
    rest: Option<Rest>,
    /// Passes in a row in which the same failed.
    failures: u32,
    /// What failed in the last one.
    failing: BTreeSet<StepKind>,
}

impl<F: Forwarder, C: Checker, A: Announcer> Reconciler<F, C, A> {
    /// A reconciler that has done nothing yet and knows no speaker.
    pub fn new(inputs: Inputs, forwarder: F, checker: C) -> Self {
        let status = watch::Sender::new(Arc::new(ReconcileStatus::default()));
        let heartbeat = watch::Sender::new(now());
        Self {
            inputs,
            forwarder,
            checker,
            announcer: None,
            observed: Observed::default(),
            gates: Gates::default(),
            first_results: FirstResults::default(),
            targets: None,
            status,
            heartbeat,
            calendar: Calendar::new(now(), wall_clock()),
            memory: Memory::default(),
            rest: None,
            failures: 0,
            failing: BTreeSet::new(),
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
        self.rest = None;
    }

    /// Goes on with what the process before left pinned: peers may still hold its VIPs.
    pub fn resume(&mut self) {
        self.gates.resume();
        self.rest = None;
    }

    /// Takes XDP off and removes the pins, for a start that failed half way.
    pub fn detach(&mut self) -> Result<(), PortError> {
        self.forwarder.detach()
    }

    /// One pass over a snapshot of all inputs. Returns when it must run again even if no input changes.
    pub async fn pass(&mut self) -> Option<Instant> {
        let started = now();
        let (mut desired, made) = self.desired(started);
        if made.is_nothing()
            && let Some(rest) = self.resting(started)
        {
            self.memory.keep(desired);
            self.publish_rest(started);
            return rest.until;
        }
        let changes = self.gates.changes();
        let gates_wake = desired.decide(&mut self.gates, now());
        desired.target = self.observed.known(desired.target);
        let told_before = self.told();
        let ports = apply::Ports {
            forwarder: &mut self.forwarder,
            checker: &mut self.checker,
            announcer: self.announcer.as_mut(),
        };
        let pass = apply::pass(&desired, &mut self.observed, ports, &now).await;
        let failing: BTreeSet<StepKind> = pass.failed.iter().map(|(step, _)| *step).collect();
        self.failures = match failing.is_subset(&self.failing) {
            _ if failing.is_empty() => 0,
            true => self.failures.saturating_add(1),
            // What has only begun to fail is not to wait for as long as what has failed for hours.
            false => 1,
        };
        self.failing = failing;
        let retry_in = (!pass.failed.is_empty()).then(|| retry_wait(self.failures));
        let ended = now();
        for (step, error) in &pass.failed {
            tracing::warn!(step = step.name(), %error, retry_in_s = retry_in.map(|wait| wait.as_secs_f64()), "step failed");
        }
        let is_idle = pass.tried == 0;
        let against = plan::against(&desired, &self.observed);
        let told = self.told();
        for (name, vip) in &desired.vips {
            let is_in_place = against.get(name).is_none_or(|against| against.obstacle.is_none());
            let (was_told, is_told) = (told_before.contains(&vip.prefix), told.contains(&vip.prefix));
            self.gates.handle_outcome(vip.prefix, Outcome { was_told, is_told, is_in_place }, ended);
        }
        self.tell_of_restarts(&desired, &pass);
        self.publish(&desired, pass, &against, &told, started, retry_in);
        // By the time at which the pass looked: what has drained meanwhile is still to be removed.
        let drained = plan::wake_at(&desired, &self.observed, started);
        let retry = retry_in.map(|wait| ended + wait);
        let until = [retry, drained, gates_wake, self.first_results.wake_at()].into_iter().flatten().min();
        self.rest = (is_idle && self.gates.changes() == changes).then_some(Rest { until });
        self.memory.keep(desired);
        until
    }

    /// Whether all is as the last pass left it, which had nothing to do.
    fn resting(&mut self, now: Instant) -> Option<Rest> {
        let rest = self.rest.filter(|rest| rest.until.is_none_or(|until| now < until))?;
        let is_attached = !self.observed.is_attached || self.forwarder.is_attached();
        (is_attached && !self.calendar.is_off(now, wall_clock())).then_some(rest)
    }

    fn publish_rest(&mut self, started: Instant) {
        self.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.passes += 1;
            status.ended_at = Some(wall_clock());
            status.took = now().duration_since(started);
        });
    }

    /// What peers that keep routes over a restart go by.
    fn tell_of_restarts(&mut self, desired: &Desired, pass: &Pass) {
        let Some(announcer) = &mut self.announcer else { return };
        announcer.set_forwarding(self.observed.is_preserved());
        let is_waiting = desired.vips.values().any(|vip| vip.withheld.contains(&Reason::FirstResults));
        let is_told = |(step, _): &(StepKind, _)| !matches!(step, StepKind::Withdraw | StepKind::Announce);
        if !is_waiting && pass.failed.iter().all(is_told) {
            announcer.handle_complete();
            self.gates.handle_complete();
        }
    }

    /// Runs passes until it is told to detach, or a sibling has ended.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), PortError> {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_slice = None;
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
                changed = self.inputs.health.changed() => changed.map_err(|_| gone("the health monitor"))?,
                // CANCEL: as above.
                changed = self.inputs.overrides.changed() => changed.map_err(|_| gone("the override store"))?,
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
                // CANCEL: only a wait is lost, the slice is still due.
                () = sleep_until(next_slice) => {
                    next_slice = self.sweep();
                    continue;
                }
                // CANCEL: a tick that was not seen comes again.
                _ = sweep.tick() => {
                    // One that takes longer than the interval goes on.
                    next_slice = next_slice.or(Some(now()));
                    self.forwarder.keep_clones();
                    let is_path_lost = self.is_check_path_lost();
                    if !is_path_lost && (!self.observed.is_attached || self.forwarder.is_attached()) {
                        continue;
                    }
                }
            }
            wake = self.pass().await;
        }
    }

    fn desired(&mut self, now: Instant) -> (Desired, Made) {
        let accepted = Arc::clone(&self.inputs.documents.borrow_and_update());
        let next_hops = Arc::clone(&self.inputs.next_hops.borrow_and_update());
        let health = Arc::clone(&self.inputs.health.borrow_and_update());
        let overrides = Arc::clone(&self.inputs.overrides.borrow_and_update());
        let admin = *self.inputs.admin.borrow_and_update();
        let targets = self.targets(&accepted);
        let readings = checks::read(&accepted.document, &targets, &health);
        self.first_results.handle_readings(&readings, now);
        let world = World { accepted, next_hops, overrides, admin, targets };
        self.memory.desired(world, readings, &self.first_results)
    }

    /// The same as long as the document is.
    fn targets(&mut self, accepted: &Accepted) -> Arc<Targets> {
        match &self.targets {
            Some((generation, targets)) if *generation == accepted.generation => Arc::clone(targets),
            Some(_) | None => {
                let targets = checks::targets(&accepted.document).unwrap_or_else(|error| {
                    // Validation is stricter than this; were it not, no check is safer than a wrong one.
                    tracing::error!(%error, "checks cannot be made, backends count as up");
                    Targets::new()
                });
                let targets = Arc::new(targets);
                self.targets = Some((accepted.generation, Arc::clone(&targets)));
                targets
            }
        }
    }

    fn told(&self) -> BTreeSet<Prefix> {
        self.observed.advertised.iter().map(|one| one.prefix).collect()
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

    /// One slice of a sweep. Gives when the next is due, if there is more to see.
    fn sweep(&mut self) -> Option<Instant> {
        match self.forwarder.sweep() {
            Ok(None) => return Some(now() + SLICE_PAUSE),
            Ok(Some(flows)) => self.status.send_modify(|status| Arc::make_mut(status).flows = flows),
            Err(error) => tracing::warn!(%error, "flows that ended were not cleared"),
        }
        None
    }

    /// Makes the way of the checks anew when somebody took it away; if that fails, the pass tries again.
    fn is_check_path_lost(&mut self) -> bool {
        if !self.observed.is_checking() {
            return false;
        }
        let outcome = self.forwarder.open_check_path();
        if outcome.is_err() {
            self.observed.handle_check_path_lost();
            self.rest = None;
        }
        outcome.is_err()
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
        &mut self,
        desired: &Desired,
        pass: Pass,
        against: &BTreeMap<String, plan::Against>,
        told: &BTreeSet<Prefix>,
        started: Instant,
        retry_in: Option<Duration>,
    ) {
        let before = Arc::clone(&self.status.borrow());
        let (ended, ended_at) = (now(), wall_clock());
        self.calendar.handle_reading(ended, ended_at);
        let report = Report {
            desired,
            pass: &pass,
            against,
            is_in_force: plan::is_in_force(desired, &self.observed, ended),
            ended,
            calendar: self.calendar,
        };
        let is_applied = pass.failed.is_empty() && self.announcer.is_some();
        let status = ReconcileStatus {
            applied: if is_applied { Some(desired.generation) } else { before.applied },
            passes: before.passes + 1,
            failed_passes: before.failed_passes + u64::from(!pass.failed.is_empty()),
            ended_at: Some(ended_at),
            took: ended.duration_since(started),
            retry_in,
            is_attached: self.observed.is_attached,
            flows: before.flows.clone(),
            vips: report.vips(&before, |vip: &VipWish| told.contains(&vip.prefix)).into(),
            pools: desired.pools.clone(),
            backends: report.backends(&before).into(),
            failed: pass.failed.clone(),
        };
        for change in status::changes(&before, &status) {
            log(&change);
        }
        self.status.send_replace(Arc::new(status));
    }
}

/// Nothing is to be done.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// When time alone brings something.
    until: Option<Instant>,
}

/// One line for each change. That thousands of backends are well after a start is no news.
fn log(change: &Change) {
    let Change { kind, object, from, to, code, message } = change;
    let (code, message) = (code.as_deref(), message.as_deref());
    let what = match kind {
        status::ChangeKind::Vip => "vip changed",
        status::ChangeKind::Backend => "backend changed",
        status::ChangeKind::Document => "document in force",
    };
    let is_expected = matches!((from, to), (None | Some("unknown"), Some("usable" | "unknown")));
    if *kind == status::ChangeKind::Backend && is_expected {
        tracing::debug!(object, from, to, "{what}");
    } else {
        tracing::info!(object, from, to, reason = code, detail = message, "{what}");
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
