// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The step that carries a packet to the backend of its plan, in whatever mode.

use super::{ipip_v4, ipip_v6};
use crate::Packet;
use crate::bytes::{BackendFlags, BackendValue};
use crate::parse::{ETHERNET_HEADER, IPV4_LEN, IPV6_LEN, Parsed, ipv4, ipv6};
use crate::plan::{Plan, PlanFlags};
use crate::process::{Count, Exit, Step};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Turns the frame into the one that leaves for the backend of the plan.
#[inline(always)]
pub fn encap<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    let Some(plan) = tables.plan() else { return Err(Exit::Verdict(Verdict::DropInternal)).into() };
    let count = Count { service: plan.service, backend: 0, ip_len: plan.ip_len, is_new_flow: false };
    match carry(packet, tables, &plan) {
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
fn carry<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Result<u32, Exit> {
    let backend: &BackendValue = tables.backend(plan.backend).ok_or(Verdict::DropNoBackend)?;
    let next_hop = tables
        .next_hop(backend.next_hop((plan.entropy as u64) << 32))
        .filter(|hop| hop.ifindex != 0)
        .ok_or(Verdict::DropNoNextHop)?;
    if plan.ttl <= 1 {
        return Err(Verdict::DropTtl.into());
    }
    let is_v6 = plan.has(PlanFlags::V6);
    let overhead = if is_v6 { IPV6_LEN } else { IPV4_LEN };
    let outer_len = plan.ip_len + overhead;
    if outer_len > next_hop.mtu as u32 {
        return Err(Verdict::DropTooBig.into());
    }
    if plan.l3 as usize != ETHERNET_HEADER || next_hop.vlan != 0 {
        return Err(Verdict::DropInternal.into());
    }
    match (is_v6, backend.has(BackendFlags::OUTER_V6)) {
        (false, false) => {
            let Parsed::Segment(segment) = ipv4(packet) else { return Err(Verdict::DropTruncated.into()) };
            ipip_v4(packet, &segment, outer_len, backend, next_hop)?;
        }
        (true, true) => {
            let Parsed::Segment(segment) = ipv6(packet) else { return Err(Verdict::DropTruncated.into()) };
            ipip_v6(packet, &segment, outer_len, (plan.entropy as u64) << 32, backend, next_hop)?;
        }
        _ => return Err(Verdict::DropInternal.into()),
    }
    Ok(next_hop.ifindex)
}
