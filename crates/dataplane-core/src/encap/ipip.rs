// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv4 in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473).
//!
//! The inner packet is forwarded, so its TTL goes down by one (RFC 2003 §3.1, RFC 2473 §3.1). DSCP and ECN are copied to
//! the outer header (RFC 6040, normal mode). The outer IPv4 header has DF set and id 0 (RFC 6864): it is never
//! fragmented. The outer IPv6 flow label comes from the flow hash (RFC 6437), so that the fabric can spread tunnels.

use super::{OUTER_TTL, checksum, headers};
use crate::Packet;
use crate::bytes::{BackendValue, NextHopValue};
use crate::hash::flow_label;
use crate::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV6_HEADER, IPV6_LEN, Segment,
};
use crate::verdict::Verdict;

pub(super) const PROTOCOL_IPV4: u32 = 4;
pub(super) const PROTOCOL_IPV6: u32 = 41;
const DONT_FRAGMENT: u32 = 0x4000;

/// Puts an outer IPv4 header in front of the IPv4 packet `segment`, whose TTL is above 1; `outer_len` octets in all.
///
/// # Errors
/// [`Verdict::DropNoRoom`]; the frame is dropped then.
#[inline(always)]
pub fn ipip_v4<P: Packet>(
    packet: &mut P,
    segment: &Segment,
    outer_len: u32,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Verdict> {
    decrement_ttl(packet).ok_or(Verdict::DropTruncated)?;
    if !packet.grow_front(IPV4_HEADER) {
        return Err(Verdict::DropNoRoom);
    }
    let header = outer_v4(segment, PROTOCOL_IPV4, outer_len, backend);
    headers(packet, next_hop, ETHERTYPE_IPV4, header).ok_or(Verdict::DropNoRoom)
}

/// Puts an outer IPv6 header in front of the IPv6 packet `segment` with flow hash `hash`; otherwise as [`ipip_v4`].
///
/// # Errors
/// As [`ipip_v4`].
#[inline(always)]
pub fn ipip_v6<P: Packet>(
    packet: &mut P,
    segment: &Segment,
    outer_len: u32,
    hash: u64,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Verdict> {
    packet.write_at::<{ ETHERNET_HEADER + 7 }, _>(segment.ttl - 1).ok_or(Verdict::DropTruncated)?;
    if !packet.grow_front(IPV6_HEADER) {
        return Err(Verdict::DropNoRoom);
    }
    let header = outer_v6(segment, PROTOCOL_IPV6, outer_len - IPV6_LEN, hash, backend);
    headers(packet, next_hop, ETHERTYPE_IPV6, header).ok_or(Verdict::DropNoRoom)
}

/// The words of the plain outer IPv4 header in front of `segment`, as they lie in the packet; `outer_len` octets in all.
#[inline(always)]
pub(super) fn outer_v4(
    segment: &Segment,
    protocol: u32,
    outer_len: u32,
    backend: &BackendValue,
) -> [u32; IPV4_HEADER / 4] {
    let tos = segment.traffic_class as u32;
    // The backend's sum is that of IP in IP.
    let sum = backend.outer.checksum + (protocol - PROTOCOL_IPV4) + tos + outer_len;
    [
        (0x45 << 24 | tos << 16 | outer_len).to_be(),
        DONT_FRAGMENT.to_be(),
        ((OUTER_TTL as u32) << 24 | protocol << 16 | checksum::finish(sum) as u32).to_be(),
        backend.outer.source[0],
        backend.outer.destination[0],
    ]
}

/// The words of the plain outer IPv6 header in front of `segment`, as they lie in the packet; `len` octets behind it.
#[inline(always)]
pub(super) fn outer_v6(
    segment: &Segment,
    next_header: u32,
    len: u32,
    hash: u64,
    backend: &BackendValue,
) -> [u32; IPV6_HEADER / 4] {
    let first = 6 << 28 | (segment.traffic_class as u32) << 20 | flow_label(hash);
    let (s, d) = (&backend.outer.source, &backend.outer.destination);
    [
        first.to_be(),
        (len << 16 | next_header << 8 | OUTER_TTL as u32).to_be(),
        s[0],
        s[1],
        s[2],
        s[3],
        d[0],
        d[1],
        d[2],
        d[3],
    ]
}

/// Takes one from the TTL of the IPv4 header behind the Ethernet header and updates its checksum.
#[inline(always)]
pub(super) fn decrement_ttl<P: Packet>(packet: &mut P) -> Option<()> {
    const TTL_WORD: usize = ETHERNET_HEADER + 8;
    let word = u32::from_le(packet.read_at::<TTL_WORD, _>()?);
    packet.write_at::<TTL_WORD, _>(checksum::with_ttl_less_one(word).to_le())
}
