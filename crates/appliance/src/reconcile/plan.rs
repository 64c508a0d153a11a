// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What to do next so that the observed becomes the desired, in an order that never announces what is not forwarded.
//!
//! ```text
//!  withdraw ──► forward ──► attach ──► announce
//!  what is no   the whole   XDP on     what is wanted and in place:
//!  more wanted  state       uplinks    adds, and takes back what a failure before left without forwarding
//! ```
//!
//! Each step is a whole part of the desired state for one sibling, which finds the difference itself. [`next`] is asked
//! again after every step; a step that failed is not tried twice in one pass and blocks only what needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::forwarding::{Protocol, Service};

use super::desired::{Desired, Reason, Target, VipWish};

/// States that may be in force after failed applies, at most; beyond it nothing counts as in place until one succeeds.
const POSSIBLE_MAX: usize = 16;

/// What is known to be, from the outcomes of all steps so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What the speaker was told last; more than that while [`Self::is_unsure`].
    pub advertised: BTreeSet<Advertisement>,
    /// Whether XDP is attached.
    pub is_attached: bool,
    /// The speaker failed when it was told, so it may advertise any part of [`Self::advertised`].
    is_unsure: bool,
    /// States of which each service in the kernel is in one: a single one after a success, more after failures.
    possible: Vec<Target>,
    /// VIPs withdrawn, and until when their forwarding stays.
    leaving: BTreeMap<IpAddr, Instant>,
}

impl Default for Observed {
    /// A process that just started: nothing is advertised, and nothing that the kernel holds is trusted.
    fn default() -> Self {
        Self {
            advertised: BTreeSet::new(),
            is_attached: false,
            is_unsure: false,
            possible: vec![Target::default()],
            leaving: BTreeMap::new(),
        }
    }
}

impl Observed {
    /// Records that the speaker took `advertised`. Forwarding of the VIPs that left it stays for `drain_wait`.
    pub fn handle_advertised(
        &mut self,
        advertised: BTreeSet<Advertisement>,
        now: Instant,
        drain_wait: Duration,
    ) {
        let addresses = |set: &BTreeSet<Advertisement>| -> BTreeSet<IpAddr> {
            set.iter().map(|one| one.prefix.address()).collect()
        };
        let (before, after) = (addresses(&self.advertised), addresses(&advertised));
        self.leaving.extend(before.difference(&after).map(|address| (*address, now + drain_wait)));
        self.leaving.retain(|address, until| *until > now && !after.contains(address));
        self.advertised = advertised;
        self.is_unsure = false;
    }

    /// Records that the speaker failed when told to advertise `set`.
    pub fn handle_advertising_failed(&mut self, set: BTreeSet<Advertisement>) {
        self.advertised.extend(set);
        self.is_unsure = true;
    }

    /// Records that the dataplane holds `target` and nothing else.
    pub fn handle_forwarding_applied(&mut self, target: Target) {
        self.possible = vec![target];
    }

    /// Records that applying `target` failed, so that any service may be as before or as in `target`.
    pub fn handle_forwarding_failed(&mut self, target: Target) {
        if self.possible.contains(&target) {
            return;
        }
        if self.possible.len() == POSSIBLE_MAX {
            self.possible = vec![Target::default()];
        }
        self.possible.push(target);
    }

    /// Whether the dataplane is known to hold just `target`.
    pub fn holds(&self, target: &Target) -> bool {
        matches!(self.possible.as_slice(), [only] if only == target)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell the speaker this set, which lacks what is no more wanted and adds nothing.
    Withdraw(BTreeSet<Advertisement>),
    /// Bring the dataplane to this state.
    Forward(Target),
    /// Attach XDP.
    Attach,
    /// Tell the speaker this set.
    Announce(BTreeSet<Advertisement>),
}

/// The kind of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// [`Step::Withdraw`].
    Withdraw,
    /// [`Step::Forward`].
    Forward,
    /// [`Step::Attach`].
    Attach,
    /// [`Step::Announce`].
    Announce,
}

impl StepKind {
    /// The word in status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Withdraw => "withdraw",
            Self::Forward => "forward",
            Self::Attach => "attach",
            Self::Announce => "announce",
        }
    }
}

impl Step {
    /// Its kind.
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::Withdraw(_) => StepKind::Withdraw,
            Self::Forward(_) => StepKind::Forward,
            Self::Attach => StepKind::Attach,
            Self::Announce(_) => StepKind::Announce,
        }
    }
}

/// The next step, or `None` when nothing more can be done in this pass.
///
/// `tried` are the kinds already tried in it. Two things bring more to do later: a failed step, and [`wake_at`].
pub fn next(
    desired: &Desired,
    observed: &Observed,
    tried: &BTreeSet<StepKind>,
    now: Instant,
) -> Option<Step> {
    let is_open = |kind| !tried.contains(&kind);
    let keep = unwithdrawn(desired, observed);
    let is_withdrawn = keep == observed.advertised && !observed.is_unsure;
    if is_open(StepKind::Withdraw) && !is_withdrawn {
        return Some(Step::Withdraw(keep));
    }
    if is_withdrawn {
        let target = target(desired, observed, now);
        if is_open(StepKind::Forward) && !observed.holds(&target) {
            return Some(Step::Forward(target));
        }
        if is_open(StepKind::Attach) && !observed.is_attached && observed.holds(&target) {
            return Some(Step::Attach);
        }
    }
    let announceable = announceable(desired, observed);
    let is_told = announceable == observed.advertised && !observed.is_unsure;
    (is_open(StepKind::Announce) && !is_told).then_some(Step::Announce(announceable))
}

/// When time alone brings something to do: the next forwarding that outlived its VIP long enough.
pub fn wake_at(desired: &Desired, observed: &Observed, now: Instant) -> Option<Instant> {
    let vips: BTreeSet<IpAddr> =
        lingering(desired, observed, now).iter().map(|(_, _, service)| service.vip).collect();
    vips.iter().filter_map(|vip| observed.leaving.get(vip)).min().copied()
}

/// Why each VIP is withheld now, by name; an empty set when it is announced or about to be.
pub fn withheld(desired: &Desired, observed: &Observed) -> BTreeMap<String, BTreeSet<Reason>> {
    let in_place = InPlace::new(desired, observed);
    let of_vip = |vip: &VipWish| {
        let mut reasons = vip.withheld.clone();
        if reasons.is_empty() && !in_place.covers(vip) {
            reasons.insert(Reason::Dataplane);
        }
        reasons
    };
    desired.vips.iter().map(|(name, vip)| (name.clone(), of_vip(vip))).collect()
}

/// What is advertised and still wanted. Attributes that changed are no reason to withdraw.
///
/// While it is unsure what is advertised, naming a prefix may announce it, so only what may be announced is named.
fn unwithdrawn(desired: &Desired, observed: &Observed) -> BTreeSet<Advertisement> {
    let prefixes = |set: BTreeSet<Advertisement>| set.into_iter().map(|one| one.prefix).collect();
    let wanted: BTreeSet<Prefix> = if observed.is_unsure {
        prefixes(announceable(desired, observed))
    } else {
        let vips = desired.vips.values().filter(|vip| vip.withheld.is_empty()).map(VipWish::advertisement);
        prefixes(vips.chain(desired.own.iter().cloned()).collect())
    };
    observed.advertised.iter().filter(|one| wanted.contains(&one.prefix)).cloned().collect()
}

/// What may be advertised now: own addresses, and VIPs that are wanted and whose forwarding is in place.
fn announceable(desired: &Desired, observed: &Observed) -> BTreeSet<Advertisement> {
    let in_place = InPlace::new(desired, observed);
    let vips = desired.vips.values().filter(|vip| vip.withheld.is_empty() && in_place.covers(vip));
    vips.map(VipWish::advertisement).chain(desired.own.iter().cloned()).collect()
}

/// What the kernel tells services apart by.
type ServiceKey = (IpAddr, Protocol, u16);

fn key(service: &Service) -> ServiceKey {
    (service.vip, service.protocol, service.port)
}

/// Answers whether forwarding is in place, whichever of the possible states each service is in.
struct InPlace<'a> {
    desired: &'a Desired,
    is_attached: bool,
    possible: Vec<(&'a Target, BTreeMap<ServiceKey, &'a Service>)>,
}

impl<'a> InPlace<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let by_key = |target: &'a Target| target.state.services.values().map(|one| (key(one), one)).collect();
        Self {
            desired,
            is_attached: observed.is_attached,
            possible: observed.possible.iter().map(|target| (target, by_key(target))).collect(),
        }
    }

    /// Whether packets of every service of `vip` reach a backend by a next hop that is still the right one.
    fn covers(&self, vip: &VipWish) -> bool {
        let hops = &self.desired.target.next_hops;
        let is_served = |wanted: &Service| {
            self.possible.iter().all(|(target, services)| {
                let found = services.get(&key(wanted));
                found.is_some_and(|found| {
                    target.carries(found, |address, hop| hops.get(&address) == Some(&hop))
                })
            })
        };
        let services = &self.desired.target.state.services;
        self.is_attached && vip.services.iter().all(|name| services.get(name).is_some_and(is_served))
    }
}

/// The desired state, plus the services that left the document while their VIP drains.
fn target(desired: &Desired, observed: &Observed, now: Instant) -> Target {
    let mut target = desired.target.clone();
    for (from, name, service) in lingering(desired, observed, now) {
        if let Some(pool) = from.state.pools.get(&service.pool)
            && !target.state.pools.contains_key(&service.pool)
        {
            target.state.pools.insert(service.pool.clone(), pool.clone());
            for address in pool.backends.values().map(|backend| backend.address) {
                if let Some(hop) = from.next_hops.get(&address) {
                    target.next_hops.entry(address).or_insert(*hop);
                }
            }
        }
        let mut name = name.clone();
        while target.state.services.contains_key(&name) {
            // No name in a document has this sign, so it ends on a free name.
            name.push('~');
        }
        target.state.services.insert(name, service.clone());
    }
    target
}

/// Services that may be in the dataplane, that the document no more has, and whose VIP was withdrawn a moment ago.
fn lingering<'a>(
    desired: &Desired,
    observed: &'a Observed,
    now: Instant,
) -> Vec<(&'a Target, &'a String, &'a Service)> {
    if observed.leaving.is_empty() {
        return Vec::new();
    }
    let mut known: BTreeSet<ServiceKey> = desired.target.state.services.values().map(key).collect();
    let mut lingering = Vec::new();
    for from in observed.possible.iter().rev() {
        for (name, service) in &from.state.services {
            let is_leaving = observed.leaving.get(&service.vip).is_some_and(|until| *until > now);
            if is_leaving && known.insert(key(service)) {
                lingering.push((from, name, service));
            }
        }
    }
    lingering
}
