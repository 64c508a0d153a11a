// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Services, pools and backends. Pure.

use std::collections::BTreeMap;

use weir_api::v1::{
    BackendState, BackendStatus, CheckStatus, CheckVerdict, Condition, Counter, NextHopStatus, PoolStatus,
    PreciseTime, ServiceStatus, Severity, Timestamp,
};

use super::status::Parts;
use weir_dataplane::next_hop::NextHop;

use crate::model;
use crate::reconcile::ports::Count;
use crate::reconcile::status::{self, BackendOutcome, CheckSummary, PoolOutcome};

/// Every service of the document.
pub(super) fn services(parts: &Parts<'_>) -> BTreeMap<String, ServiceStatus> {
    let services = parts.accepted.document.services.iter();
    services.map(|(name, one)| (name.clone(), service(parts, name, one))).collect()
}

fn service(parts: &Parts<'_>, name: &str, service: &model::Service) -> ServiceStatus {
    let vip =
        parts.accepted.document.vips.get(&service.vip).expect("a valid document has the VIP of each service");
    let count = parts.traffic.services.get(name).copied().unwrap_or_default();
    let pool = parts.reconcile.pools.get(&service.pool);
    let is_unserved = pool.is_some_and(|pool| pool.usable == 0);
    let unserved = || {
        let message = format!("pool `{}` has no usable backend", service.pool);
        condition("unserved", "backends", message, Severity::Critical)
    };
    ServiceStatus {
        vip: service.vip.clone(),
        address: vip.address_text(),
        protocol: match service.protocol {
            model::Protocol::Tcp => "tcp".to_owned(),
            model::Protocol::Udp => "udp".to_owned(),
        },
        port: service.port.unwrap_or(0),
        affinity: affinity(service.affinity).to_owned(),
        fragments: fragments(service.fragments).to_owned(),
        pool: service.pool.clone(),
        conditions: is_unserved.then(unserved).into_iter().collect(),
        packets_total: Counter(count.packets),
        bytes_total: Counter(count.bytes),
        flows_created_total: Counter(count.new_flows),
    }
}

fn affinity(affinity: model::Affinity) -> &'static str {
    match affinity {
        model::Affinity::Flow => "flow",
        model::Affinity::Source => "source",
        model::Affinity::SourcePort => "source-port",
    }
}

fn fragments(fragments: model::Fragments) -> &'static str {
    match fragments {
        model::Fragments::Drop => "drop",
        model::Fragments::BySource => "by-source",
        model::Fragments::FirstFragment => "first-fragment",
    }
}

fn mode(mode: &model::Mode) -> &'static str {
    match mode {
        model::Mode::Ipip => "ipip",
        model::Mode::Gue(gue) => match gue.variant {
            model::GueVariant::Header => "gue",
            model::GueVariant::Candidates => "gue-candidates",
            model::GueVariant::Direct => "gue-direct",
        },
        model::Mode::L2 => "l2",
    }
}

/// Every pool of the document.
pub(super) fn pools(parts: &Parts<'_>) -> BTreeMap<String, PoolStatus> {
    let pools = parts.accepted.document.pools.iter();
    pools.map(|(name, one)| (name.clone(), pool(parts, name, one))).collect()
}

fn pool(parts: &Parts<'_>, pool_name: &str, pool: &model::Pool) -> PoolStatus {
    let of_backend = |(name, one): (&String, &model::Backend)| {
        let key = (pool_name.to_owned(), name.clone());
        let count = parts.traffic.backends.get(&key).copied().unwrap_or_default();
        let flows = parts.reconcile.flows_of(&key);
        (name.clone(), backend(one, parts.reconcile.backends.get(&key), flows, count))
    };
    let backends: BTreeMap<String, BackendStatus> = pool.backends.iter().map(of_backend).collect();
    // Before the first pass nothing is usable, and nothing is said to be wrong either.
    let outcome = parts.reconcile.pools.get(pool_name).copied();
    let shown = outcome.unwrap_or_default();
    PoolStatus {
        mode: mode(&pool.mode).to_owned(),
        algorithm: match pool.algorithm {
            model::Algorithm::Rendezvous => "rendezvous".to_owned(),
            model::Algorithm::Maglev => "maglev".to_owned(),
        },
        max_backends: pool.max_backends,
        usable: u64::from(shown.usable),
        total: backends.len() as u64,
        usable_weight_ratio: ratio(shown.usable_weight, shown.weight),
        conditions: outcome.and_then(reduced).into_iter().collect(),
        backends,
    }
}

/// 0 when there is nothing to be a part of.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What is missing, of those that operators have not taken out.
fn reduced(pool: PoolOutcome) -> Option<Condition> {
    let PoolOutcome { usable, active, is_link_down, .. } = pool;
    let message = format!("{usable} of {active} backends usable");
    match (usable, active) {
        (_, 0) => Some(condition("reduced", "no-backend", "no backend is active".to_owned(), Severity::Info)),
        (0, _) if is_link_down => Some(condition("reduced", "uplink", message, Severity::Critical)),
        (0, _) => Some(condition("reduced", "backends", message, Severity::Critical)),
        (usable, active) if usable < active => {
            Some(condition("reduced", "backends", message, Severity::Warning))
        }
        _ => None,
    }
}

fn backend(
    backend: &model::Backend,
    outcome: Option<&BackendOutcome>,
    flows: Option<u64>,
    count: Count,
) -> BackendStatus {
    let state = outcome.map_or(BackendState::Unresolved, |outcome| state(outcome.condition));
    let (resolved, detail) = match outcome.and_then(|outcome| outcome.next_hop.as_ref()) {
        Some(Ok(hops)) => (true, hops.iter().map(path).collect::<Vec<_>>().join("; ")),
        Some(Err(reason)) => (false, reason.to_string()),
        None => (false, "not asked yet".to_owned()),
    };
    let next_hop = NextHopStatus { resolved, detail };
    BackendStatus {
        address: backend.address,
        weight: backend.weight,
        cap_ratio: f64::from(backend.cap.get()) / 100.0,
        state,
        since: outcome.map(|outcome| Timestamp(outcome.since)),
        check: outcome.map(|outcome| check(&outcome.check)).unwrap_or_default(),
        by: outcome.and_then(|outcome| outcome.by.as_ref()).map(ToString::to_string),
        conditions: why(backend, state, outcome, &next_hop).into_iter().collect(),
        next_hop,
        flows: outcome.and(flows),
        verdict_at: outcome.and_then(|outcome| outcome.verdict_at).map(PreciseTime),
        in_force_at: outcome.and_then(|outcome| outcome.in_force_at).map(PreciseTime),
        packets_total: Counter(count.packets),
        bytes_total: Counter(count.bytes),
        flows_created_total: Counter(count.new_flows),
    }
}

/// One path to a backend, in an operator's words.
fn path(hop: &NextHop) -> String {
    let mac = hop.destination_mac.map(|byte| format!("{byte:02x}")).join(":");
    let tag = hop.vlan.map(|tag| format!(", vlan {tag}")).unwrap_or_default();
    format!("interface {}{tag}, {mac}, mtu {}", hop.ifindex, hop.mtu)
}

fn state(condition: status::Condition) -> BackendState {
    match condition {
        status::Condition::Usable => BackendState::Usable,
        status::Condition::Draining => BackendState::Draining,
        status::Condition::Failed => BackendState::Failed,
        status::Condition::Unknown => BackendState::Unknown,
        status::Condition::Unresolved => BackendState::Unresolved,
        status::Condition::Disabled => BackendState::Disabled,
    }
}

fn check(summary: &CheckSummary) -> CheckStatus {
    let (verdict, cause) = match summary {
        CheckSummary::None => (CheckVerdict::None, None),
        CheckSummary::Unknown => (CheckVerdict::Unknown, None),
        CheckSummary::Up => (CheckVerdict::Up, None),
        CheckSummary::Down { cause } => (CheckVerdict::Down, Some(cause.clone())),
    };
    CheckStatus { verdict, cause, checks: Vec::new() }
}

/// Why a backend takes no new flows.
fn why(
    backend: &model::Backend,
    state: BackendState,
    outcome: Option<&BackendOutcome>,
    next_hop: &NextHopStatus,
) -> Option<Condition> {
    let by = outcome.and_then(|outcome| outcome.by.as_ref());
    let (code, message, severity) = match state {
        BackendState::Usable => return None,
        BackendState::Draining | BackendState::Disabled => match by {
            Some(target) => ("override", format!("by the override `{target}`"), Severity::Info),
            None if backend.weight == 0 => ("document", "its weight is 0".to_owned(), Severity::Info),
            None => ("document", "by the document".to_owned(), Severity::Info),
        },
        BackendState::Failed => match outcome.map(|outcome| &outcome.check) {
            Some(CheckSummary::Down { cause }) => {
                let code = cause.split(' ').next().unwrap_or_default();
                return Some(failed(code, format!("its checks fail: {cause}"), outcome));
            }
            _ => ("check", "its checks fail".to_owned(), Severity::Warning),
        },
        BackendState::Unknown => {
            ("first-results", "its checks have not answered yet".to_owned(), Severity::Info)
        }
        BackendState::Unresolved => {
            ("no-nexthop", format!("no next hop: {}", next_hop.detail), Severity::Warning)
        }
    };
    let since = outcome.map(|outcome| Timestamp(outcome.since));
    Some(Condition { since, ..condition(state.name(), code, message, severity) })
}

fn failed(code: &str, message: String, outcome: Option<&BackendOutcome>) -> Condition {
    let since = outcome.map(|outcome| Timestamp(outcome.since));
    Condition { since, ..condition(BackendState::Failed.name(), code, message, Severity::Warning) }
}

fn condition(kind: &str, code: &str, message: String, severity: Severity) -> Condition {
    Condition {
        kind: kind.to_owned(),
        state: true,
        code: code.to_owned(),
        message,
        since: None,
        until: None,
        severity: Some(severity),
    }
}
