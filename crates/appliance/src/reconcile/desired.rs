// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What shall be, as a pure function of the document, the next hops and what operators allow.
//!
//! Here the words of the document become the words of the siblings: pools and services for the dataplane, prefixes for
//! the speaker. Whether a VIP *may* be announced also depends on what is in force; that is decided in `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::forwarding::{self, ForwardingState};
use weir_dataplane::next_hop::{NextHop, NextHops, Unresolved};

use crate::model::{self, AdminState, Document, Generation};

/// What operators allow beside the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admin {
    /// The appliance is going down: no VIP is announced any more.
    pub is_stopping: bool,
}

/// Everything that shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Of the document this follows from.
    pub generation: Generation,
    /// What the dataplane shall do.
    pub target: Target,
    /// Own addresses, announced for as long as sessions live; they need no forwarding.
    pub own: BTreeSet<Advertisement>,
    /// VIPs by name.
    pub vips: BTreeMap<String, VipWish>,
    /// Backends by pool and name.
    pub backends: BTreeMap<(String, String), BackendOutcome>,
    /// How long forwarding outlives the withdraw of its VIP.
    pub drain_wait: Duration,
}

/// A whole state of the dataplane: the services, and the next hops of those backends that have one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Services and pools.
    pub state: ForwardingState,
    /// Next hop by backend address; an address that is missing is unresolved.
    pub next_hops: BTreeMap<IpAddr, NextHop>,
}

impl Target {
    /// Whether packets for `service` would reach some backend: usable, and with a next hop that `holds` agrees to.
    pub fn carries(&self, service: &forwarding::Service, holds: impl Fn(IpAddr, NextHop) -> bool) -> bool {
        self.state.pools.get(&service.pool).is_some_and(|pool| {
            pool.backends.values().any(|backend| {
                backend.state == forwarding::BackendState::Usable
                    && self.next_hops.get(&backend.address).is_some_and(|hop| holds(backend.address, *hop))
            })
        })
    }
}

/// A VIP, its services, and what speaks against announcing it before the dataplane is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipWish {
    /// The address.
    pub address: IpAddr,
    /// Names of its services in [`Desired::target`].
    pub services: Vec<String>,
    /// Reasons against it; empty when it shall be announced once its forwarding is in place.
    pub withheld: BTreeSet<Reason>,
}

impl VipWish {
    /// What the speaker shall tell.
    pub fn advertisement(&self) -> Advertisement {
        Advertisement::plain(Prefix::host(self.address))
    }
}

/// Why a VIP is not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The appliance is stopping.
    Admin,
    /// XDP is not attached, or the maps do not hold what its services need.
    Dataplane,
    /// Every backend it lacks is behind an interface that is down or gone.
    Uplink,
    /// A service has no usable backend with a next hop, or the VIP has no service.
    Backends,
}

impl Reason {
    /// The word in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dataplane => "dataplane",
            Self::Uplink => "uplink",
            Self::Backends => "backends",
        }
    }
}

/// What became of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendOutcome {
    /// What it may receive.
    pub condition: Condition,
    /// Its next hop, or why it has none; `None` while the resolver has not been asked.
    pub next_hop: Option<Result<NextHop, Unresolved>>,
}

/// What a backend may receive, all things considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Everything.
    Usable,
    /// The flows it has, no new ones.
    Draining,
    /// Nothing: there is no next hop.
    Unresolved,
    /// Nothing: the operator says so.
    Disabled,
}

/// The addresses that need a next hop.
pub fn destinations(document: &Document) -> BTreeSet<IpAddr> {
    document.pools.values().flat_map(|pool| pool.backends.values().map(|backend| backend.address)).collect()
}

/// Everything that shall be, by `document`, given what is known of the next hops and what operators allow.
pub fn desired(document: &Document, generation: Generation, hops: &NextHops, admin: Admin) -> Desired {
    let state = ForwardingState {
        services: document
            .services
            .iter()
            .map(|(name, one)| (name.clone(), service(document, one)))
            .collect(),
        pools: document.pools.iter().map(|(name, one)| (name.clone(), pool(one))).collect(),
    };
    let next_hops = destinations(document)
        .into_iter()
        .filter_map(|address| Some((address, *hops.get(&address)?.as_ref().ok()?)))
        .collect();
    let target = Target { state, next_hops };
    let mut services: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, service) in &document.services {
        services.entry(&service.vip).or_default().push(name.clone());
    }
    let vip_wish = |(name, vip): (&String, &model::Vip)| {
        let services = services.remove(name.as_str()).unwrap_or_default();
        let withheld = withheld(document, &services, &target, hops, admin);
        (name.clone(), VipWish { address: vip.address, services, withheld })
    };
    let vips = document.vips.iter().map(vip_wish).collect();
    let own = [document.appliance.source_v4.map(IpAddr::V4), document.appliance.source_v6.map(IpAddr::V6)];
    Desired {
        generation,
        target,
        own: own.into_iter().flatten().map(|address| Advertisement::plain(Prefix::host(address))).collect(),
        vips,
        backends: backends(document, hops),
        drain_wait: document.appliance.drain_wait,
    }
}

/// What speaks against announcing a VIP with these services.
fn withheld(
    document: &Document,
    services: &[String],
    target: &Target,
    hops: &NextHops,
    admin: Admin,
) -> BTreeSet<Reason> {
    let mut reasons = BTreeSet::new();
    if admin.is_stopping {
        reasons.insert(Reason::Admin);
    }
    if services.is_empty() {
        reasons.insert(Reason::Backends);
    }
    for service in services.iter().filter_map(|name| target.state.services.get(name)) {
        if !target.carries(service, |_, _| true) {
            reasons.insert(missing_backends(document.pools.get(&service.pool), hops));
        }
    }
    reasons
}

/// Tells a pool without usable backends from one whose backends are all behind an interface that is down.
fn missing_backends(pool: Option<&model::Pool>, hops: &NextHops) -> Reason {
    let mut wanted = pool
        .into_iter()
        .flat_map(|pool| pool.backends.values())
        .filter(|backend| backend.state == AdminState::Active && backend.weight > 0)
        .peekable();
    let is_down = |backend: &model::Backend| {
        matches!(
            hops.get(&backend.address),
            Some(Err(Unresolved::LinkDown { .. } | Unresolved::NoInterface { .. }))
        )
    };
    if wanted.peek().is_some() && wanted.all(is_down) { Reason::Uplink } else { Reason::Backends }
}

fn service(document: &Document, service: &model::Service) -> forwarding::Service {
    let vip = document.vips.get(&service.vip).expect("a valid document has the VIP of each service");
    forwarding::Service {
        vip: vip.address,
        protocol: match service.protocol {
            model::Protocol::Tcp => forwarding::Protocol::Tcp,
            model::Protocol::Udp => forwarding::Protocol::Udp,
        },
        port: service.port,
        pool: service.pool.clone(),
        idle: service.idle,
        flow_table: service.flow_table,
    }
}

fn pool(pool: &model::Pool) -> forwarding::Pool {
    forwarding::Pool {
        mode: match pool.mode {
            model::Mode::Ipip => forwarding::Mode::Ipip,
        },
        max_backends: pool.max_backends,
        on_failed: match pool.on_failed {
            model::OnFailed::Keep => forwarding::OnFailed::Keep,
            model::OnFailed::Reset => forwarding::OnFailed::Reset,
        },
        backends: pool.backends.iter().map(|(name, one)| (name.clone(), backend(one))).collect(),
    }
}

/// Weight 0 means "no new flows": the dataplane hears a draining backend of the least weight.
fn backend(backend: &model::Backend) -> forwarding::Backend {
    forwarding::Backend {
        address: backend.address,
        weight: backend.weight.max(1),
        cap_permille: 1000,
        state: match (backend.state, backend.weight) {
            (AdminState::Disabled, _) => forwarding::BackendState::Disabled,
            (AdminState::Draining, _) | (AdminState::Active, 0) => forwarding::BackendState::Draining,
            (AdminState::Active, _) => forwarding::BackendState::Usable,
        },
    }
}

fn backends(document: &Document, hops: &NextHops) -> BTreeMap<(String, String), BackendOutcome> {
    let all = document.pools.iter().flat_map(|(pool_name, pool)| {
        pool.backends.iter().map(move |(name, one)| {
            let next_hop = hops.get(&one.address).cloned();
            let condition = match (backend(one).state, &next_hop) {
                (forwarding::BackendState::Disabled, _) => Condition::Disabled,
                (_, None | Some(Err(_))) => Condition::Unresolved,
                (forwarding::BackendState::Draining, Some(Ok(_))) => Condition::Draining,
                (forwarding::BackendState::Usable | forwarding::BackendState::Failed, Some(Ok(_))) => {
                    Condition::Usable
                }
            };
            ((pool_name.clone(), name.clone()), BackendOutcome { condition, next_hop })
        })
    });
    all.collect()
}
