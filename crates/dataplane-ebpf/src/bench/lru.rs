// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's pipeline for IPv4 with a kernel LRU map in place of the flow table: the comparison that everybody
//! knows.
//!
//! Same parsing, service lookup, rows, checks of the backend, encapsulation and counters. Only the memory differs: an
//! `LRU_HASH` keyed by the 5-tuple, whose value is the backend alone. That flatters the map: it keeps no state, no age
//! and no idle time, needs no keyed hash on a hit, and never writes a value that is there.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::bytes::{Address, PacketCounter, ServiceCounter};
use weir_dataplane_core::parse::{self, ETHERTYPE_IPV4, ETHERTYPE_OFFSET, Parsed, Segment};
use weir_dataplane_core::steer::{Decision, steer};
use weir_dataplane_core::{
    Action, BackendFlags, NextHopValue, Outcome, Packet, ServiceFlags, ServiceKey, ServiceValue, Tables,
    Verdict, encap, hash,
};
use weir_dataplane_ebpf::KernelPacket;

use super::layout::LRU_ENTRIES;
use crate::appliance::{KernelTables, maps};

/// 5-tuple of an IPv4 flow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tuple {
    source: u32,
    destination: u32,
    ports: u32,
    protocol: u32,
}

/// 5-tuple to backend id. Written here; full: the kernel evicts what it takes for the least recently used.
#[map]
pub static LRU_FLOWS: LruHashMap<Tuple, u32> = LruHashMap::with_max_entries(LRU_ENTRIES, 0);

/// What `appliance::ingress` does, with the other memory.
#[inline(never)]
pub fn ingress(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.len();
    let outcome = process(&mut packet);
    count(&outcome, frame_len);
    match outcome.verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Forward if outcome.egress_ifindex == packet.ingress_ifindex() => XDP_TX,
        Action::Forward => maps::EGRESS.redirect(outcome.egress_ifindex, XDP_DROP as u64).unwrap_or(XDP_DROP),
    }
}

#[inline(always)]
const fn early(verdict: Verdict) -> Outcome {
    Outcome { verdict, egress_ifindex: 0, service: Outcome::NO_SERVICE, backend: 0, ip_len: 0 }
}

#[inline(always)]
fn process(packet: &mut KernelPacket) -> Outcome {
    match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => match parse::ipv4(packet) {
            Parsed::Segment(segment) => forward(packet, &segment),
            Parsed::Other(destination, verdict) => other(destination, verdict),
            Parsed::Unreadable => early(Verdict::PassMalformed),
        },
        _ => early(Verdict::PassNotIp),
    }
}

#[inline(always)]
fn other(destination: Address, verdict: Verdict) -> Outcome {
    match KernelTables.service(&ServiceKey::marker(destination)) {
        Some(_) => early(verdict),
        None => early(Verdict::PassNotVip),
    }
}

#[inline(always)]
fn forward(packet: &mut KernelPacket, segment: &Segment) -> Outcome {
    let key = ServiceKey {
        address: segment.destination,
        port_be: segment.destination_port_be(),
        protocol: segment.protocol,
        zero: 0,
    };
    let Some(service) = KernelTables.service(&key) else {
        return other(segment.destination, segment.fault.unwrap_or(Verdict::DropNoService));
    };
    let mut outcome =
        Outcome { service: service.id, ip_len: segment.ip_len, ..early(Verdict::DropNoBackend) };
    match decide(packet, &service, segment) {
        Ok((decision, next_hop)) => {
            outcome.verdict = decision.verdict;
            outcome.backend = decision.id;
            outcome.egress_ifindex = next_hop.ifindex;
        }
        Err(verdict) => outcome.verdict = verdict,
    }
    outcome
}

#[inline(always)]
fn decide(
    packet: &mut KernelPacket,
    service: &ServiceValue,
    segment: &Segment,
) -> Result<(Decision<'static>, &'static NextHopValue), Verdict> {
    if let Some(fault) = segment.fault {
        return Err(fault);
    }
    let tuple = Tuple {
        source: segment.source.0[3],
        destination: segment.destination.0[3],
        ports: segment.ports_be,
        protocol: segment.protocol as u32,
    };
    let decision = match known(service, segment, &tuple) {
        Some(decision) => decision,
        None => choose(service, segment, &tuple)?,
    };
    let next_hop = KernelTables.next_hop(decision.backend.next_hops[0]).ok_or(Verdict::DropNoNextHop)?;
    if next_hop.ifindex == 0 {
        return Err(Verdict::DropNoNextHop);
    }
    encap::ipip_v4(packet, segment, decision.backend, next_hop)?;
    Ok((decision, next_hop))
}

/// The backend that the map remembers, if it may still have the flow.
#[inline(always)]
fn known(service: &ServiceValue, segment: &Segment, tuple: &Tuple) -> Option<Decision<'static>> {
    // SAFETY: the value is one word and copied at once.
    let id = unsafe { *LRU_FLOWS.get_ptr(tuple)? } as u16;
    let backend = KernelTables.backend(id)?;
    if backend.pool != service.pool || !backend.is_resolved() {
        return None;
    }
    let usable = backend.has(BackendFlags::USABLE);
    if !usable && (segment.kind.opens() || !backend.has(BackendFlags::KEEPS_ESTABLISHED)) {
        return None;
    }
    Some(Decision { id, backend, verdict: Verdict::ForwardFlow })
}

/// The backend by the flow's row, remembered.
#[inline(always)]
fn choose(service: &ServiceValue, segment: &Segment, tuple: &Tuple) -> Result<Decision<'static>, Verdict> {
    let key = KernelTables.key_v4();
    let hash = hash::flow_v4(&key, tuple.source, tuple.destination, segment.ports_be, segment.protocol);
    // Without the flow table, which leaves the row.
    let stateless = ServiceValue { flags: ServiceFlags::STATELESS, ..*service };
    let mut decision = steer(&KernelTables, &stateless, hash, segment.kind)?;
    decision.verdict = if segment.kind.ends() {
        Verdict::ForwardEnding
    } else if LRU_FLOWS.insert(tuple, decision.id as u32, 0).is_ok() {
        Verdict::ForwardNew
    } else {
        Verdict::ForwardUncached
    };
    Ok(decision)
}

/// As the appliance counts.
#[inline(always)]
fn count(outcome: &Outcome, frame_len: u32) {
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(outcome.verdict as u32) {
        add_packet(counter, frame_len);
    }
    if outcome.service == Outcome::NO_SERVICE {
        return;
    }
    let new = outcome.is_new_flow() as u64;
    if let Some(counter) = maps::SERVICE_COUNTS.get_ptr_mut(outcome.service) {
        add(counter, outcome.ip_len, new);
    }
    if outcome.backend != 0
        && let Some(counter) = maps::BACKEND_COUNTS.get_ptr_mut(outcome.backend as u32)
    {
        add(counter, outcome.ip_len, new);
    }
}

#[inline(always)]
fn add_packet(counter: *mut PacketCounter, bytes: u32) {
    // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes as u64;
    }
}

#[inline(always)]
fn add(counter: *mut ServiceCounter, bytes: u32, new_flows: u64) {
    // SAFETY: as in `add_packet`.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes as u64;
        (*counter).new_flows += new_flows;
    }
}
