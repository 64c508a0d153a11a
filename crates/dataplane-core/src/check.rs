// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets of health checks: to the backend that their mark names, by the same outer header as traffic of clients.
//!
//! ```text
//! socket, mark = base | backend id -> route table of the marks -> check interface, egress:
//!   mark in range? -> backend with that id? -> its next hop? -> TCP or UDP of its family? -> encap::* -> CheckVerdict
//! ```
//!
//! The flow table, rows and states are not asked: a check must reach a backend that is failed or draining as well. What does
//! not get an outer header is dropped by whoever calls, so nothing of this ever leaves without one.

use crate::Packet;
use crate::bytes::{BackendFlags, BackendValue, NextHopValue, UNUSED_ID};
use crate::encap;
use crate::parse::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, Parsed, Segment};
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
    /// Dropped: not a whole TCP or UDP packet of the backend's address family.
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

/// Puts the outer header of the backend that `mark` names before `packet`; `base` is the upper half of all marks. Gives the
/// interface it is to leave by.
///
/// # Errors
/// Why the packet is to be dropped.
#[inline(always)]
pub fn direct<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    mark: u32,
    base: u32,
) -> Result<u32, CheckVerdict> {
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
    encapsulate(packet, tables, backend, next_hop)?;
    Ok(next_hop.ifindex)
}

#[inline(always)]
fn encapsulate<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    backend: &BackendValue,
    next_hop: &NextHopValue,
) -> Result<(), CheckVerdict> {
    let is_v6 = backend.has(BackendFlags::OUTER_V6);
    let done = match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) if !is_v6 => {
            let segment = whole(parse::ipv4(packet))?;
            let outer_len = fits(&segment, parse::IPV4_LEN, next_hop)?;
            encap::ipip_v4(packet, &segment, outer_len, backend, next_hop)
        }
        Some(ETHERTYPE_IPV6) if is_v6 => {
            let segment = whole(parse::ipv6(packet))?;
            let hash = flow_hash::<T, true>(tables, &segment);
            let outer_len = fits(&segment, parse::IPV6_LEN, next_hop)?;
            encap::ipip_v6(packet, &segment, outer_len, hash, backend, next_hop)
        }
        _ => return Err(CheckVerdict::NotIp),
    };
    done.map_err(|_: Verdict| CheckVerdict::Failed)
}

/// Length of the outer packet, if TTL and path allow it.
#[inline(always)]
fn fits(segment: &Segment, overhead: u32, next_hop: &NextHopValue) -> Result<u32, CheckVerdict> {
    let outer_len = segment.ip_len + overhead;
    if segment.ttl <= 1 || outer_len > next_hop.mtu as u32 {
        Err(CheckVerdict::Failed)
    } else {
        Ok(outer_len)
    }
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
