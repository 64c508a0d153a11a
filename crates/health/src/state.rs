// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rise/fall machine of one check. Pure: a state and a result give the next state and, if the verdict changed, a
//! transition.
//!
//! ```text
//!              first success                     `fall` failures in a row
//!   unknown ───────────────────► up ─────────────────────────────────────► down
//!      │                          ▲                                        │  ▲
//!      │                          └────────── `rise` successes in a row ───┘  │
//!      └──────────────── first failure: tentative, one success suffices ───────┘
//! ```
//!
//! - Going down from *unknown* rests on a single failure, which may be one lost packet: that verdict is `tentative`. It is
//!   tried again fast, and one success takes it back; a second failure confirms it.
//! - An opposite result sets the count back to zero: failures are counted in a row, never over a lifetime.
//! - A `local` failure says nothing about the backend: it neither counts nor sets a count back.
//! - While the checker is overloaded ([`Confidence::Overloaded`]) its failures count up to one below `fall` and nothing goes
//!   down; the failure that decides has to come from a checker that keeps its times.

use std::time::{Duration, Instant};

use crate::check::Timing;
use crate::failure::{Failure, Outcome};

/// What a check says of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No result yet. Not usable.
    Unknown,
    /// Usable.
    Up,
    /// Failed.
    Down,
}

impl Verdict {
    /// As status pages print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// State of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No result yet.
    Unknown {
        /// When the check came to be.
        since: Instant,
    },
    /// Up.
    Up {
        /// When it came up.
        since: Instant,
        /// Failures since the last success, below `fall`.
        failures: u32,
    },
    /// Down.
    Down {
        /// When it went down.
        since: Instant,
        /// Successes since the last failure, below `rise`.
        successes: u32,
        /// The latest failure; `None` while only a verdict from before a restart is known.
        cause: Option<Failure>,
        /// It rests on the single failure that was the first result: one success takes it back.
        tentative: bool,
    },
}

/// How far a failure can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The checker keeps its times.
    Full,
    /// The checker is late, failures may be its own.
    Overloaded,
}

/// A change of verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Verdict before.
    pub from: Verdict,
    /// Verdict now.
    pub to: Verdict,
    /// The failure that decided, when the new verdict is [`Verdict::Down`].
    pub cause: Option<Failure>,
    /// When.
    pub at: Instant,
}

/// How long to wait for the next attempt, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// From when the last attempt was due: keeps the rhythm whatever an attempt takes.
    FromDue(Duration),
    /// From the last result.
    AfterResult(Duration),
}

/// A result as far as the machine cares.
#[derive(Clone, Copy)]
enum Event {
    Success,
    Failure(Failure),
    FailureInOverload(Failure),
    Nothing,
}

impl State {
    /// A check that nothing is known of.
    pub const fn new(now: Instant) -> Self {
        Self::Unknown { since: now }
    }

    /// The verdict that an earlier run had, taken over so that a restart changes nothing.
    pub const fn adopted(verdict: Verdict, since: Instant) -> Self {
        match verdict {
            Verdict::Unknown => Self::Unknown { since },
            Verdict::Up => Self::Up { since, failures: 0 },
            Verdict::Down => Self::Down { since, successes: 0, cause: None, tentative: false },
        }
    }

    /// The verdict of this state.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Unknown { .. } => Verdict::Unknown,
            Self::Up { .. } => Verdict::Up,
            Self::Down { .. } => Verdict::Down,
        }
    }

    /// Since when the verdict stands.
    pub const fn since(&self) -> Instant {
        match self {
            Self::Unknown { since } | Self::Up { since, .. } | Self::Down { since, .. } => *since,
        }
    }

    /// The latest failure of a backend that is down.
    pub const fn cause(&self) -> Option<Failure> {
        match self {
            Self::Unknown { .. } | Self::Up { .. } => None,
            Self::Down { cause, .. } => *cause,
        }
    }

    /// Results in a row against the verdict, and how many change it; `None` while it is unknown.
    pub const fn progress(&self, timing: &Timing) -> Option<(u32, u32)> {
        match self {
            Self::Unknown { .. } => None,
            Self::Up { failures, .. } => Some((*failures, timing.fall)),
            Self::Down { tentative: true, .. } => Some((0, 1)),
            Self::Down { successes, .. } => Some((*successes, timing.rise)),
        }
    }
}

/// The state after a result, and the change of verdict if there was one.
pub fn step(
    state: &State,
    timing: &Timing,
    outcome: Outcome,
    confidence: Confidence,
    now: Instant,
) -> (State, Option<Transition>) {
    let next = match (*state, event(outcome, confidence)) {
        (unchanged, Event::Nothing) => unchanged,

        (State::Unknown { .. }, Event::Success) => State::Up { since: now, failures: 0 },
        (State::Unknown { .. }, Event::Failure(cause)) => down(now, cause, true),
        (State::Unknown { since }, Event::FailureInOverload(_)) => State::Unknown { since },

        (State::Up { since, .. }, Event::Success) => State::Up { since, failures: 0 },
        (State::Up { since, failures }, Event::Failure(cause)) => {
            // `>=` and not `==`: `fall` may have been lowered since the last result.
            let failures = failures.saturating_add(1);
            if failures >= timing.fall { down(now, cause, false) } else { State::Up { since, failures } }
        }
        (State::Up { since, failures }, Event::FailureInOverload(_)) => {
            State::Up { since, failures: failures.saturating_add(1).min(timing.fall.saturating_sub(1)) }
        }

        (State::Down { since, successes, cause, tentative }, Event::Success) => {
            let successes = successes.saturating_add(1);
            if successes >= timing.rise || tentative {
                State::Up { since: now, failures: 0 }
            } else {
                State::Down { since, successes, cause, tentative }
            }
        }
        (State::Down { since, .. }, Event::Failure(cause) | Event::FailureInOverload(cause)) => {
            State::Down { since, successes: 0, cause: Some(cause), tentative: false }
        }
    };
    let (from, to) = (state.verdict(), next.verdict());
    (next, (from != to).then(|| Transition { from, to, cause: next.cause(), at: now }))
}

/// When to try again, after `outcome` has led to `state`.
///
/// The usual interval while nothing is wrong; the fast one from the first opposite result until it is decided, both ways;
/// the slow one while down, slower still after a long time. An overloaded checker tries what fails slowly: trying it fast would
/// keep it overloaded.
pub fn delay(
    state: &State,
    timing: &Timing,
    outcome: Outcome,
    confidence: Confidence,
    now: Instant,
) -> Delay {
    if confidence == Confidence::Overloaded && outcome.is_err() {
        return Delay::AfterResult(timing.down_interval.max(timing.interval));
    }
    match *state {
        State::Unknown { .. } | State::Up { failures: 0, .. } => Delay::FromDue(timing.interval),
        State::Up { .. } => Delay::AfterResult(timing.fast_interval),
        State::Down { successes: 0, tentative: false, since, .. } => {
            let is_long = now.saturating_duration_since(since) >= timing.down_backoff_after;
            Delay::AfterResult(if is_long { timing.down_interval_max } else { timing.down_interval })
        }
        State::Down { .. } => Delay::AfterResult(timing.fast_interval),
    }
}

const fn down(now: Instant, cause: Failure, tentative: bool) -> State {
    State::Down { since: now, successes: 0, cause: Some(cause), tentative }
}

const fn event(outcome: Outcome, confidence: Confidence) -> Event {
    match (outcome, confidence) {
        (Ok(()), Confidence::Full | Confidence::Overloaded) => Event::Success,
        (Err(Failure::Local), Confidence::Full | Confidence::Overloaded) => Event::Nothing,
        (Err(failure), Confidence::Full) => Event::Failure(failure),
        (Err(failure), Confidence::Overloaded) => Event::FailureInOverload(failure),
    }
}

#[cfg(test)]
mod tests;
