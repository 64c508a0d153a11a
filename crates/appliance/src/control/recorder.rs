// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From states to edges: what changed between two looks at what the parts publish, as events and as counters.
//!
//! The parts publish states, of which a reader sees the latest; so an edge that was undone before anybody looked is never
//! told. Pure: [`Recorder::look`] takes what is seen and the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use weir_api::events::Change;
use weir_api::metrics::Histogram;
use weir_api::v1::EventKind;
use weir_bgp::{PeerState, SpeakerStatus};

use crate::overrides::{Overrides, Target};
use crate::reconcile::status::{self, ChangeKind, Condition, ReconcileStatus};
use crate::store::{Accepted, Rejected};

/// Bounds of the time from a decision to its effect, in seconds: the promise is 5 ms to a peer, 50 ms to the kernel.
const DELAY_BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];
/// A delay that is longer was not one: the clock was set, or the decision waited for something else.
const DELAY_MAX: Duration = Duration::from_secs(300);

/// What the parts publish at one moment.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) accepted: Arc<Accepted>,
    pub(super) rejected: Option<Arc<Rejected>>,
    pub(super) reconcile: Arc<ReconcileStatus>,
    pub(super) overrides: Arc<Overrides>,
    /// `None` before the speaker runs.
    pub(super) speaker: Option<Arc<SpeakerStatus>>,
}

/// What was counted on the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    /// Backends by pool, name and state: times that the state was entered.
    pub(super) backends: BTreeMap<(String, String), BTreeMap<&'static str, u64>>,
    /// Documents accepted, the first of the process included.
    pub(super) applied: u64,
    /// Documents refused.
    pub(super) rejected: u64,
    /// From the decision to announce or withdraw until the peers had been told.
    pub(super) update_delay: Histogram,
    /// From the deciding check result until the kernel's rows followed.
    pub(super) rows_delay: Histogram,
}

/// Remembers the last look.
#[derive(Debug)]
pub(super) struct Recorder {
    last: Seen,
    counted: Counted,
    /// For each backend the verdict that the kernel's rows followed last; `None` when there was none.
    followed: BTreeMap<(String, String), Option<SystemTime>>,
}

impl Recorder {
    /// Begins with what is seen now, of which nothing is told.
    pub(super) fn new(first: Seen) -> Self {
        let delays = Histogram::new(&DELAY_BOUNDS);
        let counted = Counted {
            backends: BTreeMap::new(),
            applied: 1,
            rejected: u64::from(first.rejected.is_some()),
            update_delay: delays.clone(),
            rows_delay: delays,
        };
        Self { last: first, counted, followed: BTreeMap::new() }
    }

    pub(super) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// What changed since the last look.
    pub(super) fn look(&mut self, seen: Seen, now: SystemTime) -> Vec<Change> {
        let before = std::mem::replace(&mut self.last, seen.clone());
        let mut changes = Vec::new();
        let mut tell = |edge: Edge| changes.push(edge.at(now));
        self.documents(&before, &seen, &mut tell);
        overrides(&before.overrides, &seen.overrides, now, &mut tell);
        peers(before.speaker.as_deref(), seen.speaker.as_deref(), &mut tell);
        if !Arc::ptr_eq(&before.reconcile, &seen.reconcile) {
            self.objects(&before.reconcile, &seen.reconcile, &mut tell);
            self.delays(&before.reconcile, &seen.reconcile);
        }
        changes
    }

    fn documents(&mut self, before: &Seen, seen: &Seen, tell: &mut impl FnMut(Edge)) {
        let (was, is) = (before.accepted.generation, seen.accepted.generation);
        if was != is {
            self.counted.applied += 1;
            let hash = seen.accepted.document.hash;
            tell(Edge {
                from: Some(was.to_string()),
                to: Some(is.to_string()),
                code: "accepted".to_owned(),
                message: format!("document {hash} is accepted"),
                ..Edge::of(EventKind::Document, "document")
            });
        }
        let at = |rejected: &Option<Arc<Rejected>>| rejected.as_ref().map(|rejected| rejected.at);
        if let Some(rejected) = &seen.rejected
            && at(&before.rejected) != Some(rejected.at)
        {
            self.counted.rejected += 1;
            tell(Edge {
                from: Some(is.to_string()),
                to: Some(is.to_string()),
                code: "rejected".to_owned(),
                message: rejected.errors.join("\n"),
                ..Edge::of(EventKind::Document, "document")
            });
        }
    }

    fn objects(&mut self, before: &ReconcileStatus, after: &ReconcileStatus, tell: &mut impl FnMut(Edge)) {
        for change in status::changes(before, after) {
            let (kind, object) = match change.kind {
                ChangeKind::Vip => (EventKind::Vip, format!("vip/{}", change.object)),
                ChangeKind::Backend => (EventKind::Backend, format!("backend/{}", change.object)),
                ChangeKind::Document => (EventKind::Document, "document".to_owned()),
            };
            // A document that brings thousands of backends would push everything else out of the log.
            let is_plain_start = change.kind == ChangeKind::Backend
                && change.from.is_none()
                && [Some(Condition::Usable.name()), Some(Condition::Unknown.name())].contains(&change.to);
            if is_plain_start {
                continue;
            }
            let is_document = change.kind == ChangeKind::Document;
            tell(Edge {
                from: change.from.map(str::to_owned),
                to: if is_document { Some(change.object) } else { change.to.map(str::to_owned) },
                code: if is_document { "in-force".to_owned() } else { change.code.unwrap_or_default() },
                message: change.message.unwrap_or_default(),
                ..Edge::of(kind, &object)
            });
        }
        // What left the document takes its counters along.
        self.counted.backends.retain(|key, _| after.backends.contains_key(key));
        for (key, outcome) in after.backends.iter() {
            if before.backends.get(key).is_some_and(|before| before.condition != outcome.condition) {
                let states = self.counted.backends.entry(key.clone()).or_default();
                *states.entry(outcome.condition.name()).or_default() += 1;
            }
        }
    }

    fn delays(&mut self, before: &ReconcileStatus, after: &ReconcileStatus) {
        for (name, vip) in after.vips.iter() {
            let was_told_at = before.vips.get(name).and_then(|before| before.told_at);
            if vip.told_at != was_told_at {
                observe(&mut self.counted.update_delay, vip.decided_at, vip.told_at);
            }
        }
        self.followed.retain(|key, _| after.backends.contains_key(key));
        for (key, backend) in after.backends.iter().filter(|(_, backend)| backend.in_force_at.is_some()) {
            let last = self.followed.insert(key.clone(), backend.verdict_at);
            // Rows that follow an operator, or a verdict that they had followed before, tell no delay.
            let is_by_check = matches!(backend.condition, Condition::Usable | Condition::Failed);
            if is_by_check && last.is_some_and(|last| last != backend.verdict_at) {
                observe(&mut self.counted.rows_delay, backend.verdict_at, backend.in_force_at);
            }
        }
    }
}

fn observe(histogram: &mut Histogram, from: Option<SystemTime>, to: Option<SystemTime>) {
    let (Some(from), Some(to)) = (from, to) else { return };
    if let Ok(delay) = to.duration_since(from)
        && delay <= DELAY_MAX
    {
        histogram.observe(delay.as_secs_f64());
    }
}

/// A change without its time.
struct Edge {
    kind: EventKind,
    object: String,
    from: Option<String>,
    to: Option<String>,
    code: String,
    message: String,
}

impl Edge {
    fn of(kind: EventKind, object: &str) -> Self {
        let object = object.to_owned();
        Self { kind, object, from: None, to: None, code: String::new(), message: String::new() }
    }

    fn at(self, at: SystemTime) -> Change {
        let Self { kind, object, from, to, code, message } = self;
        Change { at, kind, object, from, to, code, message }
    }
}

fn overrides(before: &Overrides, after: &Overrides, now: SystemTime, tell: &mut impl FnMut(Edge)) {
    let edge = |target: &Target| Edge::of(EventKind::Override, &target.to_string());
    for (target, one) in &after.by_target {
        let was = before.by_target.get(target);
        if was == Some(one) {
            continue;
        }
        let why = if one.reason.is_empty() { String::new() } else { format!(": {}", one.reason) };
        tell(Edge {
            from: was.map(|was| was.state.name().to_owned()),
            to: Some(one.state.name().to_owned()),
            code: "set".to_owned(),
            message: format!("set by {}{why}", one.author),
            ..edge(target)
        });
    }
    for (target, was) in before.by_target.iter().filter(|(target, _)| !after.by_target.contains_key(*target))
    {
        let is_expired = was.until.is_some_and(|until| until <= now);
        let code = if is_expired { "expired" } else { "cleared" };
        let from = Some(was.state.name().to_owned());
        let message = format!("set by {}, {code}", was.author);
        tell(Edge { from, code: code.to_owned(), message, ..edge(target) });
    }
}

/// Only whether a session is up: its way there is for the log.
fn peers(before: Option<&SpeakerStatus>, after: Option<&SpeakerStatus>, tell: &mut impl FnMut(Edge)) {
    let word = |state: PeerState| if state == PeerState::Established { "established" } else { "down" };
    for (name, peer) in after.into_iter().flat_map(|speaker| &speaker.peers) {
        let was = before.and_then(|speaker| speaker.peers.get(name)).map(|peer| word(peer.state));
        let is = word(peer.state);
        // A session that was never up did not go down.
        if was == Some(is) || (was.is_none() && is == "down") {
            continue;
        }
        let words = [&peer.last_sent, &peer.last_received].into_iter().flatten();
        let words = words.map(|last| (last.at, &last.text));
        let transport = peer.last_transport.as_ref().map(|last| (last.at, &last.text));
        let latest = words.chain(transport).max_by_key(|(at, _)| *at);
        let why = latest.filter(|_| is == "down").map(|(_, text)| text.clone());
        tell(Edge {
            from: was.map(str::to_owned),
            to: Some(is.to_owned()),
            message: why.unwrap_or_default(),
            ..Edge::of(EventKind::Peer, &format!("peer/{name}"))
        });
    }
}
