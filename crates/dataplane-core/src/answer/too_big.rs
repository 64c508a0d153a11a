// SPDX-License-Identifier: Apache-2.0 OR MIT
//! "Fragmentation needed" (RFC 792, RFC 1191) and "packet too big" (RFC 4443 §3.2) to a client whose packet does not fit the path
//! to its backend once it is encapsulated.
//!
//! ```text
//! | link | IP: VIP to client, TTL 64 | ICMP, MTU | the client's packet: its header and what follows, 4-octet steps |
//! ```
//!
//! The source is the VIP: it is whom the client talks to, so that the message passes its firewall. As much is quoted as the
//! RFCs want, 576 octets in all over IPv4 and 1,280 over IPv6, but no more than lies in the frame's first buffer; that is at
//! most 308 words to sum, which is nothing at the rate that a VIP's budget allows. A sender is not told an MTU that it must
//! not obey.

use super::link::WayBack;
use super::{ANSWER_TTL, is_host_v4, is_host_v6};
use crate::Packet;
use crate::bytes::{Address, budget};
use crate::encap::checksum;
use crate::parse::{
    ETHERNET_HEADER, ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV4_LEN, IPV6_HEADER,
    IPV6_LEN, protocol,
};
use crate::plan::Plan;
use crate::slow::vip::Vip;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Octets of an ICMP header.
const ICMP_HEADER: usize = 8;
const ICMP_LEN: u32 = 8;
/// Largest IPv4 message (RFC 1812 §4.3.2.3).
const TOTAL_V4: u32 = 576;
/// Largest IPv6 message (RFC 4443 §3.2).
const TOTAL_V6: u32 = 1_280;
/// Octets of the transport header that a quote must hold (RFC 792).
const TRANSPORT_MIN: u32 = 8;
/// Least MTU that an IPv4 sender may be told (RFC 791 §3.2).
const MTU_MIN_V4: u16 = 68;
/// Least MTU that an IPv6 sender may be told (RFC 8201 §4).
const MTU_MIN_V6: u16 = 1_280;
/// Type and code.
const FRAGMENTATION_NEEDED: u16 = 0x0304;
const PACKET_TOO_BIG: u16 = 0x0200;
/// Class selector 6, internetwork control (RFC 1812 §4.3.2.5).
const TRAFFIC_CLASS: u32 = 0xc0;
const DONT_FRAGMENT: u32 = 0x4000;

/// Answers the IPv4 packet of `plan`.
///
/// # Errors
/// Why it is dropped without an answer.
#[inline(always)]
pub(super) fn v4<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Result<(), Verdict> {
    let way = strip(packet, plan)?;
    let header = packet.read::<[u32; 5]>(ETHERNET_HEADER).ok_or(Verdict::DropTooBig)?;
    let [first, .., source, destination] = header;
    let header_len = (first.to_ne_bytes()[0] & 0xf) as u32 * 4;
    let least = header_len + TRANSPORT_MIN;
    let quoted = quoted(packet, plan, least, TOTAL_V4 - IPV4_LEN - ICMP_LEN)?;
    if plan.mtu < MTU_MIN_V4 || !is_host_v4(source) {
        return Err(Verdict::DropTooBig);
    }
    spend(tables, Address::mapped(destination))?;
    let sum = cut::<P, TOTAL_V4>(packet, quoted)?;
    let icmp = checksum::finish(FRAGMENTATION_NEEDED as u32 + plan.mtu as u32 + sum as u32);
    if !packet.grow_front(IPV4_HEADER + ICMP_HEADER) {
        return Err(Verdict::DropNoRoom);
    }
    let length = quoted + IPV4_LEN + ICMP_LEN;
    let fixed = (ANSWER_TTL as u32) << 8 | protocol::ICMP as u32;
    // Four words of addresses, and the checksum field itself as zero.
    let constant = 0x4500 + TRAFFIC_CLASS + DONT_FRAGMENT + fixed;
    let sum = checksum::finish(constant + length + halves(source) + halves(destination)) as u32;
    let message = [
        (0x45 << 24 | TRAFFIC_CLASS << 16 | length).to_be(),
        DONT_FRAGMENT.to_be(),
        (fixed << 16 | sum).to_be(),
        destination,
        source,
        ((FRAGMENTATION_NEEDED as u32) << 16 | icmp as u32).to_be(),
        (plan.mtu as u32).to_be(),
    ];
    packet.write(ETHERNET_HEADER, message).ok_or(Verdict::DropNoRoom)?;
    way.write(packet, ETHERTYPE_IPV4).ok_or(Verdict::DropNoRoom)
}

/// Answers the IPv6 packet of `plan`.
///
/// # Errors
/// As [`v4`].
#[inline(always)]
pub(super) fn v6<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Result<(), Verdict> {
    let way = strip(packet, plan)?;
    let [source, destination] =
        packet.read::<[Address; 2]>(ETHERNET_HEADER + 8).ok_or(Verdict::DropTooBig)?;
    let quoted = quoted(packet, plan, IPV6_LEN + TRANSPORT_MIN, TOTAL_V6 - IPV6_LEN - ICMP_LEN)?;
    if plan.mtu < MTU_MIN_V6 || !is_host_v6(&source) {
        return Err(Verdict::DropTooBig);
    }
    spend(tables, destination)?;
    let sum = cut::<P, TOTAL_V6>(packet, quoted)?;
    let length = quoted + ICMP_LEN;
    let (s, d) = (&source.0, &destination.0);
    let addresses = halves(s[0])
        + halves(s[1])
        + halves(s[2])
        + halves(s[3])
        + halves(d[0])
        + halves(d[1])
        + halves(d[2])
        + halves(d[3]);
    // The pseudo header (RFC 8200 §8.1), then the message.
    let icmp = checksum::finish(
        addresses + length + protocol::ICMPV6 as u32 + PACKET_TOO_BIG as u32 + plan.mtu as u32 + sum as u32,
    );
    if !packet.grow_front(IPV6_HEADER + ICMP_HEADER) {
        return Err(Verdict::DropNoRoom);
    }
    let message = [
        (6 << 28 | TRAFFIC_CLASS << 20).to_be(),
        (length << 16 | (protocol::ICMPV6 as u32) << 8 | ANSWER_TTL as u32).to_be(),
        d[0],
        d[1],
        d[2],
        d[3],
        s[0],
        s[1],
        s[2],
        s[3],
        ((PACKET_TOO_BIG as u32) << 16 | icmp as u32).to_be(),
        (plan.mtu as u32).to_be(),
    ];
    packet.write(ETHERNET_HEADER, message).ok_or(Verdict::DropNoRoom)?;
    way.write(packet, ETHERTYPE_IPV6).ok_or(Verdict::DropNoRoom)
}

/// The way back, and the frame without its VLAN tags, so that its IP header lies where the verifier likes it.
#[inline(always)]
fn strip<P: Packet>(packet: &mut P, plan: &Plan) -> Result<WayBack, Verdict> {
    let way = WayBack::of(packet, plan.l3).ok_or(Verdict::DropTooBig)?;
    if way.tags_len() != 0 && !packet.shrink_front(way.tags_len()) {
        return Err(Verdict::DropTooBig);
    }
    Ok(way)
}

/// Octets to quote, at most `most`: a multiple of four, so that the sum is one of whole words.
#[inline(always)]
fn quoted<P: Packet>(packet: &P, plan: &Plan, least: u32, most: u32) -> Result<u32, Verdict> {
    let readable = packet.len().saturating_sub(ETHERNET_LEN);
    let quoted = plan.ip_len.min(readable).min(most) & !3;
    if quoted < least { Err(Verdict::DropTooBig) } else { Ok(quoted) }
}

/// Takes one from the budget of the VIP that holds `destination`.
#[inline(always)]
fn spend<T: Tables>(tables: &T, destination: Address) -> Result<(), Verdict> {
    let vip = Vip::of(tables, &destination).ok_or(Verdict::DropTooBig)?;
    let knobs = tables.knobs().ok_or(Verdict::DropInternal)?;
    if tables.take(budget::too_big(vip.record.id), knobs.too_big_max) {
        Ok(())
    } else {
        Err(Verdict::DropTooBigLimited)
    }
}

/// Cuts the frame behind `quoted` octets of its IP packet, fewer than `MOST`, and gives their sum, folded, in host order.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 32 bits")]
fn cut<P: Packet, const MOST: u32>(packet: &mut P, quoted: u32) -> Result<u16, Verdict> {
    if !packet.truncate(ETHERNET_LEN + quoted) {
        return Err(Verdict::DropTooBig);
    }
    // By number and not by offset, and laundered: of a bound that is a multiple of four the verifier of 6.12 comes to believe what
    // cannot be, forgets its range, and never sees the end ("the sequence of 8193 jumps is too complex").
    let words = packet.launder(quoted as usize / size_of::<u32>());
    let mut sum = 0_u64;
    let mut index = 0;
    while index < MOST as usize / size_of::<u32>() {
        if index >= words {
            break;
        }
        let word = packet.word(ETHERNET_HEADER + index * size_of::<u32>()).ok_or(Verdict::DropTooBig)?;
        sum += word as u64;
        index += 1;
    }
    // Words are summed as they lie in memory; one's complement sums do not mind the order of octets (RFC 1071 §1).
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = sum as u32;
    Ok(u16::from_be(checksum::fold(sum)))
}

/// Sum of both halves of a word of the packet, in host order.
#[inline(always)]
const fn halves(word_be: u32) -> u32 {
    let word = u32::from_be(word_be);
    (word >> 16) + (word & 0xffff)
}
