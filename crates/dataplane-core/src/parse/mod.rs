// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes to a summary of the packet.
//!
//! Nothing here drops: a parser says what it found ([`Parsed`]), and [`crate::process()`] first asks whether the packet is
//! for a VIP. What is not for a VIP passes to the host whatever is wrong with it.

pub mod full;
mod ipv4;
mod ipv6;

use crate::bytes::Address;
use crate::flow::Kind;
use crate::verdict::Verdict;

pub use full::{Fragment, View, full, ports};
pub use ipv4::{IPV4_HEADER, IPV4_LEN, ipv4};
pub use ipv6::{IPV6_HEADER, IPV6_LEN, ipv6};

/// Octets of an Ethernet header without tags.
pub const ETHERNET_HEADER: usize = 14;
/// The same, for sums of lengths.
pub(crate) const ETHERNET_LEN: u32 = 14;
/// Where the EtherType lies.
pub const ETHERTYPE_OFFSET: usize = 12;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Whether an EtherType is a VLAN tag's: 802.1Q or 802.1ad.
#[inline(always)]
pub const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

/// IANA protocol numbers that parsing knows.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

const TCP_HEADER_MIN: u32 = 20;
const UDP_HEADER: u32 = 8;

/// A packet of a transport flow, whole and with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, then destination port, as they lie in the packet.
    pub ports_be: u32,
    /// IANA protocol number, TCP or UDP.
    pub protocol: u8,
    /// What the flow table must know.
    pub kind: Kind,
    /// Length of the IP packet in octets as its header says.
    pub ip_len: u32,
    /// Type of service or traffic class, all eight bits.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Where the transport header lies in the frame.
    pub l4: usize,
    /// IPv4 with DF clear.
    pub may_fragment: bool,
    /// What is wrong with it, if anything; matters only if it is for a VIP.
    pub fault: Option<Verdict>,
}

impl Segment {
    /// Destination port as it lies in the packet.
    #[inline(always)]
    pub const fn destination_port_be(&self) -> u16 {
        let p = self.ports_be.to_ne_bytes();
        u16::from_ne_bytes([p[2], p[3]])
    }
}

/// What a parser found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// TCP or UDP with ports.
    Segment(Segment),
    /// An IP packet whose ports were not read, and to whom: if that is a VIP, [`full`] says what it is.
    Other(Address),
    /// Not an IP packet that can be read.
    Unreadable,
}

/// First four octets (ports) and kind of the transport header at `off`; `None` if the frame ends before.
#[inline(always)]
fn transport<P: crate::Packet>(packet: &P, off: usize, protocol: u8) -> Option<(u32, Kind)> {
    if protocol == protocol::TCP {
        /// The fields of a TCP header up to its flags (RFC 9293 §3.1).
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Tcp {
            ports: u32,
            sequence: u32,
            acknowledgment: u32,
            offset: u8,
            flags: u8,
            window: u16,
        }
        let header: Tcp = packet.read(off)?;
        Some((header.ports, Kind::of_tcp(header.flags)))
    } else {
        let ports: u32 = packet.read(off)?;
        Some((ports, Kind::GOES_ON))
    }
}

/// The fault of a packet whose header says `ip_len` octets, of which `header_len` are the IP header's, in a frame with
/// `available` octets behind the Ethernet header.
#[inline(always)]
const fn length_fault(ip_len: u32, header_len: u32, available: u32, protocol: u8) -> Option<Verdict> {
    let transport = if protocol == protocol::TCP { TCP_HEADER_MIN } else { UDP_HEADER };
    if ip_len < header_len + transport {
        Some(Verdict::DropBadLength)
    } else if ip_len > available {
        Some(Verdict::DropTruncated)
    } else {
        None
    }
}
