// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP errors about packets that this appliance encapsulated: octets in, a [`Report`] out. No sockets, no state.
//!
//! ```text
//! | ICMP header, MTU | quoted outer header: source, destination, protocol | UDP ports, if it is GUE | …
//! ```
//!
//! The outer header is ours, so what the error quotes is known to the octet, and what does not look like it is not about us:
//! anybody can send such a message (RFC 5927).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stood behind the outer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// Another IP packet.
    Ip,
    /// UDP to this port.
    Udp(u16),
}

/// Why a router or the backend did not take a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No way to the backend's network.
    Network,
    /// No way to the backend itself.
    Host,
    /// The backend does not know the tunnel's protocol.
    Protocol,
    /// Nobody listens on the tunnel's port.
    Port,
    /// A filter forbids it.
    Prohibited,
    /// It went round in a circle until its hop limit ended.
    Loop,
    /// Something else.
    Other,
}

impl Refusal {
    /// In an operator's words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Network => "its network is unreachable",
            Self::Host => "it is unreachable",
            Self::Protocol => "it does not take the tunnel's protocol",
            Self::Port => "it does not listen on the tunnel's port",
            Self::Prohibited => "a filter forbids it",
            Self::Loop => "the route goes in a circle",
            Self::Other => "a router refuses it",
        }
    }
}

/// What an error tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Packets may have this many octets on the way.
    Mtu(u32),
    /// The packet did not arrive.
    Refused(Refusal),
}

/// An error about a packet that went from `source` to `destination`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Who says so.
    pub router: IpAddr,
    /// Source of the quoted packet.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// What it carried.
    pub tunnel: Tunnel,
    /// What became of it.
    pub told: Told,
}

const ICMP_HEADER: usize = 8;
const ICMP: u8 = 1;

/// Reads an IPv4 packet, header and all, as a raw socket gives it: the kernel has not looked at ICMP's checksum by then. Of
/// one that is cut the checksum cannot be right.
pub fn v4(packet: &[u8]) -> Option<Report> {
    let (header, message) = split_v4(packet)?;
    if header[9] != ICMP || !sums_up(message) {
        return None;
    }
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let (quoted, carried) = split_v4(message.get(ICMP_HEADER..)?)?;
    let told = match (kind, code) {
        (3, 4) => Told::Mtu(match u16::from_be_bytes(*message.get(6..)?.first_chunk()?) {
            0 => plateau_below(u16::from_be_bytes([quoted[2], quoted[3]])),
            mtu => mtu.into(),
        }),
        (3, 0 | 6 | 8 | 11) => Told::Refused(Refusal::Network),
        (3, 1 | 7 | 12) => Told::Refused(Refusal::Host),
        (3, 2) => Told::Refused(Refusal::Protocol),
        (3, 3) => Told::Refused(Refusal::Port),
        (3, 9 | 10 | 13) => Told::Refused(Refusal::Prohibited),
        (11, 0) => Told::Refused(Refusal::Loop),
        (3, _) => Told::Refused(Refusal::Other),
        _ => return None,
    };
    let [_, _, _, _, _, _, fragment_high, fragment_low, ..] = *quoted.first_chunk::<20>()?;
    // Outer headers have DF set, so none of our packets was a later fragment.
    if u16::from_be_bytes([fragment_high, fragment_low]) & 0x1fff != 0 {
        return None;
    }
    Some(Report {
        router: address_v4(header, 12)?,
        source: address_v4(quoted, 12)?,
        destination: address_v4(quoted, 16)?,
        tunnel: tunnel(quoted[9], carried)?,
        told,
    })
}

/// What is tried next where a router tells no MTU, since it is older than RFC 1191: the largest that is usual of a link and
/// less than the `length` octets that did not pass (RFC 1191 §7.1).
fn plateau_below(length: u16) -> u32 {
    const PLATEAUS: [u16; 9] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296];
    let below = PLATEAUS.into_iter().find(|plateau| *plateau < length);
    // The least that every link of IPv4 carries (RFC 791 §3.2).
    u32::from(below.unwrap_or(68))
}

/// Reads an ICMPv6 message from `router` as a raw socket gives it: without IP header, its checksum found right.
pub fn v6(router: Ipv6Addr, message: &[u8]) -> Option<Report> {
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let told = match (kind, code) {
        (2, _) => Told::Mtu(u32::from_be_bytes(*message.get(4..)?.first_chunk()?)),
        (1, 0) => Told::Refused(Refusal::Network),
        (1, 3) => Told::Refused(Refusal::Host),
        (1, 4) => Told::Refused(Refusal::Port),
        (1, 1 | 5 | 6) => Told::Refused(Refusal::Prohibited),
        (1, _) => Told::Refused(Refusal::Other),
        (3, 0) => Told::Refused(Refusal::Loop),
        // A next header that the backend does not know: how a host without decapsulation answers a tunnel (RFC 2473 §3.4).
        (4, 1) => Told::Refused(Refusal::Protocol),
        _ => return None,
    };
    let quoted = message.get(ICMP_HEADER..)?;
    if quoted.first()? >> 4 != 6 {
        return None;
    }
    Some(Report {
        router: router.into(),
        source: address_v6(quoted, 8)?,
        destination: address_v6(quoted, 24)?,
        tunnel: tunnel(*quoted.get(6)?, quoted.get(40..)?)?,
        told,
    })
}

/// Header and rest of an IPv4 packet.
fn split_v4(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *packet.first()?;
    let header_len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header_len < 20 {
        return None;
    }
    packet.split_at_checked(header_len)
}

/// What a packet with this protocol carried; `None`: nothing that we send.
fn tunnel(protocol: u8, carried: &[u8]) -> Option<Tunnel> {
    match protocol {
        4 | 41 => Some(Tunnel::Ip),
        17 => Some(Tunnel::Udp(u16::from_be_bytes(*carried.get(2..)?.first_chunk()?))),
        _ => None,
    }
}

fn address_v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into())
}

fn address_v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into())
}

/// Whether the message's checksum is right (RFC 1071).
fn sums_up(message: &[u8]) -> bool {
    let sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    weir_dataplane_core::encap::checksum::fold(sum) == 0xffff
}

#[cfg(test)]
mod tests;
