// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One pass: ask the plan for the next step, do it, record what came of it, until nothing more can be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::forwarding::Service;

use super::desired::{Desired, Target};
use super::plan::{self, Observed, Step, StepKind};
use super::ports::{Announcer, Checker, Forwarder, PortError};

/// The siblings that steps act on.
#[derive(Debug)]
pub struct Ports<'a, F, C, A> {
    /// The dataplane.
    pub forwarder: &'a mut F,
    /// The health monitor.
    pub checker: &'a mut C,
    /// The speaker; without one its steps wait.
    pub announcer: Option<&'a mut A>,
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pass {
    /// The steps that were tried.
    pub tried: usize,
    /// The steps that failed.
    pub failed: Vec<(StepKind, PortError)>,
    /// When the kernel's tables were as desired, if this pass changed them.
    pub forwarded_at: Option<Instant>,
    /// Prefixes of which the peers were told something new.
    pub told: BTreeMap<Prefix, Telling>,
}

/// One thing that peers were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// When it was decided.
    pub decided_at: Instant,
    /// When the peers had been told.
    pub told_at: Instant,
}

/// Runs steps until the desired is reached or only failed steps are left. Each kind of step is tried once at most, so a pass
/// ends.
pub async fn pass<F: Forwarder, C: Checker, A: Announcer>(
    desired: &Desired,
    observed: &mut Observed,
    ports: Ports<'_, F, C, A>,
    clock: &(impl Fn() -> Instant + Sync),
) -> Pass {
    let Ports { forwarder, checker, mut announcer } = ports;
    let now = clock();
    if observed.is_attached && !forwarder.is_attached() {
        tracing::warn!(
            "XDP is not attached any more: an uplink has gone or is another one now, or somebody took it off"
        );
        observed.is_attached = false;
    }
    let mut done = Pass::default();
    let mut tried = BTreeSet::new();
    if announcer.is_none() {
        tried.extend([StepKind::Withdraw, StepKind::Announce]);
    }
    while let Some(step) = plan::next(desired, observed, &tried, now) {
        let kind = step.kind();
        tried.insert(kind);
        done.tried += 1;
        tracing::debug!(step = kind.name(), generation = desired.generation.0, "step");
        let outcome = match step {
            Step::Forward(target) => {
                forward(forwarder, target, observed).map(|()| done.forwarded_at = Some(clock()))
            }
            Step::Attach => forwarder.attach().map(|()| observed.is_attached = true),
            Step::Verify(services) => verify(forwarder, &services, observed),
            Step::Check(checks) => {
                let outcome = match forwarder.open_check_path() {
                    Ok(()) => checker.set_checks(checks).await,
                    Err(error) => Err(error),
                };
                observed.handle_checked(desired, outcome.is_ok());
                outcome
            }
            Step::Withdraw(set) | Step::Announce(set) => match announcer.as_deref_mut() {
                Some(announcer) => {
                    // A withdraw was decided before the pass, what is announced only now.
                    let decided_at = if kind == StepKind::Withdraw { now } else { clock() };
                    advertise(announcer, set, decided_at, desired, observed, &mut done, clock).await
                }
                None => Ok(()),
            },
        };
        if let Err(error) = outcome {
            done.failed.push((kind, error));
        }
    }
    done
}

fn forward<F: Forwarder>(
    forwarder: &mut F,
    target: Arc<Target>,
    observed: &mut Observed,
) -> Result<(), PortError> {
    let outcome = forwarder.set_forwarding(&target);
    match outcome {
        Ok(()) => observed.handle_forwarding_applied(target, forwarder.backend_ids()),
        Err(_) => observed.handle_forwarding_failed(target),
    }
    outcome
}

/// Fails when a packet did not come through, so that it is tried again.
fn verify<F: Forwarder>(
    forwarder: &mut F,
    services: &BTreeMap<String, Service>,
    observed: &mut Observed,
) -> Result<(), PortError> {
    let outcomes = forwarder.verify(services);
    let failed: Vec<_> =
        outcomes.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?))).collect();
    let summary = failed.first().map(|(name, why)| PortError::Failed {
        cause: format!("{} of {} services, the first is `{name}`: {why}", failed.len(), services.len()),
    });
    observed.handle_verified(services, outcomes);
    summary.map_or(Ok(()), Err)
}

async fn advertise<A: Announcer>(
    announcer: &mut A,
    set: BTreeSet<Advertisement>,
    decided_at: Instant,
    desired: &Desired,
    observed: &mut Observed,
    done: &mut Pass,
    clock: &(impl Fn() -> Instant + Sync),
) -> Result<(), PortError> {
    let outcome = announcer.set_advertisements(&set).await;
    let told_at = clock();
    match outcome {
        Ok(()) => {
            let changed = observed.advertised.symmetric_difference(&set).map(|one| one.prefix);
            done.told.extend(changed.map(|prefix| (prefix, Telling { decided_at, told_at })));
            observed.handle_advertised(set, told_at, desired.drain_wait);
        }
        Err(_) => observed.handle_advertising_failed(set),
    }
    outcome
}
