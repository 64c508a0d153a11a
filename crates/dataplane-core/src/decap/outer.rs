// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first three questions: is it a tunnel's packet, from an appliance, for this host? Gives where the inner packet lies.

use super::{AgentTables, AgentVerdict, HEADER_V4_LEN, HEADER_V6_LEN};
use crate::Packet;
use crate::bytes::Address;
use crate::encap::checksum;
use crate::parse::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER};

/// Where the outer header lies.
const OUTER: usize = ETHERNET_HEADER;
/// The same, for sums of lengths.
const OUTER_LEN: u32 = 14;

const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_IPV6: u8 = 41;
const NEXT_HEADER_FRAGMENT: u8 = 44;
/// More-fragments flag and fragment offset, and the offset alone.
const FRAGMENT_BITS: u16 = 0x3fff;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const UDP_HEADER: usize = 8;

/// A tunnel's packet for this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tunnel {
    /// Where the inner packet lies in the frame.
    pub(super) inner: usize,
    /// The inner packet is IPv6 by what the headers before it say; otherwise IPv4.
    pub(super) holds_v6: bool,
    /// The outer type of service or traffic class.
    pub(super) traffic_class: u8,
    /// Octets of the outer packet as its header says.
    pub(super) outer_len: u32,
    /// Octets of the outer packet up to the end of what is in it, as the last of its headers says.
    pub(super) end: u32,
    /// The outer header's checksum is right, if it has one.
    pub(super) is_sound: bool,
}

/// An IPv4 header without options as five words (RFC 791 §3.1), each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct HeaderV4 {
    pub(super) version_ihl: u8,
    pub(super) traffic_class: u8,
    pub(super) total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    pub(super) checksum: u16,
    source: u32,
    pub(super) destination: u32,
}
const _: () = assert!(size_of::<HeaderV4>() == IPV4_HEADER && HEADER_V4_LEN as usize == IPV4_HEADER);

/// The fixed IPv6 header (RFC 8200 §3), each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct HeaderV6 {
    /// Version, traffic class, flow label.
    pub(super) first: u32,
    pub(super) payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: Address,
    pub(super) destination: Address,
}
const _: () = assert!(size_of::<HeaderV6>() == IPV6_HEADER && HEADER_V6_LEN as usize == IPV6_HEADER);

/// A UDP header (RFC 768), each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Udp {
    source: u16,
    destination: u16,
    length: u16,
    checksum: u16,
}
const _: () = assert!(size_of::<Udp>() == UDP_HEADER);

/// The tunnel of a packet with an outer IPv4 header.
#[inline(always)]
pub(super) fn ipv4<P: Packet, T: AgentTables>(packet: &P, tables: &T) -> Result<Tunnel, AgentVerdict> {
    let outer: HeaderV4 = packet.read(OUTER).ok_or(AgentVerdict::PassMalformed)?;
    // The same once more as it is summed.
    let words: [u32; 5] = packet.read(OUTER).ok_or(AgentVerdict::PassMalformed)?;
    let header_len = (outer.version_ihl & 0xf) as usize * 4;
    if outer.version_ihl >> 4 != 4 || header_len < IPV4_HEADER {
        return Err(AgentVerdict::PassMalformed);
    }
    let fragment = u16::from_be(outer.fragment);
    match outer.protocol {
        PROTOCOL_IPV4 | PROTOCOL_IPV6 => {}
        // Only the first fragment of a datagram has ports.
        PROTOCOL_UDP if fragment & FRAGMENT_OFFSET == 0 => port(packet, tables, OUTER + header_len)?,
        _ => return Err(AgentVerdict::PassNotTunnel),
    }
    if fragment & FRAGMENT_BITS != 0 {
        return Err(AgentVerdict::PassFragment);
    }
    if header_len != IPV4_HEADER {
        return Err(AgentVerdict::PassOptions);
    }
    ours(tables, &Address::mapped(outer.source), &Address::mapped(outer.destination))?;
    let outer_len = u16::from_be(outer.total_length) as u32;
    let bare = Tunnel {
        inner: OUTER + IPV4_HEADER,
        holds_v6: outer.protocol == PROTOCOL_IPV6,
        traffic_class: outer.traffic_class,
        outer_len,
        end: outer_len,
        is_sound: checksum_v4(words) == 0,
    };
    if outer.protocol == PROTOCOL_UDP { gue(packet, bare, HEADER_V4_LEN) } else { Ok(bare) }
}

/// The tunnel of a packet with an outer IPv6 header.
#[inline(always)]
pub(super) fn ipv6<P: Packet, T: AgentTables>(packet: &P, tables: &T) -> Result<Tunnel, AgentVerdict> {
    const BEHIND: usize = OUTER + IPV6_HEADER;
    let outer: HeaderV6 = packet.read(OUTER).ok_or(AgentVerdict::PassMalformed)?;
    let first = u32::from_be(outer.first);
    if first >> 28 != 6 {
        return Err(AgentVerdict::PassMalformed);
    }
    match outer.next_header {
        PROTOCOL_IPV4 | PROTOCOL_IPV6 => {}
        PROTOCOL_UDP => port(packet, tables, BEHIND)?,
        // The octet behind the fixed header says what the fragment is of.
        NEXT_HEADER_FRAGMENT if matches!(packet.read(BEHIND), Some(PROTOCOL_IPV4 | PROTOCOL_IPV6)) => {
            return Err(AgentVerdict::PassFragment);
        }
        _ => return Err(AgentVerdict::PassNotTunnel),
    }
    // As IPv4 addresses in IPv6 form these would find what the tables hold for IPv4.
    if outer.source.is_mapped() {
        return Err(AgentVerdict::PassForeignSource);
    }
    if outer.destination.is_mapped() {
        return Err(AgentVerdict::PassForeignAddress);
    }
    ours(tables, &outer.source, &outer.destination)?;
    let outer_len = u16::from_be(outer.payload_length) as u32 + HEADER_V6_LEN;
    let bare = Tunnel {
        inner: BEHIND,
        holds_v6: outer.next_header == PROTOCOL_IPV6,
        traffic_class: traffic_class_v6(first),
        outer_len,
        end: outer_len,
        is_sound: true,
    };
    if outer.next_header == PROTOCOL_UDP { gue(packet, bare, HEADER_V6_LEN) } else { Ok(bare) }
}

/// The traffic class in the first word of an IPv6 header.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the traffic class is these eight bits")]
pub(super) const fn traffic_class_v6(first: u32) -> u8 {
    (first >> 20) as u8
}

/// Whether the UDP header at `at` is to a port of GUE.
#[inline(always)]
fn port<P: Packet, T: AgentTables>(packet: &P, tables: &T, at: usize) -> Result<(), AgentVerdict> {
    match packet.read::<Udp>(at) {
        Some(udp) if tables.is_gue_port(udp.destination) => Ok(()),
        _ => Err(AgentVerdict::PassNotTunnel),
    }
}

/// `bare`, whose outer header of `header_len` octets has UDP and GUE behind it.
#[inline(always)]
fn gue<P: Packet>(packet: &P, bare: Tunnel, header_len: u32) -> Result<Tunnel, AgentVerdict> {
    const CONTROL: u8 = 0x20;
    const HLEN: u8 = 0x1f;
    let udp: Udp = packet.read(bare.inner).ok_or(AgentVerdict::PassNotTunnel)?;
    let at = bare.inner + UDP_HEADER;
    let [first, protocol, flags @ ..]: [u8; 4] = packet.read(at).ok_or(AgentVerdict::PassInnerMalformed)?;
    let (inner, holds_v6) = match (first >> 4, protocol) {
        // Variant 1: the version of the inner packet, whose first two bits are the variant.
        (4, _) => (at, false),
        (6, _) => (at, true),
        // Extension fields may change what the payload is, so that skipping one would be to misread it.
        (0..=3, PROTOCOL_IPV4 | PROTOCOL_IPV6) if first & CONTROL == 0 && flags == [0, 0] => {
            (at + 4 + (first & HLEN) as usize * 4, protocol == PROTOCOL_IPV6)
        }
        _ => return Err(AgentVerdict::PassGue),
    };
    let end = header_len + u16::from_be(udp.length) as u32;
    Ok(Tunnel { inner, holds_v6, end, ..bare })
}

/// Whether the outer addresses are those of a packet for us.
#[inline(always)]
fn ours<T: AgentTables>(tables: &T, source: &Address, destination: &Address) -> Result<(), AgentVerdict> {
    if !tables.is_appliance(source) {
        return Err(AgentVerdict::PassForeignSource);
    }
    if !tables.is_own(destination) {
        return Err(AgentVerdict::PassForeignAddress);
    }
    Ok(())
}

/// Zero if the header's checksum is right. Sums words as they lie: the one's complement sum does not mind byte order.
#[inline(always)]
fn checksum_v4(words: [u32; 5]) -> u16 {
    let [a, b, c, d, e] = words;
    !checksum::fold_words(a as u64 + b as u64 + c as u64 + d as u64 + e as u64)
}

impl Tunnel {
    /// Octets of the outer packet in front of the inner one.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "headers of at most 190 octets")]
    pub(super) const fn overhead(&self) -> u32 {
        self.inner as u32 - OUTER_LEN
    }
}
