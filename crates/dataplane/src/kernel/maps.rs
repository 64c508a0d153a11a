// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's maps by type, and the shapes they must have.

use std::io;

use aya::Ebpf;
use aya::maps::xdp::DevMapHash;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, ProgramArray};
use weir_dataplane_core::bytes::{
    Address, FragmentKey, FragmentValue, Knobs, PacketCounter, PrefixValue, ServiceCounter, ServiceSlot,
};
use weir_dataplane_core::limits::{
    FRAGMENTS_MAX, NEXT_HOPS_MAX, PREFIXES_MAX, SERVICE_SLOTS, SLOTS_PER_SET, UPLINKS_MAX,
};
use weir_dataplane_core::verdict::VERDICTS;
use weir_dataplane_core::{
    BackendValue, NextHopValue, Plan, PoolValue, Row, ServiceKey, ServiceValue, names,
};

use super::mapped::Mapped;
use super::pins::MapShape;
use crate::config::Capacity;

const MMAPABLE: u32 = 1 << 10;
const NO_PREALLOC: u32 = 1;

/// Why a map of the object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The object has no map of that name, or of another type.
    #[error("map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: Box<MapError>,
    },
    /// The object lacks it.
    #[error("the kernel object has no map {name}")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// It cannot be mapped into memory.
    #[error("map {name} into memory")]
    Mmap {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Names and shapes of all pinned maps for `capacity`.
pub fn shapes(capacity: &Capacity) -> [(&'static str, MapShape); names::PINNED_MAPS.len()] {
    let size = |bytes: usize| u32::try_from(bytes).expect("keys and values are small");
    let shape = |key: usize, value: usize, entries, flags| MapShape {
        key: size(key),
        value: size(value),
        entries,
        flags,
    };
    let array = |value, entries, flags| shape(4, value, entries, flags);
    [
        (
            names::MAP_SERVICES,
            shape(size_of::<ServiceKey>(), size_of::<ServiceValue>(), capacity.service_entries(), 0),
        ),
        (names::MAP_SERVICE_SLOTS, array(size_of::<ServiceSlot>(), SERVICE_SLOTS, MMAPABLE)),
        (names::MAP_POOLS, array(size_of::<PoolValue>(), capacity.services, MMAPABLE)),
        (names::MAP_ROWS, array(size_of::<Row>(), capacity.rows, MMAPABLE)),
        (names::MAP_BACKENDS, array(size_of::<BackendValue>(), capacity.backend_entries(), MMAPABLE)),
        (names::MAP_NEXT_HOPS, array(size_of::<NextHopValue>(), NEXT_HOPS_MAX, MMAPABLE)),
        (names::MAP_FLOWS, array(8 * SLOTS_PER_SET, capacity.flow_sets(), MMAPABLE)),
        // Device maps are read-only to programs, whatever the object says (kernel/bpf/devmap.c).
        (names::MAP_EGRESS, shape(4, 8, UPLINKS_MAX, 1 << 7)),
        (names::MAP_STEPS, array(4, size(names::STEPS.len()), 0)),
        (names::MAP_COPIES, array(4, 1, 0)),
        (names::MAP_PLANS, array(size_of::<Plan>(), 2, 0)),
        (names::MAP_KNOBS, array(size_of::<Knobs>(), 1, MMAPABLE)),
        (
            names::MAP_PREFIXES,
            shape(4 + size_of::<Address>(), size_of::<PrefixValue>(), PREFIXES_MAX, NO_PREALLOC),
        ),
        (names::MAP_BUDGETS, array(8, capacity.budgets(), MMAPABLE)),
        (names::MAP_LEARNED, array(8, 1, 0)),
        (names::MAP_FRAGMENTS, shape(size_of::<FragmentKey>(), size_of::<FragmentValue>(), FRAGMENTS_MAX, 0)),
        (names::MAP_VERDICTS, array(size_of::<PacketCounter>(), VERDICTS, 0)),
        (names::MAP_SERVICE_COUNTERS, array(size_of::<ServiceCounter>(), capacity.services, 0)),
        (names::MAP_BACKEND_COUNTERS, array(size_of::<ServiceCounter>(), capacity.backend_entries(), 0)),
    ]
}

/// Typed handles to the appliance's maps.
pub struct Maps {
    /// Destination to service, and VIP markers.
    pub services: HashMap<MapData, ServiceKey, ServiceValue>,
    /// Direct-mapped slots in front of the services.
    pub service_slots: Mapped<ServiceSlot>,
    /// Pool id to rows.
    pub pools: Mapped<PoolValue>,
    /// Rows of all pools.
    pub rows: Mapped<Row>,
    /// Backend id to backend.
    pub backends: Mapped<BackendValue>,
    /// Next-hop id to next hop.
    pub next_hops: Mapped<NextHopValue>,
    /// Flow sets.
    pub flows: Mapped<[u64; SLOTS_PER_SET]>,
    /// Interfaces that packets may leave by.
    pub egress: DevMapHash<MapData>,
    /// The steps behind the first.
    pub steps: ProgramArray<MapData>,
    /// The program that sends one copy.
    pub copies: ProgramArray<MapData>,
    /// Settings for all packets.
    pub knobs: Mapped<Knobs>,
    /// Prefix VIPs.
    pub prefixes: LpmTrie<MapData, Address, PrefixValue>,
    /// What was spent this second.
    pub budgets: Mapped<u64>,
    /// Flows remembered anew this second.
    pub learned: PerCpuArray<MapData, u64>,
    /// Where first fragments went.
    pub fragments: HashMap<MapData, FragmentKey, FragmentValue>,
    /// Verdict to packets and bytes.
    pub verdicts: PerCpuArray<MapData, PacketCounter>,
    /// Service id to counters.
    pub service_counters: PerCpuArray<MapData, ServiceCounter>,
    /// Backend id to counters.
    pub backend_counters: PerCpuArray<MapData, ServiceCounter>,
}

impl Maps {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// [`MapsError`] names the first that is missing or of another kind.
    pub fn take(object: &mut Ebpf, capacity: &Capacity) -> Result<Self, MapsError> {
        Ok(Self {
            services: typed(object, names::MAP_SERVICES)?,
            service_slots: mapped(object, names::MAP_SERVICE_SLOTS, SERVICE_SLOTS)?,
            pools: mapped(object, names::MAP_POOLS, capacity.services)?,
            rows: mapped(object, names::MAP_ROWS, capacity.rows)?,
            backends: mapped(object, names::MAP_BACKENDS, capacity.backend_entries())?,
            next_hops: mapped(object, names::MAP_NEXT_HOPS, NEXT_HOPS_MAX)?,
            flows: mapped(object, names::MAP_FLOWS, capacity.flow_sets())?,
            egress: typed(object, names::MAP_EGRESS)?,
            steps: typed(object, names::MAP_STEPS)?,
            copies: typed(object, names::MAP_COPIES)?,
            knobs: mapped(object, names::MAP_KNOBS, 1)?,
            prefixes: typed(object, names::MAP_PREFIXES)?,
            budgets: mapped(object, names::MAP_BUDGETS, capacity.budgets())?,
            learned: typed(object, names::MAP_LEARNED)?,
            fragments: typed(object, names::MAP_FRAGMENTS)?,
            verdicts: typed(object, names::MAP_VERDICTS)?,
            service_counters: typed(object, names::MAP_SERVICE_COUNTERS)?,
            backend_counters: typed(object, names::MAP_BACKEND_COUNTERS)?,
        })
    }
}

fn typed<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &'static str) -> Result<M, MapsError> {
    let map = object.take_map(name).ok_or(MapsError::Missing { name })?;
    M::try_from(map).map_err(|source| MapsError::Map { name, source: Box::new(source) })
}

fn mapped<T: aya::Pod>(object: &mut Ebpf, name: &'static str, len: u32) -> Result<Mapped<T>, MapsError> {
    let Some(Map::Array(data)) = object.take_map(name) else { return Err(MapsError::Missing { name }) };
    Mapped::new(&data, len).map_err(|source| MapsError::Mmap { name, source })
}
