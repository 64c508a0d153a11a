// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sweeper: clears flows that outlived their idle time, and frees ids that nothing names any more.
//!
//! A sweep reads the whole flow table, in slices of [`SLICE_SLOTS`], so that its owner can see to other things in between. A
//! change of the tables between two slices does no harm: the idle times are asked for again, and an id that retires
//! during a sweep is decided about by a later one.
//!
//! Ages have 14 bits, so a slot is to be cleared before its age wraps, 16,384 − [`IDLE_S_MAX`] seconds after it expired at the
//! latest. Programs do not need it for anything else: they treat an expired slot as free. Without a sweeper for longer
//! than that, the slot of a flow that has ended comes to look young and expires once more (`docs/operating/capacity.md`);
//! a live flow never does, since its age does not get beyond its idle time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_dataplane_core::flow::{Idle, Slot, state};
use weir_dataplane_core::limits::{IDLE_S_MAX, NEW_IDLE_S_MAX, SLOTS_PER_SET};
use weir_dataplane_core::{BackendValue, PoolValue};

use super::{BackendIds, Dataplane};
use crate::kernel::clock::ClockError;

/// Slots of one slice: 2 MiB, read in about a millisecond.
pub const SLICE_SLOTS: u32 = 1 << 18;
const SLICE_SETS: u32 = SLICE_SLOTS / 8;
const _: () = assert!(SLOTS_PER_SET == 8);

/// What a sweep found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Slots of the table.
    pub slots: u64,
    /// Slots that hold a live flow.
    pub used: u64,
    /// Of these, established ones.
    pub established: u64,
    /// Live flows, established or not, of every backend of the state in force.
    pub flows: BackendFlows,
    /// Slots cleared.
    pub cleared: u64,
    /// Backend ids that may be used again.
    pub ids_freed: u32,
    /// How long it took, the time between slices left out.
    pub duration: Duration,
    /// The longest slice.
    pub longest_slice: Duration,
}

/// Numbers of flows by backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendFlows {
    ids: Arc<BackendIds>,
    by_id: Vec<u64>,
}

impl BackendFlows {
    /// Those of a backend, by pool and name; `None` when it was none of the state in force.
    pub fn get(&self, backend: &(String, String)) -> Option<u64> {
        let id = *self.ids.get(backend)?;
        Some(self.by_id.get(usize::from(id)).copied().unwrap_or(0))
    }
}

impl FromIterator<((String, String), u64)> for BackendFlows {
    /// Of no more than 65,536 backends.
    fn from_iter<I: IntoIterator<Item = ((String, String), u64)>>(flows: I) -> Self {
        let (mut ids, mut by_id) = (BackendIds::new(), Vec::new());
        for ((backend, flows), id) in flows.into_iter().zip(0..=u16::MAX) {
            ids.insert(backend, id);
            by_id.push(flows);
        }
        Self { ids: Arc::new(ids), by_id }
    }
}

/// Why a sweep could not go on.
#[derive(Debug, thiserror::Error)]
#[error("read the kernel's clock for the sweep")]
pub struct SweepError(#[from] ClockError);

/// A sweep that has begun.
pub(super) struct Begun {
    next_set: u32,
    /// By backend id: the longest idle time; `None` when an apply may have changed it.
    idles: Option<Vec<u16>>,
    /// By backend id: live flows so far.
    flows: Vec<u64>,
    swept: Swept,
}

impl Dataplane {
    /// A whole sweep, or what is left of one that has begun.
    ///
    /// # Errors
    /// As [`Self::sweep_slice`].
    pub fn sweep(&mut self) -> Result<Swept, SweepError> {
        loop {
            if let Some(swept) = self.sweep_slice()? {
                return Ok(swept);
            }
        }
    }

    /// The next slice of a sweep, the first if none has begun. Gives what the sweep came to with its last.
    ///
    /// # Errors
    /// When the kernel's clock cannot be read; nothing is cleared then, and the same slice is the next.
    pub fn sweep_slice(&mut self) -> Result<Option<Swept>, SweepError> {
        let started = Instant::now();
        let now = self.tick()?;
        let sets = self.maps.flows.len();
        let mut sweep = self.sweep.take().unwrap_or_else(|| Begun {
            next_set: 0,
            idles: None,
            flows: vec![0; self.maps.backends.len() as usize],
            swept: Swept { slots: u64::from(sets) * SLOTS_PER_SET as u64, ..Swept::default() },
        });
        let idles = sweep.idles.take().unwrap_or_else(|| self.idle_by_backend());
        let end = sets.min(sweep.next_set.saturating_add(SLICE_SETS));
        for set in sweep.next_set..end {
            self.sweep_set(set, now, &idles, &mut sweep);
        }
        (sweep.next_set, sweep.idles) = (end, Some(idles));
        let is_over = end == sets;
        if is_over {
            sweep.swept.ids_freed = self.free_ids(&sweep.flows);
        }
        let took = started.elapsed();
        sweep.swept.duration += took;
        sweep.swept.longest_slice = sweep.swept.longest_slice.max(took);
        if !is_over {
            self.sweep = Some(sweep);
            return Ok(None);
        }
        let flows = BackendFlows { ids: self.backend_ids(), by_id: sweep.flows };
        Ok(Some(Swept { flows, ..sweep.swept }))
    }

    /// Clears what has expired in one set, and counts the rest.
    fn sweep_set(&self, set: u32, now: u16, idles: &[u16], sweep: &mut Begun) {
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
                    sweep.swept.cleared += 1;
                    continue;
                }
            }
            sweep.swept.used += 1;
            sweep.swept.established += u64::from(slot.state() == state::ESTABLISHED);
            if let Some(flows) = sweep.flows.get_mut(backend) {
                *flows += 1;
            }
        }
    }

    /// Before idle times or ids change: a sweep that has begun asks for them again.
    pub(super) fn forget_idle_times(&mut self) {
        if let Some(sweep) = &mut self.sweep {
            sweep.idles = None;
        }
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

    /// Frees backends that were retired before the sweep began, and are named by no slot that it saw and by no row, then pools
    /// without backends that no service has. (A packet that chose one just as it retired has long stored its slot by then:
    /// sweeps are seconds apart.)
    fn free_ids(&mut self, flows: &[u64]) -> u32 {
        let retired: BTreeSet<u32> = self.tables.backends.retired().collect();
        let is_named =
            |id: u32| flows.get(id as usize).is_some_and(|flows| *flows != 0) || self.rows_may_name(id);
        let before = retired.intersection(&self.tables.retired_before_sweep);
        let freed: BTreeSet<u32> = before.copied().filter(|id| !is_named(*id)).collect();
        for id in &freed {
            self.maps.backends.write(*id, &BackendValue::default());
            self.tables.backend_pools.remove(id);
        }
        self.tables.backends.release(&freed);
        self.tables.retired_before_sweep = retired;
        self.free_pools();
        u32::try_from(freed.len()).expect("capacity is at most 65,535")
    }

    fn free_pools(&mut self) {
        let mut unused: BTreeSet<u32> =
            self.tables.pools.retired().filter(|id| !self.has_rows(*id)).collect();
        if unused.is_empty() {
            return;
        }
        for used in self.tables.backend_pools.values() {
            unused.remove(used);
        }
        for served in self.tables.service_map.values() {
            unused.remove(&served.pool);
        }
        for id in &unused {
            self.maps.pools.write(*id, &PoolValue::default());
        }
        self.tables.pools.release(&unused);
    }
}
