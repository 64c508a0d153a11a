// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know: the verdicts (published on change), and on request the history and the counters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::check::{Check, CheckKey};
use crate::failure::{Failure, Outcome};
use crate::state::{State, Verdict};

/// All verdicts at one time. Two snapshots differ in a verdict, in the set of checks, or in the checker's own condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// Counts the sets given; a caller that got `n` for its set waits for a snapshot of at least `n`.
    pub set: u64,
    /// Verdict of each check of that set; before the first set, the verdicts of an earlier run.
    pub checks: BTreeMap<Arc<CheckKey>, CheckHealth>,
    /// The checker is late: nothing goes down until it keeps its times again.
    pub is_overloaded: bool,
}

impl HealthSnapshot {
    /// Verdict of a check; a check that is not in the set is unknown.
    pub fn verdict(&self, key: &CheckKey) -> Verdict {
        self.checks.get(key).map_or(Verdict::Unknown, |health| health.verdict)
    }

    /// How many checks have each verdict: unknown, up, down.
    pub fn counts(&self) -> [usize; 3] {
        let of = |verdict| self.checks.values().filter(|health| health.verdict == verdict).count();
        [of(Verdict::Unknown), of(Verdict::Up), of(Verdict::Down)]
    }
}

/// Verdict of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckHealth {
    /// Address of the backend that it is about.
    pub address: IpAddr,
    /// The verdict.
    pub verdict: Verdict,
    /// Since when it stands.
    pub since: Instant,
    /// The latest failure of a backend that is down, as of this snapshot.
    pub cause: Option<Failure>,
}

/// Everything known of one check.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// Which.
    pub key: Arc<CheckKey>,
    /// What is checked.
    pub check: Arc<Check>,
    /// Verdict, since when, and the count towards the next.
    pub state: State,
    /// The last results, oldest first, at most [`PastResult::KEPT`].
    pub results: Vec<PastResult>,
}

/// One result of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastResult {
    /// When it came.
    pub at: Instant,
    /// How long the attempt took.
    pub duration: Duration,
    /// What it was.
    pub outcome: Outcome,
}

impl PastResult {
    /// Results kept of each check.
    pub const KEPT: usize = 10;
}

/// Counters since the start, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorCounters {
    /// Checks in the set.
    pub checks: usize,
    /// Attempts under way.
    pub in_flight: usize,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed, in the order of [`Failure::CODES`].
    pub failures: [u64; Failure::CODES.len()],
    /// Changes of verdict.
    pub transitions: u64,
    /// Results thrown away since their check had changed or gone meanwhile.
    pub stale: u64,
    /// By pool and kind of check, for those that the set has.
    pub pools: BTreeMap<(Arc<str>, &'static str), PoolCounters>,
    /// How late starts were.
    pub lateness: Lateness,
    /// The checker is late now.
    pub is_overloaded: bool,
}

/// What the checks of one pool and kind came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed, in the order of [`Failure::CODES`].
    pub failures: [u64; Failure::CODES.len()],
    /// Attempts by how long they took, not cumulative: bounds as [`PoolCounters::BOUNDS`], the last for all others.
    pub durations: [u64; PoolCounters::BOUNDS.len() + 1],
    /// How long all took together.
    pub duration_sum: Duration,
}

impl PoolCounters {
    /// Upper bounds of the buckets: half a millisecond, doubled until beyond the longest usual timeout.
    pub const BOUNDS: [Duration; 14] = {
        let mut bounds = [Duration::from_micros(500); 14];
        let mut at = 1;
        while at < bounds.len() {
            bounds[at] = Duration::from_micros(500 << at);
            at += 1;
        }
        bounds
    };

    pub(crate) fn add(&mut self, outcome: Outcome, duration: Duration) {
        match outcome {
            Ok(()) => self.successes += 1,
            Err(failure) => self.failures[failure.index()] += 1,
        }
        let bucket = Self::BOUNDS.iter().position(|&bound| duration <= bound).unwrap_or(Self::BOUNDS.len());
        self.durations[bucket] += 1;
        self.duration_sum = self.duration_sum.saturating_add(duration);
    }
}

/// How late attempts started, as a histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Starts at most this late, not cumulative: bounds as [`Lateness::BOUNDS`], the last for all others.
    pub buckets: [u64; Lateness::BOUNDS.len() + 1],
    /// Sum of all.
    pub sum: Duration,
    /// The worst.
    pub max: Duration,
    /// Times that a due check had to wait for room at its address, which is not lateness.
    pub held: u64,
}

impl Lateness {
    /// Upper bounds of the buckets.
    pub const BOUNDS: [Duration; 8] = [
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(1),
    ];

    /// Starts counted.
    pub fn starts(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn add(&mut self, lateness: Duration) {
        let bucket = Self::BOUNDS.iter().position(|&bound| lateness <= bound).unwrap_or(Self::BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(lateness);
        self.max = self.max.max(lateness);
    }
}
