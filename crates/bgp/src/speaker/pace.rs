// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How often something may happen: a bucket of tokens. No clock.

use std::time::{Duration, Instant};

/// So many at once, and one more after each interval.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    burst: u32,
    interval: Duration,
    /// When the bucket was or will be empty by the pace alone.
    empty_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, empty_at: None }
    }

    /// Whether it may happen now; counts it if so.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full = self.interval * self.burst;
        let level = self.empty_at.map_or(full, |at| now.saturating_duration_since(at).min(full));
        let may = level >= self.interval;
        if may {
            // `level` is how much of the bucket is left, as the time it took to fill.
            self.empty_at = Some(now.checked_sub(level - self.interval).unwrap_or(now));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_pace() {
        let begin = Instant::now() + Duration::from_secs(100);
        let mut pace = Pace::new(3, Duration::from_secs(1));
        let mut taken = vec![];
        for tenth in 0..100 {
            if pace.take(begin + Duration::from_millis(100) * tenth) {
                taken.push(tenth);
            }
        }
        assert_eq!(taken, [0, 1, 2, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        let later = begin + Duration::from_secs(100);
        assert_eq!((0..9).filter(|_| pace.take(later)).count(), 3, "no more than a burst after a rest");
    }
}
