// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The flap brake: how long a VIP must be fit before it comes back, by how often it went.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest hold, unless `up_hold` itself is longer.
pub const HOLD_MAX: Duration = Duration::from_secs(300);
/// How long a withdrawal is remembered: five half-lives, of which a thirty-second part would be left.
pub const WINDOW: Duration = Duration::from_secs(300);
/// Time in which a withdrawal loses half its weight.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Withdrawals remembered, at most: with that many the hold is at its longest for any `up_hold` that makes a difference.
const REMEMBERED_MAX: usize = 16;

/// The withdrawals of the last minutes, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Brake {
    withdrawals: VecDeque<Instant>,
}

impl Brake {
    pub(super) fn handle_withdrawal(&mut self, now: Instant) {
        if self.withdrawals.len() == REMEMBERED_MAX {
            self.withdrawals.pop_front();
        }
        self.withdrawals.push_back(now);
    }

    /// How many there were within [`WINDOW`].
    pub(super) fn withdrawals(&self, now: Instant) -> usize {
        self.recent(now).count()
    }

    /// `up_hold` after one withdrawal, doubled for each further one; a withdrawal counts half after [`HALF_LIFE`].
    pub(super) fn hold(&self, up_hold: Duration, now: Instant) -> Duration {
        let penalty: f64 =
            self.recent(now).map(|age| (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()).sum();
        let factor = (penalty - 1.0).max(0.0).exp2();
        let longest = HOLD_MAX.max(up_hold);
        Duration::try_from_secs_f64(up_hold.as_secs_f64() * factor).map_or(longest, |hold| hold.min(longest))
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = Duration> + '_ {
        let ages = self.withdrawals.iter().map(move |at| now.saturating_duration_since(*at));
        ages.filter(|age| *age <= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP_HOLD: Duration = Duration::from_secs(5);

    #[test]
    fn the_hold_doubles_with_each_withdrawal_up_to_a_limit() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        assert_eq!(brake.hold(UP_HOLD, now), UP_HOLD);
        let holds: Vec<u64> = (0..8)
            .map(|_| {
                brake.handle_withdrawal(now);
                brake.hold(UP_HOLD, now).as_secs()
            })
            .collect();
        assert_eq!(holds, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(brake.hold(Duration::from_secs(900), now), Duration::from_secs(900));
        assert_eq!(brake.hold(Duration::ZERO, now), Duration::ZERO);
    }

    #[test]
    fn what_is_long_ago_weighs_little_and_then_nothing() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        for _ in 0..3 {
            brake.handle_withdrawal(now);
        }
        assert_eq!(brake.withdrawals(now), 3);
        let later = now + HALF_LIFE;
        assert_eq!(brake.hold(UP_HOLD, later).as_millis(), 7_071, "three halves: twice, to the half");
        let gone = now + WINDOW + Duration::from_secs(1);
        assert_eq!((brake.withdrawals(gone), brake.hold(UP_HOLD, gone)), (0, UP_HOLD));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        for _ in 0..1_000 {
            brake.handle_withdrawal(now);
        }
        assert_eq!(brake.withdrawals(now), REMEMBERED_MAX);
        assert_eq!(brake.hold(UP_HOLD, now), HOLD_MAX);
    }
}
