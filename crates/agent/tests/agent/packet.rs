// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames by layers: payload, UDP, IP, tunnel, Ethernet; lengths and checksums right unless changed afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol and next-header numbers.
pub const IPIP: u8 = 4;
pub const UDP: u8 = 17;
pub const IPV6: u8 = 41;

/// Where headers begin in a frame.
pub const OUTER: usize = 14;

/// One's complement sum of 16-bit words.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| (u32::from(pair[0]) << 8) | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}

fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}

pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, tos: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = len16(20 + payload.len());
    let mut packet = vec![0x45, tos, len[0], len[1], 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    fix_ipv4_checksum(&mut packet);
    packet
}

/// Writes the right checksum into an IPv4 packet.
pub fn fix_ipv4_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 0xf) * 4;
    let check = (!sum(&packet[..header])).to_be_bytes();
    packet[10..12].copy_from_slice(&check);
}

pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, class: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = len16(payload.len());
    let mut packet = vec![0x60 | (class >> 4), (class << 4) | 0x0a, 0xbc, 0xde, len[0], len[1], next, 64];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An IP packet of the family of its addresses.
pub fn ip(source: IpAddr, destination: IpAddr, class: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => ipv4(s, d, class, protocol, payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => ipv6(s, d, class, protocol, payload),
        _ => panic!("two families"),
    }
}

/// A UDP datagram from port 4000 to `port` in its IP packet.
pub fn udp(source: IpAddr, destination: IpAddr, class: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let len = len16(8 + payload.len());
    let port = port.to_be_bytes();
    let mut datagram = vec![0x0f, 0xa0, port[0], port[1], len[0], len[1], 0, 0];
    datagram.extend(payload);
    let mut pseudo = match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => [s.octets(), d.octets()].concat(),
        (IpAddr::V6(s), IpAddr::V6(d)) => [s.octets(), d.octets()].concat(),
        _ => panic!("two families"),
    };
    pseudo.extend([0, UDP, len[0], len[1]]);
    pseudo.extend(&datagram);
    let check = match !sum(&pseudo) {
        0 => 0xffff_u16,
        check => check,
    };
    datagram[6..8].copy_from_slice(&check.to_be_bytes());
    ip(source, destination, class, UDP, &datagram)
}

/// The packet `inner` in a tunnel packet.
pub fn tunnel(source: IpAddr, destination: IpAddr, class: u8, inner: &[u8]) -> Vec<u8> {
    ip(source, destination, class, if source.is_ipv4() { IPIP } else { IPV6 }, inner)
}

/// The frame of an IP packet; the EtherType says what the first octet says.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ethertype =
        if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], ethertype.as_slice(), packet].concat()
}
