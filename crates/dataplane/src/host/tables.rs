// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables in ordinary memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use weir_dataplane_core::hash::{HashKeys, KeyV4, KeyV6};
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::{BackendValue, Count, NextHopValue, Row, ServiceKey, ServiceValue, Slots, Tables};

/// The tables in ordinary memory, filled by whoever owns them.
#[derive(Debug, Default)]
pub struct HostTables {
    /// Destination to service, and VIP markers.
    pub services: HashMap<ServiceKey, ServiceValue>,
    /// Pool id to rows descriptor.
    pub pools: Vec<u64>,
    /// Rows of all pools.
    pub rows: Vec<Row>,
    /// Backend id to backend.
    pub backends: Vec<BackendValue>,
    /// Next-hop id to next hop.
    pub next_hops: Vec<NextHopValue>,
    /// Flow sets, a power of two of them.
    pub flows: Vec<Arc<[AtomicU64; SLOTS_PER_SET]>>,
    /// The clock.
    pub tick: AtomicU16,
    /// The fleet's secret.
    pub keys: HashKeys,
    /// What the last packet for a service added to the counters.
    pub counted: Mutex<Option<Count>>,
}

impl HostTables {
    /// Empty tables with `sets` flow sets.
    ///
    /// # Panics
    /// If `sets` is not a power of two.
    pub fn new(sets: usize, keys: HashKeys) -> Self {
        assert!(sets.is_power_of_two(), "{sets} flow sets are not a power of two");
        Self { flows: (0..sets).map(|_| Arc::default()).collect(), keys, ..Self::default() }
    }
}

/// One flow set in memory.
#[derive(Debug, Clone)]
pub struct HostSlots(Arc<[AtomicU64; SLOTS_PER_SET]>);

impl Slots for HostSlots {
    fn load(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Acquire)
    }

    fn swap(&self, index: usize, old: u64, new: u64) -> bool {
        self.0[index].compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Tables for HostTables {
    type Slots = HostSlots;

    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        self.services.get(key).copied()
    }

    fn pool_rows(&self, pool: u32) -> Option<u64> {
        self.pools.get(pool as usize).copied()
    }

    fn row(&self, index: u32) -> Option<Row> {
        self.rows.get(index as usize).copied()
    }

    fn backend(&self, id: u16) -> Option<&BackendValue> {
        self.backends.get(usize::from(id))
    }

    fn next_hop(&self, id: u16) -> Option<&NextHopValue> {
        self.next_hops.get(usize::from(id))
    }

    fn flow_set(&self, hash: u64) -> Option<HostSlots> {
        let mask = self.flows.len() as u64 - 1;
        self.flows.get(usize::try_from(hash & mask).ok()?).cloned().map(HostSlots)
    }

    fn tick(&self) -> u16 {
        self.tick.load(Ordering::Relaxed)
    }

    fn count(&self, count: &Count) {
        *self.counted.lock().expect("nobody panics while counting") = Some(*count);
    }

    fn key_v4(&self) -> KeyV4 {
        self.keys.v4
    }

    fn key_v6(&self) -> KeyV6 {
        self.keys.v6
    }
}
