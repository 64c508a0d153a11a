// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One packet from frame to outcome.
//!
//! The verdict is all that the many early exits carry: services and backends are counted where they are known
//! ([`Tables::count`]), not on the way out. With every exit also carrying "no service, no backend, no length", a tenth of
//! the program was constants being set before branches.

use crate::Packet;
use crate::bytes::{Address, NextHopValue, ServiceKey, ServiceValue};
use crate::encap;
use crate::parse::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment};
use crate::steer::{Decision, FlowTable, Steer};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// What is to be done with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it leaves.
    pub verdict: Verdict,
    /// Interface it leaves by, when forwarded; else 0.
    pub egress_ifindex: u32,
}

/// What a packet for a service adds to the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Counter index of the service.
    pub service: u32,
    /// Id of the backend it goes to, 0 when it is dropped.
    pub backend: u16,
    /// Octets of the IP packet from the client.
    pub ip_len: u32,
    /// Whether the flow table has a new entry.
    pub is_new_flow: bool,
}

/// Decides about a frame and, if it is to be forwarded, turns it into the frame that leaves.
#[inline(always)]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    process_by::<P, T, FlowTable>(packet, tables)
}

/// As [`process`], with another way to choose backends.
#[inline(always)]
pub fn process_by<P: Packet, T: Tables, S: Steer>(packet: &mut P, tables: &T) -> Outcome {
    match decide::<P, T, S>(packet, tables) {
        Ok((verdict, egress_ifindex)) => Outcome { verdict, egress_ifindex },
        Err(verdict) => Outcome { verdict, egress_ifindex: 0 },
    }
}

#[inline(always)]
fn decide<P: Packet, T: Tables, S: Steer>(packet: &mut P, tables: &T) -> Result<(Verdict, u32), Verdict> {
    match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => match parse::ipv4(packet) {
            Parsed::Segment(segment) => forward::<P, T, S, false>(packet, tables, &segment),
            Parsed::Other(destination, verdict) => Err(other(tables, destination, verdict)),
            Parsed::Unreadable => Err(Verdict::PassMalformed),
        },
        Some(ETHERTYPE_IPV6) => match parse::ipv6(packet) {
            Parsed::Segment(segment) => forward::<P, T, S, true>(packet, tables, &segment),
            Parsed::Other(destination, verdict) => Err(other(tables, destination, verdict)),
            Parsed::Unreadable => Err(Verdict::PassMalformed),
        },
        _ => Err(Verdict::PassNotIp),
    }
}

/// A packet that no service can have: the host's, unless it is for a VIP.
#[inline(always)]
fn other<T: Tables>(tables: &T, destination: Address, verdict: Verdict) -> Verdict {
    match tables.service(&ServiceKey::marker(destination)) {
        Some(_) => verdict,
        None => Verdict::PassNotVip,
    }
}

#[inline(always)]
fn forward<P: Packet, T: Tables, S: Steer, const V6: bool>(
    packet: &mut P,
    tables: &T,
    segment: &Segment,
) -> Result<(Verdict, u32), Verdict> {
    let key = ServiceKey {
        address: segment.destination,
        port_be: segment.destination_port_be(),
        protocol: segment.protocol,
        zero: 0,
    };
    let Some(service) = tables.service(&key) else {
        return Err(other(tables, segment.destination, segment.fault.unwrap_or(Verdict::DropNoService)));
    };
    let count = Count { service: service.id, backend: 0, ip_len: segment.ip_len, is_new_flow: false };
    match encapsulate::<P, T, S, V6>(packet, tables, &service, segment) {
        Ok((decision, next_hop)) => {
            let is_new_flow = matches!(decision.verdict, Verdict::ForwardNew | Verdict::ForwardRechosen);
            tables.count(&Count { backend: decision.id, is_new_flow, ..count });
            Ok((decision.verdict, next_hop.ifindex))
        }
        Err(verdict) => {
            tables.count(&count);
            Err(verdict)
        }
    }
}

#[inline(always)]
fn encapsulate<'t, P: Packet, T: Tables, S: Steer, const V6: bool>(
    packet: &mut P,
    tables: &'t T,
    service: &ServiceValue,
    segment: &Segment,
) -> Result<(Decision<'t>, &'t NextHopValue), Verdict> {
    if let Some(fault) = segment.fault {
        return Err(fault);
    }
    let (decision, hash) = S::steer::<T, V6>(tables, service, segment)?;
    let next_hop = tables.next_hop(decision.backend.next_hops[0]).ok_or(Verdict::DropNoNextHop)?;
    if next_hop.ifindex == 0 {
        return Err(Verdict::DropNoNextHop);
    }
    if V6 {
        encap::ipip_v6(packet, segment, hash, decision.backend, next_hop)?;
    } else {
        encap::ipip_v4(packet, segment, decision.backend, next_hop)?;
    }
    Ok((decision, next_hop))
}
