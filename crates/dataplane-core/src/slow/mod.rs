// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The slow path: packets for VIPs that are not plain, and services with options.

use crate::Packet;
use crate::bytes::{Address, ServiceKey};
use crate::parse::{
    self, ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment,
};
use crate::plan::Plan;
use crate::process::{Count, Exit, Step};
use crate::steer::{FlowTable, Steer as _};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Decides about a frame from its beginning, whatever is in it.
#[inline(always)]
pub fn slow<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    decide(packet, tables).into()
}

#[inline(always)]
fn decide<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<(Verdict, u32), Exit> {
    match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => match parse::ipv4(packet) {
            Parsed::Segment(segment) => Err(forward::<P, T, false>(packet, tables, &segment)),
            Parsed::Other(destination, verdict) => Err(other(tables, destination, verdict)),
            Parsed::Unreadable => Err(Verdict::PassMalformed.into()),
        },
        Some(ETHERTYPE_IPV6) => match parse::ipv6(packet) {
            Parsed::Segment(segment) => Err(forward::<P, T, true>(packet, tables, &segment)),
            Parsed::Other(destination, verdict) => Err(other(tables, destination, verdict)),
            Parsed::Unreadable => Err(Verdict::PassMalformed.into()),
        },
        _ => Err(Verdict::PassNotIp.into()),
    }
}

/// A packet that no service can have: the host's, unless it is for a VIP.
#[inline(always)]
fn other<T: Tables>(tables: &T, destination: Address, verdict: Verdict) -> Exit {
    match tables.service(&ServiceKey::marker(destination)) {
        Some(_) => verdict.into(),
        None => Verdict::PassNotVip.into(),
    }
}

#[inline(always)]
fn forward<P: Packet, T: Tables, const V6: bool>(packet: &P, tables: &T, segment: &Segment) -> Exit {
    let Some(service) = tables.service(&ServiceKey::of(segment)) else {
        return other(tables, segment.destination, segment.fault.unwrap_or(Verdict::DropNoService));
    };
    let count = Count { service: service.id, backend: 0, ip_len: segment.ip_len, is_new_flow: false };
    if let Some(fault) = segment.fault {
        tables.count(&count);
        return fault.into();
    }
    match FlowTable::steer::<T, V6>(tables, &service, segment) {
        Ok((decision, hash)) => {
            let plan = Plan {
                service: service.id,
                backend: decision.id,
                verdict: decision.verdict.number(),
                ..Plan::new::<V6>(segment, hash, ETHERNET_HEADER, packet.total_len())
            };
            if tables.set_plan(&plan) { Exit::Encap } else { Verdict::DropInternal.into() }
        }
        Err(verdict) => {
            tables.count(&count);
            verdict.into()
        }
    }
}
