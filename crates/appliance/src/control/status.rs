// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what the parts publish to the status document. Pure.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use weir_api::v1::{
    ApplianceStatus, BackendState, Condition, Counter, DataplaneStatus, DocumentStatus, Lifecycle,
    ReconcileStatus as ReconcileDto, Rejection, SessionState, Severity, Status, Timestamp, UplinkStatus,
    XdpMode,
};
use weir_bgp::SpeakerStatus;
use weir_health::HealthSnapshot;

use super::{bgp, checks, overrides, peers, pools, vips};
use crate::bfd::BfdStatus;
use crate::model::{self, Document};
use crate::overrides::Overrides;
use crate::reconcile::ports::Traffic;
use crate::reconcile::status::ReconcileStatus;
use crate::state::{self, STATE_NOT_KEPT};
use crate::store::{Accepted, Rejected};

/// One moment, as the parts published it.
pub(super) struct Parts<'a> {
    pub(super) accepted: &'a Accepted,
    pub(super) rejected: Option<&'a Rejected>,
    pub(super) reconcile: &'a ReconcileStatus,
    /// `None` before the speaker runs.
    pub(super) speaker: Option<&'a SpeakerStatus>,
    /// `None` before BFD runs.
    pub(super) bfd: Option<&'a BfdStatus>,
    pub(super) traffic: &'a Traffic,
    pub(super) health: &'a HealthSnapshot,
    pub(super) overrides: &'a Overrides,
    pub(super) conditions: &'a BTreeMap<&'static str, state::Condition>,
    pub(super) waiting_for: Vec<&'static str>,
    pub(super) is_stopping: bool,
    pub(super) started_at: SystemTime,
    pub(super) kernel: &'a str,
    pub(super) now: Instant,
}

/// The whole status document.
pub(super) fn status(parts: &Parts<'_>) -> Status {
    let document = &parts.accepted.document;
    let peers = peers::peers(document, parts.speaker, parts.bfd, parts.now);
    let mut status = Status {
        appliance: appliance(parts),
        problems: Vec::new(),
        conditions: Vec::new(),
        document: document_status(parts),
        reconcile: reconcile(parts.reconcile),
        vips: vips::vips(parts, &peers),
        services: pools::services(parts),
        pools: pools::pools(parts),
        bgp: bgp::speaker(document, parts.speaker, &peers),
        peers,
        dataplane: dataplane(parts),
        health: checks::summary(parts.health),
        overrides: overrides::all(parts.overrides, !parts.conditions.contains_key(STATE_NOT_KEPT)),
    };
    status.conditions = conditions(parts, &status);
    status.problems = problems(&status);
    status
}

fn appliance(parts: &Parts<'_>) -> ApplianceStatus {
    let document = &parts.accepted.document;
    ApplianceStatus {
        name: document.appliance.name.clone(),
        router_id: document.appliance.router_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("WEIR_COMMIT").unwrap_or("unknown").to_owned(),
        rustc: env!("CARGO_PKG_RUST_VERSION").to_owned(),
        kernel: parts.kernel.to_owned(),
        state: match (parts.is_stopping, parts.waiting_for.is_empty()) {
            (true, _) => Lifecycle::Stopping,
            (false, true) => Lifecycle::Running,
            (false, false) => Lifecycle::Starting,
        },
        waiting_for: parts.waiting_for.iter().map(|part| (*part).to_owned()).collect(),
        started_at: Timestamp(parts.started_at),
    }
}

fn document_status(parts: &Parts<'_>) -> DocumentStatus {
    let document = &parts.accepted.document;
    DocumentStatus {
        owner: match document.bootstrap.owner {
            model::Owner::File => "file".to_owned(),
        },
        hash: document.hash.to_string(),
        accepted_generation: parts.accepted.generation.0,
        applied_generation: parts.reconcile.applied.map_or(0, |generation| generation.0),
        accepted_at: Timestamp(parts.accepted.at),
        last_rejected: parts
            .rejected
            .map(|rejected| Rejection { at: Timestamp(rejected.at), errors: rejected.errors.clone() }),
    }
}

fn reconcile(status: &ReconcileStatus) -> ReconcileDto {
    ReconcileDto {
        passes_total: Counter(status.passes),
        failed_passes_total: Counter(status.failed_passes),
        last_pass_at: status.ended_at.map(Timestamp),
        last_pass_seconds: status.took.as_secs_f64(),
        errors: status.failed.iter().map(|(step, error)| format!("{}: {error}", step.name())).collect(),
        retry_in_seconds: status.retry_in.map(|wait| wait.as_secs_f64()),
    }
}

fn dataplane(parts: &Parts<'_>) -> DataplaneStatus {
    let document: &Document = &parts.accepted.document;
    let verdicts: BTreeMap<String, Counter> = parts
        .traffic
        .verdicts
        .iter()
        .map(|(name, packets)| ((*name).to_owned(), Counter(*packets)))
        .collect();
    // The programs count over all uplinks together.
    let uplink = |(name, uplink): (&String, &model::Uplink)| {
        let mode = match uplink.xdp {
            model::XdpMode::Native => XdpMode::Native,
            model::XdpMode::Generic => XdpMode::Generic,
        };
        (
            name.clone(),
            UplinkStatus { mode, attached: parts.reconcile.is_attached, verdicts: verdicts.clone() },
        )
    };
    DataplaneStatus {
        uplinks: document.uplinks.iter().map(uplink).collect(),
        flow_slots: u64::from(document.bootstrap.capacity.flow_slots),
        flow_slots_used: parts.reconcile.flows.slots_used,
    }
}

/// What is wrong with the appliance as a whole, the gravest first.
fn conditions(parts: &Parts<'_>, status: &Status) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let mut raise = |code: &str, severity, message: String, since: Option<SystemTime>| {
        conditions.push(Condition {
            kind: "problem".to_owned(),
            state: true,
            code: code.to_owned(),
            message,
            since: since.map(Timestamp),
            until: None,
            severity: Some(severity),
        });
    };
    for (code, condition) in parts.conditions {
        let severity = match condition.severity {
            state::Severity::Warning => Severity::Warning,
            state::Severity::Error => Severity::Critical,
        };
        raise(code, severity, condition.message.clone(), Some(condition.since));
    }
    let detached = status.dataplane.uplinks.iter().filter(|(_, uplink)| !uplink.attached);
    let detached: Vec<String> =
        detached.map(|(name, uplink)| format!("{name} ({})", uplink.mode.name())).collect();
    if !detached.is_empty() {
        let message = format!("XDP is not attached: {}", detached.join(", "));
        raise("dataplane-not-attached", Severity::Critical, message, None);
    }
    if !status.reconcile.errors.is_empty() {
        raise("reconcile-failed", Severity::Critical, status.reconcile.errors.join("; "), None);
    }
    // A file that is bad has its own condition, with all its words.
    if let Some(rejected) =
        parts.rejected.filter(|_| !parts.conditions.contains_key(state::DOCUMENT_FILE_BAD))
    {
        let message = format!("the last document read was refused: {}", rejected.errors.join("; "));
        raise("document-refused", Severity::Warning, message, Some(rejected.at));
    }
    if status.health.is_overloaded {
        let message = "health checks start late: no backend goes down meanwhile".to_owned();
        raise("checker-overloaded", Severity::Warning, message, None);
    }
    conditions.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.code.cmp(&b.code)));
    conditions
}

/// What keeps the observed from the desired, one line each, the widest first.
fn problems(status: &Status) -> Vec<String> {
    let mut problems: Vec<String> =
        status.conditions.iter().map(|one| format!("{}: {}", one.code, one.message)).collect();
    let sessions = status.peers.iter().filter(|(_, peer)| !peer.is_range());
    for (name, peer) in sessions.filter(|(_, peer)| peer.state != SessionState::Established) {
        let why = peer.conditions.first().map(|one| format!(": {}", one.message)).unwrap_or_default();
        problems.push(format!("peer {name}: {}{why}", peer.state.name()));
    }
    for (name, vip) in &status.vips {
        for one in &vip.conditions {
            problems.push(format!("vip {name}: {}: {}: {}", one.kind, one.code, one.message));
        }
    }
    for (pool, of_pool) in &status.pools {
        for (name, backend) in &of_pool.backends {
            // What operators took out is no problem, it is shown with the overrides.
            if matches!(
                backend.state,
                BackendState::Failed | BackendState::Unknown | BackendState::Unresolved
            ) {
                let why =
                    backend.conditions.first().map(|one| format!(": {}", one.message)).unwrap_or_default();
                problems.push(format!("backend {pool}.{name}: {}{why}", backend.state.name()));
            }
        }
    }
    problems
}
