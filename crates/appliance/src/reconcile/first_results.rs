// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which targets of which pools have had their first results. Pure: readings and time are arguments.
//!
//! Until every backend has been checked once at a target, or that has taken too long, "unknown" there means "not asked
//! yet" rather than "no answer": a VIP that is announced is not withdrawn for it, and one that is not announced waits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::checks::PoolReading;

/// The targets that are waited for or known, by pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirstResults {
    pools: BTreeMap<String, BTreeMap<SocketAddr, Progress>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Its checks are not running yet.
    NotRunning,
    /// Its checks run, and this is the end of the patience with them.
    Until(Instant),
    /// Known once, known for good.
    Known,
}

impl FirstResults {
    /// Takes in what the monitor says now. Targets that are not named are forgotten.
    pub fn handle_readings(&mut self, readings: &BTreeMap<String, PoolReading>, now: Instant) {
        self.pools.retain(|pool, _| readings.contains_key(pool));
        for (pool, reading) in readings {
            if !self.pools.contains_key(pool) {
                self.pools.insert(pool.clone(), BTreeMap::new());
            }
            let Some(known) = self.pools.get_mut(pool) else { continue };
            known.retain(|address, _| reading.targets.iter().any(|target| target.address == *address));
            for target in &reading.targets {
                let progress = known.entry(target.address).or_insert(Progress::NotRunning);
                if target.is_running && *progress == Progress::NotRunning {
                    *progress = Progress::Until(now + target.patience);
                }
                if let Progress::Until(end) = *progress
                    && (target.unknown == 0 || now >= end)
                {
                    *progress = Progress::Known;
                }
            }
        }
    }

    /// Whether there have been first results of `pool` at `address`; a target that is not checked needs none.
    pub fn is_known(&self, pool: &str, address: SocketAddr) -> bool {
        let progress = self.pools.get(pool).and_then(|targets| targets.get(&address));
        progress.is_none_or(|progress| *progress == Progress::Known)
    }

    /// Whether both say the same of `pool`.
    pub(super) fn is_same_of(&self, other: &Self, pool: &str) -> bool {
        self.pools.get(pool) == other.pools.get(pool)
    }

    /// When patience ends with the next target.
    pub fn wake_at(&self) -> Option<Instant> {
        let ends = self.pools.values().flat_map(BTreeMap::values).filter_map(|progress| match progress {
            Progress::Until(end) => Some(*end),
            Progress::NotRunning | Progress::Known => None,
        });
        ends.min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::checks::TargetReading;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn at(port: u16) -> SocketAddr {
        ([198, 51, 100, 1], port).into()
    }

    fn readings(targets: &[(u16, bool, u32)]) -> BTreeMap<String, PoolReading> {
        let target = |&(port, is_running, unknown): &(u16, bool, u32)| TargetReading {
            address: at(port),
            is_running,
            unknown,
            patience: PATIENCE,
        };
        let targets = targets.iter().map(target).collect();
        BTreeMap::from([("web".into(), PoolReading { targets, backends: BTreeMap::new() })])
    }

    #[test]
    fn known_once_all_were_checked_and_for_good() {
        let (mut first, now) = (FirstResults::default(), Instant::now());
        first.handle_readings(&readings(&[(80, true, 2)]), now);
        assert!(!first.is_known("web", at(80)));
        first.handle_readings(&readings(&[(80, true, 0)]), now);
        assert!(first.is_known("web", at(80)));
        assert_eq!(first.wake_at(), None);
        first.handle_readings(&readings(&[(80, true, 1)]), now);
        assert!(first.is_known("web", at(80)), "a backend added later is waited for by itself");
    }

    #[test]
    fn patience_runs_from_the_first_check() {
        let (mut first, now) = (FirstResults::default(), Instant::now());
        first.handle_readings(&readings(&[(80, false, 1)]), now);
        assert_eq!(first.wake_at(), None, "what does not run is waited for");
        let begun = now + Duration::from_secs(60);
        first.handle_readings(&readings(&[(80, true, 1)]), begun);
        assert_eq!(first.wake_at(), Some(begun + PATIENCE));
        first.handle_readings(&readings(&[(80, true, 1)]), begun + PATIENCE);
        assert!(first.is_known("web", at(80)));
    }

    #[test]
    fn a_target_that_came_back_is_new_and_one_without_checks_needs_none() {
        let (mut first, now) = (FirstResults::default(), Instant::now());
        first.handle_readings(&readings(&[(80, true, 0), (443, true, 1)]), now);
        assert!(first.is_known("web", at(80)) && !first.is_known("web", at(443)));
        first.handle_readings(&readings(&[(443, true, 1)]), now);
        first.handle_readings(&readings(&[(80, true, 1), (443, true, 1)]), now);
        assert!(!first.is_known("web", at(80)));
        assert!(first.is_known("dns", at(53)));
    }
}
