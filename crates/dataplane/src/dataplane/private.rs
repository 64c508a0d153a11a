// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A private copy of the dataplane: the same programs on tables of their own, pinned nowhere and attached to nothing, with a
//! clock that stands until it is told.
//!
//! The program computes its tick as jiffies times a factor that the loader sets. With a factor of 0 it is always tick 0, so
//! that two runs never fall on two sides of a second; time passes by making everything that carries a tick older instead.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use aya::maps::PerCpuValues;
use aya::maps::xdp::XdpMapError;
use aya::util::nr_cpus;
use weir_dataplane_core::bytes::PoolValue;
use weir_dataplane_core::flow::{REFRESH, Slot, TICK_MASK, state};
use weir_dataplane_core::limits::{IDLE_S_MAX, SLOTS_PER_SET};
use weir_dataplane_core::{Row, Verdict};

use super::{Dataplane, OpenError, Start};
use crate::config::DataplaneConfig;
use crate::counters::sum_packets;
use crate::kernel::clock;
use crate::kernel::link::AttachError;
use crate::kernel::pins::Pins;
use crate::replay::INGRESS;

/// Why a pool's rows were not fixed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixRowsError {
    /// No such backend in the state in force.
    #[error("pool `{pool}` has no backend `{backend}`")]
    UnknownBackend {
        /// The pool.
        pool: String,
        /// What was named.
        backend: String,
    },
    /// A row holds one backend to four.
    #[error("a row of pool `{pool}` holds 1 to 4 backends, found {found}")]
    Count {
        /// The pool.
        pool: String,
        /// How many were named.
        found: usize,
    },
}

impl Dataplane {
    /// Loads the programs with tables of their own. Uplinks, checks and the pin directory of `config` are left alone:
    /// [`Self::attach`] does nothing. The clock stands at 0 until [`Self::pass`].
    ///
    /// Budgets of one CPU are those of the CPU that the caller runs on: [`crate::kernel::cpu::keep_to_one`] keeps it there.
    ///
    /// # Errors
    /// [`OpenError`], none of those that concern pins.
    pub fn open_private(config: DataplaneConfig) -> Result<Self, OpenError> {
        config.capacity.check()?;
        let config = DataplaneConfig { uplinks: Vec::new(), checks: None, ..config };
        let start = Start { hz: clock::hz()?, tick_factor: 0, adopted: false };
        Self::load(config, Pins::nowhere(), start)
    }

    /// Lets `ticks` (seconds) pass for a private copy: flows grow older, those too old for any idle time are forgotten, and
    /// budgets of a second start anew.
    ///
    /// # Panics
    /// If the kernel does not tell how many processors there are, or an entry of an array is not there.
    pub fn pass(&mut self, ticks: u64) {
        if ticks == 0 {
            return;
        }
        for set in 0..self.maps.flows.len() {
            for index in 0..SLOTS_PER_SET {
                let word = self.maps.flows.word(set, index);
                word.store(aged(word.load(Ordering::Acquire), ticks), Ordering::Release);
            }
        }
        for index in 0..self.maps.budgets.len() {
            self.maps.budgets.word(index, 0).store(0, Ordering::Release);
        }
        let unspent = vec![0; nr_cpus().expect("the kernel tells its processors, as it did at load")];
        let unspent = PerCpuValues::try_from(unspent).expect("one value for each processor");
        self.maps.learned.set(0, unspent, 0).expect("an array has its entry 0");
    }

    /// Makes every row of `pool` hold these backends of it, best first, whatever its rows would be. Until rows are built again.
    ///
    /// # Errors
    /// [`FixRowsError`]; nothing is changed then.
    pub fn fix_rows(&mut self, pool: &str, backends: &[String]) -> Result<(), FixRowsError> {
        let mut ids = [0_u16; 4];
        if !(1..=ids.len()).contains(&backends.len()) {
            return Err(FixRowsError::Count { pool: pool.to_owned(), found: backends.len() });
        }
        let mut pool_id = 0;
        for (place, name) in ids.iter_mut().zip(backends) {
            let unknown = || FixRowsError::UnknownBackend { pool: pool.to_owned(), backend: name.clone() };
            let id = *self.tables.backend_ids.get(&(pool.to_owned(), name.clone())).ok_or_else(unknown)?;
            pool_id = *self.tables.backend_pools.get(&u32::from(id)).ok_or_else(unknown)?;
            *place = id;
        }
        // The next state that is put in force builds them anew.
        self.tables.rows_of.remove(&pool_id);
        self.tables.in_force.pools.remove(pool);
        self.settled = false;
        let (first, count) = PoolValue::region(self.maps.pools.read(pool_id).rows);
        for index in first..first + count {
            self.maps.rows.word(index, 0).store(Row::from_ids(ids).raw(), Ordering::Release);
        }
        Ok(())
    }

    /// Lets packets leave by `ifindex`, which need not exist: nothing is sent in a private copy.
    ///
    /// # Errors
    /// [`AttachError::Egress`].
    pub fn pretend_uplink(&mut self, ifindex: u32) -> Result<(), AttachError> {
        self.maps.egress.insert(ifindex, INGRESS, None, 0).map_err(|source: XdpMapError| {
            AttachError::Egress { interface: ifindex.to_string(), source: Box::new(source) }
        })
    }

    /// Ids of the services of the state in force, by name.
    pub fn service_ids(&self) -> BTreeMap<String, u32> {
        self.tables.service_names.clone()
    }

    /// Packets that ended as `verdict` so far: one look, where [`Self::counters`] takes as many as there are counters.
    ///
    /// # Errors
    /// When the counter map cannot be read.
    pub fn packets(&self, verdict: Verdict) -> Result<u64, aya::maps::MapError> {
        let values = self.maps.verdicts.get(&(verdict as u32), 0)?;
        Ok(sum_packets(values.iter()).0)
    }
}

/// A slot of a clock that stands at 0, `ticks` later.
fn aged(raw: u64, ticks: u64) -> u64 {
    let slot = Slot(raw);
    if slot.state() == state::EMPTY {
        return raw;
    }
    // What has no age that an idle time could allow is expired for every service; ages beyond 14 bits would look young.
    let age = u64::from(0_u16.wrapping_sub(slot.tick()) & TICK_MASK).saturating_add(ticks);
    match u16::try_from(age) {
        Ok(age) if age <= IDLE_S_MAX + REFRESH => slot.seen_at(0_u16.wrapping_sub(age)).0,
        _ => Slot::EMPTY.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_core::flow::Idle;

    #[test]
    fn a_flow_outlives_its_idle_time_and_no_more() {
        let idle = Idle::new(300, 30);
        let hash = 0x1234_5678_9abc_def0;
        let fresh = Slot::new(hash, state::ESTABLISHED, 0, 7);
        assert_eq!(aged(0, 10), 0);
        for (steps, alive) in [(vec![300], true), (vec![100, 200], true), (vec![150, 170], false)] {
            let raw = steps.iter().fold(fresh.0, |raw, &ticks| aged(raw, ticks));
            let slot = Slot(raw);
            assert_eq!(!slot.is_expired(0, idle), alive, "{steps:?}");
            assert_eq!((slot.backend(), slot.state(), slot.has_tag_of(hash)), (7, state::ESTABLISHED, true));
        }
        assert_eq!(aged(fresh.0, 16_384), 0, "an age that wraps is none");
        assert_eq!(aged(fresh.0, u64::MAX), 0);
    }
}
