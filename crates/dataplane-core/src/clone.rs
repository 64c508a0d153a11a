// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies of an ICMP error about a flow that nobody here knows, one to each candidate of its row (ADR 0037).
//!
//! XDP cannot copy a frame, traffic control can. So the packet is decided about in XDP, once, and handed over:
//!
//! ```text
//! slow ── unknown flow, the copying program is there ─► answer ─► hand_over ─► PassToClone
//!            Ethernet │ tag: magic 8, seal 8, plan 48 │ packet            the frame that XDP passes
//!            traffic control, ingress ─► receive: seal right? ─► tag off ─► copy_to, candidate by candidate:
//!                  encap::carry, as any packet in the pool's mode ─► Carrier::leave ─► room closed again
//! ```
//!
//! The plan travels in the frame itself: not every driver carries XDP's metadata, and another packet may come between the two
//! programs on the same CPU. The seal is a keyed hash that nobody outside the appliance can make, so that a frame from the wire
//! is not taken for one of ours. To the host a tag is an IP header of version 0: should the second program be missing,
//! the host drops the frame as malformed and never answers, routes or delivers it.

use crate::bytes::{BackendFlags, BackendMode, BackendValue, Knobs, ServiceFlags, ServiceValue};
use crate::encap::{self, Carried, gue};
use crate::hash;
use crate::packet::Packet;
use crate::parse::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET};
use crate::plan::{Plan, PlanFlags};
use crate::process::{Count, Outcome};
use crate::row::Row;
use crate::steer::Decision;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Octets of the tag between Ethernet header and packet.
pub const TAG_LEN: usize = size_of::<Tag>();
/// Octets that must lie in one piece: Ethernet header, tag, and an IP header with as many options as there can be.
pub const HEAD_LEN: usize = ETHERNET_HEADER + TAG_LEN + 60;

/// Where the packet begins once the tag is off.
#[expect(clippy::cast_possible_truncation, reason = "14")]
const BARE: u16 = ETHERNET_HEADER as u16;

/// As an IP header: version 0, length 0; as an IPv6 one also "no next header" (59), so that nobody looks further.
const MAGIC: [u32; 2] = [u32::from_ne_bytes([0, b'W', b'R', b'C']), u32::from_ne_bytes([0, 0, 59, 1])];

/// What XDP puts between Ethernet header and packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tag {
    magic: [u32; 2],
    seal: u64,
    plan: Plan,
}
const _: () = assert!(size_of::<Tag>() == 64);

/// A frame that copies can be sent of.
pub trait Carrier: Packet {
    /// One candidate is done: sends the frame as it is now by `outcome.egress_ifindex`, unless that is 0, and counts the
    /// verdict for a frame of `frame_len` octets as received. The frame stays as it is.
    fn leave(&mut self, outcome: Outcome, frame_len: u32);
}

/// Whether an error about a flow of `service`, decided as `decision`, is to be copied: nobody knows the flow, the copying
/// program is there, and no agents pass it on. Where no flows are remembered, they go by their row, and so does the error.
#[inline(always)]
pub fn is_wanted<T: Tables>(tables: &T, service: &ServiceValue, decision: &Decision<'_>) -> bool {
    decision.verdict as u32 == Verdict::PassToClone as u32
        && service.flags & ServiceFlags::STATELESS == 0
        && decision.backend.mode != BackendMode::GUE_CANDIDATES
        && tables.knobs().is_some_and(|knobs| knobs.flags & Knobs::CLONES != 0)
}

/// Makes the frame the one that traffic control is to get: no VLAN tags, the tag in front of the packet.
#[inline(always)]
pub(crate) fn hand_over<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Verdict {
    // A packet of its service; the backends count their copies.
    tables.count(&Count { service: plan.service, backend: 0, ip_len: plan.ip_len, is_new_flow: false });
    if plan.ttl <= 1 {
        return Verdict::DropTtl;
    }
    match tagged(packet, tables, plan) {
        Some(()) => Verdict::PassToClone,
        None => Verdict::DropNoRoom,
    }
}

#[inline(always)]
fn tagged<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Option<()> {
    let macs: [u16; 6] = packet.read(0)?;
    if !packet.grow_front((ETHERNET_HEADER + TAG_LEN).wrapping_sub(plan.l3 as usize)) {
        return None;
    }
    let ethertype = if plan.has(PlanFlags::V6) { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    packet.write(0, macs)?;
    packet.write(ETHERTYPE_OFFSET, ethertype.to_be())?;
    packet.write(ETHERNET_HEADER, Tag { magic: MAGIC, seal: seal(tables, plan), plan: *plan })
}

/// What only this fleet's appliances can make: the hash of a flow of a protocol that no service has.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
fn seal<T: Tables>(tables: &T, plan: &Plan) -> u64 {
    /// Reserved by IANA: no packet has it.
    const NOBODYS: u8 = 255;
    let (low, high) = (plan.hash as u32, (plan.hash >> 32) as u32);
    hash::flow_v4(&tables.key_v4(), low, high, plan.entropy ^ plan.service, NOBODYS)
}

/// Whether our tag stands at `off`, as far as two words tell. What has none is none of this program's business.
#[inline(always)]
pub fn is_tagged<P: Packet>(packet: &P, off: usize) -> bool {
    match packet.read::<[u32; 2]>(off) {
        Some(found) => (found[0] ^ MAGIC[0]) | (found[1] ^ MAGIC[1]) == 0,
        None => false,
    }
}

/// Whether the tag at `off` is ours.
#[inline(always)]
pub fn is_sealed<P: Packet, T: Tables>(packet: &P, tables: &T, off: usize) -> bool {
    match packet.read::<Tag>(off) {
        Some(tag) => tag.seal == seal(tables, &tag.plan),
        None => false,
    }
}

/// Takes the tag off a frame that [`is_tagged`], of which [`HEAD_LEN`] octets can be read where it has so many, and leaves its
/// plan for [`copy_to`]. `false`: the tag is not ours, the frame was not changed.
#[inline(always)]
pub fn receive<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> bool {
    let Some(tag) = packet.read::<Tag>(ETHERNET_HEADER) else { return false };
    tag.seal == seal(tables, &tag.plan) && tables.set_plan(&tag.plan) && packet.shrink_front(TAG_LEN)
}

/// Sends a copy of the packet that was received to the candidate at `position` of its row, if it may receive something;
/// tells whether it may. In the kernel each position is a run of a program of its own: four of them in a row were half a
/// million instructions to the verifier (6.18).
#[inline(always)]
pub fn copy_to<P: Carrier, T: Tables>(packet: &mut P, tables: &T, position: usize) -> bool {
    let Some(plan) = tables.plan() else { return false };
    // Tag and VLAN tags are gone; of a quote nothing is summed.
    let plan = Plan { l3: BARE, l4: 0, ..plan };
    let row = row(tables, &plan);
    let id = row.candidate(position);
    // A row that somebody fixed may name a backend twice.
    if !row.is_first_at(position) {
        return false;
    }
    let Some(backend) = candidate(tables, &plan, id) else { return false };
    let before = packet.total_len();
    let outcome = copy(packet, tables, &plan, id, backend);
    packet.leave(outcome, plan.frame_len);
    // The next copy starts from where this one did, but for the link's header and the TTL, which each writes itself.
    let grown = packet.total_len().wrapping_sub(before) as usize;
    grown == 0 || packet.shrink_front(grown)
}

/// What became of a packet of which no copy was made: all candidates went since XDP decided.
#[inline(always)]
pub fn nobody<P: Carrier, T: Tables>(packet: &mut P, tables: &T) {
    packet.leave(dropped(Verdict::DropNoBackend), tables.plan().map_or(0, |plan| plan.frame_len));
}

/// Sends all copies of a frame that was handed over. `false`: it was not.
pub fn copies<P: Carrier, T: Tables>(packet: &mut P, tables: &T) -> bool {
    if !is_tagged(packet, ETHERNET_HEADER) || !receive(packet, tables) {
        return false;
    }
    let mut made = 0;
    for position in 0..Row::CANDIDATES {
        made += usize::from(copy_to(packet, tables, position));
    }
    if made == 0 {
        nobody(packet, tables);
    }
    true
}

/// The row of the plan's flow, in the pool of the backend that it was decided for.
#[inline(always)]
fn row<T: Tables>(tables: &T, plan: &Plan) -> Row {
    let Some(chosen) = tables.backend(plan.backend) else { return Row::EMPTY };
    gue::row(tables, plan.hash, chosen.pool)
}

/// The backend `id`, if it may receive what is about a flow: one that drains, or failed and keeps its flows, may as well be
/// the one whose flow it is.
#[inline(always)]
fn candidate<'t, T: Tables>(tables: &'t T, plan: &Plan, id: u16) -> Option<&'t BackendValue> {
    const RECEIVES: u8 = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
    if id == 0 {
        return None;
    }
    let backend = tables.backend(id)?;
    let chosen = tables.backend(plan.backend)?;
    if backend.pool != chosen.pool || backend.flags & RECEIVES == 0 {
        return None;
    }
    // Of a pool whose mode changed since: from now on its agents pass on.
    if backend.mode == BackendMode::GUE_CANDIDATES { None } else { Some(backend) }
}

/// Makes the frame the one for `backend`.
#[inline(always)]
fn copy<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    plan: &Plan,
    id: u16,
    backend: &BackendValue,
) -> Outcome {
    let next_hop = tables.next_hop(backend.next_hop((plan.entropy as u64) << 32));
    let Some(next_hop) = next_hop.filter(|hop| hop.ifindex != 0) else {
        return dropped(Verdict::DropNoNextHop);
    };
    match encap::carry(packet, tables, plan, backend, next_hop) {
        Ok(Carried::Yes) => {
            let ip_len = plan.ip_len;
            tables.count(&Count { service: Count::NOBODY, backend: id, ip_len, is_new_flow: false });
            Outcome { verdict: Verdict::ForwardIcmpCopy, egress_ifindex: next_hop.ifindex }
        }
        Ok(Carried::TooBig(_)) => dropped(Verdict::DropTooBig),
        Err(verdict) => dropped(verdict),
    }
}

#[inline(always)]
const fn dropped(verdict: Verdict) -> Outcome {
    Outcome { verdict, egress_ifindex: 0 }
}
