// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What spreads checks over time: a stable hash for phases, a small generator for jitter. Neither is for secrets.

use std::time::Duration;

use crate::check::CheckKey;

/// Where in its period a check starts: `hash(appliance, pool, backend, check) mod` [`mean_period`].
///
/// The same on every run and build, so a restart keeps the phases; the appliance's name is part of it, so the appliances
/// of a fleet do not check in step.
pub(crate) fn phase(appliance: &str, key: &CheckKey, interval: Duration) -> Duration {
    let mut hash = FNV_OFFSET;
    for part in [appliance, &key.pool, &key.backend, &key.check] {
        // 0xff occurs in no UTF-8 text, so ("ab", "c") and ("a", "bc") differ.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }
    let period_ns = u64::try_from(mean_period(interval).as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(mix(hash).checked_rem(period_ns).unwrap_or(0))
}

/// What an interval is on average once [`jittered`].
pub(crate) fn mean_period(interval: Duration) -> Duration {
    interval - interval / 20
}

/// `delay` shortened by up to a tenth, by the upper half of `random`: ±5 % around 0.95 of it.
///
/// Never longer than asked: the time to detect a failure is computed from the intervals, and holds.
pub(crate) fn jittered(delay: Duration, random: u64) -> Duration {
    let tenth_ns = delay.as_nanos() / 10;
    let cut_ns = (tenth_ns * u128::from(random >> 32)) >> 32;
    delay.saturating_sub(Duration::from_nanos(u64::try_from(cut_ns).unwrap_or(u64::MAX)))
}

/// A sequence of random numbers from a seed (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// SplitMix64's finaliser: FNV alone leaves the low bits of similar names close together.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[test]
    fn phases_of_ten_thousand_similar_names_are_spread() {
        let mut buckets = [0u32; 19];
        for backend in 0..10_000 {
            let key = CheckKey::new("web", &format!("b{backend}"), "http");
            let place = phase("lb1", &key, INTERVAL).as_millis() / 100;
            buckets[usize::try_from(place).expect("a bucket")] += 1;
        }
        // 526 expected a bucket; five standard deviations are 112.
        assert!(buckets.iter().all(|&count| (414..=638).contains(&count)), "{buckets:?}");
    }

    #[test]
    fn phase_depends_on_every_name_and_on_where_one_ends() {
        let of = |appliance: &str, pool: &str, backend: &str, check: &str| {
            phase(appliance, &CheckKey::new(pool, backend, check), INTERVAL)
        };
        let first = of("lb1", "web", "b1", "http");
        assert_eq!(first, of("lb1", "web", "b1", "http"));
        for other in [
            of("lb2", "web", "b1", "http"),
            of("lb1", "api", "b1", "http"),
            of("lb1", "web", "b2", "http"),
            of("lb1", "web", "b1", "tcp"),
            of("lb1", "we", "bb1", "http"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn jitter_only_shortens_and_by_a_tenth_at_most() {
        assert_eq!(jittered(INTERVAL, 0), INTERVAL);
        let shortest = jittered(INTERVAL, u64::MAX);
        assert!(shortest >= Duration::from_millis(1_800) && shortest < Duration::from_micros(1_800_001));
        assert_eq!(jittered(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert!(jittered(Duration::MAX, u64::MAX) < Duration::MAX);
    }
}
