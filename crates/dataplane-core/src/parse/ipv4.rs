// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv4 (RFC 791), with options, without reassembly.

use super::{ETHERNET_HEADER, ETHERNET_LEN, Parsed, Segment, length_fault, protocol, transport};
use crate::Packet;
use crate::bytes::Address;

/// Octets of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// The same, for sums of lengths.
pub const IPV4_LEN: u32 = 20;

/// An IPv4 header as five words, each as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version_ihl: u8,
    traffic_class: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}
const _: () = assert!(size_of::<Header>() == IPV4_HEADER);

/// Don't-fragment flag.
const DONT_FRAGMENT: u16 = 0x4000;
/// More-fragments flag and fragment offset.
const FRAGMENT_BITS: u16 = 0x3fff;

/// Reads the IPv4 packet behind the Ethernet header.
///
/// The header checksum is not verified: a wrong one is not repaired by the encapsulation either (the TTL is updated
/// incrementally, RFC 1624), so the backend's stack still finds and counts it.
#[inline(always)]
pub fn ipv4<P: Packet>(packet: &P) -> Parsed {
    let Some(header) = packet.read_at::<ETHERNET_HEADER, Header>() else { return Parsed::Unreadable };
    let header_len = (header.version_ihl & 0xf) as u32 * 4;
    if header.version_ihl >> 4 != 4 || header_len < IPV4_LEN {
        return Parsed::Unreadable;
    }
    let destination = Address::mapped(header.destination);
    if header.fragment & FRAGMENT_BITS.to_be() != 0 {
        return Parsed::Other(destination);
    }
    if header.protocol != protocol::TCP && header.protocol != protocol::UDP {
        return Parsed::Other(destination);
    }
    let ip_len = u16::from_be(header.total_length) as u32;
    let available = packet.len().wrapping_sub(ETHERNET_LEN);
    let l4 = ETHERNET_HEADER + header_len as usize;
    let Some((ports_be, kind)) = transport(packet, l4, header.protocol) else {
        return Parsed::Other(destination);
    };
    Parsed::Segment(Segment {
        source: Address::mapped(header.source),
        destination,
        ports_be,
        protocol: header.protocol,
        kind,
        ip_len,
        traffic_class: header.traffic_class,
        ttl: header.ttl,
        l4,
        may_fragment: header.fragment & DONT_FRAGMENT.to_be() == 0,
        fault: length_fault(ip_len, header_len, available, header.protocol),
    })
}
