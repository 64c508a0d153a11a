// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small generator (splitmix64) for jitter, discriminators and ports. Not for secrets.

use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn half(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    pub(crate) fn discriminator(&mut self) -> NonZeroU32 {
        loop {
            if let Some(number) = NonZeroU32::new(self.half()) {
                return number;
            }
        }
    }

    /// One of `0..bound`; zero when the bound is zero.
    pub(crate) fn below(&mut self, bound: u16) -> u16 {
        let [a, b, ..] = self.next().to_be_bytes();
        u16::from_be_bytes([a, b]).checked_rem(bound).unwrap_or_default()
    }

    /// A transmit interval: 75 to 100 % of `base`, and 75 to 90 % when one lost packet already is the end
    /// (RFC 5880 §6.8.7).
    pub(crate) fn jittered(&mut self, base: Duration, detect_mult: u8) -> Duration {
        let span = if detect_mult == 1 { 150 } else { 250 };
        base / 1000 * (750 + u32::from(self.below(span + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_fills_its_range_and_stays_in_it() {
        for (mult, most) in [(1, 900), (2, 1000), (3, 1000)] {
            let mut random = Random::new(u64::from(mult));
            let times: Vec<Duration> =
                (0..20_000).map(|_| random.jittered(Duration::from_millis(1000), mult)).collect();
            assert_eq!(times.iter().min(), Some(&Duration::from_millis(750)), "{mult}");
            assert_eq!(times.iter().max(), Some(&Duration::from_millis(most)), "{mult}");
        }
    }
}
