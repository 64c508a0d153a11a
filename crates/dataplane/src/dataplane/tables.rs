// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known to lie in the kernel's tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_dataplane_core::{PrefixValue, ServiceKey, ServiceValue};

use crate::config::Capacity;
use crate::forwarding::BackendState;
use crate::ids::Ids;
use crate::next_hop_ids::NextHopIds;
use crate::regions::{Region, Regions};
use crate::rows::{Algorithm, MemberInput};

use super::BackendIds;
use super::in_force::InForce;
use super::rankings::{self, Rankings};

/// Everything that a pool's rows follow from, beside the fleet's seed and the pool's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowsOf {
    algorithm: Algorithm,
    max_backends: u32,
    /// Id, name, weight, cap, state.
    members: Vec<(u16, String, u32, u16, BackendState)>,
}

impl RowsOf {
    pub(super) fn new(algorithm: Algorithm, max_backends: u32, members: &[MemberInput<'_>]) -> Self {
        let member = |m: &MemberInput<'_>| (m.id, m.name.to_owned(), m.weight, m.cap_permille, m.state);
        Self { algorithm, max_backends, members: members.iter().map(member).collect() }
    }

    /// Whether the backend is among those that the rows were made from.
    pub(super) fn names(&self, backend: u32) -> bool {
        self.members.iter().any(|(id, ..)| u32::from(*id) == backend)
    }
}

/// Ids given, or given back to who had them, since the last state that was wholly in force: those of an apply that failed, or
/// of several.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Pools, with their names.
    pub pools: BTreeMap<u32, String>,
    /// Backends.
    pub backends: BTreeSet<u32>,
}

/// The user side of the tables. Read back at the start, kept in step by every write.
pub(super) struct Tables {
    /// Pools; ids are indexes of the pool table.
    pub pools: Ids,
    /// Backends; ids from 1 are indexes of the backend table.
    pub backends: Ids,
    /// Next hops.
    pub next_hops: NextHopIds,
    /// Services; ids are indexes of their counters.
    pub services: Ids,
    /// VIPs; ids are indexes of their budgets.
    pub vips: Ids,
    /// What the service map holds: services, markers, records of fragments.
    pub service_map: HashMap<ServiceKey, ServiceValue>,
    /// What the prefix table holds.
    pub prefixes: BTreeSet<PrefixValue>,
    /// Whether the slots in front of the service map are known to say what it says.
    pub slots_settled: bool,
    /// Free and taken rows.
    pub regions: Regions,
    /// By pool id: where its rows lie.
    pub pool_regions: BTreeMap<u32, Region>,
    /// By pool id: the dear part of its rows, kept for the next change of caps or states.
    pub rankings: Rankings,
    /// By pool id: what the rows in force were made from.
    pub rows_of: BTreeMap<u32, RowsOf>,
    /// Service name to id.
    pub service_names: BTreeMap<String, u32>,
    /// Ids of the backends of the last state that was wholly in force.
    pub backend_ids: Arc<BackendIds>,
    /// Pools whose backends have other names or ids than the above since.
    pub unnamed: BTreeSet<String>,
    /// What is in force, in the words it was asked for in.
    pub in_force: InForce,
    /// What was made since the last state that was wholly in force.
    pub unfinished: Unfinished,
    /// By backend id: its pool's id.
    pub backend_pools: BTreeMap<u32, u32>,
    /// By pool id: the longest idle time of its services, in ticks.
    pub pool_idle: BTreeMap<u32, u16>,
    /// Backend ids that were retired when the last sweep began.
    pub retired_before_sweep: BTreeSet<u32>,
}

impl Tables {
    pub(super) fn new(capacity: &Capacity) -> Self {
        Self {
            pools: Ids::new(0, capacity.services),
            backends: Ids::new(1, capacity.backends),
            next_hops: NextHopIds::default(),
            services: Ids::new(0, capacity.services),
            vips: Ids::new(0, capacity.services),
            service_map: HashMap::new(),
            prefixes: BTreeSet::new(),
            slots_settled: false,
            regions: Regions::new(capacity.rows),
            pool_regions: BTreeMap::new(),
            rankings: Rankings::new(rankings::BYTES_MAX),
            rows_of: BTreeMap::new(),
            service_names: BTreeMap::new(),
            backend_ids: Arc::default(),
            unnamed: BTreeSet::new(),
            in_force: InForce::default(),
            unfinished: Unfinished::default(),
            backend_pools: BTreeMap::new(),
            pool_idle: BTreeMap::new(),
            retired_before_sweep: BTreeSet::new(),
        }
    }
}
