// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The plain way in GUE: variant 0 without private data over an IP header of the packet's own family, all of the outer
//! header by default (`OuterOptions` 0). Octet for octet what the encapsulation step makes; here because the tail call to it
//! costs as much as the rest.

use super::ipip::decrement_ttl;
use super::{OUTER_TTL, checksum, gue, headers};
use crate::Packet;
use crate::bytes::{BackendValue, NextHopValue};
use crate::hash::flow_label;
use crate::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV4_LEN, IPV6_HEADER, IPV6_LEN, Segment,
};
use crate::verdict::Verdict;

const DONT_FRAGMENT: u32 = 0x4000;
const PROTOCOL_IPV4: u32 = 4;
const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_IPV6: u32 = 41;
/// Octets of UDP and GUE headers.
pub const SHIM_LEN: u32 = gue::UDP_LEN + gue::HEADER_LEN;
const SHIM: usize = 12;

/// Puts outer IPv4, UDP and GUE headers in front of the IPv4 packet `segment` with flow hash `hash`, whose TTL is above 1;
/// `outer_len` octets in all.
///
/// # Errors
/// [`Verdict::DropNoRoom`]; the frame is dropped then.
#[inline(always)]
pub fn gue_v4<P: Packet>(
    packet: &mut P,
    segment: &Segment,
    outer_len: u32,
    hash: u64,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Verdict> {
    decrement_ttl(packet).ok_or(Verdict::DropTruncated)?;
    if !packet.grow_front(IPV4_HEADER + SHIM) {
        return Err(Verdict::DropNoRoom);
    }
    let tos = segment.traffic_class as u32;
    // The backend's sum is that of IP in IP.
    let sum = backend.outer.checksum + (PROTOCOL_UDP - PROTOCOL_IPV4) + tos + outer_len;
    let header = [
        (0x45 << 24 | tos << 16 | outer_len).to_be(),
        DONT_FRAGMENT.to_be(),
        ((OUTER_TTL as u32) << 24 | PROTOCOL_UDP << 16 | checksum::finish(sum) as u32).to_be(),
        backend.outer.source[0],
        backend.outer.destination[0],
        ports(backend, hash),
        ((outer_len - IPV4_LEN) << 16).to_be(),
        (PROTOCOL_IPV4 << 16).to_be(),
    ];
    headers(packet, next_hop, ETHERTYPE_IPV4, header).ok_or(Verdict::DropNoRoom)
}

/// As [`gue_v4`] for IPv6 in both places.
///
/// # Errors
/// As [`gue_v4`].
#[inline(always)]
pub fn gue_v6<P: Packet>(
    packet: &mut P,
    segment: &Segment,
    outer_len: u32,
    hash: u64,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Verdict> {
    packet.write(ETHERNET_HEADER + 7, segment.ttl - 1).ok_or(Verdict::DropTruncated)?;
    if !packet.grow_front(IPV6_HEADER + SHIM) {
        return Err(Verdict::DropNoRoom);
    }
    let len = outer_len - IPV6_LEN;
    let first = 6 << 28 | (segment.traffic_class as u32) << 20 | flow_label(hash);
    let (s, d) = (&backend.outer.source, &backend.outer.destination);
    let header = [
        first.to_be(),
        (len << 16 | PROTOCOL_UDP << 8 | OUTER_TTL as u32).to_be(),
        s[0],
        s[1],
        s[2],
        s[3],
        d[0],
        d[1],
        d[2],
        d[3],
        ports(backend, hash),
        (len << 16).to_be(),
        (PROTOCOL_IPV6 << 16).to_be(),
    ];
    headers(packet, next_hop, ETHERTYPE_IPV6, header).ok_or(Verdict::DropNoRoom)
}

/// UDP source and destination port as they lie in the packet.
#[inline(always)]
fn ports(backend: &BackendValue, hash: u64) -> u32 {
    let source = gue::SOURCE_PORT | (hash >> 32) as u32 & gue::SOURCE_PORT_MASK;
    (source << 16).to_be() | (u16::from_be(backend.outer.port) as u32).to_be()
}
