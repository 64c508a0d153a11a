// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last question, whether the inner packet is for a VIP, and then what may be wrong with it.

use super::outer::{HeaderV4, HeaderV6, Tunnel, traffic_class_v6};
use super::{AgentTables, AgentVerdict, ETHERNET_LEN, HEADER_V4_LEN, HEADER_V6_LEN};
use crate::Packet;
use crate::bytes::Address;
use crate::encap::checksum;

/// VIP index and length of an inner IPv4 packet, whose ECN field is then as it shall be.
#[inline(always)]
pub(super) fn ipv4<P: Packet, T: AgentTables>(
    packet: &mut P,
    tables: &T,
    tunnel: &Tunnel,
) -> Result<(u32, u32), AgentVerdict> {
    let at = tunnel.inner;
    let inner: HeaderV4 = packet.read(at).ok_or(AgentVerdict::PassInnerMalformed)?;
    let header_len = (inner.version_ihl & 0xf) as u32 * 4;
    if inner.version_ihl >> 4 != 4 || header_len < HEADER_V4_LEN {
        return Err(AgentVerdict::PassInnerMalformed);
    }
    let vip = tables.vip(&Address::mapped(inner.destination)).ok_or(AgentVerdict::PassNotVip)?;

    let inner_len = u16::from_be(inner.total_length) as u32;
    check(packet, tunnel, inner_len, header_len)?;
    let traffic_class = ecn(inner.traffic_class, tunnel.traffic_class)?;
    if traffic_class != inner.traffic_class {
        let word = |class: u8| ((inner.version_ihl as u16) << 8) | class as u16;
        let sum =
            checksum::update(u16::from_be(inner.checksum), word(inner.traffic_class), word(traffic_class));
        packet.write(at + 1, traffic_class).ok_or(AgentVerdict::DropTruncated)?;
        packet.write(at + 10, sum.to_be()).ok_or(AgentVerdict::DropTruncated)?;
    }
    Ok((vip, inner_len))
}

/// As [`ipv4`] for an inner IPv6 packet.
#[inline(always)]
pub(super) fn ipv6<P: Packet, T: AgentTables>(
    packet: &mut P,
    tables: &T,
    tunnel: &Tunnel,
) -> Result<(u32, u32), AgentVerdict> {
    let at = tunnel.inner;
    let inner: HeaderV6 = packet.read(at).ok_or(AgentVerdict::PassInnerMalformed)?;
    let first = u32::from_be(inner.first);
    if first >> 28 != 6 {
        return Err(AgentVerdict::PassInnerMalformed);
    }
    // As an IPv4 address in IPv6 form it would find a VIP of IPv4.
    if inner.destination.is_mapped() {
        return Err(AgentVerdict::PassNotVip);
    }
    let vip = tables.vip(&inner.destination).ok_or(AgentVerdict::PassNotVip)?;

    let inner_len = u16::from_be(inner.payload_length) as u32 + HEADER_V6_LEN;
    check(packet, tunnel, inner_len, HEADER_V6_LEN)?;
    let class = traffic_class_v6(first);
    let merged = ecn(class, tunnel.traffic_class)?;
    if merged != class {
        let first = (first & !(0xff << 20)) | ((merged as u32) << 20);
        packet.write(at, first.to_be()).ok_or(AgentVerdict::DropTruncated)?;
    }
    Ok((vip, inner_len))
}

/// Whether the outer packet is whole and in the frame, and the inner packet in the outer one. Shorter inner packets are
/// fine: the host cuts what is behind them, as it does with Ethernet padding.
#[inline(always)]
fn check<P: Packet>(
    packet: &P,
    tunnel: &Tunnel,
    inner_len: u32,
    inner_header: u32,
) -> Result<(), AgentVerdict> {
    if !tunnel.is_sound {
        return Err(AgentVerdict::DropChecksum);
    }
    let reaches = |len: u32| tunnel.outer_len <= len.saturating_sub(ETHERNET_LEN);
    // Of a frame in several buffers the first may hold less; only then the kernel is asked for the rest, which takes a call.
    if !reaches(packet.len()) && !reaches(packet.total_len()) {
        return Err(AgentVerdict::DropTruncated);
    }
    let is_in_outer = tunnel.end <= tunnel.outer_len && inner_len + tunnel.overhead() <= tunnel.end;
    if inner_len < inner_header || !is_in_outer {
        return Err(AgentVerdict::DropBadLength);
    }
    Ok(())
}

/// The inner traffic class after decapsulation (RFC 6040 §4.2, figure 4).
#[inline(always)]
pub(super) const fn ecn(inner: u8, outer: u8) -> Result<u8, AgentVerdict> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => Err(AgentVerdict::DropEcn),
        (ECT_0 | ECT_1, CE) => Ok(inner | CE),
        (ECT_0, ECT_1) => Ok((inner & !3) | ECT_1),
        _ => Ok(inner),
    }
}
