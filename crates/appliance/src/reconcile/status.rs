// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of the reconciler: the outcome of its last pass.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use weir_bgp::Prefix;
use weir_dataplane::next_hop::{NextHop, Unresolved};

pub use super::desired::{CheckSummary, Condition, PoolOutcome, Reason};
use super::plan::StepKind;
use super::ports::{Flows, PortError};
use crate::model::Generation;
use crate::overrides;

/// Outcome of the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReconcileStatus {
    /// Generation that is in force as a whole, `None` before the first.
    pub applied: Option<Generation>,
    /// Passes so far.
    pub passes: u64,
    /// Passes in which a step failed.
    pub failed_passes: u64,
    /// When the last pass ended.
    pub ended_at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// The steps that failed in it.
    pub failed: Vec<(StepKind, PortError)>,
    /// When the failed steps are tried again, from the end of the pass.
    pub retry_in: Option<Duration>,
    /// Whether XDP is attached.
    pub is_attached: bool,
    /// What the last sweep of the flow table found.
    pub flows: Flows,
    /// VIPs by name.
    pub vips: Arc<BTreeMap<String, VipOutcome>>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolOutcome>,
    /// Backends by pool and name.
    pub backends: Arc<BTreeMap<(String, String), BackendOutcome>>,
}

/// What became of one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipOutcome {
    /// What is announced.
    pub prefix: Prefix,
    /// Whether the speaker was told to announce it.
    pub is_told: bool,
    /// Whether it shall be announced: nothing withholds it.
    pub wanted: bool,
    /// Whether it is announced with the least preference, if it is.
    pub is_deprioritised: bool,
    /// Why it is withheld; empty when it shall be announced.
    pub withheld: BTreeSet<Reason>,
    /// Everything that speaks against it in sentences, warnings of an announced VIP included; the gravest first.
    pub conditions: Vec<Why>,
    /// Times the speaker was told to announce it.
    pub announced: u64,
    /// Times the speaker was told to withdraw it.
    pub withdrawn: u64,
    /// When the last change of its announcement was decided.
    pub decided_at: Option<SystemTime>,
    /// When the peers had been told of it.
    pub told_at: Option<SystemTime>,
}

/// A sentence on why a VIP is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Which reason.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
    /// Since when this reason stands.
    pub since: SystemTime,
    /// When it ends or has consequences by time alone.
    pub until: Option<SystemTime>,
}

/// What became of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendOutcome {
    /// What it may receive.
    pub condition: Condition,
    /// The next hops that its pool's mode can use, or why there are none; `None` while the resolver has not been asked.
    pub next_hop: Option<Result<Vec<NextHop>, Unresolved>>,
    /// What its checks say.
    pub check: CheckSummary,
    /// Since when it is in this condition.
    pub since: SystemTime,
    /// When the check result that decides came.
    pub verdict_at: Option<SystemTime>,
    /// When the kernel's rows had followed the condition; `None` while they have not.
    pub in_force_at: Option<SystemTime>,
    /// The override that decides, if one does.
    pub by: Option<overrides::Target>,
}

impl ReconcileStatus {
    /// Live flows of a backend at the last sweep, where known.
    pub fn flows_of(&self, backend: &(String, String)) -> Option<u64> {
        self.flows.by_backend.as_ref().map(|flows| flows.get(backend).unwrap_or(0))
    }
}

impl VipOutcome {
    /// The word for how it stands towards the peers.
    pub const fn standing(&self) -> &'static str {
        match (self.is_told, self.is_deprioritised) {
            (true, false) => "announced",
            (true, true) => "deprioritised",
            (false, _) => "withheld",
        }
    }

    /// Its reasons in words, in order, joined by commas.
    fn codes(&self) -> Option<String> {
        let codes: Vec<&str> = self.withheld.iter().map(|reason| reason.name()).collect();
        (!codes.is_empty()).then(|| codes.join(","))
    }

    fn message(&self) -> Option<String> {
        let sentences: Vec<&str> = self.conditions.iter().map(|why| why.message.as_str()).collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}

impl BackendOutcome {
    /// Why it is not usable, in words, where there are any.
    pub fn message(&self) -> Option<String> {
        match (&self.condition, &self.check, &self.next_hop) {
            (Condition::Unresolved, _, Some(Err(reason))) => Some(reason.to_string()),
            (Condition::Failed, CheckSummary::Down { cause }, _) => Some(cause.clone()),
            (Condition::Draining | Condition::Disabled, _, _) => {
                self.by.as_ref().map(|target| format!("override {target}"))
            }
            (Condition::Usable | Condition::Unknown | Condition::Unresolved | Condition::Failed, _, _) => {
                None
            }
        }
    }
}

/// What a [`Change`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// A VIP by its name.
    Vip,
    /// A backend, as `pool/backend`.
    Backend,
    /// The document, by its generation.
    Document,
}

/// One edge between two statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub kind: ChangeKind,
    /// Which one.
    pub object: String,
    /// What it was; `None` when it is new.
    pub from: Option<&'static str>,
    /// What it is; `None` when it is gone.
    pub to: Option<&'static str>,
    /// Reason codes, joined by commas, where there are any.
    pub code: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
}

/// What changed: VIPs (standing and reasons), backends (condition), and which document is in force.
pub fn changes(before: &ReconcileStatus, after: &ReconcileStatus) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, was, now) in joined(&before.vips, &after.vips) {
        match (was, now) {
            (Some(was), None) => changes.push(gone(ChangeKind::Vip, name.clone(), was.standing())),
            (was, Some(now))
                if was.is_none_or(|was| was.standing() != now.standing() || was.withheld != now.withheld) =>
            {
                changes.push(Change {
                    kind: ChangeKind::Vip,
                    object: name.clone(),
                    from: was.map(VipOutcome::standing),
                    to: Some(now.standing()),
                    code: now.codes(),
                    message: now.message(),
                });
            }
            _ => {}
        }
    }
    for ((pool, name), was, now) in joined(&before.backends, &after.backends) {
        let object = || format!("{pool}/{name}");
        match (was, now) {
            (Some(was), None) => changes.push(gone(ChangeKind::Backend, object(), was.condition.name())),
            (was, Some(now)) if was.is_none_or(|was| was.condition != now.condition) => {
                changes.push(Change {
                    kind: ChangeKind::Backend,
                    object: object(),
                    from: was.map(|was| was.condition.name()),
                    to: Some(now.condition.name()),
                    code: None,
                    message: now.message(),
                });
            }
            _ => {}
        }
    }
    if before.applied != after.applied
        && let Some(generation) = after.applied
    {
        changes.push(Change {
            kind: ChangeKind::Document,
            object: generation.to_string(),
            from: None,
            to: Some("in-force"),
            code: None,
            message: None,
        });
    }
    changes
}

/// Every key of either map once, in order, with what each map has there.
fn joined<'a, K: Ord, V>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some((was, _)), Some((is, _))) => was.cmp(is),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let was = if order.is_le() { old.next() } else { None };
        let now = if order.is_ge() { new.next() } else { None };
        let key = now.or(was)?.0;
        Some((key, was.map(|(_, value)| value), now.map(|(_, value)| value)))
    })
}

fn gone(kind: ChangeKind, object: String, from: &'static str) -> Change {
    let message = Some("removed from the document".to_owned());
    Change { kind, object, from: Some(from), to: None, code: None, message }
}
