// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first step: plain packets of plain services from frame to outcome, and everything else to where it belongs.
//!
//! Plain is what nearly all packets of nearly all services are: no VLAN tag, TCP or UDP behind IPv4 or the fixed IPv6
//! header, whole; an exact service without options; a backend reached by IP in IP or GUE (bare, or with the three other
//! candidates of a full row) over the packet's own family, by a path that the packet fits. This step is kept so small that the other ones cost it two branches.

use crate::Packet;
use crate::bytes::{
    Address, BackendFlags, BackendMode, Knobs, NextHopValue, ServiceFlags, ServiceKey, ServiceValue,
};
use crate::encap;
use crate::parse::{
    self, ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment, is_vlan,
};
use crate::plan::Plan;
use crate::process::{Count, Exit, Step};
use crate::steer::{Decision, Steer};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Decides about a frame that just came in, `S` being the way to choose backends.
#[inline(always)]
pub fn ingress<P: Packet, T: Tables, S: Steer>(packet: &mut P, tables: &T) -> Step {
    decide::<P, T, S>(packet, tables).into()
}

#[inline(always)]
fn decide<P: Packet, T: Tables, S: Steer>(packet: &mut P, tables: &T) -> Result<(Verdict, u32), Exit> {
    match packet.read_at::<ETHERTYPE_OFFSET, u16>().map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => match parse::ipv4(packet) {
            Parsed::Segment(segment) => forward::<P, T, S, false>(packet, tables, &segment),
            Parsed::Other(destination) => Err(other(tables, destination)),
            Parsed::Unreadable => Err(Verdict::PassMalformed.into()),
        },
        Some(ETHERTYPE_IPV6) => match parse::ipv6(packet) {
            Parsed::Segment(segment) => forward::<P, T, S, true>(packet, tables, &segment),
            Parsed::Other(destination) => Err(other(tables, destination)),
            Parsed::Unreadable => Err(Verdict::PassMalformed.into()),
        },
        Some(ethertype) if is_vlan(ethertype) => Err(Exit::Slow),
        _ => Err(Verdict::PassNotIp.into()),
    }
}

/// A packet that no exact service can have: the host's, unless its address may be a VIP.
#[inline(always)]
fn other<T: Tables>(tables: &T, destination: Address) -> Exit {
    if tables.service(&ServiceKey::marker(destination)).is_some() {
        return Exit::Slow;
    }
    match tables.knobs() {
        Some(knobs) if knobs.flags & Knobs::PREFIXES != 0 => Exit::Slow,
        _ => Verdict::PassNotVip.into(),
    }
}

#[inline(always)]
fn forward<P: Packet, T: Tables, S: Steer, const V6: bool>(
    packet: &mut P,
    tables: &T,
    segment: &Segment,
) -> Result<(Verdict, u32), Exit> {
    let Some(service) = tables.service(&ServiceKey::of(segment)) else {
        return Err(other(tables, segment.destination));
    };
    if service.flags & ServiceFlags::SLOW != 0 || segment.fault.is_some() {
        return Err(Exit::Slow);
    }
    let count = Count { service: service.id, backend: 0, ip_len: segment.ip_len, is_new_flow: false };
    match plain::<P, T, S, V6>(packet, tables, &service, segment) {
        Ok((decision, ifindex)) => {
            let count = Count { backend: decision.id, ..count };
            // Apart, so that the packets of known flows do not pay for the third counter.
            if decision.verdict as u32 == Verdict::ForwardFlow as u32 {
                tables.count(&count);
            } else {
                tables.count(&Count { is_new_flow: decision.verdict.is_new_flow(), ..count });
            }
            Ok((decision.verdict, ifindex))
        }
        Err(exit) => {
            if matches!(exit, Exit::Verdict(_)) {
                tables.count(&count);
            }
            Err(exit)
        }
    }
}

#[inline(always)]
fn plain<'t, P: Packet, T: Tables, S: Steer, const V6: bool>(
    packet: &mut P,
    tables: &'t T,
    service: &ServiceValue,
    segment: &Segment,
) -> Result<(Decision<'t>, u32), Exit> {
    let frame_len = packet.len();
    let (decision, hash) = S::steer::<T, V6>(tables, service, segment)?;
    let next_hop = tables.next_hop(decision.backend.next_hop(hash)).ok_or(Verdict::DropNoNextHop)?;
    // An unused entry takes packets of no size, so it ends in the step that looks closer.
    if segment.ttl <= 1 {
        return Err(Verdict::DropTtl.into());
    }
    let backend = decision.backend;
    let (plain, gue, overhead) = if V6 {
        (BackendFlags::PLAIN_V6, BackendFlags::GUE_V6, parse::IPV6_LEN)
    } else {
        (BackendFlags::PLAIN_V4, BackendFlags::GUE_V4, parse::IPV4_LEN)
    };
    let mtu = next_hop.plain_mtu as u32;
    let (ipip_len, gue_len) = (segment.ip_len + overhead, segment.ip_len + overhead + encap::GUE_SHIM_LEN);
    if backend.has(plain) && ipip_len <= mtu {
        if V6 {
            encap::ipip_v6(packet, segment, ipip_len, hash, backend, next_hop)?;
        } else {
            encap::ipip_v4(packet, segment, ipip_len, backend, next_hop)?;
        }
    } else if backend.has(gue) && gue_len <= mtu {
        if V6 {
            encap::gue_v6(packet, segment, gue_len, hash, backend, next_hop)?;
        } else {
            encap::gue_v4(packet, segment, gue_len, hash, backend, next_hop)?;
        }
    } else {
        match candidates::<P, T, V6>(packet, tables, segment, hash, &decision, next_hop) {
            Ok(()) => {}
            Err(Exit::Encap) => {
                let plan = Plan {
                    service: service.id,
                    backend: decision.id,
                    verdict: decision.verdict.number(),
                    ..Plan::new::<V6>(segment, hash, ETHERNET_HEADER, frame_len)
                };
                return Err(if tables.set_plan(&plan) { Exit::Encap } else { Verdict::DropInternal.into() });
            }
            Err(exit) => return Err(exit),
        }
    }
    Ok((decision, next_hop.ifindex))
}

/// GUE with the row's other candidates, when all of it is by default and fits.
///
/// # Errors
/// The verdict to drop with; [`Exit::Encap`], nothing changed and no plan set, when it is something else.
#[inline(always)]
fn candidates<P: Packet, T: Tables, const V6: bool>(
    packet: &mut P,
    tables: &T,
    segment: &Segment,
    hash: u64,
    decision: &Decision<'_>,
    next_hop: &NextHopValue,
) -> Result<(), Exit> {
    let (id, backend) = (decision.id, decision.backend);
    let overhead = if V6 {
        parse::IPV6_LEN + encap::CANDIDATES_V6_LEN
    } else {
        parse::IPV4_LEN + encap::CANDIDATES_V4_LEN
    };
    let len = segment.ip_len + overhead;
    if backend.mode != BackendMode::GUE_CANDIDATES
        || backend.options != 0
        || backend.has(BackendFlags::OUTER_V6) != V6
        || len > next_hop.plain_mtu as u32
    {
        return Err(Exit::Encap);
    }
    if V6 {
        encap::candidates_v6(packet, tables, segment, len, hash, id, backend, next_hop)
    } else {
        encap::candidates_v4(packet, tables, segment, len, hash, id, backend, next_hop)
    }
}
