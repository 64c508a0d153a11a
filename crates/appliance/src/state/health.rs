// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Verdicts of health checks over restarts, so that a backend that is down is not tried with traffic first.
//!
//! Each verdict is kept with the time up to which nothing spoke against it; the checker believes one for a few intervals
//! and forgets older ones. So the file is worth something only when it is fresh: it is written every
//! [`WRITE_INTERVAL`] and at the end of the process, and losing it costs nothing but the first results.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use weir_health::checker::CHECKS_MAX;
use weir_health::{Adopted, CheckKey, CheckStatus, MonitorGone, MonitorHandle, PastResult, Verdict};

use super::dir::StateDir;
use super::envelope::{FileError, seal, unseal};
use super::moment::Moment;

/// Its file.
const NAME: &str = "health.json";
/// How often it is written while there are checks: the disk's share of a thousand checks.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps the verdicts of a monitor.
#[derive(Debug)]
pub struct HealthFile {
    state: StateDir,
    monitor: MonitorHandle,
    /// Whether the file holds verdicts, as far as this process knows.
    is_filled: bool,
}

impl HealthFile {
    /// Verdicts of an earlier process, and how old each is now. One from the future is of a clock that was wrong, then or
    /// now: its age is unknown, so it is left out.
    pub fn load(state: &StateDir) -> BTreeMap<CheckKey, Adopted> {
        let lines: Vec<Line> = state.load(NAME, read).unwrap_or_default();
        adopt(lines, SystemTime::now())
    }

    /// Of the checks of `monitor`.
    pub fn new(state: &StateDir, monitor: MonitorHandle) -> Self {
        // What an earlier process left is replaced by the first turn, also by nothing.
        Self { state: state.clone(), monitor, is_filled: true }
    }

    /// Writes what is known now. To be called once more at the end of the process, while the monitor still runs.
    pub async fn write(&mut self) -> Result<(), MonitorGone> {
        let statuses = self.monitor.status(None).await?;
        let clock = (Instant::now(), SystemTime::now());
        let lines: Vec<Line> = statuses.iter().filter_map(|status| line(status, clock)).collect();
        if lines.is_empty() && !self.is_filled {
            return Ok(());
        }
        self.is_filled = !lines.is_empty();
        // What cannot be kept is said by a condition.
        self.state.keep(NAME, move || seal(&lines)).await;
        Ok(())
    }

    /// Writes every [`WRITE_INTERVAL`] until the monitor ends or this is dropped.
    pub async fn run(&mut self) {
        let mut turns = tokio::time::interval(WRITE_INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first turn comes at once, when there is nothing to tell yet.
        turns.tick().await;
        loop {
            turns.tick().await;
            if self.write().await.is_err() {
                return;
            }
        }
    }
}

/// One verdict in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    pool: String,
    backend: String,
    check: String,
    /// Of the backend: one that has another by now is another.
    address: IpAddr,
    is_up: bool,
    confirmed_ms: Moment,
}

fn line(status: &CheckStatus, (now, wall): (Instant, SystemTime)) -> Option<Line> {
    let is_up = match status.state.verdict() {
        Verdict::Unknown => return None,
        Verdict::Up => true,
        Verdict::Down => false,
    };
    let agrees = |result: &PastResult| result.outcome.is_ok() == is_up;
    // While the last result agrees the verdict stands, however rarely its check is tried: it is confirmed up to now.
    let confirmed = match status.results.iter().rposition(agrees) {
        Some(last) if last + 1 < status.results.len() => status.results[last].at,
        Some(_) => now,
        None => status.state.since(),
    };
    let age = now.saturating_duration_since(confirmed);
    Some(Line {
        pool: status.key.pool.to_string(),
        backend: status.key.backend.to_string(),
        check: status.key.check.to_string(),
        address: status.check.address,
        is_up,
        confirmed_ms: wall.checked_sub(age)?.into(),
    })
}

fn read(bytes: &[u8]) -> Result<Vec<Line>, FileError> {
    unseal(bytes)
}

fn adopt(lines: Vec<Line>, now: SystemTime) -> BTreeMap<CheckKey, Adopted> {
    let adopted = lines.into_iter().take(CHECKS_MAX).filter_map(|line| {
        let age = now.duration_since(line.confirmed_ms.time()?).ok()?;
        let verdict = if line.is_up { Verdict::Up } else { Verdict::Down };
        let adopted = Adopted { address: line.address, verdict, age };
        Some((CheckKey::new(&line.pool, &line.backend, &line.check), adopted))
    });
    adopted.collect()
}

#[cfg(test)]
mod tests;
