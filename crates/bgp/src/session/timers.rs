// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Timers of one connection, their jitter, and the wait in Idle after failures. No clock: every start is told `now`.

use std::time::{Duration, Instant};

use super::state::Input;

/// Hold time while the peer's OPEN is awaited. RFC 4271 §8.2.2 suggests four minutes; while a connection waits we do not dial,
/// so one that the peer opened and forgot would keep the session down that long. An OPEN takes milliseconds.
pub(super) const OPEN_HOLD: Duration = Duration::from_secs(30);
/// The same on a connection that the peer made, whose OPEN is on its way or nobody is there: those who connect and say nothing
/// should not hold anything for long.
pub(super) const OPEN_HOLD_ACCEPTED: Duration = Duration::from_secs(10);
/// Least send hold time. RFC 9687 suggests eight minutes; a withdraw that cannot leave for half a minute is worth a
/// reset here, because the reset does withdraw.
const SEND_HOLD_MIN: Duration = Duration::from_secs(30);
/// Send hold time without a hold time.
const SEND_HOLD_NO_HOLD: Duration = Duration::from_secs(480);

/// First wait in Idle after a failure; it doubles with each further one.
const IDLE_HOLD_MIN: Duration = Duration::from_secs(1);
/// Longest wait in Idle.
const IDLE_HOLD_MAX: Duration = Duration::from_secs(60);
/// First wait after either side had too many prefixes; it doubles. With jitter it is 30 s at least: hammering would not help.
const IDLE_HOLD_REFUSED_MIN: Duration = Duration::from_secs(40);
/// Longest wait of that kind.
const IDLE_HOLD_REFUSED_MAX: Duration = Duration::from_secs(600);

/// A small generator of jitter (splitmix64). Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `base` times 0.75 to 1.0 (RFC 4271 §10).
    pub(crate) fn jittered(&mut self, base: Duration) -> Duration {
        // 768 to 1023 of 1024 parts.
        let parts = u32::from(self.next().to_be_bytes()[0]) + 768;
        base / 1024 * parts
    }
}

/// The timers of one connection, each the instant it expires.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) connect_retry: Option<Instant>,
    pub(super) hold: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
    pub(super) send_hold: Option<Instant>,
}

impl Timers {
    /// When the next one expires.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.connect_retry, self.hold, self.keepalive, self.send_hold].into_iter().flatten().min()
    }

    /// Takes one that has expired by `now`: those that end the session first.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Input> {
        let timers = [
            (&mut self.hold, Input::HoldExpired),
            (&mut self.send_hold, Input::SendHoldExpired),
            (&mut self.connect_retry, Input::ConnectRetryExpired),
            (&mut self.keepalive, Input::KeepaliveExpired),
        ];
        for (timer, input) in timers {
            if timer.is_some_and(|at| at <= now) {
                *timer = None;
                return Some(input);
            }
        }
        None
    }
}

/// How long written octets may stand still.
pub(super) fn send_hold(hold_time: Option<Duration>) -> Duration {
    hold_time.map_or(SEND_HOLD_NO_HOLD, |hold| SEND_HOLD_MIN.max(hold * 2))
}

/// Wait in Idle after `failures` in a row (at least one), before jitter.
pub(super) fn idle_hold(failures: u32) -> Duration {
    doubled(IDLE_HOLD_MIN, failures, IDLE_HOLD_MAX)
}

/// The same after too many prefixes.
pub(super) fn idle_hold_refused(refusals: u32) -> Duration {
    doubled(IDLE_HOLD_REFUSED_MIN, refusals, IDLE_HOLD_REFUSED_MAX)
}

fn doubled(first: Duration, count: u32, most: Duration) -> Duration {
    (first * (1 << count.saturating_sub(1).min(6))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_three_quarters_and_one() {
        let mut random = Random::new(7);
        let all: Vec<_> = (0..10_000).map(|_| random.jittered(Duration::from_secs(1024))).collect();
        assert_eq!(all.iter().min(), Some(&Duration::from_secs(768)));
        assert_eq!(all.iter().max(), Some(&Duration::from_secs(1023)));
    }

    #[test]
    fn the_wait_grows_to_a_minute_and_is_long_for_a_refusal() {
        let waits: Vec<_> = (1..9).map(|n| idle_hold(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let waits: Vec<_> = (1..7).map(|n| idle_hold_refused(n).as_secs()).collect();
        assert_eq!(waits, [40, 80, 160, 320, 600, 600]);
        assert!(idle_hold_refused(1) * 3 / 4 >= Duration::from_secs(30), "also after jitter");
        assert_eq!(idle_hold(u32::MAX), IDLE_HOLD_MAX);
    }

    #[test]
    fn what_ends_the_session_expires_first() {
        let now = Instant::now();
        let mut timers =
            Timers { connect_retry: None, hold: Some(now), keepalive: Some(now), send_hold: Some(now) };
        assert_eq!(timers.take_expired(now), Some(Input::HoldExpired));
        assert_eq!(timers.take_expired(now), Some(Input::SendHoldExpired));
        assert_eq!(timers.take_expired(now), Some(Input::KeepaliveExpired));
        assert_eq!((timers.take_expired(now), timers.next()), (None, None));
    }
}
