// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sweeper: clears flows that outlived their idle time, and frees ids that nothing names any more.
//!
//! Ages have 14 bits, so a slot must be cleared before its age wraps: every pass is to come round within
//! 16,384 − [`IDLE_S_MAX`] seconds. Programs do not need it for anything else: they treat an expired slot as free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_dataplane_core::flow::{Idle, Slot, state};
use weir_dataplane_core::limits::{IDLE_S_MAX, NEW_IDLE_S_MAX, SLOTS_PER_SET};
use weir_dataplane_core::{BackendValue, PoolValue};

use super::Dataplane;
use crate::kernel::clock::ClockError;

/// What a pass found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Slots of the table.
    pub slots: u64,
    /// Slots that hold a live flow.
    pub used: u64,
    /// Of these, established ones.
    pub established: u64,
    /// Live flows, established or not, by pool and name of every backend of the state in force.
    pub flows: BTreeMap<(String, String), u64>,
    /// Slots cleared.
    pub cleared: u64,
    /// Backend ids that may be used again.
    pub ids_freed: u32,
    /// How long it took.
    pub duration: Duration,
}

/// Why a pass could not be made.
#[derive(Debug, thiserror::Error)]
#[error("read the kernel's clock for the sweep")]
pub struct SweepError(#[from] ClockError);

impl Dataplane {
    /// One pass over the whole flow table.
    ///
    /// # Errors
    /// When the kernel's clock cannot be read; nothing is cleared then.
    pub fn sweep(&mut self) -> Result<Swept, SweepError> {
        let started = Instant::now();
        let now = self.tick()?;
        let mut swept =
            Swept { slots: u64::from(self.maps.flows.len()) * SLOTS_PER_SET as u64, ..Swept::default() };
        let idles = self.idle_by_backend();
        let mut flows = vec![0_u64; idles.len()];
        for set in 0..self.maps.flows.len() {
            for index in 0..SLOTS_PER_SET {
                let word = self.maps.flows.word(set, index);
                let slot = Slot(word.load(Ordering::Acquire));
                if slot.state() == state::EMPTY {
                    continue;
                }
                let backend = usize::from(slot.backend());
                let established = idles.get(backend).copied().unwrap_or(IDLE_S_MAX);
                let idle = Idle::new(established, NEW_IDLE_S_MAX.min(established));
                if slot.is_expired(now, idle) {
                    // Lost to a packet that revives it: then it is not expired any more, which is just as well.
                    if word.compare_exchange(slot.0, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                        swept.cleared += 1;
                        continue;
                    }
                }
                swept.used += 1;
                swept.established += u64::from(slot.state() == state::ESTABLISHED);
                if let Some(flows) = flows.get_mut(backend) {
                    *flows += 1;
                }
            }
        }
        let of = |id: u32| flows.get(id as usize).copied().unwrap_or(0);
        swept.flows = self.tables.backend_names.iter().map(|(name, &id)| (name.clone(), of(id))).collect();
        swept.ids_freed = self.free_ids(&flows);
        swept.duration = started.elapsed();
        Ok(swept)
    }

    /// By backend id: the longest idle time any service gives its flows.
    fn idle_by_backend(&self) -> Vec<u16> {
        let mut idles = vec![IDLE_S_MAX; self.maps.backends.len() as usize];
        for (&id, pool) in &self.tables.backend_pools {
            if let (Some(slot), Some(&idle)) = (idles.get_mut(id as usize), self.tables.pool_idle.get(pool)) {
                *slot = idle;
            }
        }
        idles
    }

    /// Frees backends that were retired before the pass *before* this one and are named by no slot, then pools without
    /// backends. (A packet that chose one just as it retired has long stored its slot by then.)
    fn free_ids(&mut self, flows: &[u64]) -> u32 {
        // An adopted id that no desired state has claimed yet is still named by rows.
        if !self.settled {
            return 0;
        }
        let retired: BTreeSet<u32> = self.tables.backends.retired().collect();
        let mut freed = 0;
        for &id in retired.intersection(&self.tables.retired_before_sweep) {
            if flows.get(id as usize).copied().unwrap_or(0) == 0 {
                self.maps.backends.write(id, &BackendValue::default());
                self.tables.backends.release(id);
                self.tables.backend_pools.remove(&id);
                freed += 1;
            }
        }
        self.tables.retired_before_sweep = retired;
        let used: BTreeSet<u32> = self.tables.backend_pools.values().copied().collect();
        let unused: Vec<u32> = self.tables.pools.retired().filter(|id| !used.contains(id)).collect();
        for id in unused {
            self.maps.pools.write(id, &PoolValue::default());
            self.tables.pools.release(id);
        }
        freed
    }
}
