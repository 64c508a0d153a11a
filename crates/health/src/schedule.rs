// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which check is due, and whether there is room to start it. Pure: time and randomness are arguments.
//!
//! ```text
//!   insert(now + phase) ─► queue, by time ── due ──► room? ──► in flight ── handle_finished(delay) ─┐
//!                            ▲      ▲                 │ address full                                │
//!                            │      └─ room again ─ waiting                                         │
//!                            └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Three budgets: starts a second, attempts in flight, attempts in flight per backend address. The last is small, since a
//! backend may carry many services, but it is lifted for an address that is *silent*: connects there cost the host nothing and
//! a whole timeout each, and a dead host with a hundred services must not take minutes to be noticed.
//!
//! Lateness (ready to start, but not started) is measured. Above half an interval the checker is *overloaded*, for at least
//! [`OVERLOAD_HOLD`]; waiting for room at one address is that address's matter and is not counted as lateness.

mod rate;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rate::StartRate;

use crate::failure::{Failure, Outcome};
use crate::snapshot::Lateness;
use crate::spread::{jittered, mean_period};
use crate::state::Delay;

/// How long overload lasts after the last late start; at least one interval of the late check.
pub const OVERLOAD_HOLD: Duration = Duration::from_secs(5);

/// Names a check in a schedule; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

/// How much may go on at once. Zero means one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Attempts started a second.
    pub starts_per_second: u32,
    /// Attempts in flight; each holds a socket.
    pub in_flight: usize,
    /// Attempts in flight to one backend address.
    pub per_address: usize,
    /// The same for an address that does not answer.
    pub per_silent_address: usize,
}

impl Default for Budgets {
    /// 8,000 starts a second, 2,048 in flight, 2 per address and 64 per silent address.
    fn default() -> Self {
        Self { starts_per_second: 8_000, in_flight: 2_048, per_address: 2, per_silent_address: 64 }
    }
}

/// What the schedule knows of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Address whose budget the check uses.
    pub address: IpAddr,
    /// Usual time between two starts.
    pub interval: Duration,
    /// Where in the interval the check starts.
    pub phase: Duration,
}

/// A check to be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub id: CheckId,
    /// How late the checker is with it.
    pub lateness: Duration,
}

/// What an attempt told of the address, apart from the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Something answered.
    Answered,
    /// Nothing answered.
    Silent,
    /// Nothing was sent.
    Unsaid,
}

impl Reach {
    /// What an outcome tells.
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Err(Failure::TimeoutConnect | Failure::Unreachable) => Self::Silent,
            Err(Failure::Local | Failure::NoNextHop) => Self::Unsaid,
            Ok(())
            | Err(
                Failure::Refused
                | Failure::Reset
                | Failure::TimeoutRead
                | Failure::Status(_)
                | Failure::Body
                | Failure::Protocol,
            ) => Self::Answered,
        }
    }
}

/// The queue of all checks.
#[derive(Debug)]
pub struct Schedule {
    budgets: Budgets,
    entries: HashMap<CheckId, Entry>,
    /// Checks by the time from which they may start.
    queue: BTreeSet<(Instant, CheckId)>,
    addresses: HashMap<IpAddr, AddressLoad>,
    /// Attempts under way with the address they use; outlives a removed check.
    in_flight: HashMap<CheckId, IpAddr>,
    rate: StartRate,
    overloaded_until: Option<Instant>,
    lateness: Lateness,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    /// A start on the check's own grid: this plus any number of mean periods.
    anchor: Instant,
    /// When the present round was due.
    due: Instant,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the queue under this time: `due`, or when its address had room again.
    Queued(Instant),
    /// In its address's waiting set under this time.
    Waiting(Instant),
    InFlight {
        started: Instant,
    },
}

#[derive(Debug, Default)]
struct AddressLoad {
    checks: usize,
    in_flight: usize,
    is_silent: bool,
    waiting: BTreeSet<(Instant, CheckId)>,
}

impl AddressLoad {
    fn room(&self, budgets: &Budgets) -> usize {
        let limit = if self.is_silent { budgets.per_silent_address } else { budgets.per_address };
        limit.max(1).saturating_sub(self.in_flight)
    }
}

impl Schedule {
    /// An empty schedule.
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            entries: HashMap::new(),
            queue: BTreeSet::new(),
            addresses: HashMap::new(),
            in_flight: HashMap::new(),
            rate: StartRate::new(budgets.starts_per_second),
            overloaded_until: None,
            lateness: Lateness::default(),
        }
    }

    /// Adds a check, due at `now + phase`. An id already known is updated instead.
    pub fn insert(&mut self, id: CheckId, slot: Slot, now: Instant) {
        if self.entries.contains_key(&id) {
            return self.update(id, slot, now);
        }
        let due = now + slot.phase;
        self.entries.insert(id, Entry { slot, anchor: due, due, place: Place::Queued(due) });
        self.queue.insert((due, id));
        self.addresses.entry(slot.address).or_default().checks += 1;
    }

    /// Changes a check: it keeps its place in time, but is due within one new interval.
    pub fn update(&mut self, id: CheckId, slot: Slot, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let old = std::mem::replace(&mut entry.slot, slot);
        if old.interval != slot.interval {
            entry.anchor = now + slot.phase;
        }
        match entry.place {
            Place::InFlight { .. } => {}
            Place::Queued(at) | Place::Waiting(at) => {
                self.queue.remove(&(at, id));
                if let Some(load) = self.addresses.get_mut(&old.address) {
                    load.waiting.remove(&(at, id));
                }
                entry.due = entry.due.min(now + slot.interval);
                // Who waited for room at the old address is not late at the new one.
                let ready =
                    if matches!(entry.place, Place::Waiting(_)) { now } else { at.min(now + slot.interval) };
                entry.place = Place::Queued(ready);
                self.queue.insert((ready, id));
            }
        }
        self.addresses.entry(slot.address).or_default().checks += 1;
        self.leave(old.address);
    }

    /// Forgets a check. An attempt under way goes on to use its budgets until it is finished.
    pub fn remove(&mut self, id: CheckId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        match entry.place {
            Place::InFlight { .. } => {}
            Place::Queued(at) => {
                self.queue.remove(&(at, id));
            }
            Place::Waiting(at) => {
                if let Some(load) = self.addresses.get_mut(&entry.slot.address) {
                    load.waiting.remove(&(at, id));
                }
            }
        }
        self.leave(entry.slot.address);
    }

    /// The next check to start now, if one is due and there is room. Ask until `None`; the answer may change with time
    /// ([`Schedule::poll_timeout`]), with each finished attempt and with each change of the checks.
    pub fn poll_start(&mut self, now: Instant) -> Option<Start> {
        while let Some(&(ready, id)) = self.queue.first() {
            if ready > now || !self.has_room() || !self.rate.allows(now) {
                return None;
            }
            self.queue.pop_first();
            let entry = self.entries.get_mut(&id).expect("a queued check has an entry");
            let load = self.addresses.entry(entry.slot.address).or_default();
            if load.room(&self.budgets) == 0 {
                load.waiting.insert((ready, id));
                entry.place = Place::Waiting(ready);
                self.lateness.held += 1;
                continue;
            }
            load.in_flight += 1;
            entry.place = Place::InFlight { started: now };
            let (address, interval) = (entry.slot.address, entry.slot.interval);
            self.in_flight.insert(id, address);
            self.rate.take(now);
            let lateness = now.saturating_duration_since(ready);
            self.lateness.add(lateness);
            self.judge(lateness, interval, now);
            return Some(Start { id, lateness });
        }
        None
    }

    /// An attempt has ended: gives its budgets back and makes the check due again, jittered by `random`.
    pub fn handle_finished(&mut self, id: CheckId, delay: Delay, reach: Reach, random: u64, now: Instant) {
        let Some(address) = self.in_flight.remove(&id) else { return };
        self.release(address, reach, now);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Place::InFlight { started } = entry.place else { return };
        entry.due = match delay {
            Delay::AfterResult(wait) => now + jittered(wait, random),
            // After a pause of the whole checker all are due at once; each goes back to its own phase.
            Delay::FromDue(wait) if started.saturating_duration_since(entry.due) > wait / 2 => {
                grid_after(entry.anchor, mean_period(entry.slot.interval), started).max(now)
            }
            Delay::FromDue(wait) => (entry.due + jittered(wait, random)).max(now),
        };
        entry.place = Place::Queued(entry.due);
        self.queue.insert((entry.due, id));
    }

    /// When [`Schedule::poll_start`] or [`Schedule::poll_overload`] may answer differently without another call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let start = match self.queue.first() {
            Some(&(ready, _)) if self.has_room() => Some(ready.max(self.rate.allowed_from(ready))),
            Some(_) | None => None,
        };
        match (start, self.overloaded_until) {
            (Some(start), Some(end)) => Some(start.min(end)),
            (start, end) => start.or(end),
        }
    }

    /// Whether the checker is overloaded. Ask before handling results: a process that stood still sees here that its checks
    /// are late, and then does not believe what failed meanwhile.
    pub fn poll_overload(&mut self, now: Instant) -> bool {
        if let Some(&(ready, id)) = self.queue.first() {
            let interval = self.entries.get(&id).expect("a queued check has an entry").slot.interval;
            self.judge(now.saturating_duration_since(ready), interval, now);
        }
        if self.overloaded_until.is_some_and(|end| end <= now) {
            self.overloaded_until = None;
        }
        self.overloaded_until.is_some()
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Lateness so far.
    pub const fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.budgets.in_flight.max(1)
    }

    fn judge(&mut self, lateness: Duration, interval: Duration, now: Instant) {
        if lateness > interval / 2 {
            let end = now + OVERLOAD_HOLD.max(interval);
            self.overloaded_until = Some(self.overloaded_until.map_or(end, |known| known.max(end)));
        }
    }

    /// Gives one attempt's room at an address back, and lets those that waited for it into the queue, longest first.
    fn release(&mut self, address: IpAddr, reach: Reach, now: Instant) {
        let Some(load) = self.addresses.get_mut(&address) else { return };
        load.in_flight = load.in_flight.saturating_sub(1);
        match reach {
            Reach::Answered => load.is_silent = false,
            Reach::Silent => load.is_silent = true,
            Reach::Unsaid => {}
        }
        for _ in 0..load.room(&self.budgets) {
            let Some((_, id)) = load.waiting.pop_first() else { break };
            let entry = self.entries.get_mut(&id).expect("a waiting check has an entry");
            entry.place = Place::Queued(now);
            self.queue.insert((now, id));
        }
        self.forget_if_unused(address);
    }

    /// One check less at an address.
    fn leave(&mut self, address: IpAddr) {
        if let Some(load) = self.addresses.get_mut(&address) {
            load.checks = load.checks.saturating_sub(1);
        }
        self.forget_if_unused(address);
    }

    fn forget_if_unused(&mut self, address: IpAddr) {
        if self.addresses.get(&address).is_some_and(|load| load.checks == 0 && load.in_flight == 0) {
            self.addresses.remove(&address);
        }
    }
}

/// The first start after `after` on the grid of `anchor` and `period`.
fn grid_after(anchor: Instant, period: Duration, after: Instant) -> Instant {
    let Some(passed) = after.checked_duration_since(anchor) else { return anchor.min(after + period) };
    let into_ns = passed.as_nanos().checked_rem(period.as_nanos()).unwrap_or(0);
    let into = Duration::from_nanos(u64::try_from(into_ns).unwrap_or(u64::MAX));
    after + period.saturating_sub(into)
}

#[cfg(test)]
mod tests;
