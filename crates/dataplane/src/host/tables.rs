// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables in ordinary memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use weir_dataplane_core::bytes::{Address, budget};
use weir_dataplane_core::hash::{HashKeys, KeyV4, KeyV6};
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::{
    BackendValue, Count, FragmentKey, FragmentValue, Knobs, NextHopValue, Plan, PrefixValue, Row, ServiceKey,
    ServiceValue, Slots, Tables,
};

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
    /// Settings for all packets.
    pub knobs: Knobs,
    /// Prefix VIPs.
    pub prefixes: Vec<PrefixValue>,
    /// What was spent this second.
    pub budgets: Mutex<HashMap<u32, u64>>,
    /// Flows remembered anew this second: in memory there is one CPU.
    pub learned: AtomicU64,
    /// Where first fragments went.
    pub fragments: Mutex<HashMap<FragmentKey, FragmentValue>>,
    /// What one step left for the next.
    pub plan: Mutex<Option<Plan>>,
    /// What the last packet for a service added to the counters.
    pub counted: Mutex<Option<Count>>,
    /// Index of the row that was asked for last.
    pub row_asked: Mutex<Option<u32>>,
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

/// Nothing panics while it holds one of the locks.
const UNPOISONED: &str = "nobody panics while holding it";

/// The first `length` bits of an address, the others zero.
fn masked(address: &Address, length: u32) -> Address {
    let octets = address.0.map(u32::to_ne_bytes).concat();
    let bits = u128::from_be_bytes(octets.try_into().expect("sixteen octets"));
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    Address::from_octets((bits & mask).to_be_bytes())
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

    fn knobs(&self) -> Option<&Knobs> {
        Some(&self.knobs)
    }

    fn prefix(&self, address: &Address) -> Option<PrefixValue> {
        let holds = |prefix: &&PrefixValue| masked(address, prefix.length) == prefix.network;
        self.prefixes.iter().filter(holds).max_by_key(|prefix| prefix.length).copied()
    }

    fn take(&self, index: u32, limit: u32) -> bool {
        let mut budgets = self.budgets.lock().expect(UNPOISONED);
        let word = budgets.entry(index).or_default();
        match budget::taken(*word, self.tick(), limit) {
            Some(taken) => {
                *word = taken;
                true
            }
            None => false,
        }
    }

    fn learn(&self, limit: u32) -> bool {
        let taken = budget::taken(self.learned.load(Ordering::Relaxed), self.tick(), limit);
        if let Some(word) = taken {
            self.learned.store(word, Ordering::Relaxed);
        }
        taken.is_some()
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.fragments.lock().expect(UNPOISONED).get(key).copied()
    }

    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        self.fragments.lock().expect(UNPOISONED).insert(*key, *value);
    }

    fn plan(&self) -> Option<Plan> {
        *self.plan.lock().expect(UNPOISONED)
    }

    fn set_plan(&self, plan: &Plan) -> bool {
        *self.plan.lock().expect(UNPOISONED) = Some(*plan);
        true
    }

    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        self.services.get(key).copied()
    }

    fn pool_rows(&self, pool: u32) -> Option<u64> {
        self.pools.get(pool as usize).copied()
    }

    fn row(&self, index: u32) -> Option<Row> {
        *self.row_asked.lock().expect(UNPOISONED) = Some(index);
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
        *self.counted.lock().expect(UNPOISONED) = Some(*count);
    }

    fn key_v4(&self) -> KeyV4 {
        self.keys.v4
    }

    fn key_v6(&self) -> KeyV6 {
        self.keys.v6
    }
}
