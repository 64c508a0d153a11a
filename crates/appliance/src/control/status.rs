// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what the parts publish to the status document. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use weir_api::v1::{
    ApplianceStatus, BackendState, BackendStatus, CheckStatus, Counter, DataplaneStatus, DocumentStatus,
    HealthStatus, Lifecycle, NextHopStatus, PeerStatus, PoolStatus, ReconcileStatus as ReconcileDto,
    Rejection, ServiceStatus, SessionState, Status, Timestamp, UplinkStatus, VipStatus, WithheldReason,
    XdpMode,
};
use weir_bgp::{Prefix, SpeakerStatus};

use super::peers;
use crate::model::{self, Document};
use crate::reconcile::ports::{Count, Traffic};
use crate::reconcile::status::{BackendOutcome, Condition, Reason, ReconcileStatus};
use crate::store::{Accepted, Rejected};

/// One moment, as the parts published it.
pub(super) struct Parts<'a> {
    pub(super) accepted: &'a Accepted,
    pub(super) rejected: Option<&'a Rejected>,
    pub(super) reconcile: &'a ReconcileStatus,
    /// `None` before the speaker runs.
    pub(super) speaker: Option<&'a SpeakerStatus>,
    pub(super) traffic: &'a Traffic,
    pub(super) waiting_for: Vec<&'static str>,
    pub(super) is_stopping: bool,
    pub(super) started_at: SystemTime,
    pub(super) kernel: &'a str,
}

/// The whole status document.
pub(super) fn status(view: &Parts<'_>) -> Status {
    let document = &view.accepted.document;
    let peers = peers::peers(document, view.speaker);
    let vips = vips(view, &peers);
    let mut status = Status {
        appliance: appliance(view),
        problems: Vec::new(),
        document: document_status(view),
        reconcile: reconcile(view.reconcile),
        vips,
        services: document
            .services
            .iter()
            .map(|(name, one)| (name.clone(), service(view, name, one)))
            .collect(),
        pools: document.pools.iter().map(|(name, one)| (name.clone(), pool(view, name, one))).collect(),
        peers,
        dataplane: dataplane(view),
        conditions: Vec::new(),
        health: HealthStatus::default(),
        overrides: Vec::new(),
    };
    status.problems = problems(&status);
    status
}

fn appliance(view: &Parts<'_>) -> ApplianceStatus {
    let document = &view.accepted.document;
    ApplianceStatus {
        name: document.appliance.name.clone(),
        router_id: document.appliance.router_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("WEIR_COMMIT").unwrap_or("unknown").to_owned(),
        rustc: env!("CARGO_PKG_RUST_VERSION").to_owned(),
        kernel: view.kernel.to_owned(),
        state: match (view.is_stopping, view.waiting_for.is_empty()) {
            (true, _) => Lifecycle::Stopping,
            (false, true) => Lifecycle::Running,
            (false, false) => Lifecycle::Starting,
        },
        waiting_for: view.waiting_for.iter().map(|part| (*part).to_owned()).collect(),
        started_at: Timestamp(view.started_at),
    }
}

fn document_status(view: &Parts<'_>) -> DocumentStatus {
    let document = &view.accepted.document;
    DocumentStatus {
        owner: match document.bootstrap.owner {
            model::Owner::File => "file".to_owned(),
        },
        hash: document.hash.to_string(),
        accepted_generation: view.accepted.generation.0,
        applied_generation: view.reconcile.applied.map_or(0, |generation| generation.0),
        accepted_at: Timestamp(view.accepted.at),
        last_rejected: view
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

fn vips(view: &Parts<'_>, peers: &BTreeMap<String, PeerStatus>) -> BTreeMap<String, VipStatus> {
    let established = peers.values().filter(|peer| peer.state == SessionState::Established);
    let told: BTreeSet<&str> = established
        .flat_map(|peer| peer.prefixes.values())
        .flat_map(|family| family.advertised.iter().map(String::as_str))
        .collect();
    let of_vip = |(name, vip): (&String, &model::Vip)| {
        let outcome = view.reconcile.vips.get(name);
        let prefix = Prefix::host(vip.address).to_string();
        let withheld =
            outcome.map(|outcome| outcome.withheld.iter().map(|reason| reason_dto(*reason)).collect());
        let transitions = [
            ("announced", outcome.map_or(0, |outcome| outcome.announced)),
            ("withdrawn", outcome.map_or(0, |outcome| outcome.withdrawn)),
        ];
        let status = VipStatus {
            address: vip.address,
            announce_desired: outcome.is_some_and(|outcome| outcome.withheld.is_empty()),
            announced: told.contains(prefix.as_str()),
            // Before the first pass nothing is known of the dataplane.
            withheld: withheld.unwrap_or_else(|| vec![WithheldReason::Dataplane]),
            conditions: Vec::new(),
            peers: BTreeMap::new(),
            decided_at: None,
            told_at: None,
            transitions: transitions.into_iter().map(|(to, times)| (to.to_owned(), Counter(times))).collect(),
        };
        (name.clone(), status)
    };
    view.accepted.document.vips.iter().map(of_vip).collect()
}

fn reason_dto(reason: Reason) -> WithheldReason {
    match reason {
        Reason::Admin => WithheldReason::Admin,
        Reason::Dataplane => WithheldReason::Dataplane,
        Reason::Uplink => WithheldReason::Uplink,
        Reason::Backends => WithheldReason::Backends,
        Reason::FirstResults => WithheldReason::FirstResults,
        Reason::Settle => WithheldReason::Settle,
    }
}

fn service(view: &Parts<'_>, name: &str, service: &model::Service) -> ServiceStatus {
    let vip =
        view.accepted.document.vips.get(&service.vip).expect("a valid document has the VIP of each service");
    let count = view.traffic.services.get(name).copied().unwrap_or_default();
    ServiceStatus {
        vip: service.vip.clone(),
        address: vip.address,
        protocol: match service.protocol {
            model::Protocol::Tcp => "tcp".to_owned(),
            model::Protocol::Udp => "udp".to_owned(),
        },
        port: service.port,
        pool: service.pool.clone(),
        conditions: Vec::new(),
        packets_total: Counter(count.packets),
        bytes_total: Counter(count.bytes),
        flows_created_total: Counter(count.new_flows),
    }
}

fn pool(view: &Parts<'_>, pool_name: &str, pool: &model::Pool) -> PoolStatus {
    let of_backend = |(name, one): (&String, &model::Backend)| {
        let key = (pool_name.to_owned(), name.clone());
        let count = view.traffic.backends.get(&key).copied().unwrap_or_default();
        (name.clone(), backend(one, view.reconcile.backends.get(&key), count))
    };
    let backends: BTreeMap<String, BackendStatus> = pool.backends.iter().map(of_backend).collect();
    let usable = backends.values().filter(|backend| backend.state == BackendState::Usable);
    PoolStatus {
        mode: match pool.mode {
            model::Mode::Ipip => "ipip".to_owned(),
        },
        max_backends: pool.max_backends,
        usable: usable.count() as u64,
        total: backends.len() as u64,
        usable_weight_ratio: 0.0,
        conditions: Vec::new(),
        backends,
    }
}

fn backend(backend: &model::Backend, outcome: Option<&BackendOutcome>, count: Count) -> BackendStatus {
    let condition = outcome.map_or(Condition::Unresolved, |outcome| outcome.condition);
    let (resolved, detail) = match outcome.and_then(|outcome| outcome.next_hop.as_ref()) {
        Some(Ok(hop)) => {
            let mac = hop.destination_mac.map(|byte| format!("{byte:02x}")).join(":");
            (true, format!("interface {}, {mac}, mtu {}", hop.ifindex, hop.mtu))
        }
        Some(Err(reason)) => (false, reason.to_string()),
        None => (false, "not asked yet".to_owned()),
    };
    BackendStatus {
        address: backend.address,
        weight: backend.weight,
        state: match condition {
            Condition::Usable => BackendState::Usable,
            Condition::Draining => BackendState::Draining,
            Condition::Failed => BackendState::Failed,
            Condition::Unknown => BackendState::Unknown,
            Condition::Unresolved => BackendState::Unresolved,
            Condition::Disabled => BackendState::Disabled,
        },
        since: None,
        check: CheckStatus::default(),
        by: None,
        conditions: Vec::new(),
        flows: None,
        verdict_at: None,
        in_force_at: None,
        next_hop: NextHopStatus { resolved, detail },
        packets_total: Counter(count.packets),
        bytes_total: Counter(count.bytes),
        flows_created_total: Counter(count.new_flows),
    }
}

fn dataplane(view: &Parts<'_>) -> DataplaneStatus {
    let document: &Document = &view.accepted.document;
    let verdicts: BTreeMap<String, Counter> =
        view.traffic.verdicts.iter().map(|(name, packets)| ((*name).to_owned(), Counter(*packets))).collect();
    // The programs count over all uplinks together; a valid document of this version has one.
    let uplink = |(name, uplink): (&String, &model::Uplink)| {
        let mode = match uplink.xdp {
            model::XdpMode::Native => XdpMode::Native,
            model::XdpMode::Generic => XdpMode::Generic,
        };
        (
            name.clone(),
            UplinkStatus { mode, attached: view.reconcile.is_attached, verdicts: verdicts.clone() },
        )
    };
    DataplaneStatus {
        uplinks: document.uplinks.iter().map(uplink).collect(),
        flow_slots: u64::from(document.bootstrap.capacity.flow_slots),
        flow_slots_used: view.reconcile.flow_slots_used,
    }
}

/// What keeps the observed from the desired, one line each, the widest first.
fn problems(status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    if status.document.last_rejected.is_some() {
        problems.push("document: the last one read was refused".to_owned());
    }
    for (name, uplink) in status.dataplane.uplinks.iter().filter(|(_, uplink)| !uplink.attached) {
        problems.push(format!("uplink {name}: XDP ({}) is not attached", uplink.mode.name()));
    }
    problems.extend(status.reconcile.errors.iter().map(|error| format!("reconcile: {error}")));
    for (name, peer) in status.peers.iter().filter(|(_, peer)| peer.state != SessionState::Established) {
        problems.push(format!("peer {name}: {}", peer.state.name()));
    }
    for (name, vip) in &status.vips {
        let reasons: Vec<&str> = vip.withheld.iter().map(|reason| reason.name()).collect();
        if !reasons.is_empty() {
            problems.push(format!("vip {name}: withheld: {}", reasons.join(", ")));
        } else if !vip.announced {
            problems.push(format!("vip {name}: no established peer was told"));
        }
    }
    for (pool, of_pool) in &status.pools {
        for (name, backend) in &of_pool.backends {
            if backend.state == BackendState::Unresolved {
                problems.push(format!("backend {pool}.{name}: no next hop: {}", backend.next_hop.detail));
            }
        }
    }
    problems
}
