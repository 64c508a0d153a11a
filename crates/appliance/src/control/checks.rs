// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Health checks: the monitor's words in the API's. Pure.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use weir_api::metrics::{Histogram, PoolChecks};
use weir_api::v1::{CheckDetail, CheckResult, CheckVerdict, HealthStatus, Timestamp};
use weir_health::{CheckStatus, Failure, HealthSnapshot, Lateness, PoolCounters, Verdict};

/// One reading of both clocks: turns the monitor's times into times of day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

impl Clocks {
    fn wall(self, at: Instant) -> Timestamp {
        let ago = self.at.saturating_duration_since(at);
        Timestamp(self.wall.checked_sub(ago).unwrap_or(self.wall))
    }
}

/// Checks with their last results, by backend.
pub(super) fn details(checks: &[CheckStatus], clocks: Clocks) -> BTreeMap<String, Vec<CheckDetail>> {
    let mut by_backend: BTreeMap<String, Vec<CheckDetail>> = BTreeMap::new();
    for check in checks {
        let results = check.results.iter().map(|result| CheckResult {
            at: clocks.wall(result.at),
            seconds: result.duration.as_secs_f64(),
            outcome: result.outcome.map_or_else(|failure| failure.to_string(), |()| "ok".to_owned()),
        });
        let detail = CheckDetail {
            target: check.check.target.to_string(),
            verdict: verdict(check.state.verdict()),
            since: clocks.wall(check.state.since()),
            results: results.collect(),
        };
        by_backend.entry(check.key.backend.to_string()).or_default().push(detail);
    }
    by_backend
}

fn verdict(verdict: Verdict) -> CheckVerdict {
    match verdict {
        Verdict::Unknown => CheckVerdict::Unknown,
        Verdict::Up => CheckVerdict::Up,
        Verdict::Down => CheckVerdict::Down,
    }
}

/// The checker as a whole.
pub(super) fn summary(snapshot: &HealthSnapshot) -> HealthStatus {
    let [unknown, up, down] = snapshot.counts().map(|count| count as u64);
    HealthStatus { checks: unknown + up + down, unknown, up, down, is_overloaded: snapshot.is_overloaded }
}

/// What the checks of each pool came to.
pub(super) fn by_pool(
    pools: &BTreeMap<(std::sync::Arc<str>, &'static str), PoolCounters>,
) -> Vec<PoolChecks> {
    let one = |((pool, kind), counters): (&(std::sync::Arc<str>, &'static str), &PoolCounters)| {
        let failures = Failure::CODES.iter().zip(counters.failures);
        let failures = failures.map(|(code, times)| ((*code).to_owned(), times));
        PoolChecks {
            pool: pool.to_string(),
            kind: (*kind).to_owned(),
            results: [("ok".to_owned(), counters.successes)].into_iter().chain(failures).collect(),
            durations: Histogram {
                bounds: PoolCounters::BOUNDS.map(|bound| bound.as_secs_f64()).to_vec(),
                buckets: counters.durations.to_vec(),
                sum: counters.duration_sum.as_secs_f64(),
            },
        }
    };
    pools.iter().map(one).collect()
}

pub(super) fn lateness(lateness: &Lateness) -> Histogram {
    Histogram {
        bounds: Lateness::BOUNDS.map(|bound| bound.as_secs_f64()).to_vec(),
        buckets: lateness.buckets.to_vec(),
        sum: lateness.sum.as_secs_f64(),
    }
}
