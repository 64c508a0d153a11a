// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What shall be, as a pure function of the document, the next hops, the checks and what operators allow.
//!
//! Here the words of the document become the words of the siblings: pools and services for the dataplane, prefixes for
//! the speaker. Whether a VIP shall be announced its gate decides, which has a memory ([`super::gate`]); whether it *may*
//! be also depends on what is in force, and `plan` decides that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::forwarding::{self, ForwardingState, VipPrefix};
use weir_dataplane::next_hop::{NextHop, NextHops};

pub use super::backends::{BackendWish, CheckSummary, Condition, PoolOutcome};
use super::backends::{backend_wishes, forwarding_pool, pool_outcome};
use super::checks::{PoolReading, Sending, Targets};
use super::first_results::FirstResults;
use super::gate::{Decision, Facts, Gates, ServiceFacts, Verdict, WithheldBy};
pub use super::gate::{Reason, Why};
use crate::model::{self, Attributes, Community, Document, Drain, Generation};
use crate::overrides::Overrides;

/// What the process itself allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admin {
    /// The appliance is going down: no VIP is announced any more.
    pub is_stopping: bool,
    /// It is in a hurry: VIPs are withdrawn at once.
    pub is_hurried: bool,
}

/// Everything that shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Of the document this follows from.
    pub generation: Generation,
    /// What the dataplane shall do.
    pub target: Arc<Target>,
    /// Own addresses, announced for as long as sessions live; they need no forwarding.
    pub own: BTreeSet<Advertisement>,
    /// VIPs by name.
    pub vips: BTreeMap<String, VipWish>,
    /// Backends by pool and name.
    pub backends: BTreeMap<(String, String), BackendWish>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolOutcome>,
    /// Where each pool is checked.
    pub targets: Arc<Targets>,
    /// How checks leave the appliance.
    pub sending: Sending,
    /// How long forwarding outlives the withdraw of its VIP.
    pub drain_wait: Duration,
}

/// A whole state of the dataplane: the services, and the next hops of those backends that have one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Services and pools.
    pub state: ForwardingState,
    /// Next hops by backend address; an address that is missing is unresolved.
    pub next_hops: BTreeMap<IpAddr, Vec<NextHop>>,
}

impl Target {
    /// Whether packets for `service` would reach some backend: usable, with a next hop for the pool's mode, and next hops that
    /// `holds` agrees to.
    pub fn carries(&self, service: &forwarding::Service, holds: impl Fn(IpAddr, &[NextHop]) -> bool) -> bool {
        self.state.pools.get(&service.pool).is_some_and(|pool| {
            pool.backends.values().any(|backend| {
                backend.state == forwarding::BackendState::Usable
                    && self.next_hops.get(&backend.address).is_some_and(|hops| {
                        hops.iter().any(|hop| pool.mode.can_use(hop)) && holds(backend.address, hops)
                    })
            })
        })
    }
}

/// A VIP, its services, what its gate goes by and what the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipWish {
    /// What is announced.
    pub prefix: Prefix,
    /// Whether echo requests are answered while it is up.
    pub echo: bool,
    /// Names of its services in [`Desired::target`].
    pub services: Vec<String>,
    /// What its announcement carries as a rule.
    pub attributes: Attributes,
    /// What the uplinks carry, in octets per second, where that is known.
    pub link_bandwidth: Option<u64>,
    /// What its gate goes by.
    pub facts: Facts,
    /// Reasons against announcing it; empty when it shall be announced once its forwarding is in place.
    pub withheld: BTreeSet<Reason>,
    /// Whether it shall be announced with the least preference.
    pub is_deprioritised: bool,
    /// What changes while it is announced to be withdrawn soon; `None`: it is not.
    pub leaving: Option<Drain>,
    /// How it leaves, if somebody withholds it.
    pub drain: Drain,
    /// The sentences to all this.
    pub whys: Vec<Why>,
}

impl VipWish {
    /// What the speaker shall tell.
    pub fn advertisement(&self) -> Advertisement {
        let mut attributes = self.attributes.clone();
        if self.is_deprioritised {
            attributes.communities.insert(Community::GRACEFUL_SHUTDOWN);
        }
        if let Some(drain) = &self.leaving {
            attributes.prepend = attributes.prepend.saturating_add(drain.prepend);
            attributes.med = drain.med.or(attributes.med);
        }
        Advertisement {
            prefix: self.prefix,
            med: attributes.med,
            communities: attributes.standard(),
            large_communities: attributes.large(),
            prepend: attributes.prepend,
            link_bandwidth: self.link_bandwidth,
        }
    }

    fn decided(&mut self, decision: Decision) {
        let Decision { verdict, whys, wake_at: _ } = decision;
        self.withheld = match verdict {
            Verdict::Withhold => whys.iter().map(|why| why.reason).collect(),
            Verdict::Announce | Verdict::Deprioritise | Verdict::Leave => BTreeSet::new(),
        };
        self.is_deprioritised = matches!(verdict, Verdict::Deprioritise | Verdict::Leave);
        self.leaving = (verdict == Verdict::Leave).then_some(self.drain);
        self.whys = whys;
    }
}

/// Everything that decides.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The accepted document.
    pub document: &'a Document,
    /// Its number.
    pub generation: Generation,
    /// Next hops of all backends.
    pub next_hops: &'a NextHops,
    /// Where each pool is checked.
    pub targets: &'a Arc<Targets>,
    /// What the checks say.
    pub readings: &'a BTreeMap<String, PoolReading>,
    /// Which checks have had their first results.
    pub first_results: &'a FirstResults,
    /// What operators set beside the document.
    pub overrides: &'a Overrides,
    /// What the process itself allows.
    pub admin: Admin,
}

/// The addresses that need a next hop.
pub fn destinations(document: &Document) -> BTreeSet<IpAddr> {
    document.pools.values().flat_map(|pool| pool.backends.values().map(|backend| backend.address)).collect()
}

/// Everything that shall be, by the document and what is known of the world. What the gates say is to be added by
/// [`Desired::decide`].
pub fn desired(snapshot: &Snapshot<'_>) -> Desired {
    let Snapshot { document, next_hops: hops, .. } = *snapshot;
    // In the order of the document, which is that of the maps: they are then built in one go.
    let (mut backends, mut resolved) = (Vec::new(), Vec::new());
    let mut outcomes = BTreeMap::new();
    let mut pools = BTreeMap::new();
    for (name, pool) in &document.pools {
        let wishes = backend_wishes(snapshot, name, pool);
        pools.insert(name.clone(), forwarding_pool(pool, &wishes));
        outcomes.insert(name.clone(), pool_outcome(pool, &wishes));
        resolved.extend(pool.backends.values().filter_map(|one| {
            let hops = hops.get(&one.address)?.as_ref().ok()?;
            Some((one.address, hops.clone()))
        }));
        backends.extend(wishes.into_iter().map(|(one, (wish, _))| ((name.clone(), one.clone()), wish)));
    }
    let services = document.services.iter().map(|(name, one)| (name.clone(), service(document, one)));
    let limits = document.limits;
    // Which VIPs answer echo requests follows from what their gates say.
    let vips = BTreeMap::new();
    let state = ForwardingState { services: services.collect(), pools, vips, limits };
    let next_hops = resolved.into_iter().collect();
    let own = [document.appliance.source_v4.map(IpAddr::V4), document.appliance.source_v6.map(IpAddr::V6)];
    Desired {
        generation: snapshot.generation,
        target: Arc::new(Target { state, next_hops }),
        own: own.into_iter().flatten().map(|address| Advertisement::plain(Prefix::host(address))).collect(),
        vips: vip_wishes(snapshot, &outcomes),
        backends: backends.into_iter().collect(),
        pools: outcomes,
        targets: Arc::clone(snapshot.targets),
        sending: Sending {
            source_v4: document.appliance.source_v4,
            source_v6: document.appliance.source_v6,
            mark: document.bootstrap.checks.mark,
        },
        drain_wait: document.appliance.drain_wait,
    }
}

impl Desired {
    /// Brings it to what `snapshot` says, where that differs in nothing but what checks say of `pools`.
    pub(super) fn update(&mut self, snapshot: &Snapshot<'_>, pools: &BTreeSet<String>) {
        if pools.is_empty() {
            return;
        }
        let document = snapshot.document;
        for name in pools {
            let Some(pool) = document.pools.get(name) else { continue };
            let wishes = backend_wishes(snapshot, name, pool);
            let wanted = forwarding_pool(pool, &wishes);
            if self.target.state.pools.get(name) != Some(&wanted) {
                Arc::make_mut(&mut self.target).state.pools.insert(name.clone(), wanted);
            }
            self.pools.insert(name.clone(), pool_outcome(pool, &wishes));
            for (backend, (wish, _)) in wishes {
                self.backends.insert((name.clone(), backend.clone()), wish);
            }
        }
        let served = document.services.values().filter(|service| pools.contains(&service.pool));
        let vips: BTreeSet<&String> = served.map(|service| &service.vip).collect();
        for name in vips {
            let Some(vip) = self.vips.get_mut(name) else { continue };
            let services = vip.services.iter().filter_map(|name| Some((name, document.services.get(name)?)));
            let facts = services.map(|(name, one)| service_facts(snapshot, name, one, &self.pools));
            vip.facts.services = facts.collect();
        }
    }

    /// Asks the gates about every VIP; answers when time alone may change what they say. Only a VIP that is not withheld
    /// answers echo requests.
    pub fn decide(&mut self, gates: &mut Gates, now: Instant) -> Option<Instant> {
        let decisions = gates.decide(self.vips.values().map(|vip| (vip.prefix, &vip.facts)), now);
        let mut wake_at = None;
        for (vip, (_, decision)) in self.vips.values_mut().zip(decisions) {
            wake_at = [wake_at, decision.wake_at].into_iter().flatten().min();
            vip.decided(decision);
        }
        let answering = self.vips.values().filter(|vip| vip.echo && vip.withheld.is_empty());
        let answering = answering.map(|vip| (vip_prefix(vip.prefix), forwarding::Vip { answers_echo: true }));
        let answering = answering.collect();
        if self.target.state.vips != answering {
            Arc::make_mut(&mut self.target).state.vips = answering;
        }
        wake_at
    }
}

fn vip_wishes(snapshot: &Snapshot<'_>, pools: &BTreeMap<String, PoolOutcome>) -> BTreeMap<String, VipWish> {
    let document = snapshot.document;
    let mut services: BTreeMap<&str, Vec<(&String, &model::Service)>> = BTreeMap::new();
    for (name, service) in &document.services {
        services.entry(&service.vip).or_default().push((name, service));
    }
    let link_bandwidth = link_bandwidth(document);
    let wish = |(name, vip): (&String, &model::Vip)| {
        let services = services.remove(name.as_str()).unwrap_or_default();
        let facts = Facts {
            policy: vip.announce.clone(),
            services: services.iter().map(|(name, one)| service_facts(snapshot, name, one, pools)).collect(),
            withheld_by: withheld_by(snapshot, name),
            drain_time: if snapshot.admin.is_hurried { Duration::ZERO } else { document.bgp.drain.time },
        };
        let wish = VipWish {
            prefix: vip.prefix,
            echo: vip.echo,
            attributes: vip.announce.attributes.clone(),
            link_bandwidth,
            services: services.into_iter().map(|(name, _)| name.clone()).collect(),
            facts,
            withheld: BTreeSet::new(),
            is_deprioritised: false,
            leaving: None,
            drain: document.bgp.drain,
            whys: Vec::new(),
        };
        (name.clone(), wish)
    };
    document.vips.iter().map(wish).collect()
}

/// What all uplinks carry together, in octets per second; unknown if it is of one of them.
fn link_bandwidth(document: &Document) -> Option<u64> {
    let bits: Option<u64> = document.uplinks.values().map(|uplink| uplink.capacity).sum();
    bits.filter(|bits| *bits > 0).map(|bits| bits / 8)
}

fn service_facts(
    snapshot: &Snapshot<'_>,
    name: &str,
    service: &model::Service,
    pools: &BTreeMap<String, PoolOutcome>,
) -> ServiceFacts {
    let pool = pools.get(&service.pool).copied().unwrap_or_default();
    let checked_at = snapshot.document.check_target(service);
    let is_known = |at| snapshot.first_results.is_known(&service.pool, at);
    ServiceFacts {
        name: name.to_owned(),
        usable: pool.usable,
        backends: pool.active,
        all: pool.backends,
        usable_weight: pool.usable_weight,
        weight: pool.weight,
        is_link_down: pool.is_link_down,
        has_first_results: checked_at.is_none_or(is_known),
    }
}

fn withheld_by(snapshot: &Snapshot<'_>, vip: &str) -> Option<WithheldBy> {
    if snapshot.admin.is_stopping {
        return Some(WithheldBy::Stopping);
    }
    let (one, target) = snapshot.overrides.withheld(vip)?;
    Some(WithheldBy::Override {
        target,
        author: one.author.clone(),
        reason: one.reason.clone(),
        until: one.until,
    })
}

fn vip_prefix(prefix: Prefix) -> VipPrefix {
    VipPrefix { address: prefix.address(), length: prefix.length() }
}

fn service(document: &Document, service: &model::Service) -> forwarding::Service {
    let vip = document.vips.get(&service.vip).expect("a valid document has the VIP of each service");
    let is_host = vip.prefix == Prefix::host(vip.prefix.address());
    forwarding::Service {
        vip: vip.prefix.address(),
        prefix_length: (!is_host).then_some(vip.prefix.length()),
        protocol: match service.protocol {
            model::Protocol::Tcp => forwarding::Protocol::Tcp,
            model::Protocol::Udp => forwarding::Protocol::Udp,
        },
        port: service.port.unwrap_or(0),
        pool: service.pool.clone(),
        idle: service.idle,
        flow_table: service.flow_table,
        affinity: match service.affinity {
            model::Affinity::Flow => forwarding::Affinity::Flow,
            model::Affinity::Source => forwarding::Affinity::Source,
            model::Affinity::SourcePort => forwarding::Affinity::SourcePort,
        },
        fragments: match service.fragments {
            model::Fragments::Drop => forwarding::Fragments::Drop,
            model::Fragments::BySource => forwarding::Fragments::BySource,
            model::Fragments::FirstFragment => forwarding::Fragments::FirstFragment,
        },
        new_flows_per_second: service.new_flows_per_second,
    }
}
