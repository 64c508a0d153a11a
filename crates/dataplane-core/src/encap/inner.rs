// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet that is carried: its TTL, and what it adds to a checksum around it.

use super::checksum;
use crate::Packet;
use crate::parse::{IPV6_HEADER, protocol};
use crate::plan::{Plan, PlanFlags};

/// Makes `ttl` the TTL or hop limit of the packet at `plan.l3`, whose IPv4 checksum follows (RFC 1624).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
pub(super) fn set_ttl<P: Packet>(packet: &mut P, plan: &Plan, ttl: u8) -> Option<()> {
    let l3 = plan.l3 as usize;
    if plan.has(PlanFlags::V6) {
        return packet.write(l3 + 7, ttl);
    }
    let word = u32::from_be(packet.read(l3 + 8)?);
    let (old, sum) = ((word >> 16) as u16, word as u16);
    let new = (ttl as u16) << 8 | old & 0xff;
    packet.write(l3 + 8, ((new as u32) << 16 | checksum::update(sum, old, new) as u32).to_be())
}

/// The one's complement sum of the whole packet at `plan.l3`, in words as they lie, without reading its payload; `None` if
/// it cannot be known.
///
/// A right transport checksum makes segment and pseudo header sum up to zero, so the segment's sum is the complement of the
/// pseudo header's; a right IPv4 header sums up to zero as well. It cannot be known of packets whose transport checksum is
/// none (UDP's 0) or does not cover just them (fragments, UDP shorter than the IP packet), and is not asked for behind IPv6
/// extension headers and for ICMP.
#[inline(always)]
pub(super) fn sum<P: Packet>(packet: &P, plan: &Plan) -> Option<u64> {
    /// Second word of a UDP header, as it lies.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Udp {
        length: u16,
        checksum: u16,
    }
    if plan.flags & (PlanFlags::FRAGMENT | PlanFlags::ICMP_ERROR) != 0 {
        return None;
    }
    let (l3, l4) = (plan.l3 as usize, plan.l4 as usize);
    let segment_len = plan.ip_len.wrapping_sub((plan.l4 as u32).wrapping_sub(plan.l3 as u32));
    match plan.protocol {
        protocol::TCP => {}
        protocol::UDP => {
            let udp: Udp = packet.read(l4 + 4)?;
            if udp.checksum == 0 || u16::from_be(udp.length) as u32 != segment_len {
                return None;
            }
        }
        _ => return None,
    }
    // Length and protocol: less than 2^17, so one word.
    let rest = segment_len.wrapping_add(plan.protocol as u32).to_be() as u64;
    if plan.has(PlanFlags::V6) {
        if l4 != l3 + IPV6_HEADER {
            return None;
        }
        // The addresses stand in the header and, complemented, in the pseudo header.
        let first: [u32; 2] = packet.read(l3)?;
        return Some(first[0] as u64 + first[1] as u64 + complement(rest));
    }
    let addresses: [u32; 2] = packet.read(l3 + 12)?;
    Some(complement(addresses[0] as u64 + addresses[1] as u64 + rest))
}

/// What makes zero with `sum`.
#[inline(always)]
const fn complement(sum: u64) -> u64 {
    !checksum::fold_words(sum) as u64
}
