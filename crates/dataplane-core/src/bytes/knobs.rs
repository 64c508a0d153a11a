// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Settings for all packets, and where budgets of one second lie.

/// The one value of the knob table, 40 bytes. User space changes it by single aligned stores.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Knobs {
    /// [`Knobs::PREFIXES`] and whatever else concerns all packets.
    pub flags: u32,
    /// Echo replies of one VIP in a second.
    pub echo_max: u32,
    /// ICMP errors passed on for one VIP in a second.
    pub icmp_errors_max: u32,
    /// "Too big" messages sent for one VIP in a second.
    pub too_big_max: u32,
    /// Least MTU that an ICMP error towards a backend may tell, IPv4, in bytes; of IPv6 it is 1,280 (RFC 8201 §4).
    pub mtu_min_v4: u16,
    /// Always 0.
    pub zero: u16,
    /// Prefix (/16) of outer IPv4 source addresses made from flows, as it lies in a packet.
    pub entropy_v4: u32,
    /// Prefix (/64) of outer IPv6 source addresses made from flows, as it lies in a packet.
    pub entropy_v6: [u32; 2],
    /// Flows that one CPU remembers anew in a second; 0 = no bound.
    pub learn_max: u32,
    /// First fragments of one VIP that are remembered in a second.
    pub fragments_max: u32,
}
const _: () = assert!(size_of::<Knobs>() == 40 && align_of::<Knobs>() == 8);

impl Knobs {
    /// There are prefix VIPs: an address that is no VIP's may lie in one.
    pub const PREFIXES: u32 = 1;
    /// On every uplink there is a program that sends copies (see [`crate::clone`]).
    pub const CLONES: u32 = 2;
}

/// Where a budget lies: one word for each second's spending, five for each service or VIP id, and one for each CPU.
pub mod budget {
    /// Words of one id.
    pub const KINDS: u32 = 5;

    /// New flows of the service `id`.
    #[inline(always)]
    pub const fn new_flows(id: u32) -> u32 {
        id * KINDS
    }

    /// Echo replies of the VIP `id`.
    #[inline(always)]
    pub const fn echo(id: u32) -> u32 {
        id * KINDS + 1
    }

    /// ICMP errors of the VIP `id`.
    #[inline(always)]
    pub const fn icmp_errors(id: u32) -> u32 {
        id * KINDS + 2
    }

    /// "Too big" messages of the VIP `id`.
    #[inline(always)]
    pub const fn too_big(id: u32) -> u32 {
        id * KINDS + 3
    }

    /// First fragments of the VIP `id` that are remembered.
    #[inline(always)]
    pub const fn first_fragments(id: u32) -> u32 {
        id * KINDS + 4
    }

    /// The word after one was taken at `tick`, or `None` if all `limit` are spent: the tick in the upper half, what was
    /// spent in the lower.
    #[inline(always)]
    pub const fn taken(word: u64, tick: u16, limit: u32) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
        let spent = if word >> 32 == tick as u64 { word as u32 } else { 0 };
        if spent >= limit { None } else { Some((tick as u64) << 32 | (spent + 1) as u64) }
    }

    #[cfg(test)]
    mod tests {
        use super::taken;

        #[test]
        fn a_second_allows_its_limit_and_the_next_starts_anew() {
            let mut word = 0;
            for _ in 0..3 {
                word = taken(word, 7, 3).unwrap();
            }
            assert_eq!(taken(word, 7, 3), None);
            assert_eq!(taken(word, 8, 3), Some(8 << 32 | 1));
            assert_eq!(taken(0, 0, 0), None, "no limit is not no bound");
        }
    }
}
