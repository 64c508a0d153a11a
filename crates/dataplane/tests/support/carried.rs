// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The frame that must leave for a packet in each forwarding mode, written out from RFC 791, 2003, 2473, 4213, 8200, 768
//! and draft-ietf-intarea-gue. Checksums are summed over every octet, payload included.

use std::net::IpAddr;

use weir_dataplane::forwarding::{GueVariant, Mode, OuterHeader};
use weir_dataplane_core::bytes::Address;
use weir_dataplane_core::hash::{HashKeys, flow_v4, flow_v6};

use super::bed::{GATEWAY_MAC, OWN_MAC, SEED, SOURCE_V4, SOURCE_V6};
use super::build::{Frame, checksum, ethernet, forwarded};

/// How a packet is carried.
#[derive(Debug, Clone)]
pub struct Way {
    pub mode: Mode,
    pub outer: OuterHeader,
    pub to: IpAddr,
    /// Candidates in private data.
    pub hops: Vec<IpAddr>,
    pub vlan: Option<u16>,
    pub next_hop_mac: [u8; 6],
    /// Prefixes of outer sources made from flows: 16 and 64 bits.
    pub source_prefixes: Option<([u8; 2], [u8; 8])>,
    /// Whether a UDP checksum that is wanted can be made for this packet.
    pub can_sum: bool,
}

impl Way {
    pub fn new(mode: Mode, to: &str) -> Self {
        Self {
            mode,
            outer: OuterHeader::default(),
            to: to.parse().unwrap(),
            hops: Vec::new(),
            vlan: None,
            next_hop_mac: GATEWAY_MAC,
            source_prefixes: None,
            can_sum: true,
        }
    }
}

/// The packet with its transport checksum filled in. Not for packets with IPv6 extension headers.
pub fn with_checksum(ip: &[u8]) -> Vec<u8> {
    let mut ip = ip.to_vec();
    let (header, protocol) =
        if ip[0] >> 4 == 4 { (usize::from(ip[0] & 0xf) * 4, ip[9]) } else { (40, ip[6]) };
    let at = header + if protocol == 6 { 16 } else { 6 };
    ip[at..at + 2].fill(0);
    let addresses = if header == 40 && ip[0] >> 4 == 6 { 8..40 } else { 12..20 };
    let sum = pseudo_checksum(&ip[addresses], protocol, &ip[header..]);
    let sum = if sum == 0 && protocol == 17 { 0xffff } else { sum };
    ip[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// Internet checksum of `segment` and the pseudo header before it.
pub fn pseudo_checksum(addresses: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let mut octets = addresses.to_vec();
    octets.extend(u32::try_from(segment.len()).unwrap().to_be_bytes());
    octets.extend([0, 0, 0, protocol]);
    octets.extend(segment);
    if octets.len() % 2 == 1 {
        octets.push(0);
    }
    checksum(&octets)
}

/// Upper half of the hash of the frame's flow.
pub fn entropy(frame: &Frame) -> u32 {
    let keys = HashKeys::from_seed(&SEED);
    let [a, b] = frame.source_port.to_be_bytes();
    let [c, d] = frame.destination_port.to_be_bytes();
    let ports = u32::from_ne_bytes([a, b, c, d]);
    let protocol = if frame.tcp.is_some() { 6 } else { 17 };
    let hash = match (frame.source, frame.destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let word = |a: std::net::Ipv4Addr| u32::from_ne_bytes(a.octets());
            flow_v4(&keys.v4, word(s), word(d), ports, protocol)
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            let address = |a: std::net::Ipv6Addr| Address::from_octets(a.octets());
            flow_v6(&keys.v6, &address(s), &address(d), ports, protocol)
        }
        _ => panic!("addresses of one family"),
    };
    u32::try_from(hash >> 32).unwrap()
}

/// The frame that must leave for `ip`, whose flow has `entropy`.
pub fn carried(ip: &[u8], entropy: u32, way: &Way) -> Vec<u8> {
    if way.mode == Mode::L2 {
        let mut inner = ip.to_vec();
        let is_v4 = ip[0] >> 4 == 4;
        // As a router would hand it on if it had come with a TTL of 2.
        inner[if is_v4 { 8 } else { 7 }] = 2;
        let ethertype = if is_v4 { 0x0800 } else { 0x86dd };
        return [link(way, ethertype), forwarded(&inner)].concat();
    }
    let inner = forwarded(ip);
    let (inner_protocol, traffic_class) = match inner[0] >> 4 {
        4 => (4, inner[1]),
        _ => (41, inner[0] << 4 | inner[1] >> 4),
    };
    let tos = if way.outer.copies_dscp { traffic_class } else { traffic_class & 3 };
    let (source, destination) = addresses(entropy, way);
    let (protocol, payload) = match way.mode {
        Mode::Gue { port, variant } => {
            let datagram = udp(&inner, inner_protocol, entropy, port, variant, way);
            let sum = pseudo_checksum(&[&source[..], &destination].concat(), 17, &datagram);
            let sum = if sum == 0 { 0xffff } else { sum };
            let mut datagram = datagram;
            if way.outer.udp_checksum && way.can_sum {
                datagram[6..8].copy_from_slice(&sum.to_be_bytes());
            }
            (17, datagram)
        }
        Mode::Ipip | Mode::L2 => (inner_protocol, inner),
    };
    let len = |octets: usize| u16::try_from(octets).unwrap().to_be_bytes();
    let mut out;
    if way.to.is_ipv4() {
        out = link(way, 0x0800);
        let mut header = vec![0x45, tos];
        header.extend(len(20 + payload.len()));
        header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        header.extend(&source);
        header.extend(&destination);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(header);
    } else {
        out = link(way, 0x86dd);
        let label = if way.outer.flow_label { entropy >> 8 & 0xf_ffff | 1 } else { 0 };
        out.extend((6 << 28 | u32::from(tos) << 20 | label).to_be_bytes());
        out.extend(len(payload.len()));
        out.extend([protocol, 64]);
        out.extend(&source);
        out.extend(&destination);
    }
    out.extend(payload);
    out
}

fn link(way: &Way, ethertype: u16) -> Vec<u8> {
    match way.vlan {
        None => ethernet(way.next_hop_mac, OWN_MAC, ethertype),
        Some(id) => {
            let mut out = ethernet(way.next_hop_mac, OWN_MAC, 0x8100);
            out.extend(id.to_be_bytes());
            out.extend(ethertype.to_be_bytes());
            out
        }
    }
}

fn addresses(entropy: u32, way: &Way) -> (Vec<u8>, Vec<u8>) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let bits = entropy.to_be_bytes();
    let source = match (way.source_prefixes, way.to) {
        (Some((v4, _)), IpAddr::V4(_)) => [v4, [bits[2], bits[3]]].concat(),
        (Some((_, v6)), IpAddr::V6(_)) => [&v6[..], &[0; 4], &bits].concat(),
        (None, IpAddr::V4(_)) => octets(SOURCE_V4.parse().unwrap()),
        (None, IpAddr::V6(_)) => octets(SOURCE_V6.parse().unwrap()),
    };
    (source, octets(way.to))
}

fn udp(inner: &[u8], protocol: u8, entropy: u32, port: u16, variant: GueVariant, way: &Way) -> Vec<u8> {
    let source_port = if way.outer.port_entropy { 0xc000 | (entropy & 0x3fff) as u16 } else { 0xc000 };
    let gue = match variant {
        GueVariant::Direct => vec![],
        GueVariant::Header => vec![0, protocol, 0, 0],
        GueVariant::Candidates => {
            let (flags, size) = if way.to.is_ipv6() { (1, 16) } else { (0, 4) };
            let count = u8::try_from(way.hops.len()).unwrap();
            let mut gue = vec![3 + count * size / 4, protocol, 0, 0];
            gue.extend([0x57, 0x52, 1, flags, 0, count, 0, 0, 0, 0, 0, 0]);
            for hop in &way.hops {
                match hop {
                    IpAddr::V4(v4) => gue.extend(v4.octets()),
                    IpAddr::V6(v6) => gue.extend(v6.octets()),
                }
            }
            gue
        }
    };
    let mut datagram = Vec::new();
    datagram.extend(source_port.to_be_bytes());
    datagram.extend(port.to_be_bytes());
    datagram.extend(u16::try_from(8 + gue.len() + inner.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(gue);
    datagram.extend(inner);
    datagram
}
