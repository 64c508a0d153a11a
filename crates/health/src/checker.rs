// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All checks together: schedule, states and history behind one face. Pure, the monitor task drives it.
//!
//! Contract: [`Checker::handle_time`] first after every wait, then the results and commands that came, then
//! [`Checker::poll_start`] until `None` and [`Checker::poll_snapshot`] once, then wait for [`Checker::poll_timeout`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::check::{Check, CheckKey, Timing};
use crate::probe::ProbeResult;
use crate::schedule::{Budgets, CheckId, Reach, Schedule, Slot};
use crate::snapshot::{CheckHealth, CheckStatus, HealthSnapshot, MonitorCounters, PastResult};
use crate::spread::{Random, phase};
use crate::state::{Confidence, Delay, State, Transition, Verdict, delay, step};

/// Checks of one set.
pub const CHECKS_MAX: usize = 65_536;

/// Least time between two snapshots that tell of verdicts. The first change is told at once; thousands that follow, at a
/// start or when a rack dies, are told together, since a reader wakes for each snapshot and looks at all of it.
pub const SNAPSHOT_SPACING: Duration = Duration::from_millis(10);

/// Intervals for which a verdict of an earlier run is believed.
const ADOPT_INTERVALS: u32 = 5;

/// A verdict of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Address of the backend that it was about.
    pub address: IpAddr,
    /// The verdict.
    pub verdict: Verdict,
    /// How long before the checker's start it was last confirmed.
    pub age: Duration,
}

/// What a [`Checker`] is made with.
#[derive(Clone, Debug, Default)]
pub struct CheckerConfig {
    /// Name of this appliance, part of every phase.
    pub appliance: String,
    /// How much may go on at once.
    pub budgets: Budgets,
    /// Seed of the jitter.
    pub seed: u64,
    /// Verdicts of an earlier run; one younger than five intervals is taken over when its check appears.
    pub adopted: BTreeMap<CheckKey, Adopted>,
}

impl Adopted {
    /// Whether it is still believed of a check at `address` with this timing.
    pub fn is_believed(&self, address: IpAddr, timing: &Timing) -> bool {
        self.address == address && self.age < timing.interval * ADOPT_INTERVALS
    }
}

/// One attempt to be made now.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What to try.
    pub check: Arc<Check>,
    /// To be handed back with the result.
    pub ticket: Ticket,
}

/// Which check an attempt belongs to, and in which of its revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    id: CheckId,
    revision: u64,
}

/// Schedule, states and history of a set of checks.
#[derive(Debug)]
pub struct Checker {
    appliance: String,
    started: Instant,
    adopted: BTreeMap<CheckKey, Adopted>,
    random: Random,
    schedule: Schedule,
    ids: BTreeMap<Arc<CheckKey>, CheckId>,
    entries: HashMap<CheckId, Entry>,
    next_id: u64,
    set: u64,
    is_overloaded: bool,
    change: Change,
    /// From when on a changed verdict may be told.
    next_snapshot: Instant,
    counters: MonitorCounters,
}

/// What has changed since the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Told when the spacing allows.
    Verdicts,
    /// Told at once.
    SetOrCondition,
}

#[derive(Debug)]
struct Entry {
    key: Arc<CheckKey>,
    check: Arc<Check>,
    /// Counts the changes of `check`: a result of what the check was before says nothing of what it is.
    revision: u64,
    state: State,
    results: VecDeque<PastResult>,
}

impl Checker {
    /// A checker without checks.
    pub fn new(config: CheckerConfig, now: Instant) -> Self {
        let CheckerConfig { appliance, budgets, seed, adopted } = config;
        Self {
            appliance,
            started: now,
            adopted,
            random: Random::new(seed),
            schedule: Schedule::new(budgets),
            ids: BTreeMap::new(),
            entries: HashMap::new(),
            next_id: 0,
            set: 0,
            is_overloaded: false,
            change: Change::Nothing,
            next_snapshot: now,
            counters: MonitorCounters::default(),
        }
    }

    /// Time has passed. Comes before the results that came in that time, since it notices a checker that stood still.
    pub fn handle_time(&mut self, now: Instant) {
        let is_overloaded = self.schedule.poll_overload(now);
        if is_overloaded != self.is_overloaded {
            self.is_overloaded = is_overloaded;
            self.change = Change::SetOrCondition;
            let lateness_ms = self.schedule.lateness().max.as_millis();
            if is_overloaded {
                warn!(checks = self.ids.len(), lateness_ms, "health checker overloaded, no check goes down");
            } else {
                info!(checks = self.ids.len(), "health checker keeps its times again");
            }
        }
    }

    /// Replaces the whole set; answers with its number. What is unchanged keeps its phase, state and history; what changed
    /// keeps its state and history, unless it is about another address now: then it is as new. What is new starts unknown, or
    /// as adopted. The caller has bounded the set.
    pub fn handle_checks(&mut self, checks: BTreeMap<CheckKey, Check>, now: Instant) -> u64 {
        let gone: Vec<_> =
            self.ids.keys().filter(|key| !checks.contains_key(&***key)).map(Arc::clone).collect();
        for key in gone {
            if let Some(id) = self.ids.remove(&key) {
                self.entries.remove(&id);
                self.schedule.remove(id);
            }
        }
        for (key, check) in checks {
            match self.ids.get(&key) {
                Some(&id) => self.change(id, check, now),
                None => self.add(key, check, now),
            }
        }
        self.forget_pools();
        self.set += 1;
        self.change = Change::SetOrCondition;
        self.set
    }

    /// A result. One of a check that changed or went away meanwhile only frees its place.
    pub fn handle_result(&mut self, ticket: Ticket, result: ProbeResult, now: Instant) {
        let ProbeResult { outcome, duration } = result;
        match outcome {
            Ok(()) => self.counters.successes += 1,
            Err(failure) => self.counters.failures[failure.index()] += 1,
        }
        let random = self.random.next();
        let confidence = if self.is_overloaded { Confidence::Overloaded } else { Confidence::Full };
        let Some(entry) = self.entries.get_mut(&ticket.id) else {
            self.counters.stale += 1;
            let unused = Delay::AfterResult(Duration::ZERO);
            return self.schedule.handle_finished(ticket.id, unused, Reach::of(outcome), random, now);
        };
        let timing = entry.check.spec.timing();
        if entry.revision != ticket.revision {
            self.counters.stale += 1;
            let again = Delay::AfterResult(timing.fast_interval);
            return self.schedule.handle_finished(ticket.id, again, Reach::Unsaid, random, now);
        }
        if entry.results.len() == PastResult::KEPT {
            entry.results.pop_front();
        }
        entry.results.push_back(PastResult { at: now, duration, outcome });
        let of_pool = (Arc::clone(&entry.key.pool), entry.check.spec.kind().name());
        self.counters.pools.entry(of_pool).or_default().add(outcome, duration);

        let (state, transition) = step(&entry.state, timing, outcome, confidence, now);
        entry.state = state;
        if let Some(transition) = transition {
            log(&entry.key, &transition);
            self.counters.transitions += 1;
            if self.change == Change::Nothing {
                self.change = Change::Verdicts;
            }
        }
        let next = delay(&state, timing, outcome, confidence, now);
        self.schedule.handle_finished(ticket.id, next, Reach::of(outcome), random, now);
    }

    /// The next attempt to make now. Ask until `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<Attempt> {
        let id = self.schedule.poll_start(now)?.id;
        let entry = self.entries.get(&id).expect("a scheduled check has an entry");
        Some(Attempt { check: Arc::clone(&entry.check), ticket: Ticket { id, revision: entry.revision } })
    }

    /// A new snapshot, if a verdict, the set or the checker's condition has changed since the last one. Verdicts alone are
    /// told [`SNAPSHOT_SPACING`] apart.
    pub fn poll_snapshot(&mut self, now: Instant) -> Option<HealthSnapshot> {
        match self.change {
            Change::Nothing => return None,
            Change::Verdicts if now < self.next_snapshot => return None,
            Change::Verdicts | Change::SetOrCondition => {}
        }
        self.change = Change::Nothing;
        self.next_snapshot = now + SNAPSHOT_SPACING;
        let checks = self.ids.iter().filter_map(|(key, id)| {
            let Entry { check, state, .. } = self.entries.get(id)?;
            Some((Arc::clone(key), health(check.address, state)))
        });
        Some(HealthSnapshot { set: self.set, checks: checks.collect(), is_overloaded: self.is_overloaded })
    }

    /// When to come back though nothing else happens. May change with every other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let snapshot = (self.change != Change::Nothing).then_some(self.next_snapshot);
        [self.schedule.poll_timeout(), snapshot].into_iter().flatten().min()
    }

    /// State and history of all checks, or of those of one pool, in the order of their keys.
    pub fn status(&self, pool: Option<&str>) -> Vec<CheckStatus> {
        let of_pool = |key: &CheckKey| pool.is_none_or(|pool| *key.pool == *pool);
        let entries =
            self.ids.iter().filter(|(key, _)| of_pool(key)).filter_map(|(_, id)| self.entries.get(id));
        let status = |entry: &Entry| CheckStatus {
            key: Arc::clone(&entry.key),
            check: Arc::clone(&entry.check),
            state: entry.state,
            results: entry.results.iter().copied().collect(),
        };
        entries.map(status).collect()
    }

    /// Counters since the start.
    pub fn counters(&self) -> MonitorCounters {
        MonitorCounters {
            checks: self.ids.len(),
            in_flight: self.schedule.in_flight(),
            lateness: self.schedule.lateness().clone(),
            is_overloaded: self.is_overloaded,
            ..self.counters.clone()
        }
    }

    /// Counters follow the set: those of a pool that has no check of the kind any more go.
    fn forget_pools(&mut self) {
        let present: BTreeSet<(&str, &str)> =
            self.entries.values().map(|entry| (&*entry.key.pool, entry.check.spec.kind().name())).collect();
        self.counters.pools.retain(|(pool, kind), _| present.contains(&(&**pool, *kind)));
    }

    fn add(&mut self, key: CheckKey, check: Check, now: Instant) {
        let id = CheckId(self.next_id);
        self.next_id += 1;
        let slot = self.slot(&key, &check);
        let state = self.first_state(&key, &check, now);
        let key = Arc::new(key);
        self.schedule.insert(id, slot, now);
        self.ids.insert(Arc::clone(&key), id);
        let results = VecDeque::with_capacity(PastResult::KEPT);
        self.entries.insert(id, Entry { key, check: Arc::new(check), revision: 0, state, results });
    }

    fn change(&mut self, id: CheckId, check: Check, now: Instant) {
        let entry = self.entries.get_mut(&id).expect("a known key has an entry");
        if *entry.check == check {
            return;
        }
        if entry.check.address != check.address {
            // Another host under an old name: what the one before said is nothing about it.
            entry.state = State::new(now);
            entry.results.clear();
        }
        entry.check = Arc::new(check);
        entry.revision += 1;
        let (key, check) = (Arc::clone(&entry.key), Arc::clone(&entry.check));
        let slot = self.slot(&key, &check);
        self.schedule.update(id, slot, now);
    }

    fn slot(&self, key: &CheckKey, check: &Check) -> Slot {
        let interval = check.spec.timing().interval;
        Slot { address: check.address, interval, phase: phase(&self.appliance, key, interval) }
    }

    fn first_state(&mut self, key: &CheckKey, check: &Check, now: Instant) -> State {
        let Some(adopted) = self.adopted.remove(key) else { return State::new(now) };
        let age = adopted.age.saturating_add(now.saturating_duration_since(self.started));
        if (Adopted { age, ..adopted }).is_believed(check.address, check.spec.timing()) {
            State::adopted(adopted.verdict, now.checked_sub(age).unwrap_or(now))
        } else {
            State::new(now)
        }
    }
}

/// The verdicts of an earlier run, as they are before any check runs.
pub(crate) fn adopted_snapshot(adopted: &BTreeMap<CheckKey, Adopted>, now: Instant) -> HealthSnapshot {
    let of = |(key, one): (&CheckKey, &Adopted)| {
        let state = State::adopted(one.verdict, now.checked_sub(one.age).unwrap_or(now));
        (Arc::new(key.clone()), health(one.address, &state))
    };
    HealthSnapshot { checks: adopted.iter().map(of).collect(), ..HealthSnapshot::default() }
}

fn health(address: IpAddr, state: &State) -> CheckHealth {
    CheckHealth { address, verdict: state.verdict(), since: state.since(), cause: state.cause() }
}

/// A change that an operator wants to know of is `info`; the first verdict of each check, thousands at a start, is not.
fn log(key: &CheckKey, transition: &Transition) {
    let CheckKey { pool, backend, check } = key;
    let Transition { from, to, cause, .. } = transition;
    let (from, to, cause) = (from.as_str(), to.as_str(), cause.map(tracing::field::display));
    match (transition.from, transition.to) {
        (Verdict::Unknown, Verdict::Up) => debug!(%pool, %backend, %check, from, to, "check decided"),
        (_, Verdict::Up | Verdict::Down | Verdict::Unknown) => {
            info!(%pool, %backend, %check, from, to, cause, "check changed");
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
