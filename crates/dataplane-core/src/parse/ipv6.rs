// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv6 (RFC 8200), transport header directly behind the fixed header.

use super::{ETHERNET_HEADER, ETHERNET_LEN, Parsed, Segment, length_fault, protocol, transport};
use crate::Packet;
use crate::bytes::Address;

/// Octets of the fixed IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// The same, for sums of lengths.
pub const IPV6_LEN: u32 = 40;

/// The fixed header, each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    /// Version, traffic class, flow label.
    first: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: Address,
    destination: Address,
}
const _: () = assert!(size_of::<Header>() == IPV6_HEADER);

/// Reads the IPv6 packet behind the Ethernet header.
#[inline(always)]
pub fn ipv6<P: Packet>(packet: &P) -> Parsed {
    let Some(header) = packet.read_at::<ETHERNET_HEADER, Header>() else { return Parsed::Unreadable };
    let first = u32::from_be(header.first);
    if first >> 28 != 6 || header.destination.is_mapped() {
        return Parsed::Unreadable;
    }
    let next = header.next_header;
    if next != protocol::TCP && next != protocol::UDP {
        return Parsed::Other(header.destination);
    }
    let ip_len = u16::from_be(header.payload_length) as u32 + IPV6_LEN;
    let available = packet.len().wrapping_sub(ETHERNET_LEN);
    let Some((ports_be, kind)) = transport(packet, ETHERNET_HEADER + IPV6_HEADER, next) else {
        return Parsed::Other(header.destination);
    };
    #[expect(clippy::cast_possible_truncation, reason = "the traffic class is these eight bits")]
    let traffic_class = (first >> 20) as u8;
    Parsed::Segment(Segment {
        source: header.source,
        destination: header.destination,
        ports_be,
        protocol: next,
        kind,
        ip_len,
        traffic_class,
        ttl: header.hop_limit,
        l4: ETHERNET_HEADER + IPV6_HEADER,
        may_fragment: false,
        fault: length_fault(ip_len, IPV6_LEN, available, next),
    })
}
