// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What to check: keys, targets, sockets and validated specifications.
//!
//! A [`CheckSpec`] can only be made by a constructor that refuses what could not work, so nothing behind it checks again.
//! The same specification serves every backend of a pool and is shared by [`Arc`].

mod http;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub use http::{HttpCheck, Method, StatusSet};

use crate::error::CheckSpecError;

/// Names one check. A renamed check is another one: nothing of the old name's state lives on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Name of the backend in it.
    pub backend: Arc<str>,
    /// Name of the check, one of several of a pool.
    pub check: Arc<str>,
}

impl CheckKey {
    /// A key from its three names.
    pub fn new(pool: &str, backend: &str, check: &str) -> Self {
        Self { pool: pool.into(), backend: backend.into(), check: check.into() }
    }
}

/// One check of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is tried, and how often.
    pub spec: Arc<CheckSpec>,
    /// Where to connect: the VIP and port when the socket's mark leads through the tunnel, else the backend itself.
    pub target: SocketAddr,
    /// The backend's own address. Checks of one address share a budget of attempts in flight.
    pub address: IpAddr,
    /// Whether there is a way to the backend at all.
    pub route: Route,
    /// How the socket is made.
    pub socket: SocketOptions,
}

/// Whether the caller knows a way to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Attempts can be sent.
    #[default]
    Ready,
    /// No next hop: each attempt fails at once with `no-nexthop` and sends nothing.
    NoNextHop,
}

/// What is set on a check's socket before it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Address to send from; `None` leaves the choice to the kernel.
    pub source: Option<IpAddr>,
    /// `SO_MARK`, which chooses the route to the backend; needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// `TCP_MAXSEG` to advertise, so that answers fit the path without fragments.
    pub max_segment: Option<u16>,
}

/// What one attempt does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Connect, then reset.
    Tcp,
    /// One HTTP/1.1 request and its bounded answer.
    Http(HttpCheck),
}

impl CheckKind {
    /// The word in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
        }
    }
}

/// What is tried and how often; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    kind: CheckKind,
    timing: Timing,
}

impl CheckSpec {
    /// A specification, or the first thing that is wrong with its timing.
    pub fn new(kind: CheckKind, timing: Timing) -> Result<Self, CheckSpecError> {
        timing.validate()?;
        Ok(Self { kind, timing })
    }

    /// What one attempt does.
    pub const fn kind(&self) -> &CheckKind {
        &self.kind
    }

    /// How often, how long, how many.
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }
}

/// How often to try, how long to wait, and how many results in a row decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between the starts of two attempts while nothing is wrong. [`Timing::INTERVAL_RANGE`].
    pub interval: Duration,
    /// Longest time of one whole attempt; at least [`Timing::TIMEOUT_MIN`] and shorter than `interval`.
    pub timeout: Duration,
    /// Wait between attempts while a change is being decided, from the first opposite result on. At most `interval`.
    pub fast_interval: Duration,
    /// Wait between attempts of a backend that is down. At least `fast_interval`.
    pub down_interval: Duration,
    /// The wait once a backend has been down for `down_backoff_after`. At least `down_interval`.
    pub down_interval_max: Duration,
    /// How long a backend is down before its attempts get rare.
    pub down_backoff_after: Duration,
    /// Successes in a row that bring a backend up, 1 to [`Timing::COUNT_MAX`].
    pub rise: u32,
    /// Failures in a row that take a backend down, 1 to [`Timing::COUNT_MAX`].
    pub fall: u32,
}

impl Timing {
    /// Shortest and longest `interval`, also the bound of every other wait.
    pub const INTERVAL_RANGE: RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_secs(3_600);
    /// Shortest `timeout`.
    pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
    /// Shortest `fast_interval`.
    pub const FAST_INTERVAL_MIN: Duration = Duration::from_millis(50);
    /// Longest `down_backoff_after`.
    pub const BACKOFF_AFTER_MAX: Duration = Duration::from_secs(86_400);
    /// Largest `rise` and `fall`.
    pub const COUNT_MAX: u32 = 100;

    /// The defaults fitted to an interval: shorter waits where the usual ones would not fit.
    pub fn with_interval(interval: Duration) -> Self {
        let usual = Self::default();
        let down_interval = usual.down_interval.max(interval);
        Self {
            interval,
            timeout: usual.timeout.min(interval / 2),
            fast_interval: usual.fast_interval.min(interval),
            down_interval,
            down_interval_max: usual.down_interval_max.max(down_interval),
            ..usual
        }
    }

    /// Longest time from a backend's death to the verdict `down`, apart from the checker's own lateness. A port that
    /// refuses answers at once; a silent host costs the timeout each time.
    pub fn detection_max(&self, is_silent: bool) -> Duration {
        let attempt = if is_silent { self.timeout } else { Duration::ZERO };
        self.interval + attempt + (self.fast_interval + attempt) * self.fall.saturating_sub(1)
    }

    fn validate(&self) -> Result<(), CheckSpecError> {
        let (shortest, longest) = (*Self::INTERVAL_RANGE.start(), *Self::INTERVAL_RANGE.end());
        for (field, value, min, max) in [
            ("interval", self.interval, shortest, longest),
            ("timeout", self.timeout, Self::TIMEOUT_MIN, longest),
            ("fast_interval", self.fast_interval, Self::FAST_INTERVAL_MIN, self.interval),
            ("down_interval", self.down_interval, self.fast_interval, longest),
            ("down_interval_max", self.down_interval_max, self.down_interval, longest),
            ("down_backoff_after", self.down_backoff_after, Duration::ZERO, Self::BACKOFF_AFTER_MAX),
        ] {
            if !(min..=max).contains(&value) {
                return Err(CheckSpecError::DurationOutOfRange { field, value, min, max });
            }
        }
        if self.timeout >= self.interval {
            let Self { timeout, interval, .. } = *self;
            return Err(CheckSpecError::TimeoutNotBelowInterval { timeout, interval });
        }
        for (field, value) in [("rise", self.rise), ("fall", self.fall)] {
            if !(1..=Self::COUNT_MAX).contains(&value) {
                return Err(CheckSpecError::CountOutOfRange { field, value, max: Self::COUNT_MAX });
            }
        }
        Ok(())
    }
}

impl Default for Timing {
    /// Every 2 s with a timeout of 1 s; down after 3, up after 2; a refused connection is detected within 3 s, a silent host
    /// within 6 s.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fast_interval: Duration::from_millis(500),
            down_interval: Duration::from_secs(5),
            down_interval_max: Duration::from_secs(30),
            down_backoff_after: Duration::from_secs(300),
            rise: 2,
            fall: 3,
        }
    }
}

#[cfg(test)]
mod tests;
