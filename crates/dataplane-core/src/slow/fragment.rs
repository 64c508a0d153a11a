// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Later fragments: they have no ports, so neither service nor flow can be read from them.
//!
//! What a VIP does with them stands in a record for each protocol ([`crate::ServiceKey::fragments`]), which user space makes
//! from what its services say:
//! - *first-fragment*: the backend that the first fragment of the datagram went to is looked up by addresses,
//!   identification and protocol. XDP cannot hold a packet back, so one that comes before its first is dropped.
//! - *by-source*: they are packets of the service like any other, which looks at no port of any packet.
//! - neither: dropped.
//!
//! The table of first fragments is one for all VIPs and forgets what it takes for the least recently used. So that a flood at one
//! VIP does not make it forget the datagrams of the others before they are complete, each VIP has a budget of first fragments
//! per second.
//!
//! Nothing is reassembled, so overlaps of later fragments are the backend's to judge (RFC 5722); those that would change
//! what was decided by, the transport header, are refused by the parser.

use super::vip::Vip;
use super::{carried, dropped, plan, tuple};
use crate::Packet;
use crate::bytes::{BackendFlags, FragmentKey, FragmentValue, ServiceFlags, ServiceValue, budget};
use crate::parse::View;
use crate::plan::Plan;
use crate::process::Exit;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Flags of a service that takes fragments.
pub(super) const TAKES: u32 = ServiceFlags::FRAGMENTS_BY_SOURCE | ServiceFlags::FRAGMENTS_TABLE;
/// Protocol in the key of an IPv6 datagram: later fragments may name another than the first (RFC 8200 §4.5).
const IPV6_FRAGMENT: u32 = 44;

/// Where a later fragment goes.
pub(super) enum Later {
    /// Where its first went.
    Follows(FragmentValue),
    /// By this service, as any of its packets.
    BySource(ServiceValue),
}

/// What becomes of the fragment `view`, which is not its datagram's first.
///
/// # Errors
/// The verdict to drop with.
#[inline(always)]
pub(super) fn later<T: Tables>(tables: &T, view: &View, vip: &Vip) -> Result<Later, Verdict> {
    let record = vip.fragments(tables, view.protocol).ok_or(Verdict::DropFragment)?;
    if record.flags & ServiceFlags::FRAGMENTS_TABLE != 0
        && let Some(first) = tables.fragment(&key(view))
        && first.is_fresh(tables.tick())
    {
        return Ok(Later::Follows(first));
    }
    match record.flags & TAKES {
        0 => Err(Verdict::DropFragment),
        ServiceFlags::FRAGMENTS_TABLE => Err(Verdict::DropFragmentUnknown),
        _ => Ok(Later::BySource(record)),
    }
}

/// Sends the fragment where the first of its datagram went, as long as that backend keeps flows.
#[inline(always)]
pub(super) fn follow<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    view: &View,
    first: &FragmentValue,
) -> Result<Exit, Verdict> {
    let keeps = tables
        .backend(first.backend)
        .is_some_and(|backend| backend.pool == first.pool && backend.has(BackendFlags::KEEPS_ESTABLISHED));
    if !keeps {
        tables.count(&dropped(first.service, view));
        return Err(Verdict::DropNoBackend);
    }
    let plan = Plan {
        service: first.service,
        backend: first.backend,
        verdict: Verdict::ForwardFragment.number(),
        ..plan(packet, tables, view, &tuple(view, 0))
    };
    carried(tables, &plan)
}

/// Whether one more first fragment of the VIP `vip` may be remembered.
#[inline(always)]
pub(super) fn has_room<T: Tables>(tables: &T, vip: u32) -> bool {
    tables.knobs().is_some_and(|knobs| tables.take(budget::first_fragments(vip), knobs.fragments_max))
}

/// Remembers where a first fragment of `service` went.
#[inline(always)]
pub(super) fn remember<T: Tables>(tables: &T, view: &View, service: &ServiceValue, backend: u16) {
    let (service, pool, tick) = (service.id, service.pool, tables.tick());
    tables.set_fragment(&key(view), &FragmentValue { service, pool, backend, tick });
}

#[inline(always)]
fn key(view: &View) -> FragmentKey {
    FragmentKey {
        source: view.source,
        destination: view.destination,
        id: view.fragment.id,
        protocol: if view.is_v6 { IPV6_FRAGMENT } else { view.protocol as u32 },
    }
}
