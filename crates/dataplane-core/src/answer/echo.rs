// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Echo reply in the frame of its request (RFC 792, RFC 4443 §4.2).
//!
//! Checksums are brought along, not made anew (RFC 1624): a request damaged on its way stays damaged, so its sender counts it as
//! lost. Swapping addresses changes no sum, of a pseudo header neither.

use super::ANSWER_TTL;
use super::link::WayBack;
use crate::Packet;
use crate::bytes::Address;
use crate::encap::checksum;
use crate::parse::{IPV4_HEADER, IPV6_HEADER, protocol};
use crate::plan::{Plan, PlanFlags};
use crate::verdict::Verdict;

/// Echo request and reply, type and code, of both families.
const REQUEST_V4: u16 = 0x0800;
const REPLY_V4: u16 = 0x0000;
const REQUEST_V6: u16 = 0x8000;
const REPLY_V6: u16 = 0x8100;

/// Turns the echo request of `plan`, whose ICMP header lies right behind the fixed IP header, into its reply. `None`: the
/// frame ends too early.
#[inline(always)]
pub(super) fn echo<P: Packet>(packet: &mut P, plan: &Plan) -> Option<Verdict> {
    let Some(way) = WayBack::of(packet, plan.l3) else { return Some(Verdict::DropEcho) };
    // One copy for each place the IP header can have, since the verifier likes constant offsets best.
    match (plan.l3, plan.has(PlanFlags::V6)) {
        (14, false) => v4::<P, 14>(packet)?,
        (18, false) => v4::<P, 18>(packet)?,
        (_, false) => v4::<P, 22>(packet)?,
        (14, true) => v6::<P, 14>(packet)?,
        (18, true) => v6::<P, 18>(packet)?,
        (_, true) => v6::<P, 22>(packet)?,
    }
    way.turn(packet)?;
    Some(Verdict::AnswerEcho)
}

#[inline(always)]
fn v4<P: Packet, const L3: usize>(packet: &mut P) -> Option<()> {
    let [ttl_and_protocol, sum] = packet.read::<[u16; 2]>(L3 + 8)?.map(u16::from_be);
    let answered = u16::from_be_bytes([ANSWER_TTL, protocol::ICMP]);
    let sum = checksum::update(sum, ttl_and_protocol, answered);
    let [source, destination] = packet.read::<[u32; 2]>(L3 + 12)?;
    let icmp = retyped(packet, L3 + IPV4_HEADER, REQUEST_V4, REPLY_V4)?;
    // A message of nothing but zeros has the sum 0 and so the checksum 0xffff, and RFC 1624's equation gives 0 for it, which
    // is damaged to its receiver. Of any other message 0xffff is as good as 0.
    let icmp = if icmp == 0 { 0xffff } else { icmp };
    packet.write(L3 + 8, [answered.to_be(), sum.to_be()])?;
    packet.write(L3 + 12, [destination, source])?;
    packet.write(L3 + IPV4_HEADER, [REPLY_V4.to_be(), icmp.to_be()])
}

#[inline(always)]
fn v6<P: Packet, const L3: usize>(packet: &mut P) -> Option<()> {
    let [source, destination] = packet.read::<[Address; 2]>(L3 + 8)?;
    let icmp = retyped(packet, L3 + IPV6_HEADER, REQUEST_V6, REPLY_V6)?;
    packet.write(L3 + 7, ANSWER_TTL)?;
    packet.write(L3 + 8, [destination, source])?;
    packet.write(L3 + IPV6_HEADER, [REPLY_V6.to_be(), icmp.to_be()])
}

/// The checksum of the ICMP message at `l4` once its type and code are no longer `old` but `new`.
#[inline(always)]
fn retyped<P: Packet>(packet: &P, l4: usize, old: u16, new: u16) -> Option<u16> {
    let sum = u16::from_be(packet.read(l4 + 2)?);
    Some(checksum::update(sum, old, new))
}
