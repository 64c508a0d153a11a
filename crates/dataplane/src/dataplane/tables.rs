// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known to lie in the kernel's tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use weir_dataplane_core::{ServiceKey, ServiceValue};

use crate::config::Capacity;
use crate::ids::Ids;
use crate::next_hop_ids::NextHopIds;
use crate::regions::{Region, Regions};
use crate::rows::Ranking;

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
    /// What the service map holds, markers included.
    pub service_map: HashMap<ServiceKey, ServiceValue>,
    /// Free and taken rows.
    pub regions: Regions,
    /// By pool id: where its rows lie.
    pub pool_regions: BTreeMap<u32, Region>,
    /// By pool id: the dear part of its rows, kept for the next change of caps or states.
    pub rankings: BTreeMap<u32, Ranking>,
    /// Service name to id.
    pub service_names: BTreeMap<String, u32>,
    /// Pool and backend name to id.
    pub backend_names: BTreeMap<(String, String), u32>,
    /// Pool and backend name to the address that the desired state gives it.
    pub backend_addresses: BTreeMap<(String, String), IpAddr>,
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
            service_map: HashMap::new(),
            regions: Regions::new(capacity.rows),
            pool_regions: BTreeMap::new(),
            rankings: BTreeMap::new(),
            service_names: BTreeMap::new(),
            backend_names: BTreeMap::new(),
            backend_addresses: BTreeMap::new(),
            backend_pools: BTreeMap::new(),
            pool_idle: BTreeMap::new(),
            retired_before_sweep: BTreeSet::new(),
        }
    }
}
