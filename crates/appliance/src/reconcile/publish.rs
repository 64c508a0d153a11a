// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a finished pass to the status that readers see: wall-clock times, and since when things are as they are. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::apply::{Pass, Telling};
use super::desired::{BackendWish, Desired, VipWish};
use super::gate;
use super::plan::Against;
use super::status::{BackendOutcome, ReconcileStatus, VipOutcome, Why};

/// Distance from which a step of the wall clock is followed; less is jitter between two readings.
const CLOCK_STEP: Duration = Duration::from_millis(200);

/// Turns the loop's times into wall-clock times, the same each time: by one pair of readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    at: Instant,
    wall: SystemTime,
}

impl Calendar {
    pub(super) fn new(at: Instant, wall: SystemTime) -> Self {
        Self { at, wall }
    }

    /// Follows the wall clock when it was set.
    pub(super) fn handle_reading(&mut self, at: Instant, wall: SystemTime) {
        if self.is_off(at, wall) {
            *self = Self::new(at, wall);
        }
    }

    /// Whether the wall clock was set.
    pub(super) fn is_off(&self, at: Instant, wall: SystemTime) -> bool {
        let expected = self.wall(at);
        let off = wall.duration_since(expected).unwrap_or_else(|early| early.duration());
        off > CLOCK_STEP
    }

    pub(super) fn wall(&self, at: Instant) -> SystemTime {
        let shifted = match at.checked_duration_since(self.at) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.at.duration_since(at)),
        };
        shifted.unwrap_or(self.wall)
    }
}

/// What a pass came to.
pub(super) struct Report<'a> {
    pub(super) desired: &'a Desired,
    pub(super) pass: &'a Pass,
    pub(super) against: &'a BTreeMap<String, Against>,
    /// Whether the kernel's tables are as desired.
    pub(super) is_in_force: bool,
    pub(super) ended: Instant,
    pub(super) calendar: Calendar,
}

impl Report<'_> {
    pub(super) fn vips(
        &self,
        before: &ReconcileStatus,
        is_told: impl Fn(&VipWish) -> bool,
    ) -> BTreeMap<String, VipOutcome> {
        let outcome = |(name, vip): (&String, &VipWish)| {
            let is_told = is_told(vip);
            (name.clone(), self.vip(vip, self.against.get(name), before.vips.get(name), is_told))
        };
        self.desired.vips.iter().map(outcome).collect()
    }

    fn vip(
        &self,
        vip: &VipWish,
        against: Option<&Against>,
        before: Option<&VipOutcome>,
        is_told: bool,
    ) -> VipOutcome {
        // Another address under an old name is another VIP.
        let before = before.filter(|before| before.prefix == vip.prefix);
        let was_told = before.is_some_and(|before| before.is_told);
        let withheld = against.map(|against| against.reasons.clone()).unwrap_or_default();
        let telling: Option<&Telling> = self.pass.told.get(&vip.prefix);
        let at = |now: fn(&Telling) -> Instant, then: fn(&VipOutcome) -> Option<SystemTime>| match telling {
            Some(telling) => Some(self.calendar.wall(now(telling))),
            None => before.and_then(then),
        };
        VipOutcome {
            prefix: vip.prefix,
            is_told,
            wanted: withheld.is_empty(),
            is_deprioritised: vip.is_deprioritised,
            conditions: self.conditions(vip, against, before),
            withheld,
            announced: before.map_or(0, |before| before.announced) + u64::from(is_told && !was_told),
            withdrawn: before.map_or(0, |before| before.withdrawn) + u64::from(!is_told && was_told),
            decided_at: at(|telling| telling.decided_at, |before| before.decided_at),
            told_at: at(|telling| telling.told_at, |before| before.told_at),
        }
    }

    fn conditions(&self, vip: &VipWish, against: Option<&Against>, before: Option<&VipOutcome>) -> Vec<Why> {
        let obstacle = against.and_then(|against| against.obstacle.clone());
        let obstacle = obstacle.map(|text| gate::Why::plain(gate::Reason::Dataplane, text));
        let is_told = |why: &&gate::Why| obstacle.is_none() || why.reason != gate::Reason::Settle;
        let mut whys: Vec<&gate::Why> = vip.whys.iter().filter(is_told).chain(&obstacle).collect();
        whys.sort_by_key(|why| why.reason);
        let since = |reason| {
            let known = before.into_iter().flat_map(|before| &before.conditions);
            let known = known.filter(|why| why.reason == reason).map(|why| why.since).next();
            known.unwrap_or_else(|| self.calendar.wall(self.ended))
        };
        let why = |why: &gate::Why| Why {
            reason: why.reason,
            message: why.message(|at| self.calendar.wall(at)),
            since: since(why.reason),
            until: why.until.map(|at| self.calendar.wall(at)),
        };
        whys.into_iter().map(why).collect()
    }

    pub(super) fn backends(&self, before: &ReconcileStatus) -> BTreeMap<(String, String), BackendOutcome> {
        let outcome = |(key, wish): (&(String, String), &BackendWish)| {
            (key.clone(), self.backend(wish, before.backends.get(key)))
        };
        self.desired.backends.iter().map(outcome).collect()
    }

    fn backend(&self, wish: &BackendWish, before: Option<&BackendOutcome>) -> BackendOutcome {
        let before = before.filter(|before| before.condition == wish.condition);
        let followed = before.and_then(|before| before.in_force_at);
        let in_force_at = || self.calendar.wall(self.pass.forwarded_at.unwrap_or(self.ended));
        BackendOutcome {
            condition: wish.condition,
            next_hop: wish.next_hop.clone(),
            check: wish.check.clone(),
            since: before.map_or_else(|| self.calendar.wall(self.ended), |before| before.since),
            verdict_at: wish.verdict_at.map(|at| self.calendar.wall(at)),
            in_force_at: followed.or_else(|| self.is_in_force.then(in_force_at)),
            by: wish.by.clone(),
        }
    }
}
