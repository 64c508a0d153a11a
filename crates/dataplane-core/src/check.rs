// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets of health checks: to the backend that their mark names, in the same mode as traffic of clients.
//!
//! ```text
//! socket, mark = base | backend id -> route table of the marks -> check interface, egress:
//!   mark in range? -> backend with that id? -> its next hop? -> TCP or UDP? -> encap::carry -> CheckVerdict
//! ```
//!
//! The flow table, rows and states are not asked: a check must reach a backend that is failed or draining as well. What does
//! not get ready is dropped by whoever calls, so nothing of this ever leaves as it came.

use crate::Packet;
use crate::bytes::{BackendFlags, BackendMode, NextHopValue, UNUSED_ID};
use crate::encap::{self, Carried};
use crate::parse::{
    self, ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment,
};
use crate::plan::{Plan, PlanFlags};
use crate::steer::flow_hash;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// The bits of a mark that say "health check"; the others hold the backend's id.
pub const MARK_MASK: u32 = 0xffff_0000;

/// What becomes of a packet on the check interface. Numbers index the per-CPU counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum CheckVerdict {
    /// Sent to the backend.
    Encapsulated = 0,
    /// Dropped: its mark is none of a check, so it came here by mistake.
    Stray = 1,
    /// Dropped: no backend has the id in its mark.
    UnknownBackend = 2,
    /// Dropped: there is no next hop towards the backend.
    Unresolved = 3,
    /// Dropped: not a whole TCP or UDP packet.
    NotIp = 4,
    /// Dropped: it could not be encapsulated, because it is too big for the path, its TTL ends, or memory is short.
    Failed = 5,
}

/// Number of [`CheckVerdict`]s.
pub const CHECK_VERDICTS: u32 = 6;

impl CheckVerdict {
    /// All, in order of their numbers.
    pub const ALL: [Self; CHECK_VERDICTS as usize] =
        [Self::Encapsulated, Self::Stray, Self::UnknownBackend, Self::Unresolved, Self::NotIp, Self::Failed];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encapsulated => "encapsulated",
            Self::Stray => "stray",
            Self::UnknownBackend => "unknown_backend",
            Self::Unresolved => "unresolved",
            Self::NotIp => "not_ip",
            Self::Failed => "failed",
        }
    }
}

/// How a packet that is ready is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directed {
    /// The interface.
    pub ifindex: u32,
    /// The tag to push, 0 = none. The frame has none, and the next hop's MAC addresses.
    pub vlan: u16,
    /// Who is to get the frame on the link, where that is not for the packet's destination to say: the backend, in mode
    /// `l2`.
    pub neighbour: Option<Neighbour>,
}

/// An address on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// It is IPv6; otherwise IPv4, in the first word.
    pub is_v6: bool,
    /// As it lies in a packet.
    pub address: [u32; 4],
}

/// Carries `packet` to the backend that `mark` names, in its mode, without candidates: whatever the check finds, it finds at
/// this backend. `base` is the upper half of all marks.
///
/// # Errors
/// Why the packet is to be dropped.
#[inline(always)]
pub fn direct<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    mark: u32,
    base: u32,
) -> Result<Directed, CheckVerdict> {
    if mark & MARK_MASK != base {
        return Err(CheckVerdict::Stray);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let id = mark as u16;
    let backend = tables.backend(id).ok_or(CheckVerdict::UnknownBackend)?;
    if id == UNUSED_ID || backend.identity == 0 {
        return Err(CheckVerdict::UnknownBackend);
    }
    let next_hop = tables.next_hop(backend.next_hops[0]).ok_or(CheckVerdict::Unresolved)?;
    if next_hop.ifindex == 0 {
        return Err(CheckVerdict::Unresolved);
    }
    let plan = plan(packet, tables)?;
    // The tag is pushed by whoever calls: the kernel keeps it beside the frame.
    let untagged = NextHopValue { vlan: 0, ..*next_hop };
    let carried = if plan.ttl > 1 {
        encap::carry(packet, tables, &plan, backend, &untagged)
    } else {
        Err(Verdict::DropTtl)
    };
    if carried != Ok(Carried::Yes) {
        return Err(CheckVerdict::Failed);
    }
    let neighbour = (backend.mode == BackendMode::L2).then_some(Neighbour {
        is_v6: backend.has(BackendFlags::OUTER_V6),
        address: backend.outer.destination,
    });
    Ok(Directed { ifindex: next_hop.ifindex, vlan: next_hop.vlan, neighbour })
}

/// What [`encap::carry`] must know of the packet.
#[inline(always)]
fn plan<P: Packet, T: Tables>(packet: &P, tables: &T) -> Result<Plan, CheckVerdict> {
    let len = packet.total_len();
    let plan = match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => {
            let segment = whole(parse::ipv4(packet))?;
            Plan::new::<false>(&segment, flow_hash::<T, false>(tables, &segment), ETHERNET_HEADER, len)
        }
        Some(ETHERTYPE_IPV6) => {
            let segment = whole(parse::ipv6(packet))?;
            Plan::new::<true>(&segment, flow_hash::<T, true>(tables, &segment), ETHERNET_HEADER, len)
        }
        _ => return Err(CheckVerdict::NotIp),
    };
    // An empty row.
    Ok(Plan { flags: plan.flags | PlanFlags::HAS_ROW, ..plan })
}

#[inline(always)]
fn whole(parsed: Parsed) -> Result<Segment, CheckVerdict> {
    match parsed {
        Parsed::Segment(segment) if segment.fault.is_none() => Ok(segment),
        Parsed::Segment(_) | Parsed::Other(..) | Parsed::Unreadable => Err(CheckVerdict::NotIp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indexes_and_names_are_distinct() {
        let mut names = std::collections::BTreeSet::new();
        for (index, verdict) in CheckVerdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
            assert!(names.insert(verdict.name()));
        }
    }
}
