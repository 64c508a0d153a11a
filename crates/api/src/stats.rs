// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this crate counts of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};

use crate::metrics::Histogram;

/// Bounds of request durations, in seconds.
const DURATION_BOUNDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// The route of requests that match none.
const UNMATCHED: &str = "unmatched";

/// Counters of the API, since the start. Label values are routes, methods and statuses: all three sets are closed.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    requests: Mutex<Requests>,
    /// Readers of events right now.
    pub(crate) watchers: AtomicU64,
    /// Readers that were cut off because they were too slow.
    pub(crate) overflows: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    by_result: BTreeMap<(String, &'static str, u16), u64>,
    durations: BTreeMap<String, Histogram>,
}

/// What was counted so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApiCounts {
    /// Requests by route, method and status.
    pub requests: Vec<(String, &'static str, u16, u64)>,
    /// Time to the head of the answer, by route.
    pub durations: Vec<(String, Histogram)>,
    /// Readers of events now.
    pub watchers: u64,
    /// Readers of events that were cut off.
    pub overflows: u64,
}

impl Stats {
    /// Counts one request. `route` is the template that it matched.
    pub(crate) fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = route.unwrap_or(UNMATCHED);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.to_owned(), method_word(method), status.as_u16());
        *requests.by_result.entry(key).or_default() += 1;
        let histogram =
            requests.durations.entry(route.to_owned()).or_insert_with(|| Histogram::new(&DURATION_BOUNDS));
        histogram.observe(took.as_secs_f64());
    }

    /// Everything as of now.
    pub(crate) fn counts(&self) -> ApiCounts {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let by_result = requests.by_result.iter();
        ApiCounts {
            requests: by_result
                .map(|((route, method, status), n)| (route.clone(), *method, *status, *n))
                .collect(),
            durations: requests.durations.iter().map(|(route, one)| (route.clone(), one.clone())).collect(),
            watchers: self.watchers.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }
}

/// A client may send any word as its method; only known ones become a series.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
