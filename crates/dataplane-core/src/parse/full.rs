// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The full parser: VLAN tags, IPv4 options, IPv6 extension headers, fragments, into one form for both families.
//!
//! ```text
//! Ethernet ─ up to 2 tags ─┬─ IPv4, 20 to 60 octets ──────────────────────────────┬─ transport, or a later fragment's octets
//!   (802.1Q, 802.1ad)      └─ IPv6 ─ up to 4 of hop-by-hop, destination options,  │
//!                                    routing with no segments left, fragment ─────┘
//! ```
//!
//! As in the plain parsers nothing is dropped here: what is wrong stands in [`View::fault`] and matters only if the packet
//! is for a VIP. Decided:
//! - A third tag, or one of another EtherType, makes the frame not IP: the host's.
//! - Authentication headers and ESP are not walked. What stands behind them belongs to an IPsec peer, and a VIP whose
//!   packets may reach any backend cannot be one.
//! - A routing header that still has segments left names another destination than the VIP: not walked.
//! - Octets behind the IP packet (padding of short frames, or a driver's lie) stay where they are; all lengths come
//!   from the IP header, so no receiver takes them for the packet's.
//! - A frame in several buffers must have its headers in the first, and all of them within [`OFFSET_MAX`] octets.

use super::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, IPV4_LEN, IPV6_HEADER, is_vlan,
    protocol,
};
use crate::Packet;
use crate::bytes::Address;
use crate::flow::Kind;
use crate::packet::OFFSET_MAX;
use crate::verdict::Verdict;

/// Extension headers that are walked (IPv6), of a quoted packet too.
pub const EXTENSIONS_MAX: usize = 4;
/// Octets of a VLAN tag.
pub const TAG: usize = 4;
/// Tags of a frame.
pub const TAGS_MAX: usize = 2;

/// An IP packet, as far as the packet logic cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Where the IP header lies in the frame: 14, 18 or 22.
    pub l3: usize,
    /// Where what the IP packet carries lies in the frame: the transport header, or a later fragment's octets.
    pub l4: usize,
    /// Length of the IP packet in octets as its header says.
    pub ip_len: u32,
    /// Which part of a datagram this is; zeros in a whole IPv6 packet, whose fragment header (RFC 6946) is only stepped over.
    /// No `Option`: of one without content the compiler leaves the content undefined, which the verifier refuses to see
    /// spilled (6.18: `R4 !read_ok`).
    pub fragment: Fragment,
    /// Whether it is only a part of a datagram, and not whole.
    pub is_fragment: bool,
    /// IANA protocol number of what is carried.
    pub protocol: u8,
    /// Type of service or traffic class, all eight bits.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv6; otherwise IPv4.
    pub is_v6: bool,
    /// IPv4 with DF clear.
    pub may_fragment: bool,
    /// A fragment that is not its datagram's first: it has no transport header.
    pub is_later: bool,
    /// See [`View::fault`].
    fault: u8,
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Identification as it lies in the packet: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// Where it belongs in the datagram, in octets; 0: the first.
    pub offset: u32,
    /// Whether others come behind it.
    pub has_more: bool,
}

impl View {
    /// What is wrong with it, if anything.
    #[inline(always)]
    pub const fn fault(&self) -> Option<Verdict> {
        // A number, and not the verdict itself, so that the verifier forgets which one it is and walks what follows once.
        const BAD_LENGTH: u8 = Verdict::DropBadLength.number();
        const EXTENSION_HEADER: u8 = Verdict::DropExtensionHeader.number();
        const OVERLAP: u8 = Verdict::DropFragmentOverlap.number();
        match self.fault {
            0 => None,
            BAD_LENGTH => Some(Verdict::DropBadLength),
            EXTENSION_HEADER => Some(Verdict::DropExtensionHeader),
            OVERLAP => Some(Verdict::DropFragmentOverlap),
            _ => Some(Verdict::DropTruncated),
        }
    }

    /// Octets of what the IP packet carries; valid if it has no fault.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "offsets in a frame")]
    pub const fn carried_len(&self) -> u32 {
        self.ip_len.wrapping_sub((self.l4 - self.l3) as u32)
    }
}

/// An IPv4 header (RFC 791 §3.1) as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct HeaderV4 {
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

/// The fixed IPv6 header (RFC 8200 §3) as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct HeaderV6 {
    first: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: Address,
    destination: Address,
}

/// The first eight octets of an extension header; all there is of a fragment header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    next_header: u8,
    /// In units of eight octets, the first not counted; reserved in a fragment header.
    length: u8,
    /// Offset and flags in a fragment header. Type and segments left in a routing header.
    word: [u8; 2],
    /// Identification in a fragment header.
    id: u32,
}

/// IANA numbers of the extension headers that are walked.
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION: u8 = 60;
}

/// Reads the IP packet of a frame.
///
/// # Errors
/// [`Verdict::PassNotIp`] or [`Verdict::PassMalformed`], when it cannot be said to whom it goes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the number of a verdict")]
pub fn full<P: Packet>(packet: &P) -> Result<View, Verdict> {
    let mut tags = 0;
    let mut l3 = ETHERNET_HEADER;
    let mut ethertype: u16 = packet.read(ETHERTYPE_OFFSET).ok_or(Verdict::PassNotIp)?;
    while tags < TAGS_MAX && is_vlan(u16::from_be(ethertype)) {
        ethertype = packet.read(l3 + 2).ok_or(Verdict::PassNotIp)?;
        l3 += TAG;
        tags += 1;
    }
    let l3 = packet.launder(l3);
    let mut view = match u16::from_be(ethertype) {
        ETHERTYPE_IPV4 => v4(packet, l3)?,
        ETHERTYPE_IPV6 => v6(packet, l3)?,
        _ => return Err(Verdict::PassNotIp),
    };
    // What came to be in different ways is the same to the verifier from here on.
    view.l4 = packet.launder(view.l4);
    view.protocol = packet.launder(view.protocol as usize) as u8;
    view.fault = packet.launder(view.fault as usize) as u8;
    view.is_v6 = blur(packet, view.is_v6);
    view.may_fragment = blur(packet, view.may_fragment);
    view.is_later = blur(packet, view.fragment.offset != 0);
    view.is_fragment = blur(packet, view.is_fragment);
    Ok(view)
}

/// `is` as it is, without the verifier knowing.
#[inline(always)]
fn blur<P: Packet>(packet: &P, is: bool) -> bool {
    packet.launder(is as usize) & 1 == 1
}

#[inline(always)]
fn v4<P: Packet>(packet: &P, l3: usize) -> Result<View, Verdict> {
    const DONT_FRAGMENT: u16 = 0x4000;
    const MORE_FRAGMENTS: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;
    let header: HeaderV4 = packet.read(l3).ok_or(Verdict::PassMalformed)?;
    let header_len = (header.version_ihl & 0xf) as u32 * 4;
    if header.version_ihl >> 4 != 4 || header_len < IPV4_LEN {
        return Err(Verdict::PassMalformed);
    }
    let bits = u16::from_be(header.fragment);
    let mut view = View {
        source: Address::mapped(header.source),
        destination: Address::mapped(header.destination),
        l3,
        l4: l3 + header_len as usize,
        ip_len: u16::from_be(header.total_length) as u32,
        fragment: Fragment {
            id: header.id as u32,
            offset: (bits & OFFSET) as u32 * 8,
            has_more: bits & MORE_FRAGMENTS != 0,
        },
        is_fragment: bits & (MORE_FRAGMENTS | OFFSET) != 0,
        protocol: header.protocol,
        traffic_class: header.traffic_class,
        ttl: header.ttl,
        is_v6: false,
        may_fragment: bits & DONT_FRAGMENT == 0,
        is_later: false,
        fault: 0,
    };
    if let Some(verdict) = fault(packet, &view) {
        view.fault = verdict.number();
    }
    Ok(view)
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the traffic class is these eight bits")]
fn v6<P: Packet>(packet: &P, l3: usize) -> Result<View, Verdict> {
    let header: HeaderV6 = packet.read(l3).ok_or(Verdict::PassMalformed)?;
    let first = u32::from_be(header.first);
    if first >> 28 != 6 || header.destination.is_mapped() {
        return Err(Verdict::PassMalformed);
    }
    let mut view = View {
        source: header.source,
        destination: header.destination,
        l3,
        l4: l3 + IPV6_HEADER,
        ip_len: u16::from_be(header.payload_length) as u32 + IPV6_HEADER as u32,
        fragment: Fragment { id: 0, offset: 0, has_more: false },
        is_fragment: false,
        protocol: header.next_header,
        traffic_class: (first >> 20) as u8,
        ttl: header.hop_limit,
        is_v6: true,
        may_fragment: false,
        is_later: false,
        fault: 0,
    };
    let walked = walk(packet, &mut view);
    if let Some(verdict) = walked.or_else(|| fault(packet, &view)) {
        view.fault = verdict.number();
    }
    Ok(view)
}

/// Steps over the extension headers, so that `view` says what is behind them. Gives what is wrong with them.
#[inline(always)]
fn walk<P: Packet>(packet: &P, view: &mut View) -> Option<Verdict> {
    let mut walked = 0;
    while walked < EXTENSIONS_MAX && is_extension(view.protocol) {
        let kind = view.protocol;
        // Hop-by-hop options stand right behind the fixed header and nowhere else (RFC 8200 §4.1).
        if is_sealed(kind) || kind == extension::HOP_BY_HOP && walked != 0 {
            return Some(Verdict::DropExtensionHeader);
        }
        let Some(header) = packet.read::<Extension>(view.l4) else { return Some(Verdict::DropTruncated) };
        view.protocol = header.next_header;
        // All but a fragment header, whose second octet is reserved, say how long they are.
        let units = if kind == extension::FRAGMENT { 0 } else { header.length as usize };
        let end = view.l4 + (units + 1) * 8;
        if end > OFFSET_MAX {
            return Some(Verdict::DropExtensionHeader);
        }
        view.l4 = packet.launder(end);
        if kind == extension::FRAGMENT {
            const OFFSET: u16 = 0xfff8;
            const MORE_FRAGMENTS: u16 = 1;
            // A second one would cut up a fragment, which nobody may (RFC 8200 §4.5).
            if view.is_fragment {
                return Some(Verdict::DropExtensionHeader);
            }
            let bits = u16::from_be_bytes(header.word);
            if bits & (OFFSET | MORE_FRAGMENTS) != 0 {
                let offset = (bits & OFFSET) as u32;
                view.fragment = Fragment { id: header.id, offset, has_more: bits & MORE_FRAGMENTS != 0 };
                view.is_fragment = true;
                // What follows in a later fragment is the middle of something.
                if offset != 0 {
                    return if is_extension(view.protocol) {
                        Some(Verdict::DropExtensionHeader)
                    } else {
                        None
                    };
                }
            }
        } else if kind == extension::ROUTING && header.word[1] != 0 {
            return Some(Verdict::DropExtensionHeader);
        }
        walked += 1;
    }
    if is_extension(view.protocol) { Some(Verdict::DropExtensionHeader) } else { None }
}

/// Extension headers that are walked or refused.
#[inline(always)]
const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        extension::HOP_BY_HOP | extension::ROUTING | extension::FRAGMENT | extension::DESTINATION
    ) || is_sealed(next_header)
}

/// ESP and the authentication header.
#[inline(always)]
const fn is_sealed(next_header: u8) -> bool {
    matches!(next_header, 50 | 51)
}

/// What is wrong with the lengths of the packet, and with its place in its datagram.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "offsets in a frame")]
fn fault<P: Packet>(packet: &P, view: &View) -> Option<Verdict> {
    /// Octets of a datagram at the most; beyond is the "ping of death".
    const DATAGRAM_MAX: u32 = 65_535;
    if view.ip_len < (view.l4 - view.l3) as u32 {
        return Some(Verdict::DropBadLength);
    }
    let fragment = &view.fragment;
    if view.is_fragment {
        let len = view.carried_len();
        // All but the last are whole units of eight octets (RFC 791 §3.2, RFC 8200 §4.5).
        let is_uneven = fragment.has_more && len & 7 != 0;
        if is_uneven || len == 0 || fragment.offset + len > DATAGRAM_MAX {
            return Some(Verdict::DropBadLength);
        }
        // Octets of a TCP header in a later fragment overwrite those that were judged in the first (RFC 1858, RFC 3128).
        if view.protocol == protocol::TCP && fragment.offset != 0 && fragment.offset < super::TCP_HEADER_MIN {
            return Some(Verdict::DropFragmentOverlap);
        }
    }
    if view.ip_len > packet.total_len().wrapping_sub(view.l3 as u32) {
        return Some(Verdict::DropTruncated);
    }
    None
}

/// Ports and kind of the TCP or UDP packet `view`, which has a transport header and no fault.
///
/// # Errors
/// What is wrong with it. A first fragment must hold the whole header without options (RFC 1858, RFC 7112).
#[inline(always)]
pub fn ports<P: Packet>(packet: &P, view: &View) -> Result<(u32, Kind), Verdict> {
    let header = if view.protocol == protocol::TCP { super::TCP_HEADER_MIN } else { super::UDP_HEADER };
    if view.carried_len() < header {
        return Err(if view.is_fragment { Verdict::DropFragmentTiny } else { Verdict::DropBadLength });
    }
    super::transport(packet, view.l4, view.protocol).ok_or(Verdict::DropTruncated)
}
