// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the last pass went by and came to, so that the next makes anew only what follows from something else.
//!
//! A verdict that changes concerns one pool among thousands. As long as documents, next hops, overrides and what the process allows
//! are the same, everything that shall be is as it was but for the pools whose readings changed, and the VIPs in front of
//! them; those parts are made by the very functions that make the whole. Anything else makes all anew. The tests of the
//! reconciler compare each outcome with one made from nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_dataplane::next_hop::NextHops;

use super::checks::{PoolReading, Targets};
use super::desired::{Admin, Desired, Snapshot, desired};
use super::first_results::FirstResults;
use crate::overrides::Overrides;
use crate::store::Accepted;

/// All that decides, but for the checks.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// The document.
    pub(super) accepted: Arc<Accepted>,
    /// Next hops of all backends.
    pub(super) next_hops: Arc<NextHops>,
    /// What operators set beside the document.
    pub(super) overrides: Arc<Overrides>,
    /// What the process itself allows.
    pub(super) admin: Admin,
    /// Where each pool of the document is checked.
    pub(super) targets: Arc<Targets>,
}

/// The last pass: what it went by, and what was made of it.
#[derive(Debug, Default)]
pub(super) struct Memory(Option<Last>);

#[derive(Debug)]
struct Last {
    world: World,
    readings: BTreeMap<String, PoolReading>,
    first_results: FirstResults,
    /// `None` while a pass has it.
    desired: Option<Desired>,
}

/// How much of the desired was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    /// All of it.
    All,
    /// What concerns these pools.
    Of(BTreeSet<String>),
}

impl Made {
    /// Whether all is as it was.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Of(pools) if pools.is_empty())
    }
}

impl Memory {
    /// Everything that shall be, as [`desired`] says. To be given back by [`Self::keep`].
    pub(super) fn desired(
        &mut self,
        world: World,
        readings: BTreeMap<String, PoolReading>,
        first_results: &FirstResults,
    ) -> (Desired, Made) {
        let before = self
            .0
            .take()
            .and_then(|last| Some((last.desired?, last.world, last.readings, last.first_results)));
        let snapshot = world.snapshot(&readings, first_results);
        let (now, made) = match before {
            Some((mut before, old, old_readings, old_results)) if old.is(&world) => {
                let differs = |pool: &&String| {
                    old_readings.get(*pool) != readings.get(*pool)
                        || !old_results.is_same_of(first_results, pool)
                };
                // Which pools are checked follows from the document, so both have the same.
                let pools: BTreeSet<String> = readings.keys().filter(differs).cloned().collect();
                before.update(&snapshot, &pools);
                (before, Made::Of(pools))
            }
            Some(_) | None => (desired(&snapshot), Made::All),
        };
        self.0 = Some(Last { world, readings, first_results: first_results.clone(), desired: None });
        (now, made)
    }

    /// Takes back what [`Self::desired`] gave; gates may have decided about it meanwhile.
    pub(super) fn keep(&mut self, desired: Desired) {
        if let Some(last) = &mut self.0 {
            last.desired = Some(desired);
        }
    }
}

impl World {
    fn is(&self, other: &Self) -> bool {
        let Self { accepted, next_hops, overrides, admin, targets } = other;
        Arc::ptr_eq(&self.accepted, accepted)
            && Arc::ptr_eq(&self.targets, targets)
            && self.admin == *admin
            && (Arc::ptr_eq(&self.next_hops, next_hops) || self.next_hops == *next_hops)
            && (Arc::ptr_eq(&self.overrides, overrides) || self.overrides == *overrides)
    }

    fn snapshot<'a>(
        &'a self,
        readings: &'a BTreeMap<String, PoolReading>,
        first_results: &'a FirstResults,
    ) -> Snapshot<'a> {
        Snapshot {
            document: &self.accepted.document,
            generation: self.accepted.generation,
            next_hops: &self.next_hops,
            targets: &self.targets,
            readings,
            first_results,
            overrides: &self.overrides,
            admin: self.admin,
        }
    }
}
