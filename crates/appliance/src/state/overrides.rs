// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides over restarts: the only writer of which overrides are in force.
//!
//! A change takes effect at once, is written, and only then answered. If it cannot be written it holds all the same, the
//! answer says so, and the condition `state-not-kept` stays until the disk takes it. Those with an end go by themselves
//! ([`OverrideStore::run`]); the wall clock decides, since that is what the operator named.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::dir::{Kept, StateDir};
use super::envelope::{FileError, seal, unseal};
use super::moment::Moment;
use crate::overrides::{Override, OverrideError, OverrideState, Overrides, Target};

/// Its file.
const NAME: &str = "overrides.json";
/// How often the wall clock is read again while an end is awaited: it may jump.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);

/// What became of a new override.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Whether its target had none before.
    pub is_new: bool,
    /// Where it is.
    pub kept: Kept,
}

/// Owner of the overrides.
#[derive(Debug)]
pub struct OverrideStore {
    state: StateDir,
    current: Arc<watch::Sender<Arc<Overrides>>>,
}

impl OverrideStore {
    /// The overrides that the state directory holds, but those that have ended.
    pub fn open(state: &StateDir) -> Self {
        let mut overrides = state.load(NAME, read).unwrap_or_default();
        for (target, one) in overrides.take_expired(SystemTime::now()) {
            log("override expired while the appliance was down", &target, &one);
        }
        for (target, one) in &overrides.by_target {
            log("override in force", target, one);
        }
        Self { state: state.clone(), current: Arc::new(watch::Sender::new(Arc::new(overrides))) }
    }

    /// The overrides in force, and a wake-up at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Overrides>> {
        self.current.subscribe()
    }

    /// Sets the override of a target, in place of the one it had. Answers once it is on disk, or the disk refused.
    pub async fn set(&self, target: Target, one: Override) -> Result<Set, OverrideError> {
        let mut outcome = Ok(false);
        self.current.send_if_modified(|overrides| {
            outcome = overrides.check(&target, &one, SystemTime::now()).map(|()| {
                log("override set", &target, &one);
                Arc::make_mut(overrides).by_target.insert(target, one).is_none()
            });
            outcome.is_ok()
        });
        Ok(Set { is_new: outcome?, kept: self.keep().await })
    }

    /// Clears the override of a target; `None` if it has none.
    pub async fn clear(&self, target: &Target) -> Option<Kept> {
        let was_there = self.current.send_if_modified(|overrides| {
            if !overrides.by_target.contains_key(target) {
                return false;
            }
            let removed = Arc::make_mut(overrides).by_target.remove(target);
            if let Some(one) = removed {
                log("override cleared", target, &one);
            }
            true
        });
        match was_there {
            true => Some(self.keep().await),
            false => None,
        }
    }

    /// Ends overrides at their time, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut seen = self.subscribe();
        loop {
            let now = SystemTime::now();
            self.expire(now).await;
            let next = seen.borrow_and_update().next_expiry();
            let wait = next.map(|at| at.duration_since(now).unwrap_or_default().min(CLOCK_INTERVAL));
            tokio::select! {
                // CANCEL: a change that was not seen stays marked. The sender is ours, so this cannot fail.
                changed = seen.changed() => changed.expect("the store holds the sender"),
                // CANCEL: only a wait is lost, it is computed again.
                () = sleep(wait) => {}
            }
        }
    }

    async fn expire(&self, now: SystemTime) {
        let is_changed = self.current.send_if_modified(|overrides| {
            if overrides.next_expiry().is_none_or(|at| at > now) {
                return false;
            }
            for (target, one) in Arc::make_mut(overrides).take_expired(now) {
                log("override expired", &target, &one);
            }
            true
        });
        if is_changed {
            self.keep().await;
        }
    }

    async fn keep(&self) -> Kept {
        let current = Arc::clone(&self.current);
        self.state.keep(NAME, move || write(&current.borrow())).await
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

fn log(what: &'static str, target: &Target, one: &Override) {
    let Override { state, author, reason, .. } = one;
    tracing::info!(%target, state = state.name(), author, reason, "{what}");
}

/// One override in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    target: String,
    state: String,
    author: String,
    reason: String,
    created_ms: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<Moment>,
}

fn write(overrides: &Overrides) -> Vec<u8> {
    let lines = overrides.by_target.iter().map(|(target, one)| Line {
        target: target.to_string(),
        state: one.state.name().to_owned(),
        author: one.author.clone(),
        reason: one.reason.clone(),
        created_ms: one.created.into(),
        until_ms: one.until.map(Moment::from),
    });
    seal(&lines.collect::<Vec<_>>())
}

fn read(bytes: &[u8]) -> Result<Overrides, FileError> {
    let mut overrides = Overrides::default();
    for line in unseal::<Vec<Line>>(bytes)? {
        let unknown = |what: &str| FileError::Content(format!("{what} of `{}`", line.target));
        let target: Target = line.target.parse().map_err(|_| unknown("the name"))?;
        let one = Override {
            state: OverrideState::from_name(&line.state).ok_or_else(|| unknown("the state"))?,
            author: line.author.clone(),
            reason: line.reason.clone(),
            created: line.created_ms.time().ok_or_else(|| unknown("the time"))?,
            until: line.until_ms.map(|until| until.time().ok_or_else(|| unknown("the end"))).transpose()?,
        };
        overrides.by_target.insert(target, one);
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests;
