// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each backend may receive, and what its pool has then. Pure, a part of [`super::desired`].
//!
//! Three opinions in the order of their weight: operators (document and overrides, the stronger of the two), the next hop,
//! the checks.

use std::collections::BTreeMap;
use std::time::Instant;

use weir_dataplane::forwarding;
use weir_dataplane::next_hop::{NextHop, Unresolved};

use super::checks::{self, BackendVerdict};
use super::desired::Snapshot;
use crate::model::{self, AdminState};
use crate::overrides::{self, Override, OverrideState};

/// What shall become of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendWish {
    /// What it may receive.
    pub condition: Condition,
    /// The next hops that its pool's mode can use, or why there are none; `None` while the resolver has not been asked.
    pub next_hop: Option<Result<Vec<NextHop>, Unresolved>>,
    /// What its checks say.
    pub check: CheckSummary,
    /// When the deciding check result came.
    pub verdict_at: Option<Instant>,
    /// The override that decides, if one does.
    pub by: Option<overrides::Target>,
}

/// What the checks of a backend come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckSummary {
    /// It is not checked.
    None,
    /// No result yet.
    Unknown,
    /// All succeed.
    Up,
    /// One fails, or more.
    Down {
        /// Code of the failure that decided.
        cause: String,
    },
}

/// What a backend may receive, all things considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Everything.
    Usable,
    /// The flows it has, no new ones.
    Draining,
    /// The flows it has, as the pool's `on_failed` says: its checks fail.
    Failed,
    /// As failed, for want of a check result; as usable while its pool has had no first results.
    Unknown,
    /// Nothing: there is no next hop.
    Unresolved,
    /// Nothing: the operator says so.
    Disabled,
}

impl Condition {
    /// The word in logs and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unresolved => "unresolved",
            Self::Disabled => "disabled",
        }
    }
}

/// What a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolOutcome {
    /// Backends that may get new flows.
    pub usable: u32,
    /// Backends that operators have not taken out.
    pub active: u32,
    /// All backends.
    pub backends: u32,
    /// Weight of the usable ones.
    pub usable_weight: u64,
    /// Weight of those that operators have not taken out.
    pub weight: u64,
    /// The interface to every backend that operators have not taken out is down or gone.
    pub is_link_down: bool,
}

/// By name: what shall become of a backend, and what the dataplane hears of it.
pub(super) type Wishes<'a> = BTreeMap<&'a String, (BackendWish, forwarding::BackendState)>;

pub(super) fn forwarding_pool(pool: &model::Pool, wishes: &Wishes<'_>) -> forwarding::Pool {
    // Weight 0 means "no new flows": the dataplane hears a draining backend of the least weight.
    let backend = |(name, one): (&String, &model::Backend)| {
        let state = wishes.get(name).map_or(forwarding::BackendState::Disabled, |(_, state)| *state);
        let model::Backend { address, cap, .. } = *one;
        let weight = one.weight.max(1);
        (name.clone(), forwarding::Backend { address, weight, cap_permille: cap.permille(), state })
    };
    forwarding::Pool {
        mode: mode(&pool.mode),
        outer: outer_header(pool),
        algorithm: match pool.algorithm {
            model::Algorithm::Rendezvous => forwarding::Algorithm::BoundedRendezvous,
            model::Algorithm::Maglev => forwarding::Algorithm::Maglev,
        },
        max_backends: pool.max_backends,
        on_failed: match pool.on_failed {
            model::OnFailed::Keep => forwarding::OnFailed::Keep,
            model::OnFailed::Reset => forwarding::OnFailed::Reset,
        },
        backends: pool.backends.iter().map(backend).collect(),
    }
}

/// The mode in the dataplane's words.
pub(crate) fn mode(mode: &model::Mode) -> forwarding::Mode {
    match mode {
        model::Mode::Ipip => forwarding::Mode::Ipip,
        model::Mode::Gue(gue) => forwarding::Mode::Gue { port: gue.port, variant: variant(gue.variant) },
        model::Mode::L2 => forwarding::Mode::L2,
    }
}

/// What of an answer of the resolver `mode` can use.
fn usable(
    mode: forwarding::Mode,
    found: &Result<Vec<NextHop>, Unresolved>,
) -> Result<Vec<NextHop>, Unresolved> {
    let hops = found.as_ref().map_err(Clone::clone)?;
    let hops: Vec<NextHop> = hops.iter().filter(|hop| mode.can_use(hop)).copied().collect();
    if hops.is_empty() { Err(Unresolved::NotOnLink) } else { Ok(hops) }
}

fn variant(variant: model::GueVariant) -> forwarding::GueVariant {
    match variant {
        model::GueVariant::Header => forwarding::GueVariant::Header,
        model::GueVariant::Candidates => forwarding::GueVariant::Candidates,
        model::GueVariant::Direct => forwarding::GueVariant::Direct,
    }
}

fn outer_header(pool: &model::Pool) -> forwarding::OuterHeader {
    let usual = forwarding::OuterHeader::default();
    let model::OuterHeader { source_entropy, copy_dscp, flow_label } = pool.outer;
    let (udp_checksum, port_entropy) = match &pool.mode {
        model::Mode::Gue(gue) => (gue.udp_checksum, gue.port_entropy),
        model::Mode::Ipip | model::Mode::L2 => (usual.udp_checksum, usual.port_entropy),
    };
    forwarding::OuterHeader { udp_checksum, source_entropy, copies_dscp: copy_dscp, flow_label, port_entropy }
}

pub(super) fn pool_outcome(pool: &model::Pool, wishes: &Wishes<'_>) -> PoolOutcome {
    let mut outcome = PoolOutcome { is_link_down: true, ..PoolOutcome::default() };
    for (name, (wish, state)) in wishes {
        outcome.backends += 1;
        match wish.condition {
            Condition::Draining | Condition::Disabled => continue,
            Condition::Usable | Condition::Failed | Condition::Unknown | Condition::Unresolved => {}
        }
        let weight = pool.backends.get(*name).map_or(0, |backend| u64::from(backend.weight));
        outcome.active += 1;
        outcome.weight += weight;
        outcome.is_link_down &=
            matches!(wish.next_hop, Some(Err(Unresolved::LinkDown { .. } | Unresolved::NoInterface { .. })));
        if *state == forwarding::BackendState::Usable && matches!(wish.next_hop, Some(Ok(_))) {
            outcome.usable += 1;
            outcome.usable_weight += weight;
        }
    }
    outcome.is_link_down &= outcome.active > 0;
    outcome
}

pub(super) fn backend_wishes<'a>(
    snapshot: &Snapshot<'_>,
    pool_name: &str,
    pool: &'a model::Pool,
) -> Wishes<'a> {
    let (reading, mode) = (snapshot.readings.get(pool_name), mode(&pool.mode));
    let is_known: Vec<bool> = reading
        .into_iter()
        .flat_map(|reading| &reading.targets)
        .map(|target| snapshot.first_results.is_known(pool_name, target.address))
        .collect();
    let wish = |(name, backend): (&'a String, &model::Backend)| {
        let checked = reading.and_then(|reading| reading.backends.get(name));
        let verdict = checked.map(|at_targets| checks::verdict(at_targets, &is_known));
        let set = if snapshot.overrides.by_target.is_empty() {
            None
        } else {
            snapshot.overrides.backend(pool_name, name)
        };
        let next_hop = snapshot.next_hops.get(&backend.address).map(|found| usable(mode, found));
        let (admin, by) = admin_state(backend, set);
        let (condition, state) = effective(admin, next_hop.as_ref(), verdict);
        let wish = BackendWish {
            condition,
            next_hop,
            check: verdict.map_or(CheckSummary::None, summary),
            verdict_at: verdict.and_then(|verdict| verdict.at),
            by,
        };
        (name, (wish, state))
    };
    pool.backends.iter().map(wish).collect()
}

/// What document and operator allow together: the stronger of the two, and the override where it decides.
fn admin_state(
    backend: &model::Backend,
    set: Option<(&Override, overrides::Target)>,
) -> (AdminState, Option<overrides::Target>) {
    let own = if backend.weight == 0 && backend.state == AdminState::Active {
        AdminState::Draining
    } else {
        backend.state
    };
    let Some((one, target)) = set else { return (own, None) };
    match (own, one.state) {
        (AdminState::Disabled, _) | (_, OverrideState::Withhold) => (own, None),
        (AdminState::Active | AdminState::Draining, OverrideState::Disable) => {
            (AdminState::Disabled, Some(target))
        }
        (AdminState::Active, OverrideState::Drain) => (AdminState::Draining, Some(target)),
        (AdminState::Draining, OverrideState::Drain) => (AdminState::Draining, None),
    }
}

/// What a backend may receive, and what the dataplane hears of it. The order is the rule: operators, next hop, checks.
fn effective(
    admin: AdminState,
    next_hop: Option<&Result<Vec<NextHop>, Unresolved>>,
    verdict: Option<BackendVerdict>,
) -> (Condition, forwarding::BackendState) {
    use forwarding::BackendState;
    let is_resolved = matches!(next_hop, Some(Ok(_)));
    match (admin, verdict) {
        (AdminState::Disabled, _) => (Condition::Disabled, BackendState::Disabled),
        (AdminState::Draining, _) => (Condition::Draining, BackendState::Draining),
        // The dataplane goes round a backend without a next hop by itself.
        (AdminState::Active, _) if !is_resolved => (Condition::Unresolved, BackendState::Usable),
        (AdminState::Active, None) => (Condition::Usable, BackendState::Usable),
        (AdminState::Active, Some(verdict)) => match verdict.verdict {
            weir_health::Verdict::Up => (Condition::Usable, BackendState::Usable),
            weir_health::Verdict::Down => (Condition::Failed, BackendState::Failed),
            weir_health::Verdict::Unknown if verdict.is_starting => {
                (Condition::Unknown, BackendState::Usable)
            }
            weir_health::Verdict::Unknown => (Condition::Unknown, BackendState::Failed),
        },
    }
}

fn summary(verdict: BackendVerdict) -> CheckSummary {
    match verdict.verdict {
        weir_health::Verdict::Unknown => CheckSummary::Unknown,
        weir_health::Verdict::Up => CheckSummary::Up,
        weir_health::Verdict::Down => CheckSummary::Down {
            cause: verdict.cause.map_or_else(|| "before-restart".to_owned(), |cause| cause.to_string()),
        },
    }
}
