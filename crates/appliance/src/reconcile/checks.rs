// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checks: from the document's pools to the words of `weir_health`, and from its verdicts back to backends. Pure.
//!
//! A pool with a check has one *target* for each address and port that it serves; each backend of the pool is checked at
//! each target, through its own tunnel. A backend is down when any of its checks is, up when all are.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_dataplane::forwarding::ForwardingState;
use weir_dataplane::next_hop::NextHop;
use weir_dataplane_core::encap::overhead_max;
use weir_health::{
    Adopted, Check, CheckHealth, CheckKey, CheckKind, CheckSpec, CheckSpecError, HealthSnapshot, HttpCheck,
    Method, Route, SocketOptions, StatusSet, Timing, Verdict,
};

use crate::model::{self, Document, PoolCheck};

/// Headers of a check's own packets: IP and TCP.
const HEADERS_V4: u32 = 20 + 20;
const HEADERS_V6: u32 = 40 + 20;

/// One address and port that every backend of a pool is checked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `address:port`, the name of the check.
    pub name: Arc<str>,
    /// Where to connect.
    pub address: SocketAddr,
    /// What is tried there.
    pub spec: Arc<CheckSpec>,
}

/// The targets of each pool that is checked and used, in the order of their addresses.
pub type Targets = BTreeMap<String, Vec<Target>>;

/// All targets of a document.
///
/// # Errors
/// A check that cannot be made; a valid document has none.
pub fn targets(document: &Document) -> Result<Targets, CheckSpecError> {
    let mut targets = Targets::new();
    for (name, addresses) in document.all_check_targets() {
        let Some(check) = document.pools.get(name).and_then(|pool| pool.check.as_ref()) else { continue };
        let of_pool: Result<Vec<Target>, _> = addresses.into_iter().map(|at| target(check, at)).collect();
        targets.insert(name.to_owned(), of_pool?);
    }
    Ok(targets)
}

fn target(check: &PoolCheck, address: SocketAddr) -> Result<Target, CheckSpecError> {
    let usual = Timing::default();
    let timing = Timing {
        interval: check.interval,
        timeout: check.timeout,
        fast_interval: check.fast_interval,
        down_interval: check.down_interval,
        down_interval_max: usual.down_interval_max.max(check.down_interval),
        down_backoff_after: usual.down_backoff_after,
        rise: check.rise,
        fall: check.fall,
    };
    let kind = match &check.kind {
        model::CheckKind::Tcp => CheckKind::Tcp,
        model::CheckKind::Http(http) => CheckKind::Http(http_check(http, address.ip())?),
    };
    let spec = Arc::new(CheckSpec::new(kind, timing)?);
    Ok(Target { name: address.to_string().into(), address, spec })
}

fn http_check(http: &model::HttpCheck, vip: IpAddr) -> Result<HttpCheck, CheckSpecError> {
    let method = match http.method {
        model::HttpMethod::Get => Method::Get,
        model::HttpMethod::Head => Method::Head,
        model::HttpMethod::Options => Method::Options,
    };
    let host = http.host.clone().unwrap_or_else(|| match vip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    });
    let statuses = StatusSet::new(http.status.iter().map(|&(first, last)| first..=last))?;
    HttpCheck::new(method, &http.path, &host, statuses, http.body.clone().map(String::into_bytes))
}

/// How checks leave the appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// Source towards IPv4 VIPs.
    pub source_v4: Option<Ipv4Addr>,
    /// Source towards IPv6 VIPs.
    pub source_v6: Option<Ipv6Addr>,
    /// Upper half of the socket mark.
    pub mark: u32,
}

/// The set for the monitor: every backend that the dataplane has an id for, at every target of its pool.
pub fn checks(
    targets: &Targets,
    state: &ForwardingState,
    next_hops: &BTreeMap<IpAddr, Vec<NextHop>>,
    ids: &BTreeMap<(String, String), u16>,
    sending: Sending,
) -> BTreeMap<CheckKey, Check> {
    let mut checks = BTreeMap::new();
    for ((pool_name, backend_name), id) in ids {
        let (Some(targets), Some(pool)) = (targets.get(pool_name), state.pools.get(pool_name)) else {
            continue;
        };
        let Some(backend) = pool.backends.get(backend_name) else { continue };
        // Packets of checks go by the first.
        let hops = next_hops.get(&backend.address);
        let hop = hops.and_then(|hops| hops.iter().find(|hop| pool.mode.can_use(hop)));
        let overhead = overhead_max(pool.mode.number(), backend.address.is_ipv6());
        let (pool_name, backend_name): (Arc<str>, Arc<str>) =
            (pool_name.as_str().into(), backend_name.as_str().into());
        for target in targets {
            let key = CheckKey {
                pool: Arc::clone(&pool_name),
                backend: Arc::clone(&backend_name),
                check: Arc::clone(&target.name),
            };
            let check = Check {
                spec: Arc::clone(&target.spec),
                target: target.address,
                address: backend.address,
                route: if hop.is_some() { Route::Ready } else { Route::NoNextHop },
                socket: socket(target.address.ip(), (hop, overhead), *id, sending),
            };
            checks.insert(key, check);
        }
    }
    checks
}

/// `overhead` is what the pool's mode puts on a packet.
fn socket(vip: IpAddr, (hop, overhead): (Option<&NextHop>, u32), id: u16, sending: Sending) -> SocketOptions {
    let (source, headers) = match vip {
        IpAddr::V4(_) => (sending.source_v4.map(IpAddr::V4), HEADERS_V4),
        IpAddr::V6(_) => (sending.source_v6.map(IpAddr::V6), HEADERS_V6),
    };
    let room = hop.map(|hop| u32::from(hop.mtu).saturating_sub(headers + overhead));
    // No larger than the MTU that it is a part of.
    let room = room.and_then(|room| u16::try_from(room).ok());
    SocketOptions {
        source,
        mark: Some(sending.mark | u32::from(id)),
        max_segment: room.filter(|room| *room > 0),
    }
}

/// What the monitor says of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolReading {
    /// By target, in order: whether the monitor has it, and how many backends it has no verdict of.
    pub targets: Vec<TargetReading>,
    /// By backend: the health at each target, in order; `None` where the monitor has no such check.
    pub backends: BTreeMap<String, Vec<Option<CheckHealth>>>,
}

/// What the monitor says of one target of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetReading {
    /// The address.
    pub address: SocketAddr,
    /// Whether checks of it run.
    pub is_running: bool,
    /// Backends without a verdict, disabled ones left out.
    pub unknown: u32,
    /// How long the first results may take once checks run: each attempt is made within an interval.
    pub patience: Duration,
}

/// The verdicts of an earlier run that a check of this document would take over.
pub fn believed(
    document: &Document,
    mut adopted: BTreeMap<CheckKey, Adopted>,
) -> BTreeMap<CheckKey, Adopted> {
    // What cannot be checked needs no verdicts; the reconciler says why it cannot.
    let targets = targets(document).unwrap_or_default();
    let is_believed = |key: &CheckKey, one: &Adopted| {
        let backend = document.pools.get(&*key.pool)?.backends.get(&*key.backend)?;
        let target = targets.get(&*key.pool)?.iter().find(|target| target.name == key.check)?;
        Some(one.is_believed(backend.address, target.spec.timing()))
    };
    adopted.retain(|key, one| is_believed(key, one).unwrap_or(false));
    adopted
}

/// Sorts the verdicts of a snapshot by pool and backend of the document.
pub fn read(
    document: &Document,
    targets: &Targets,
    health: &HealthSnapshot,
) -> BTreeMap<String, PoolReading> {
    // Both sides are in the order of pool and backend, so one walk over each is enough.
    let mut found = health.checks.iter().peekable();
    let mut readings = BTreeMap::new();
    for (pool_name, targets) in targets {
        let Some(pool) = document.pools.get(pool_name) else { continue };
        let mut reading = PoolReading {
            targets: targets.iter().map(TargetReading::new).collect(),
            backends: BTreeMap::new(),
        };
        for (backend_name, backend) in &pool.backends {
            let wanted = (pool_name.as_str(), backend_name.as_str());
            let mut at_targets: Vec<Option<CheckHealth>> = vec![None; targets.len()];
            while found.next_if(|(key, _)| (&*key.pool, &*key.backend) < wanted).is_some() {}
            while let Some((key, health)) = found.next_if(|(key, _)| (&*key.pool, &*key.backend) == wanted) {
                if let Some(place) = targets.iter().position(|target| target.name == key.check) {
                    reading.targets[place].is_running = true;
                    // Until the monitor has heard of a new address, what it says is about the old one.
                    at_targets[place] = (health.address == backend.address).then_some(*health);
                }
            }
            if backend.state != model::AdminState::Disabled {
                for (target, health) in reading.targets.iter_mut().zip(&at_targets) {
                    let is_unknown = health.is_none_or(|health| health.verdict == Verdict::Unknown);
                    target.unknown += u32::from(is_unknown);
                }
            }
            reading.backends.insert(backend_name.clone(), at_targets);
        }
        readings.insert(pool_name.clone(), reading);
    }
    readings
}

impl TargetReading {
    fn new(target: &Target) -> Self {
        let timing = target.spec.timing();
        Self {
            address: target.address,
            is_running: false,
            unknown: 0,
            patience: timing.interval * 2 + timing.timeout,
        }
    }
}

/// What the checks of one backend come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendVerdict {
    /// All things considered.
    pub verdict: Verdict,
    /// Nothing is known since the pool's checks have only begun: not a reason to take it out.
    pub is_starting: bool,
    /// The failure of the check that decided, when down; `None` for a verdict from before a restart.
    pub cause: Option<weir_health::Failure>,
    /// When the deciding result came.
    pub at: Option<Instant>,
}

/// Joins the checks of one backend. `is_known` says for each target whether the pool has had its first results there: a
/// target that has only begun holds nobody back who is up elsewhere.
pub fn verdict(at_targets: &[Option<CheckHealth>], is_known: &[bool]) -> BackendVerdict {
    let of = |wanted| at_targets.iter().flatten().filter(move |health| health.verdict == wanted);
    if let Some(first) = of(Verdict::Down).min_by_key(|health| health.since) {
        return BackendVerdict {
            verdict: Verdict::Down,
            is_starting: false,
            cause: first.cause,
            at: Some(first.since),
        };
    }
    let is_unknown =
        |health: &Option<CheckHealth>| health.is_none_or(|health| health.verdict == Verdict::Unknown);
    let is_held = at_targets.iter().zip(is_known).any(|(health, known)| *known && is_unknown(health));
    match of(Verdict::Up).max_by_key(|health| health.since) {
        Some(last) if !is_held => {
            BackendVerdict { verdict: Verdict::Up, is_starting: false, cause: None, at: Some(last.since) }
        }
        Some(_) | None => {
            BackendVerdict { verdict: Verdict::Unknown, is_starting: !is_held, cause: None, at: None }
        }
    }
}
