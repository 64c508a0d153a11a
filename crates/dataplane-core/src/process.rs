// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One packet from frame to outcome.

use crate::Packet;
use crate::bytes::{NextHopValue, ServiceKey, ServiceValue};
use crate::encap;
use crate::hash;
use crate::parse::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment};
use crate::steer::{Decision, steer};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// What came of a packet: what to do with the frame, and what to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it leaves.
    pub verdict: Verdict,
    /// Interface it leaves by, when forwarded.
    pub egress_ifindex: u32,
    /// The service it is for: its counter index, or [`Outcome::NO_SERVICE`].
    pub service: u32,
    /// The backend it goes to, or 0.
    pub backend: u16,
    /// Octets of the IP packet from the client, when it is for a service.
    pub ip_len: u32,
}

impl Outcome {
    /// No service matched.
    pub const NO_SERVICE: u32 = u32::MAX;

    #[inline(always)]
    const fn early(verdict: Verdict) -> Self {
        Self { verdict, egress_ifindex: 0, service: Self::NO_SERVICE, backend: 0, ip_len: 0 }
    }

    /// Whether the packet made an entry in the flow table.
    #[inline(always)]
    pub const fn is_new_flow(&self) -> bool {
        matches!(self.verdict, Verdict::ForwardNew | Verdict::ForwardRechosen)
    }
}

/// Decides about a frame and, if it is to be forwarded, turns it into the frame that leaves.
#[inline(always)]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => match parse::ipv4(packet) {
            Parsed::Segment(segment) => forward::<P, T, false>(packet, tables, &segment),
            Parsed::Other(destination, verdict) => other(tables, destination, verdict),
            Parsed::Unreadable => Outcome::early(Verdict::PassMalformed),
        },
        Some(ETHERTYPE_IPV6) => match parse::ipv6(packet) {
            Parsed::Segment(segment) => forward::<P, T, true>(packet, tables, &segment),
            Parsed::Other(destination, verdict) => other(tables, destination, verdict),
            Parsed::Unreadable => Outcome::early(Verdict::PassMalformed),
        },
        _ => Outcome::early(Verdict::PassNotIp),
    }
}

/// A packet that no service can have: the host's, unless it is for a VIP.
#[inline(always)]
fn other<T: Tables>(tables: &T, destination: crate::bytes::Address, verdict: Verdict) -> Outcome {
    match tables.service(&ServiceKey::marker(destination)) {
        Some(_) => Outcome::early(verdict),
        None => Outcome::early(Verdict::PassNotVip),
    }
}

#[inline(always)]
fn forward<P: Packet, T: Tables, const V6: bool>(packet: &mut P, tables: &T, segment: &Segment) -> Outcome {
    let key = ServiceKey {
        address: segment.destination,
        port_be: segment.destination_port_be(),
        protocol: segment.protocol,
        zero: 0,
    };
    let Some(service) = tables.service(&key) else {
        return other(tables, segment.destination, segment.fault.unwrap_or(Verdict::DropNoService));
    };
    let mut outcome =
        Outcome { service: service.id, ip_len: segment.ip_len, ..Outcome::early(Verdict::DropNoBackend) };
    match decide::<P, T, V6>(packet, tables, &service, segment) {
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
fn decide<'t, P: Packet, T: Tables, const V6: bool>(
    packet: &mut P,
    tables: &'t T,
    service: &ServiceValue,
    segment: &Segment,
) -> Result<(Decision<'t>, &'t NextHopValue), Verdict> {
    if let Some(fault) = segment.fault {
        return Err(fault);
    }
    let hash = if V6 {
        hash::flow_v6(
            &tables.key_v6(),
            &segment.source,
            &segment.destination,
            segment.ports_be,
            segment.protocol,
        )
    } else {
        let (source, destination) = (segment.source.0[3], segment.destination.0[3]);
        hash::flow_v4(&tables.key_v4(), source, destination, segment.ports_be, segment.protocol)
    };
    let decision = steer(tables, service, hash, segment.kind)?;
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
