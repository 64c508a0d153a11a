// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When to look again: soon after a failure, ever later after many, and slowly against somebody who insists. Pure.

use std::time::{Duration, Instant};

/// First wait after a failure; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest wait after failures.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// First wait before the second mending in a row; doubled up to [`MEND_MAX`]. The first is done at once.
const MEND_MIN: Duration = Duration::from_millis(100);
/// Longest wait between mendings.
const MEND_MAX: Duration = Duration::from_secs(10);
/// After this long without mending the next one is a first one again.
const CALM: Duration = Duration::from_secs(60);

/// The waits of one task.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    retry_at: Option<Instant>,
    mends: u32,
    last_mend: Option<Instant>,
}

impl Pace {
    /// All is as wanted.
    pub(super) fn handle_success(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// Something could not be had; it will be tried again at [`Pace::retry_at`].
    pub(super) fn handle_failure(&mut self, now: Instant) {
        self.retry_at = Some(now + doubled(RETRY_MIN, self.failures, RETRY_MAX));
        self.failures = self.failures.saturating_add(1);
    }

    /// Something was put right that others had changed.
    pub(super) fn handle_mend(&mut self, now: Instant) {
        if self.last_mend.is_some_and(|last| now.saturating_duration_since(last) >= CALM) {
            self.mends = 0;
        }
        self.mends = self.mends.saturating_add(1);
        self.last_mend = Some(now);
    }

    /// The world has changed (a link, an address, the wish): what failed may work now, and nobody insists.
    pub(super) fn handle_change(&mut self) {
        *self = Self::default();
    }

    /// When to try again what failed. Changes with every `handle_*`.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Before when nothing may be mended. Changes with [`Pace::handle_mend`] and [`Pace::handle_change`].
    pub(super) fn mend_at(&self) -> Option<Instant> {
        let last = self.last_mend?;
        Some(last + doubled(MEND_MIN, self.mends.saturating_sub(1), MEND_MAX))
    }
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_later_until_a_success() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.retry_at(), None);
        let waits = (0..9).map(|_| {
            pace.handle_failure(now);
            pace.retry_at().unwrap() - now
        });
        let waits: Vec<u128> = waits.map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        pace.handle_success();
        assert_eq!(pace.retry_at(), None);
        pace.handle_failure(now);
        assert_eq!(pace.retry_at(), Some(now + RETRY_MIN));
    }

    #[test]
    fn mending_slows_down_against_somebody_who_insists_and_forgets_after_a_calm() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.mend_at(), None, "the first is done at once");
        let mut waits = Vec::new();
        for _ in 0..9 {
            pace.handle_mend(now);
            waits.push((pace.mend_at().unwrap() - now).as_millis());
            now = pace.mend_at().unwrap();
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
        now += CALM;
        pace.handle_mend(now);
        assert_eq!(pace.mend_at(), Some(now + MEND_MIN));
        pace.handle_change();
        assert_eq!(pace.mend_at(), None);
    }
}
