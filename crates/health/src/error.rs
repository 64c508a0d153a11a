// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What callers can do wrong, and what they are told.

use std::time::Duration;

/// Why a check specification is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckSpecError {
    /// A duration lies outside its range.
    #[error("{field} is {value:?}, it must be from {min:?} to {max:?}")]
    DurationOutOfRange {
        /// The field, as it is called in `Timing`.
        field: &'static str,
        /// What was given.
        value: Duration,
        /// Smallest value allowed.
        min: Duration,
        /// Largest value allowed.
        max: Duration,
    },
    /// An attempt could still be running when the next is due.
    #[error("timeout {timeout:?} must be shorter than interval {interval:?}")]
    TimeoutNotBelowInterval {
        /// The timeout given.
        timeout: Duration,
        /// The interval given.
        interval: Duration,
    },
    /// `rise` or `fall` lies outside its range.
    #[error("{field} is {value}, it must be from 1 to {max}")]
    CountOutOfRange {
        /// `rise` or `fall`.
        field: &'static str,
        /// What was given.
        value: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// The request target is not a path that can be sent.
    #[error("path must start with `/` and hold at most {max} visible ASCII characters")]
    BadPath {
        /// Longest path.
        max: usize,
    },
    /// The host is not one that can be sent.
    #[error("host must hold 1 to {max} visible ASCII characters")]
    BadHost {
        /// Longest host.
        max: usize,
    },
    /// No status could ever be right, or a range is empty or outside 100 to 599.
    #[error("expected statuses must be non-empty ranges within 100 to 599")]
    BadStatusSet,
    /// The text to look for cannot be looked for.
    #[error("body text must hold 1 to {max} bytes")]
    BadBody {
        /// Longest text.
        max: usize,
    },
    /// The answer to this method has no body.
    #[error("a body text cannot be expected of a HEAD request")]
    BodyOfHead,
}

/// The monitor task has ended: the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the health monitor has stopped")]
pub struct MonitorGone;

/// Why a set of checks was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetChecksError {
    /// More checks than one monitor runs.
    #[error("{given} checks, one monitor runs at most {max}")]
    TooMany {
        /// How many were given.
        given: usize,
        /// The limit.
        max: usize,
    },
    /// The monitor task has ended.
    #[error(transparent)]
    Gone(#[from] MonitorGone),
}
