// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Health checking: a set of checks in, a snapshot of verdicts out.
//!
//! This crate owns the attempts (sockets, timeouts, what counts as an answer), the rise/fall machine and the plan of
//! when to try next. It knows no document, no VIP policy and no kernel table: whoever calls it says for each check where to
//! connect, from which address and with which mark, and decides what a verdict means for traffic.
//!
//! ```text
//!                         ┌──────────────────────── monitor (task, the only writer) ───────────────────────┐
//!  set_checks(whole set) ─►  checker (pure):  schedule ─ due ─► probe (one task an attempt) ─ ProbeResult ─┐│
//!                         │                      ▲                                                        ││
//!                         │                      └── delay ◄── state (rise/fall) ◄────────────────────────┘│
//!                         └───────────────────────────┬──────────────────────────────────────────────────┘
//!                                       watch<Arc<HealthSnapshot>>, sent on change only
//! ```
//!
//! [`state`], [`schedule`] and [`checker`] never read a clock, sleep or touch a socket: time, results and randomness are
//! arguments. Every attempt ends within its timeout, every buffer and queue has a named limit.
#![forbid(unsafe_code)]

pub mod check;
pub mod checker;
pub mod error;
pub mod failure;
pub mod monitor;
pub mod probe;
pub mod schedule;
pub mod snapshot;
pub mod state;

mod spread;

pub use check::{
    Check, CheckKey, CheckKind, CheckSpec, HttpCheck, Method, Route, SocketOptions, StatusSet, Timing,
};
pub use checker::{Adopted, CheckerConfig};
pub use error::{CheckSpecError, MonitorGone, SetChecksError};
pub use failure::{Failure, Outcome};
pub use monitor::{Monitor, MonitorHandle};
pub use probe::{ProbeResult, Prober, SocketProber};
pub use schedule::Budgets;
pub use snapshot::{
    CheckHealth, CheckStatus, HealthSnapshot, Lateness, MonitorCounters, PastResult, PoolCounters,
};
pub use state::Verdict;
