// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What metrics tell beside the status document: histograms and counts that no person reads one by one.

/// A distribution, counted in buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds, rising.
    pub bounds: Vec<f64>,
    /// Values at most as large as each bound and larger than the one before; the last for all that are larger.
    pub buckets: Vec<u64>,
    /// Sum of all values in seconds.
    pub sum: f64,
}

impl Histogram {
    /// An empty histogram over `bounds`.
    pub fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), buckets: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts one value.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Everything beside the status.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Telemetry {
    /// What each pool's checks came to.
    pub checks: Vec<PoolChecks>,
    /// How late attempts started.
    pub lateness: Option<Histogram>,
    /// Attempts under way.
    pub in_flight: u64,
    /// From the decision to announce or withdraw until the speaker had written it to its peers.
    pub update_delay: Option<Histogram>,
    /// From a check's verdict until the kernel's rows followed.
    pub rows_delay: Option<Histogram>,
    /// Packets of checks by what the check path did with them.
    pub check_path: Vec<(String, u64)>,
    /// Frames that were lost behind the program on the uplinks, by why.
    pub losses: Vec<(String, u64)>,
    /// Documents by what became of them: `applied`, `rejected`, `unchanged`.
    pub documents: Vec<(String, u64)>,
    /// Transitions of backends: pool, backend, state entered.
    pub backend_transitions: Vec<(String, String, String, u64)>,
}

/// What the checks of a pool came to, over all its backends.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolChecks {
    /// Name of the pool.
    pub pool: String,
    /// `tcp` or `http`.
    pub kind: String,
    /// Attempts by `ok` or failure code.
    pub results: Vec<(String, u64)>,
    /// How long attempts took.
    pub durations: Histogram,
}
