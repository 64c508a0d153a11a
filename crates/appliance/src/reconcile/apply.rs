// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One pass: ask the plan for the next step, do it, record what came of it, until nothing more can be done.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use weir_bgp::Advertisement;

use super::desired::{Desired, Target};
use super::plan::{self, Observed, Step, StepKind};
use super::ports::{Announcer, Forwarder, PortError};

/// Runs steps until the desired is reached or only failed steps are left; returns those that failed.
///
/// Without an `announcer` the speaker's steps wait. Each kind of step is tried once at most, so a pass ends.
pub async fn pass<F: Forwarder, A: Announcer>(
    desired: &Desired,
    observed: &mut Observed,
    forwarder: &mut F,
    mut announcer: Option<&mut A>,
    now: Instant,
) -> Vec<(StepKind, PortError)> {
    if observed.is_attached && !forwarder.is_attached() {
        tracing::warn!("an uplink has gone or is another one now: XDP is not attached any more");
        observed.is_attached = false;
    }
    let mut failed = Vec::new();
    let mut tried = BTreeSet::new();
    if announcer.is_none() {
        tried.extend([StepKind::Withdraw, StepKind::Announce]);
    }
    while let Some(step) = plan::next(desired, observed, &tried, now) {
        let kind = step.kind();
        tried.insert(kind);
        tracing::debug!(step = kind.name(), generation = desired.generation.0, "step");
        let outcome = match step {
            Step::Forward(target) => forward(forwarder, target, observed),
            Step::Attach => forwarder.attach().map(|()| observed.is_attached = true),
            Step::Withdraw(set) | Step::Announce(set) => match announcer.as_deref_mut() {
                Some(announcer) => advertise(announcer, set, observed, now, desired.drain_wait).await,
                None => Ok(()),
            },
        };
        if let Err(error) = outcome {
            failed.push((kind, error));
        }
    }
    failed
}

fn forward<F: Forwarder>(
    forwarder: &mut F,
    target: Target,
    observed: &mut Observed,
) -> Result<(), PortError> {
    let outcome = forwarder.set_forwarding(&target);
    match outcome {
        Ok(()) => observed.handle_forwarding_applied(target),
        Err(_) => observed.handle_forwarding_failed(target),
    }
    outcome
}

async fn advertise<A: Announcer>(
    announcer: &mut A,
    set: BTreeSet<Advertisement>,
    observed: &mut Observed,
    now: Instant,
    drain_wait: Duration,
) -> Result<(), PortError> {
    let outcome = announcer.set_advertisements(&set).await;
    match outcome {
        Ok(()) => observed.handle_advertised(set, now, drain_wait),
        Err(_) => observed.handle_advertising_failed(set),
    }
    outcome
}
