// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prefix VIPs, and the table of first fragments.

use super::Address;
use crate::flow::TICK_MASK;
use crate::limits::{FRAGMENT_S_MAX, TICK_SKEW};

/// Value of the prefix table, 20 bytes: under which key the services of the prefix lie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PrefixValue {
    /// The prefix's first address.
    pub network: Address,
    /// Its length in bits of the 128, at least 1.
    pub length: u32,
}
const _: () = assert!(size_of::<PrefixValue>() == 20);

/// Key of the table of first fragments, 40 bytes: what all fragments of a datagram share (RFC 791 §3.2, RFC 8200 §4.5).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification as it lies in the packet: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// IANA protocol number of what is fragmented; of IPv6 always 44, since fragments of one datagram may differ in it.
    pub protocol: u32,
}
const _: () = assert!(size_of::<FragmentKey>() == 40);

/// Value of the table of first fragments, 12 bytes: where the first fragment of a datagram went.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentValue {
    /// Counter index of its service.
    pub service: u32,
    /// Pool of its service.
    pub pool: u32,
    /// The backend.
    pub backend: u16,
    /// When, in ticks.
    pub tick: u16,
}
const _: () = assert!(size_of::<FragmentValue>() == 12);

impl FragmentValue {
    /// Whether fragments of the datagram may still arrive: identifications are used again, and the table has no other
    /// clock.
    #[inline(always)]
    pub const fn is_fresh(&self, now: u16) -> bool {
        let skewed_age = now.wrapping_sub(self.tick).wrapping_add(TICK_SKEW) & TICK_MASK;
        skewed_age <= TICK_SKEW + FRAGMENT_S_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_fragment_is_remembered_for_its_time_and_across_the_wrap() {
        let at = |tick| FragmentValue { tick, ..FragmentValue::default() };
        for (tick, now, fresh) in [
            (100, 100, true),
            (100, 100 + FRAGMENT_S_MAX, true),
            (100, 101 + FRAGMENT_S_MAX, false),
            (100, 99, true),
            (TICK_MASK, 5, true),
            (TICK_MASK - 40, 5, false),
        ] {
            assert_eq!(at(tick).is_fresh(now), fresh, "{tick} seen at {now}");
        }
    }
}
