// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the service manager is told, where there is one that listens: readiness, reloads, the stop, one line of status,
//! and a sign of life that comes from the reconcile loop itself.
//!
//! Everything here is for the convenience of others: what cannot be told is logged and changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::reconcile::status::ReconcileStatus;

/// Least time between two signs of life, and between two lines of status.
const SPACING: Duration = Duration::from_secs(1);

/// All is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    // Managers from version 253 on want to know when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager was not told of the reload"),
    }
}

/// The end has begun and may take this long; `status` says in a line what it is about.
pub fn stopping(longest: Duration, status: &str) {
    let microseconds = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// Passes on the turns of the reconcile loop as signs of life, and its outcomes as a line of status, until the loop ends.
/// A loop that stands still gives no sign, and the manager's watchdog does its work.
pub async fn follow(mut heartbeat: watch::Receiver<Instant>, status: watch::Receiver<Arc<ReconcileStatus>>) {
    let mut line = String::new();
    while heartbeat.changed().await.is_ok() {
        let now = summary(&status.borrow());
        if now == line {
            tell(&[NotifyState::Watchdog]);
        } else {
            line = now;
            tell(&[NotifyState::Watchdog, NotifyState::Status(&line)]);
        }
        tokio::time::sleep(SPACING).await;
    }
}

/// One line on all.
fn summary(status: &ReconcileStatus) -> String {
    let announced = status.vips.values().filter(|vip| vip.is_told).count();
    let (usable, backends) = status
        .pools
        .values()
        .fold((0, 0), |(usable, backends), pool| (usable + pool.usable, backends + pool.backends));
    let mut line = format!(
        "{announced} of {} VIPs announced, {usable} of {backends} backends usable",
        status.vips.len()
    );
    if let Some((step, error)) = status.failed.first() {
        line.push_str(&format!("; {} failed: {error}", step.name()));
    }
    line
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a manager this does nothing.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::plan::StepKind;
    use crate::reconcile::ports::PortError;
    use crate::reconcile::status::PoolOutcome;

    #[test]
    fn the_line_of_status_counts_and_names_what_failed() {
        let mut status = ReconcileStatus::default();
        assert_eq!(summary(&status), "0 of 0 VIPs announced, 0 of 0 backends usable");
        let pool = PoolOutcome { usable: 2, backends: 3, ..PoolOutcome::default() };
        status.pools = [("a".to_owned(), pool), ("b".to_owned(), pool)].into();
        status.failed = vec![(StepKind::Forward, PortError::Failed { cause: "no room".into() })];
        assert_eq!(
            summary(&status),
            "0 of 0 VIPs announced, 4 of 6 backends usable; forward failed: no room"
        );
    }
}
