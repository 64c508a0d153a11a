// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What to do next so that the observed becomes the desired, in an order that never announces what is not forwarded.
//!
//! ```text
//!  withdraw ──► forward ──► attach ──► verify ────────► announce ──────────────► check
//!  what is no   the whole   XDP on     a packet for     what is wanted and in    the whole set of
//!  more wanted  state       uplinks    each service     place: adds, and takes   health checks
//!                                      that changed     back what has failed
//! ```
//!
//! Each step is a whole part of the desired state for one sibling, which finds the difference itself. [`next`] is asked
//! again after every step; a step that failed is not tried twice in one pass and blocks only what needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::BackendIds;
use weir_dataplane::forwarding::{BackendState, Protocol, Service};
use weir_dataplane::next_hop::NextHop;
use weir_health::{Check, CheckKey};

use super::checks::{self, Sending, Targets};
use super::desired::{Desired, Reason, Target, VipWish};
use super::doubt;
use super::verified::Verified;
use crate::model::Generation;

/// What is known to be, from the outcomes of all steps so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What the speaker was told last; more than that while [`Self::is_unsure`].
    pub advertised: BTreeSet<Advertisement>,
    /// Whether XDP is attached.
    pub is_attached: bool,
    /// The speaker failed when it was told, so it may advertise any part of [`Self::advertised`].
    is_unsure: bool,
    /// States of which each service in the kernel is in one: a single one after a success, more after failures ([`doubt`]).
    possible: Vec<Arc<Target>>,
    /// VIPs withdrawn, and until when their forwarding stays.
    leaving: BTreeMap<Prefix, Instant>,
    /// What the packets made for each service came to.
    verified: Verified,
    /// Ids of the backends in the state in force.
    ids: Arc<BackendIds>,
    /// What the running checks were made from.
    checked: Checked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Checked {
    /// The monitor was never given anything.
    Nothing,
    /// It was, and failed.
    Unsure,
    /// It runs the checks that follow from this.
    By(Box<CheckInputs>),
}

/// All that checks follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CheckInputs {
    generation: Generation,
    targets: Arc<Targets>,
    sending: Sending,
    /// Whose next hops these are.
    target: Arc<Target>,
    ids: Arc<BackendIds>,
}

impl Default for Observed {
    /// A process that just started: nothing is advertised, and nothing that the kernel holds is trusted.
    fn default() -> Self {
        Self {
            advertised: BTreeSet::new(),
            is_attached: false,
            is_unsure: false,
            possible: vec![Arc::default()],
            leaving: BTreeMap::new(),
            verified: Verified::default(),
            ids: Arc::default(),
            checked: Checked::Nothing,
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
        let prefixes = |set: &BTreeSet<Advertisement>| -> BTreeSet<Prefix> {
            set.iter().map(|one| one.prefix).collect()
        };
        let (before, after) = (prefixes(&self.advertised), prefixes(&advertised));
        self.leaving.extend(before.difference(&after).map(|prefix| (*prefix, now + drain_wait)));
        self.leaving.retain(|prefix, until| *until > now && !after.contains(prefix));
        self.advertised = advertised;
        self.is_unsure = false;
    }

    /// Records that the speaker failed when told to advertise `set`.
    pub fn handle_advertising_failed(&mut self, set: BTreeSet<Advertisement>) {
        self.advertised.extend(set);
        self.is_unsure = true;
    }

    /// Records that the dataplane holds `target` and nothing else, with these ids of its backends.
    pub fn handle_forwarding_applied(&mut self, target: Arc<Target>, ids: Arc<BackendIds>) {
        match self.possible.as_slice() {
            [before] => self.verified.handle_change(before, &target),
            _ => self.verified.handle_doubt(),
        }
        self.possible = vec![target];
        self.ids = ids;
    }

    /// Records that applying `target` failed, so that any service may be as before or as in `target`.
    pub fn handle_forwarding_failed(&mut self, target: Arc<Target>) {
        self.verified.handle_doubt();
        doubt::add(&mut self.possible, target);
    }

    /// Records what the packets made for `services` came to, by name.
    pub fn handle_verified(
        &mut self,
        services: &BTreeMap<String, Service>,
        mut outcomes: BTreeMap<String, Result<(), String>>,
    ) {
        for (name, service) in services {
            let silent = || Err("it was not tried".to_owned());
            self.verified.handle_outcome(service, outcomes.remove(name).unwrap_or_else(silent));
        }
    }

    /// Records that the monitor runs the checks that follow from `desired`, or that nothing is known of what it runs.
    pub fn handle_checked(&mut self, desired: &Desired, is_set: bool) {
        let inputs = || CheckInputs {
            generation: desired.generation,
            targets: Arc::clone(&desired.targets),
            sending: desired.sending,
            target: Arc::clone(&desired.target),
            ids: Arc::clone(&self.ids),
        };
        self.checked = if is_set { Checked::By(Box::new(inputs())) } else { Checked::Unsure };
    }

    /// Whether the monitor runs checks.
    pub fn is_checking(&self) -> bool {
        matches!(&self.checked, Checked::By(checked) if !checked.targets.is_empty())
    }

    /// Records that checks do not reach their backends.
    pub fn handle_check_path_lost(&mut self) {
        self.checked = Checked::Unsure;
    }

    fn is_checked(&self, desired: &Desired) -> bool {
        match &self.checked {
            Checked::Nothing => desired.targets.is_empty(),
            Checked::Unsure => false,
            // Without targets nothing is checked, whatever the rest is.
            Checked::By(checked) if desired.targets.is_empty() && checked.targets.is_empty() => true,
            Checked::By(checked) => {
                checked.generation == desired.generation
                    && checked.sending == desired.sending
                    && (Arc::ptr_eq(&checked.ids, &self.ids) || checked.ids == self.ids)
                    && (Arc::ptr_eq(&checked.target, &desired.target)
                        || checked.target.next_hops == desired.target.next_hops)
                    && (Arc::ptr_eq(&checked.targets, &desired.targets) || checked.targets == desired.targets)
            }
        }
    }

    /// Whether packets would go on without this process: the program is attached, and it is known what the tables hold.
    pub fn is_preserved(&self) -> bool {
        self.is_attached && self.possible.len() == 1
    }

    /// Whether the dataplane is known to hold just `target`.
    pub fn holds(&self, target: &Arc<Target>) -> bool {
        // With thousands of backends the comparison is worth avoiding.
        matches!(self.possible.as_slice(), [only] if Arc::ptr_eq(only, target) || only == target)
    }

    /// The state in force itself, where it equals `target`: comparing it again then costs nothing.
    pub fn known(&self, target: Arc<Target>) -> Arc<Target> {
        match self.possible.as_slice() {
            [only] if *only == target => Arc::clone(only),
            _ => target,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell the speaker this set, which lacks what is no more wanted and adds nothing.
    Withdraw(BTreeSet<Advertisement>),
    /// Bring the dataplane to this state.
    Forward(Arc<Target>),
    /// Attach XDP.
    Attach,
    /// Make a packet for each of these services and see whether it would leave towards a backend.
    Verify(BTreeMap<String, Service>),
    /// Tell the speaker this set.
    Announce(BTreeSet<Advertisement>),
    /// Give the monitor this set.
    Check(BTreeMap<CheckKey, Check>),
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
    /// [`Step::Verify`].
    Verify,
    /// [`Step::Announce`].
    Announce,
    /// [`Step::Check`].
    Check,
}

impl StepKind {
    /// The word in status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Withdraw => "withdraw",
            Self::Forward => "forward",
            Self::Attach => "attach",
            Self::Verify => "verify",
            Self::Announce => "announce",
            Self::Check => "check",
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
            Self::Verify(_) => StepKind::Verify,
            Self::Announce(_) => StepKind::Announce,
            Self::Check(_) => StepKind::Check,
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
    let is_withdrawn = !observed.is_unsure && {
        let wanted = wanted(desired);
        observed.advertised.iter().all(|one| wanted.contains(&one.prefix))
    };
    if is_open(StepKind::Withdraw) && !is_withdrawn {
        return Some(Step::Withdraw(unwithdrawn(desired, observed)));
    }
    let mut is_held = false;
    if is_withdrawn {
        let target = target(desired, observed, now);
        is_held = observed.holds(&target);
        if is_open(StepKind::Forward) && !is_held {
            return Some(Step::Forward(target));
        }
        if is_open(StepKind::Attach) && !observed.is_attached && is_held {
            return Some(Step::Attach);
        }
    }
    if is_open(StepKind::Verify) && is_held {
        let unverified = unverified(desired, observed);
        if !unverified.is_empty() {
            return Some(Step::Verify(unverified));
        }
    }
    let announceable = announceable(desired, observed);
    let is_told = announceable == observed.advertised && !observed.is_unsure;
    if is_open(StepKind::Announce) && !is_told {
        return Some(Step::Announce(announceable));
    }
    if is_open(StepKind::Check) && is_held && !observed.is_checked(desired) {
        let Target { state, next_hops } = &*desired.target;
        return Some(Step::Check(checks::checks(
            &desired.targets,
            state,
            next_hops,
            &observed.ids,
            desired.sending,
        )));
    }
    None
}

/// The services that shall carry something and of which it is not known that they do.
fn unverified(desired: &Desired, observed: &Observed) -> BTreeMap<String, Service> {
    let services = desired.target.state.services.iter();
    let open = services
        .filter(|(_, one)| !observed.verified.is_fresh(one) && desired.target.carries(one, |_, _| true));
    open.map(|(name, one)| (name.clone(), one.clone())).collect()
}

/// Whether the dataplane holds what is desired.
pub fn is_in_force(desired: &Desired, observed: &Observed, now: Instant) -> bool {
    observed.holds(&target(desired, observed, now))
}

/// When time alone brings something to do: the next forwarding that outlived its VIP long enough. To be asked with the time
/// at which a pass began, so that one that did so during the pass is not missed.
pub fn wake_at(desired: &Desired, observed: &Observed, now: Instant) -> Option<Instant> {
    let vips: BTreeSet<Prefix> =
        lingering(desired, observed, now).iter().map(|(_, _, service)| prefix(service)).collect();
    vips.iter().filter_map(|vip| observed.leaving.get(vip)).min().copied()
}

/// What stands against a VIP, after all that was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Against {
    /// All reasons; empty when it is announced or about to be.
    pub reasons: BTreeSet<Reason>,
    /// Why its forwarding is not in place, if it is not.
    pub obstacle: Option<String>,
}

/// What stands against each VIP now, by name.
pub fn against(desired: &Desired, observed: &Observed) -> BTreeMap<String, Against> {
    let in_place = InPlace::new(desired, observed);
    let of_vip = |vip: &VipWish| {
        let obstacle = in_place.obstacle(vip);
        let mut reasons = vip.withheld.clone();
        if obstacle.is_some() {
            reasons.insert(Reason::Dataplane);
            // Nothing settles meanwhile.
            reasons.remove(&Reason::Settle);
        }
        Against { reasons, obstacle }
    };
    desired.vips.iter().map(|(name, vip)| (name.clone(), of_vip(vip))).collect()
}

/// What shall be advertised once its forwarding is in place.
fn wanted(desired: &Desired) -> BTreeSet<Prefix> {
    let vips = desired.vips.values().filter(|vip| vip.withheld.is_empty()).map(|vip| vip.prefix);
    vips.chain(desired.own.iter().map(|one| one.prefix)).collect()
}

/// What is advertised and still wanted. Attributes that changed are no reason to withdraw.
///
/// While it is unsure what is advertised, naming a prefix may announce it, so only what may be announced is named.
fn unwithdrawn(desired: &Desired, observed: &Observed) -> BTreeSet<Advertisement> {
    let wanted: BTreeSet<Prefix> = if observed.is_unsure {
        announceable(desired, observed).into_iter().map(|one| one.prefix).collect()
    } else {
        wanted(desired)
    };
    observed.advertised.iter().filter(|one| wanted.contains(&one.prefix)).cloned().collect()
}

/// What may be advertised now: own addresses, and VIPs that are wanted and whose forwarding is in place.
fn announceable(desired: &Desired, observed: &Observed) -> BTreeSet<Advertisement> {
    let in_place = InPlace::new(desired, observed);
    let vips =
        desired.vips.values().filter(|vip| vip.withheld.is_empty() && in_place.obstacle(vip).is_none());
    vips.map(VipWish::advertisement).chain(desired.own.iter().cloned()).collect()
}

/// What the kernel tells services apart by.
pub(super) type ServiceKey = (Prefix, Protocol, u16);

pub(super) fn key(service: &Service) -> ServiceKey {
    (prefix(service), service.protocol, service.port)
}

/// The VIP of a service.
pub(super) fn prefix(service: &Service) -> Prefix {
    let vip = service.vip();
    // The length is that of a VIP of the document, so it fits.
    Prefix::truncated(vip.address, vip.length).unwrap_or(Prefix::host(vip.address))
}

/// Answers whether forwarding is in place, whichever of the possible states each service is in.
struct InPlace<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    told: BTreeSet<Prefix>,
    possible: Vec<(&'a Target, BTreeMap<ServiceKey, &'a Service>)>,
}

impl<'a> InPlace<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let by_key = |target: &'a Target| target.state.services.values().map(|one| (key(one), one)).collect();
        // While it is unsure what is advertised, nothing counts as announced already.
        let told = if observed.is_unsure { None } else { Some(&observed.advertised) };
        Self {
            desired,
            observed,
            told: told.into_iter().flatten().map(|one| one.prefix).collect(),
            possible: match observed.possible.as_slice() {
                // What is desired itself holds all that is desired.
                [only] if Arc::ptr_eq(only, &desired.target) => Vec::new(),
                all => all.iter().map(|target| (&**target, by_key(target))).collect(),
            },
        }
    }

    /// Why packets of some service of `vip` would not reach a backend; `None` when all do that have one.
    fn obstacle(&self, vip: &VipWish) -> Option<String> {
        if !self.observed.is_attached {
            return Some("XDP is not attached".to_owned());
        }
        vip.services.iter().find_map(|name| {
            let wanted = self.desired.target.state.services.get(name)?;
            let why = self.service_obstacle(wanted, self.told.contains(&vip.prefix))?;
            Some(format!("service `{name}`: {why}"))
        })
    }

    fn service_obstacle(&self, wanted: &Service, is_told: bool) -> Option<String> {
        // What has no backend to go to only has to be there: whether that will do is for the gate to say.
        let must_carry = self.desired.target.carries(wanted, |_, _| true);
        let is_there = self.possible.iter().all(|(_, services)| {
            services.get(&key(wanted)).is_some_and(|found| !must_carry || self.carries(wanted, found))
        });
        if !is_there {
            return Some("the tables do not hold it yet".to_owned());
        }
        if !must_carry {
            return None;
        }
        self.observed.verified.obstacle(wanted, is_told)
    }

    /// Whether packets for `wanted` reach a backend of it while the tables have it as `found`, whichever of the states its pool is
    /// in: an apply that failed may have left a service as in one state, and the pool that it is led to as in another.
    fn carries(&self, wanted: &Service, found: &Service) -> bool {
        let states = self.possible.iter().filter(|(target, _)| target.state.pools.contains_key(&found.pool));
        states
            .map(|(target, _)| target.carries(found, |address, hops| self.is_true(wanted, address, hops)))
            .fold(None, |all, one| Some(all.unwrap_or(true) && one))
            .unwrap_or(false)
    }

    /// Whether a backend at `address` behind `hops` is what the desired state has in mind for `wanted`.
    fn is_true(&self, wanted: &Service, address: IpAddr, hops: &[NextHop]) -> bool {
        let target = &self.desired.target;
        let is_usable = || {
            target.state.pools.get(&wanted.pool).is_some_and(|pool| {
                pool.backends.values().any(|one| one.address == address && one.state == BackendState::Usable)
            })
        };
        target.next_hops.get(&address).is_some_and(|wanted| wanted == hops) && is_usable()
    }
}

/// The desired state, plus the services that left the document while their VIP drains.
fn target(desired: &Desired, observed: &Observed, now: Instant) -> Arc<Target> {
    let lingering = lingering(desired, observed, now);
    if lingering.is_empty() {
        return Arc::clone(&desired.target);
    }
    let mut target = Target::clone(&desired.target);
    for (from, name, service) in lingering {
        if let Some(pool) = from.state.pools.get(&service.pool)
            && !target.state.pools.contains_key(&service.pool)
        {
            target.state.pools.insert(service.pool.clone(), pool.clone());
            for address in pool.backends.values().map(|backend| backend.address) {
                if let Some(hops) = from.next_hops.get(&address) {
                    target.next_hops.entry(address).or_insert_with(|| hops.clone());
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
    Arc::new(target)
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
    for from in observed.possible.iter().rev().map(|target| &**target) {
        for (name, service) in &from.state.services {
            let is_leaving = observed.leaving.get(&prefix(service)).is_some_and(|until| *until > now);
            if is_leaving && known.insert(key(service)) {
                lingering.push((from, name, service));
            }
        }
    }
    lingering
}
