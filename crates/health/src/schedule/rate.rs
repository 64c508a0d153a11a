// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The budget of starts a second, as one instant: the time at which all starts so far would be paid off.

use std::time::{Duration, Instant};

/// How far starts may run ahead of the steady rate: a timer wakes a few milliseconds apart, and what was due in between
/// has to go at once.
const BURST: Duration = Duration::from_millis(20);

/// A leaky bucket.
#[derive(Debug)]
pub(super) struct StartRate {
    /// Time that one start costs.
    cost: Duration,
    paid_until: Option<Instant>,
}

impl StartRate {
    pub(super) fn new(per_second: u32) -> Self {
        Self { cost: Duration::from_secs(1) / per_second.max(1), paid_until: None }
    }

    pub(super) fn allows(&self, now: Instant) -> bool {
        self.allowed_from(now) <= now
    }

    /// The first time from `at` on at which one more start is allowed.
    pub(super) fn allowed_from(&self, at: Instant) -> Instant {
        match self.paid_until.and_then(|paid| paid.checked_sub(BURST)) {
            Some(from) => from.max(at),
            None => at,
        }
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.paid_until = Some(self.paid_until.map_or(now, |paid| paid.max(now)) + self.cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_follow_the_rate_after_a_short_burst() {
        let start = Instant::now();
        let mut rate = StartRate::new(1_000);
        let mut taken = 0;
        for now in (0..1_000).map(|ms| start + Duration::from_millis(ms)) {
            while rate.allows(now) {
                rate.take(now);
                taken += 1;
            }
        }
        assert!((1_000..=1_021).contains(&taken), "{taken}");
    }

    #[test]
    fn an_idle_time_saves_up_one_burst_and_no_more() {
        let mut rate = StartRate::new(1_000);
        let start = Instant::now();
        rate.take(start);
        let later = start + Duration::from_secs(60);
        let burst = std::iter::from_fn(|| rate.allows(later).then(|| rate.take(later))).count();
        assert!((20..=21).contains(&burst), "{burst}");
        assert!(rate.allowed_from(later) > later);
    }
}
