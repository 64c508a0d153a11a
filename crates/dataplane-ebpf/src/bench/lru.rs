// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's pipeline with a kernel LRU map in place of the flow table: the comparison that everybody knows.
//!
//! Same parsing, service lookup, rows, checks of the backend, encapsulation and counters: the very same functions. Only the
//! memory differs: an `LRU_HASH` keyed by the IPv4 5-tuple, whose value is the backend alone. That flatters the map: it
//! keeps no state, no age and no idle time, needs no keyed hash on a hit, and never writes a value that is there.

use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::parse::Segment;
use weir_dataplane_core::steer::{Decision, Steer, flow_hash, steer};
use weir_dataplane_core::{BackendFlags, ServiceFlags, ServiceValue, Tables, Verdict};

use super::layout::LRU_ENTRIES;
use crate::appliance;

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
    appliance::ingress_by::<Lru>(context)
}

struct Lru;

impl Steer for Lru {
    #[inline(always)]
    fn steer<'t, T: Tables, const V6: bool>(
        tables: &'t T,
        service: &ServiceValue,
        segment: &Segment,
    ) -> Result<(Decision<'t>, u64), Verdict> {
        if V6 {
            // Not compared: IPv6 goes by its row.
            let hash = flow_hash::<T, true>(tables, segment);
            return Ok((by_row(tables, service, segment, hash)?, hash));
        }
        let tuple = Tuple {
            source: segment.source.0[3],
            destination: segment.destination.0[3],
            ports: segment.ports_be,
            protocol: segment.protocol as u32,
        };
        if let Some(decision) = known(tables, service, segment, &tuple) {
            return Ok((decision, 0));
        }
        let hash = flow_hash::<T, false>(tables, segment);
        let mut decision = by_row(tables, service, segment, hash)?;
        decision.verdict = if segment.kind.ends() {
            Verdict::ForwardEnding
        } else if LRU_FLOWS.insert(tuple, decision.id as u32, 0).is_ok() {
            Verdict::ForwardNew
        } else {
            Verdict::ForwardUncached
        };
        Ok((decision, hash))
    }
}

/// The backend that the map remembers, if it may still have the flow.
#[inline(always)]
fn known<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    segment: &Segment,
    tuple: &Tuple,
) -> Option<Decision<'t>> {
    // SAFETY: the value is one word and copied at once.
    let id = unsafe { *LRU_FLOWS.get_ptr(tuple)? } as u16;
    let backend = tables.backend(id)?;
    if backend.pool != service.pool || !backend.is_resolved() {
        return None;
    }
    let usable = backend.has(BackendFlags::USABLE);
    if !usable && (segment.kind.opens() || !backend.has(BackendFlags::KEEPS_ESTABLISHED)) {
        return None;
    }
    Some(Decision { id, backend, verdict: Verdict::ForwardFlow })
}

/// The appliance's choice without the flow table, which leaves the row.
#[inline(always)]
fn by_row<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    segment: &Segment,
    hash: u64,
) -> Result<Decision<'t>, Verdict> {
    let stateless = ServiceValue { flags: ServiceFlags::STATELESS, ..*service };
    steer(tables, &stateless, hash, segment.kind)
}
