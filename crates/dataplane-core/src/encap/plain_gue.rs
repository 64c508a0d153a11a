// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The plain way in GUE: variant 0 over an IP header of the packet's own family, all of the outer header by default
//! (`OuterOptions` 0); without private data, or with three candidates, which is what a row without gaps has beside the flow's
//! backend. Octet for octet what the encapsulation step makes; here because the tail call to it costs as much as the rest.

use super::gue;
use super::headers;
use super::ipip::{PROTOCOL_IPV4, PROTOCOL_IPV6, decrement_ttl, outer_v4, outer_v6};
use crate::Packet;
use crate::bytes::{BackendValue, NextHopValue};
use crate::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV4_LEN, IPV6_HEADER, IPV6_LEN, Segment,
};
use crate::process::Exit;
use crate::tables::Tables;
use crate::verdict::Verdict;

const PROTOCOL_UDP: u32 = 17;
/// Octets of UDP and GUE headers.
pub const SHIM_LEN: u32 = gue::UDP_LEN + gue::HEADER_LEN;
const SHIM: usize = SHIM_LEN as usize;
/// Hops in the private data of this path.
const HOPS: u32 = 3;
/// Octets of UDP header, GUE header and private data with IPv4 hops.
pub const CANDIDATES_V4_LEN: u32 = SHIM_LEN + gue::PRIVATE_LEN + HOPS * 4;
const CANDIDATES_V4: usize = CANDIDATES_V4_LEN as usize;
/// The same with IPv6 hops.
pub const CANDIDATES_V6_LEN: u32 = SHIM_LEN + gue::PRIVATE_LEN + HOPS * 16;
const CANDIDATES_V6: usize = CANDIDATES_V6_LEN as usize;

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
    open_v4(packet, SHIM)?;
    let [a, b, c, d, e] = outer_v4(segment, PROTOCOL_UDP, outer_len, backend);
    let [ports, length] = udp(backend, hash, outer_len - IPV4_LEN);
    let header = [a, b, c, d, e, ports, length, (PROTOCOL_IPV4 << 16).to_be()];
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
    open_v6(packet, segment, SHIM)?;
    let len = outer_len - IPV6_LEN;
    let [a, b, c, d, e, f, g, h, i, j] = outer_v6(segment, PROTOCOL_UDP, len, hash, backend);
    let [ports, length] = udp(backend, hash, len);
    let header = [a, b, c, d, e, f, g, h, i, j, ports, length, (PROTOCOL_IPV6 << 16).to_be()];
    headers(packet, next_hop, ETHERTYPE_IPV6, header).ok_or(Verdict::DropNoRoom)
}

/// As [`gue_v4`], with the row's other candidates in private data. `id` is that of `backend`.
///
/// # Errors
/// As [`gue_v4`]; [`Exit::Encap`], nothing changed and no plan set, when there are not just three of them.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "all of them lie in registers or on the stack of the one caller"
)]
pub fn candidates_v4<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    segment: &Segment,
    outer_len: u32,
    hash: u64,
    id: u16,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Exit> {
    if let Some([first, second, third]) = three(tables, hash, id, backend) {
        open_v4(packet, CANDIDATES_V4)?;
        let [a, b, c, d, e] = outer_v4(segment, PROTOCOL_UDP, outer_len, backend);
        let [ports, length] = udp(backend, hash, outer_len - IPV4_LEN);
        let [header, kind, list] = gue::with_hops(PROTOCOL_IPV4, HOPS, false);
        let (x, y, z) = (first.outer.destination[0], second.outer.destination[0], third.outer.destination[0]);
        let header = [a, b, c, d, e, ports, length, header, kind, list, 0, x, y, z];
        return headers(packet, next_hop, ETHERTYPE_IPV4, header).ok_or(Verdict::DropNoRoom.into());
    }
    Err(Exit::Encap)
}

/// As [`candidates_v4`] for IPv6 in all places.
///
/// # Errors
/// As [`candidates_v4`].
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as above")]
pub fn candidates_v6<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    segment: &Segment,
    outer_len: u32,
    hash: u64,
    id: u16,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), Exit> {
    if let Some([first, second, third]) = three(tables, hash, id, backend) {
        open_v6(packet, segment, CANDIDATES_V6)?;
        let len = outer_len - IPV6_LEN;
        let [a, b, c, d, e, f, g, h, i, j] = outer_v6(segment, PROTOCOL_UDP, len, hash, backend);
        let [ports, length] = udp(backend, hash, len);
        let [header, kind, list] = gue::with_hops(PROTOCOL_IPV6, HOPS, true);
        let (x, y, z) = (&first.outer.destination, &second.outer.destination, &third.outer.destination);
        let header = [
            a, b, c, d, e, f, g, h, i, j, ports, length, header, kind, list, 0, x[0], x[1], x[2], x[3], y[0],
            y[1], y[2], y[3], z[0], z[1], z[2], z[3],
        ];
        return headers(packet, next_hop, ETHERTYPE_IPV6, header).ok_or(Verdict::DropNoRoom.into());
    }
    Err(Exit::Encap)
}

/// The other candidates of the row of `hash`, if they are just three and all may have the packet.
#[inline(always)]
fn three<'t, T: Tables>(
    tables: &'t T,
    hash: u64,
    id: u16,
    backend: &BackendValue,
) -> Option<[&'t BackendValue; HOPS as usize]> {
    let others = gue::others(tables, hash, id, backend);
    if others.candidate(3) != 0 {
        return None;
    }
    let first = gue::hop(tables, others.candidate(0), backend)?;
    let second = gue::hop(tables, others.candidate(1), backend)?;
    let third = gue::hop(tables, others.candidate(2), backend)?;
    Some([first, second, third])
}

/// Takes one from the TTL, and opens room for an IPv4 header and `shim` octets.
#[inline(always)]
fn open_v4<P: Packet>(packet: &mut P, shim: usize) -> Result<(), Verdict> {
    decrement_ttl(packet).ok_or(Verdict::DropTruncated)?;
    if packet.grow_front(IPV4_HEADER + shim) { Ok(()) } else { Err(Verdict::DropNoRoom) }
}

/// As [`open_v4`] for IPv6.
#[inline(always)]
fn open_v6<P: Packet>(packet: &mut P, segment: &Segment, shim: usize) -> Result<(), Verdict> {
    packet.write_at::<{ ETHERNET_HEADER + 7 }, _>(segment.ttl - 1).ok_or(Verdict::DropTruncated)?;
    if packet.grow_front(IPV6_HEADER + shim) { Ok(()) } else { Err(Verdict::DropNoRoom) }
}

/// The words of the UDP header of a datagram of `len` octets, as they lie in the packet; without a checksum.
#[inline(always)]
fn udp(backend: &BackendValue, hash: u64, len: u32) -> [u32; 2] {
    let source = gue::SOURCE_PORT | (hash >> 32) as u32 & gue::SOURCE_PORT_MASK;
    [(source << 16).to_be() | (u16::from_be(backend.outer.port) as u32).to_be(), (len << 16).to_be()]
}
