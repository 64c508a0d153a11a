// SPDX-License-Identifier: Apache-2.0 OR MIT
//! GUE (draft-ietf-intarea-gue): what stands between the outer IP header and the inner packet.
//!
//! ```text
//! octets, from the start of UDP
//!  0  source port: 49152 to 65535, from the flow       2  destination port: the pool's (6080 by IANA)
//!  4  length                                           6  checksum: 0, or made from header fields
//!  8  variant 0, C 0, Hlen                             9  protocol of the inner packet: 4 or 41   (not in variant 1)
//! 10  flags: 0
//! 12  private data of Weir (only with candidates), Hlen = 3 + hops × 1 or 4:
//!     12  type 0x5752                                 14  version: 1             15  flags: bit 0 = hops are IPv6
//!     16  next: the hop to try next, 0                17  count: hops, 0 to 4    18  reserved: 0
//!     20  generation of the rows, 0 = not told
//!     24  hops: addresses of 4 octets, or of 16 with the flag; the row's other candidates in their order
//! ```
//!
//! Receivers that know nothing of private data skip it by Hlen. All hops are of the outer header's family; the list ends
//! before the first candidate that may not receive anything.
//!
//! Checksum: 0 is what tunnels send over IPv4, and over IPv6 where the receiver agrees (RFC 6935, RFC 6936), as the agent
//! does. A pool may want one; it is then made without reading payload ([`super::inner::sum`]), and stays 0 for the packets
//! for which that is impossible.

use super::checksum;
use crate::Packet;
use crate::bytes::{BackendFlags, BackendMode, BackendValue, OuterOptions, PoolValue};
use crate::hash::row_index;
use crate::plan::{Plan, PlanFlags};
use crate::row::Row;
use crate::tables::Tables;

/// UDP port of GUE at IANA.
pub const PORT: u16 = 6080;
/// Private data of Weir: its type.
pub const PRIVATE_TYPE: u16 = 0x5752;
/// Version of the private data.
pub const PRIVATE_VERSION: u8 = 1;
/// Flag of the private data: hops are IPv6 addresses.
pub const PRIVATE_V6: u8 = 1;
/// Octets of the private data in front of the hops.
pub const PRIVATE_LEN: u32 = 12;
/// Hops that private data may hold: a whole row, when the flow's backend is not in it any more.
pub const HOPS_MAX: usize = Row::CANDIDATES;
/// Octets of UDP's header.
pub const UDP_LEN: u32 = 8;
/// Octets of GUE's header, variant 0.
pub const HEADER_LEN: u32 = 4;

/// First of the source ports.
pub(super) const SOURCE_PORT: u32 = 0xc000;
/// Bits of the flow in it.
pub(super) const SOURCE_PORT_MASK: u32 = 0x3fff;
const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_IPV4: u32 = 4;
const PROTOCOL_IPV6: u32 = 41;

/// The row's other candidates.
#[derive(Clone, Copy)]
pub(super) struct Hops<'t> {
    list: [Option<&'t BackendValue>; HOPS_MAX],
    count: u32,
}

impl<'t> Hops<'t> {
    pub(super) const NONE: Self = Self { list: [None; HOPS_MAX], count: 0 };

    /// Those of the plan's flow, the plan's backend being `backend`.
    #[inline(always)]
    pub(super) fn of<T: Tables>(tables: &'t T, plan: &Plan, backend: &BackendValue) -> Self {
        let row = if plan.has(PlanFlags::HAS_ROW) { plan.row } else { row(tables, plan.hash, backend.pool) };
        let others = row.without(plan.backend);
        let mut hops = Self::NONE;
        // Not a loop: each count is a constant for what follows.
        if let Some(first) = hop(tables, others.candidate(0), backend) {
            (hops.list[0], hops.count) = (Some(first), 1);
            if let Some(second) = hop(tables, others.candidate(1), backend) {
                (hops.list[1], hops.count) = (Some(second), 2);
                if let Some(third) = hop(tables, others.candidate(2), backend) {
                    (hops.list[2], hops.count) = (Some(third), 3);
                    if let Some(fourth) = hop(tables, others.candidate(3), backend) {
                        (hops.list[3], hops.count) = (Some(fourth), 4);
                    }
                }
            }
        }
        hops
    }
}

/// The candidates of the row of `hash` other than `id`, whose record is `backend`.
#[inline(always)]
pub(super) fn others<T: Tables>(tables: &T, hash: u64, id: u16, backend: &BackendValue) -> Row {
    row(tables, hash, backend.pool).without(id)
}

/// The row of `hash`.
#[inline(always)]
pub(crate) fn row<T: Tables>(tables: &T, hash: u64, pool: u32) -> Row {
    let Some(descriptor) = tables.pool_rows(pool) else { return Row::EMPTY };
    let (first, count) = PoolValue::region(descriptor);
    if count == 0 {
        return Row::EMPTY;
    }
    tables.row(first.wrapping_add(row_index(hash, count))).unwrap_or(Row::EMPTY)
}

/// The backend `id`, if a packet for `chosen` may be handed on to it.
#[inline(always)]
pub(super) fn hop<'t, T: Tables>(tables: &'t T, id: u16, chosen: &BackendValue) -> Option<&'t BackendValue> {
    const RECEIVES: u8 = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
    // The entry of id 0, none, is all zero: it receives nothing.
    let backend = tables.backend(id)?;
    // A row switched a moment ago may still name an id that now belongs to another pool.
    let is_other =
        backend.pool != chosen.pool || (backend.flags ^ chosen.flags) & BackendFlags::OUTER_V6 != 0;
    if backend.flags & RECEIVES == 0 || is_other { None } else { Some(backend) }
}

/// The words of the GUE header and of the private data in front of generation and hops, as they lie in the packet.
#[inline(always)]
pub(super) const fn with_hops(protocol: u32, count: u32, is_v6: bool) -> [u32; 3] {
    let (words, flags) = if is_v6 { (4, PRIVATE_V6 as u32) } else { (1, 0) };
    let hlen = PRIVATE_LEN / 4 + count * words;
    let kind = (PRIVATE_TYPE as u32) << 16 | (PRIVATE_VERSION as u32) << 8 | flags;
    [(hlen << 24 | protocol << 16).to_be(), kind.to_be(), (count << 16).to_be()]
}

/// Octets between outer IP header and inner packet in `mode`, with this many hops of `hop_len` octets each.
#[inline(always)]
pub(super) const fn len(mode: u8, hops: u32, hop_len: u32) -> u32 {
    match mode {
        BackendMode::GUE => UDP_LEN + HEADER_LEN,
        BackendMode::GUE_CANDIDATES => UDP_LEN + HEADER_LEN + PRIVATE_LEN + hops * hop_len,
        BackendMode::GUE_DIRECT => UDP_LEN,
        _ => 0,
    }
}

/// What UDP and GUE headers are made of.
pub(super) struct Gue<'a, 't> {
    pub(super) plan: &'a Plan,
    pub(super) backend: &'t BackendValue,
    pub(super) hops: &'a Hops<'t>,
    /// Octets of the UDP datagram.
    pub(super) len: u32,
    /// Sum of the outer addresses.
    pub(super) addresses: u64,
    /// Sum of the inner packet; `None`: the checksum is 0.
    pub(super) inner: Option<u64>,
}

impl<'t> Hops<'t> {
    /// Octets of all headers of `mode`.
    #[inline(always)]
    pub(super) const fn header_len(&self, mode: u8, is_v6: bool) -> u32 {
        len(mode, self.count, if is_v6 { 16 } else { 4 })
    }
}

impl Gue<'_, '_> {
    /// Writes the headers at `at`.
    #[inline(always)]
    pub(super) fn write<P: Packet>(&self, packet: &mut P, at: usize) -> Option<()> {
        let mode = self.backend.mode;
        let mut sum = 0;
        if mode != BackendMode::GUE_DIRECT {
            sum = self.write_gue(packet, at + 8, mode == BackendMode::GUE_CANDIDATES)?;
        }
        let entropy = if self.backend.options & OuterOptions::NO_PORT_ENTROPY != 0 {
            0
        } else {
            self.plan.entropy & SOURCE_PORT_MASK
        };
        let port = u16::from_be(self.backend.outer.port) as u32;
        let ports = ((SOURCE_PORT | entropy) << 16 | port).to_be();
        let mut second = (self.len << 16).to_be();
        if let Some(inner) = self.inner {
            // The length stands in the header and in the pseudo header, which adds the protocol.
            let twice = second as u64 + (self.len + PROTOCOL_UDP).to_be() as u64;
            let checksum = !checksum::fold_words(sum + inner + self.addresses + ports as u64 + twice);
            // A sum of zero is sent as its other form: 0 means "none" (RFC 768).
            let checksum = if checksum == 0 { u16::MAX } else { checksum };
            second |= (u16::from_be(checksum) as u32).to_be();
        }
        packet.write(at, [ports, second])
    }

    /// Writes what stands behind UDP at `at`, and gives its sum.
    #[inline(always)]
    fn write_gue<P: Packet>(&self, packet: &mut P, at: usize, with_candidates: bool) -> Option<u64> {
        let is_v6 = self.backend.has(BackendFlags::OUTER_V6);
        let protocol = if self.plan.has(PlanFlags::V6) { PROTOCOL_IPV6 } else { PROTOCOL_IPV4 };
        if !with_candidates {
            let header = (protocol << 16).to_be();
            packet.write(at, header)?;
            return Some(header as u64);
        }
        let count = self.hops.count;
        let [header, kind, list] = with_hops(protocol, count, is_v6);
        packet.write(at, [header, kind, list, 0])?;
        let mut sum = header as u64 + kind as u64 + list as u64;
        let mut index = 0;
        while index < HOPS_MAX {
            let Some(hop) = self.hops.list[index] else { break };
            let d = &hop.outer.destination;
            if is_v6 {
                packet.write(at + 16 + 16 * index, [d[0], d[1], d[2], d[3]])?;
                sum += d[0] as u64 + d[1] as u64 + d[2] as u64 + d[3] as u64;
            } else {
                packet.write(at + 16 + 4 * index, d[0])?;
                sum += d[0] as u64;
            }
            index += 1;
        }
        Some(sum)
    }
}
