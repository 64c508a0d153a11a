// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which parts of the row table are taken: pure, first fit, with a grace time before reuse.

use std::time::{Duration, Instant};

/// How long a region that rows were switched away from is left alone: packets that read the old descriptor are long
/// through (a program run takes microseconds).
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A run of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// First row.
    pub(crate) first: u32,
    /// Number of rows.
    pub(crate) count: u32,
}

/// The row table's free and taken parts.
#[derive(Debug, Clone)]
pub(crate) struct Regions {
    size: u32,
    /// Taken or in grace, in order of their first rows.
    taken: Vec<(Region, Option<Instant>)>,
}

/// No run of free rows is long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no {count} rows in one piece are free of {size}")]
pub struct NoRoom {
    /// Rows wanted.
    pub count: u32,
    /// Rows of the table.
    pub size: u32,
}

impl Regions {
    /// A table of `size` rows, all free.
    pub(crate) fn new(size: u32) -> Self {
        Self { size, taken: Vec::new() }
    }

    /// Takes over a region that a former process left in use. `false`: it overlaps another or the end, and is not taken.
    pub(crate) fn adopt(&mut self, region: Region) -> bool {
        let end = u64::from(region.first) + u64::from(region.count);
        let overlaps = self.taken.iter().any(|(other, _)| {
            u64::from(region.first) < u64::from(other.first) + u64::from(other.count)
                && u64::from(other.first) < end
        });
        if region.count == 0 || end > u64::from(self.size) || overlaps {
            return false;
        }
        self.insert(region);
        true
    }

    /// Takes `count` rows.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(crate) fn take(&mut self, count: u32, now: Instant) -> Result<Region, NoRoom> {
        self.taken.retain(|(_, until)| until.is_none_or(|until| until > now));
        let mut first = 0;
        for (region, _) in &self.taken {
            if region.first - first >= count {
                break;
            }
            first = region.first + region.count;
        }
        if self.size - first < count {
            return Err(NoRoom { count, size: self.size });
        }
        let region = Region { first, count };
        self.insert(region);
        Ok(region)
    }

    /// Gives a region back, to be reused after [`GRACE`].
    pub(crate) fn give_back(&mut self, region: Region, now: Instant) {
        for (taken, until) in &mut self.taken {
            if *taken == region && until.is_none() {
                *until = Some(now + GRACE);
                return;
            }
        }
        debug_assert!(false, "{region:?} was not taken");
    }

    /// Ends every grace time: the caller knows that no packet reads by an old descriptor any more.
    pub(crate) fn end_grace(&mut self) {
        self.taken.retain(|(_, until)| until.is_none());
    }

    fn insert(&mut self, region: Region) {
        let at = self.taken.partition_point(|(other, _)| other.first < region.first);
        self.taken.insert(at, (region, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_reused_only_after_its_grace_time() {
        let start = Instant::now();
        let mut regions = Regions::new(100);
        let a = regions.take(60, start).unwrap();
        assert_eq!(regions.take(60, start), Err(NoRoom { count: 60, size: 100 }));
        regions.give_back(a, start);
        assert!(regions.take(60, start).is_err(), "still in grace");
        let mut sooner = regions.clone();
        sooner.end_grace();
        assert_eq!(sooner.take(60, start), Ok(Region { first: 0, count: 60 }));
        sooner.end_grace();
        assert!(sooner.take(60, start).is_err(), "in use");
        assert_eq!(regions.take(60, start + GRACE), Ok(Region { first: 0, count: 60 }));
    }

    #[test]
    fn holes_are_filled_and_adopted_regions_avoided() {
        let start = Instant::now();
        let mut regions = Regions::new(100);
        assert!(regions.adopt(Region { first: 30, count: 20 }));
        assert!(!regions.adopt(Region { first: 49, count: 2 }), "overlaps");
        assert!(!regions.adopt(Region { first: 90, count: 20 }), "beyond the end");
        assert_eq!(regions.take(40, start), Ok(Region { first: 50, count: 40 }));
        assert_eq!(regions.take(30, start), Ok(Region { first: 0, count: 30 }));
        assert_eq!(regions.take(10, start), Ok(Region { first: 90, count: 10 }));
        assert!(regions.take(1, start).is_err());
    }
}
