// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The step that carries a packet to the backend of its plan, in whatever mode.
//!
//! The packet is forwarded, so its TTL goes down by one (RFC 2003 §3.1, RFC 2473 §3.1). In mode `l2` it becomes 1: the frame
//! is the backend's to consume, and whoever else gets it must not send it round again.
//!
//! Whatever does not fit the path is found before the frame is touched, since [`crate::answer`] quotes it.

use super::gue::{self, Gue, Hops};
use super::outer::Outer;
use super::{ethernet, inner};
use crate::bytes::{BackendFlags, BackendMode, BackendValue, NextHopValue, OuterOptions};
use crate::packet::Encapsulation;
use crate::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV4_LEN, IPV6_HEADER, IPV6_LEN};
use crate::plan::{Answer, Plan, PlanFlags};
use crate::process::{Count, Exit, Step};
use crate::tables::Tables;
use crate::verdict::Verdict;
use crate::{Knobs, Packet};

const PROTOCOL_IPV4: u32 = 4;
const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_IPV6: u32 = 41;
/// TTL in mode `l2`.
const L2_TTL: u8 = 1;

/// How a packet is carried, once it is known that it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// The frame is ready.
    Yes,
    /// Nothing was changed: the packet would have to have at most this many octets.
    TooBig(u16),
}

/// Turns the frame into the one that leaves for the backend of the plan.
#[inline(always)]
pub fn encap<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    let Some(plan) = tables.plan() else { return Err(Exit::Verdict(Verdict::DropInternal)).into() };
    let count = Count { service: plan.service, backend: 0, ip_len: plan.ip_len, is_new_flow: false };
    match forward(packet, tables, &plan) {
        Ok(ifindex) => {
            let is_new_flow = plan.verdict().is_new_flow();
            tables.count(&Count { backend: plan.backend, is_new_flow, ..count });
            Ok((plan.verdict(), ifindex)).into()
        }
        Err(exit) => {
            if matches!(exit, Exit::Verdict(_)) {
                tables.count(&count);
            }
            Err(exit).into()
        }
    }
}

#[inline(always)]
fn forward<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Result<u32, Exit> {
    let backend: &BackendValue = tables.backend(plan.backend).ok_or(Verdict::DropNoBackend)?;
    let next_hop = tables
        .next_hop(backend.next_hop((plan.entropy as u64) << 32))
        .filter(|hop| hop.ifindex != 0)
        .ok_or(Verdict::DropNoNextHop)?;
    if plan.ttl <= 1 {
        return Err(Verdict::DropTtl.into());
    }
    match carry(packet, tables, plan, backend, next_hop)? {
        Carried::Yes => Ok(next_hop.ifindex),
        Carried::TooBig(mtu) => Err(too_big(tables, plan, mtu)),
    }
}

/// Leaves the answer to its step, if the packet may have one.
#[inline(always)]
fn too_big<T: Tables>(tables: &T, plan: &Plan, mtu: u16) -> Exit {
    let is_later_fragment = plan.has(PlanFlags::FRAGMENT) && plan.l4 == 0;
    if plan.flags & (PlanFlags::MAY_FRAGMENT | PlanFlags::ICMP_ERROR) != 0 || is_later_fragment {
        return Verdict::DropTooBig.into();
    }
    let told = Plan { answer: Answer::TOO_BIG, mtu, ..*plan };
    if tables.set_plan(&told) { Exit::Answer } else { Verdict::DropInternal.into() }
}

/// The most octets that `mode` adds to a packet, with an outer IPv6 header or an IPv4 one. A packet with fewer hops in its
/// private data has less; what clients are told goes by this one, so that it stays true when the row changes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "four")]
pub const fn overhead_max(mode: u8, is_v6: bool) -> u32 {
    match (mode, is_v6) {
        (BackendMode::L2, _) => 0,
        (_, true) => IPV6_LEN + gue::len(mode, gue::HOPS_MAX as u32, 16),
        (_, false) => IPV4_LEN + gue::len(mode, gue::HOPS_MAX as u32, 4),
    }
}

/// Carries the packet of `plan`, whose TTL is above 1, to `backend` by `next_hop`.
///
/// # Errors
/// The verdict to drop with; the frame may have been changed.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "no larger than an MTU")]
pub fn carry<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    plan: &Plan,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<Carried, Verdict> {
    let mode = backend.mode;
    let mtu = next_hop.mtu as u32;
    if mode == BackendMode::L2 {
        if plan.ip_len > mtu {
            return Ok(Carried::TooBig(next_hop.mtu));
        }
        rewrite(packet, plan, next_hop)?;
        return Ok(Carried::Yes);
    }
    let is_v6 = backend.has(BackendFlags::OUTER_V6);
    let hops = if mode == BackendMode::GUE_CANDIDATES { Hops::of(tables, plan, backend) } else { Hops::NONE };
    let shim = hops.header_len(mode, is_v6);
    let overhead = shim + if is_v6 { IPV6_LEN } else { IPV4_LEN };
    let outer_len = plan.ip_len + overhead;
    if outer_len > mtu {
        return Ok(Carried::TooBig(mtu.saturating_sub(overhead_max(mode, is_v6)) as u16));
    }
    let knobs = tables.knobs().ok_or(Verdict::DropInternal)?;
    inner::set_ttl(packet, plan, plan.ttl - 1).ok_or(Verdict::DropTruncated)?;
    let inner =
        if backend.options & OuterOptions::UDP_CHECKSUM != 0 { inner::sum(packet, plan) } else { None };
    let l3 = ethernet::header_len(next_hop);
    let room = (l3 + overhead as usize).wrapping_sub(plan.l3 as usize);
    let kind = Encapsulation { is_v6, is_udp: shim != 0 };
    if !packet.open_front(room, kind) {
        return Err(Verdict::DropNoRoom);
    }
    let is_udp = kind.is_udp;
    let headers = Headers { plan, backend, next_hop, knobs, hops, is_v6, is_udp, l3, outer_len, inner };
    headers.write(packet).ok_or(Verdict::DropNoRoom)?;
    Ok(Carried::Yes)
}

/// All that goes in front.
struct Headers<'a, 't> {
    plan: &'a Plan,
    backend: &'t BackendValue,
    next_hop: &'t NextHopValue,
    knobs: &'t Knobs,
    hops: Hops<'t>,
    is_v6: bool,
    is_udp: bool,
    l3: usize,
    outer_len: u32,
    inner: Option<u64>,
}

impl Headers<'_, '_> {
    #[inline(always)]
    fn write<P: Packet>(&self, packet: &mut P) -> Option<()> {
        let outer = Outer::new(self.backend, self.knobs, self.plan);
        let protocol = match (self.is_udp, self.plan.has(PlanFlags::V6)) {
            (true, _) => PROTOCOL_UDP,
            (false, true) => PROTOCOL_IPV6,
            (false, false) => PROTOCOL_IPV4,
        };
        let (ethertype, header, header_len) = if self.is_v6 {
            (ETHERTYPE_IPV6, IPV6_HEADER, IPV6_LEN)
        } else {
            (ETHERTYPE_IPV4, IPV4_HEADER, IPV4_LEN)
        };
        ethernet::write(packet, self.next_hop, ethertype)?;
        let len = self.outer_len - header_len;
        let addresses = if self.is_v6 {
            outer.write_v6(packet, self.l3, protocol, len)?
        } else {
            outer.write_v4(packet, self.l3, protocol, self.outer_len)?
        };
        if !self.is_udp {
            return Some(());
        }
        let (plan, backend, hops, inner) = (self.plan, self.backend, &self.hops, self.inner);
        Gue { plan, backend, hops, len, addresses, inner }.write(packet, self.l3 + header)
    }
}

/// Mode `l2`: other MAC addresses, the packet with a TTL that ends here.
#[inline(always)]
fn rewrite<P: Packet>(packet: &mut P, plan: &Plan, next_hop: &NextHopValue) -> Result<(), Verdict> {
    inner::set_ttl(packet, plan, L2_TTL).ok_or(Verdict::DropTruncated)?;
    let (has, needs) = (plan.l3 as usize, ethernet::header_len(next_hop));
    let done = match (needs.checked_sub(has), has.checked_sub(needs)) {
        (Some(0), _) | (None, None) => true,
        (Some(more), _) => packet.grow_front(more),
        (None, Some(less)) => packet.shrink_front(less),
    };
    if !done {
        return Err(Verdict::DropNoRoom);
    }
    let ethertype = if plan.has(PlanFlags::V6) { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    ethernet::write(packet, next_hop, ethertype).ok_or(Verdict::DropNoRoom)
}
