// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The least that certain work costs: written by hand, without a table, without a decision.

use core::arch::asm;

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_TX};
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::Packet;
use weir_dataplane_core::encap::{OUTER_TTL, checksum};
use weir_dataplane_core::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, IPV4_HEADER, IPV6_HEADER, protocol,
};
use weir_dataplane_ebpf::KernelPacket;

use super::layout::floor;

const TCP_FLAGS: usize = 13;
const RST: u8 = 4;
const UDP_HEADER: usize = 8;
const GUE_HEADER: usize = 4;

/// Nothing. Opaque, so that the call remains.
#[inline(never)]
pub fn empty(_context: XdpContext) -> u32 {
    let action: u64;
    // SAFETY: sets a register to `XDP_PASS`.
    unsafe { asm!("{action} = 2", action = out(reg) action, options(nomem, nostack)) };
    action as u32
}

/// Room for an outer IPv4 header and nothing in it.
#[inline(never)]
pub fn adjust_head(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    if packet.grow_front(IPV4_HEADER) { XDP_TX } else { XDP_PASS }
}

/// Parses down to the TCP flags and sends the frame back.
#[inline(never)]
pub fn mac_swap(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    swap(&mut packet).map_or(XDP_PASS, |()| XDP_TX)
}

/// Parses down to the TCP flags and puts an outer IPv4 header in front.
#[inline(never)]
pub fn encap_v4(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    in_v4(&mut packet).map_or(XDP_PASS, |()| XDP_TX)
}

/// Parses down to the TCP flags and puts an outer IPv6 header in front.
#[inline(never)]
pub fn encap_v6(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    in_v6(&mut packet).map_or(XDP_PASS, |()| XDP_TX)
}

/// Parses down to the TCP flags and puts outer IPv4, UDP and GUE headers in front; the UDP checksum is zero.
#[inline(never)]
pub fn encap_gue(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    in_gue(&mut packet).map_or(XDP_PASS, |()| XDP_TX)
}

/// Fields of an inner packet that an outer header needs.
struct Inner {
    traffic_class: u32,
    len: u32,
    source_port: u32,
}

#[inline(always)]
fn parse_v4(packet: &KernelPacket) -> Option<Inner> {
    if packet.read::<u16>(ETHERTYPE_OFFSET)? != ETHERTYPE_IPV4.to_be() {
        return None;
    }
    let first = u32::from_be(packet.read(ETHERNET_HEADER)?);
    if first >> 24 != 0x45 || packet.read::<u8>(ETHERNET_HEADER + 9)? != protocol::TCP {
        return None;
    }
    let source_port = transport(packet, ETHERNET_HEADER + IPV4_HEADER)?;
    Some(Inner { traffic_class: first >> 16 & 0xff, len: first & 0xffff, source_port })
}

#[inline(always)]
fn parse_v6(packet: &KernelPacket) -> Option<Inner> {
    if packet.read::<u16>(ETHERTYPE_OFFSET)? != ETHERTYPE_IPV6.to_be() {
        return None;
    }
    let first = u32::from_be(packet.read(ETHERNET_HEADER)?);
    let second = u32::from_be(packet.read(ETHERNET_HEADER + 4)?);
    if first >> 28 != 6 || second >> 8 & 0xff != protocol::TCP as u32 {
        return None;
    }
    let source_port = transport(packet, ETHERNET_HEADER + IPV6_HEADER)?;
    let len = (second >> 16) + IPV6_HEADER as u32;
    Some(Inner { traffic_class: first >> 20 & 0xff, len, source_port })
}

#[inline(always)]
fn transport(packet: &KernelPacket, off: usize) -> Option<u32> {
    let flags: u8 = packet.read(off + TCP_FLAGS)?;
    if flags & RST != 0 {
        return None;
    }
    Some(u16::from_be(packet.read(off)?) as u32)
}

#[inline(always)]
fn swap(packet: &mut KernelPacket) -> Option<()> {
    parse_v4(packet)?;
    let macs: [u16; 6] = packet.read(0)?;
    packet.write(0, [macs[3], macs[4], macs[5], macs[0], macs[1], macs[2]])
}

#[inline(always)]
fn in_v4(packet: &mut KernelPacket) -> Option<()> {
    let inner = parse_v4(packet)?;
    if !packet.grow_front(IPV4_HEADER) {
        return None;
    }
    ethernet(packet, ETHERTYPE_IPV4)?;
    packet.write(ETHERNET_HEADER, outer_v4(&inner, inner.len + IPV4_HEADER as u32, 4))
}

#[inline(always)]
fn in_v6(packet: &mut KernelPacket) -> Option<()> {
    let inner = parse_v6(packet)?;
    if !packet.grow_front(IPV6_HEADER) {
        return None;
    }
    ethernet(packet, ETHERTYPE_IPV6)?;
    let (s, d) = (words_v6(floor::SOURCE_V6), words_v6(floor::DESTINATION_V6));
    let first = 6 << 28 | inner.traffic_class << 20 | inner.source_port;
    let second = inner.len << 16 | 41 << 8 | OUTER_TTL as u32;
    packet.write(
        ETHERNET_HEADER,
        [first.to_be(), second.to_be(), s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3]],
    )
}

#[inline(always)]
fn in_gue(packet: &mut KernelPacket) -> Option<()> {
    const OUTER: usize = IPV4_HEADER + UDP_HEADER + GUE_HEADER;
    let inner = parse_v4(packet)?;
    if !packet.grow_front(OUTER) {
        return None;
    }
    ethernet(packet, ETHERTYPE_IPV4)?;
    let ip = outer_v4(&inner, inner.len + OUTER as u32, protocol::UDP);
    let ports = (inner.source_port | 0xc000) << 16 | floor::GUE_PORT as u32;
    let udp_len = inner.len + (UDP_HEADER + GUE_HEADER) as u32;
    // GUE variant 0 without private data: four octets of which only the inner protocol is not zero.
    let gue = 4_u32 << 16;
    packet.write(
        ETHERNET_HEADER,
        [ip[0], ip[1], ip[2], ip[3], ip[4], ports.to_be(), (udp_len << 16).to_be(), gue.to_be()],
    )
}

#[inline(always)]
fn ethernet(packet: &mut KernelPacket, ethertype: u16) -> Option<()> {
    let m = &floor::MACS;
    let pair = |i: usize| u16::from_ne_bytes([m[i], m[i + 1]]);
    packet.write(0, [pair(0), pair(2), pair(4), pair(6), pair(8), pair(10), ethertype.to_be()])
}

#[inline(always)]
fn outer_v4(inner: &Inner, len: u32, protocol: u8) -> [u32; 5] {
    let (s, d) = (floor::SOURCE_V4, floor::DESTINATION_V4);
    let half = |a: u8, b: u8| u16::from_be_bytes([a, b]) as u32;
    let ttl = (OUTER_TTL as u32) << 24 | (protocol as u32) << 16;
    let fixed = 0x4500
        + 0x4000
        + (ttl >> 16)
        + half(s[0], s[1])
        + half(s[2], s[3])
        + half(d[0], d[1])
        + half(d[2], d[3]);
    let sum = checksum::finish(fixed + inner.traffic_class + len) as u32;
    [
        (0x45 << 24 | inner.traffic_class << 16 | len).to_be(),
        0x4000_u32.to_be(),
        (ttl | sum).to_be(),
        u32::from_ne_bytes(s),
        u32::from_ne_bytes(d),
    ]
}

#[inline(always)]
const fn words_v6(o: [u8; 16]) -> [u32; 4] {
    weir_dataplane_core::bytes::Address::from_octets(o).0
}
