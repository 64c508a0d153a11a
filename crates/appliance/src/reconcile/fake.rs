// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Siblings that fail on demand, in one world that checks the promise whenever something changes in it.
//!
//! The world is cruel in the ways the ports allow: a failed `set_forwarding` leaves each service old or new as it likes;
//! a failed `set_advertisements` may have told the peers all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::BackendIds;
use weir_dataplane::forwarding::{BackendState, Pool, Service, VipPrefix};
use weir_dataplane::next_hop::NextHop;
use weir_health::{Check, CheckKey};

use super::desired::{Desired, Target};
use super::plan::{ServiceKey, key, prefix};
use super::ports::{Announcer, Checker, Flows, Forwarder, PortError, Traffic};

/// Slices of one sweep.
pub(super) const SLICES: u64 = 7;

/// How the next call of a port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fate {
    /// It works.
    #[default]
    Works,
    /// It fails and changes nothing.
    Fails,
    /// It fails after it did what the bits say, service by service.
    FailsHalfWay(u64),
    /// It has ended.
    Gone,
}

/// Kernel, speaker and clock.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) forwarding_fate: Fate,
    pub(super) attach_fate: Fate,
    pub(super) announce_fate: Fate,
    pub(super) check_fate: Fate,
    pub(super) path_fate: Fate,
    /// Which services a packet fails for, by the bits of its place in the order of names; `Fails` is all of them.
    pub(super) verify_fate: Fate,
    /// Services that a packet came through since their tables last changed.
    pub(super) verified: BTreeSet<ServiceKey>,
    /// What the monitor runs.
    pub(super) checks: BTreeMap<CheckKey, Check>,
    /// Services in the kernel by name, each with the state that it was written from.
    pub(super) kernel: BTreeMap<String, (Service, Target)>,
    pub(super) is_attached: bool,
    /// How often it was looked after the copying program.
    pub(super) clones_kept: u64,
    pub(super) advertised: BTreeSet<Prefix>,
    /// The set is whole, it was told.
    pub(super) is_complete: bool,
    /// Packets would go on without the process, it was told.
    pub(super) is_preserved: bool,
    /// When each VIP was last withdrawn.
    pub(super) withdrawn_at: BTreeMap<Prefix, Instant>,
    /// What the promise is checked against.
    pub(super) now: Option<Instant>,
    pub(super) truth: Target,
    pub(super) own: BTreeSet<Prefix>,
    /// VIPs that shall be announced and answer echo requests meanwhile.
    pub(super) up: BTreeSet<VipPrefix>,
    pub(super) drain_wait: Duration,
    /// Slices swept so far.
    pub(super) slices: u64,
    /// Calls in order, in words.
    pub(super) log: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics with the lock")
    }

    /// Tells the world what the truth is for the coming pass.
    pub(super) fn prepare(&self, desired: &Desired, now: Instant) {
        let mut world = self.world();
        world.now = Some(now);
        world.truth = Target::clone(&desired.target);
        let up = desired.vips.values().filter(|vip| vip.echo && vip.withheld.is_empty());
        world.up =
            up.map(|vip| VipPrefix { address: vip.prefix.address(), length: vip.prefix.length() }).collect();
        world.own = desired.own.iter().map(|one| one.prefix).collect();
        world.drain_wait = desired.drain_wait;
    }
}

impl World {
    pub(super) fn set_fates(&mut self, [forwarding, attach, announce, check, verify]: [Fate; 5]) {
        self.forwarding_fate = forwarding;
        self.attach_fate = attach;
        self.announce_fate = announce;
        self.check_fate = check;
        self.verify_fate = verify;
    }

    /// Whether each wanted service of `vip` that has a backend is in the kernel with a usable one behind a true next hop.
    pub(super) fn forwards(&self, vip: Prefix) -> bool {
        self.is_attached && self.wanted(vip).all(|wanted| self.carries(wanted))
    }

    fn wanted(&self, vip: Prefix) -> impl Iterator<Item = &Service> {
        let services = self.truth.state.services.values();
        services.filter(move |one| prefix(one) == vip && self.truth.carries(one, |_, _| true))
    }

    fn carries(&self, wanted: &Service) -> bool {
        let truth = &self.truth;
        let is_usable = |address| {
            let pool = truth.state.pools.get(&wanted.pool);
            pool.into_iter()
                .flat_map(|pool| pool.backends.values())
                .any(|one| one.address == address && one.state == BackendState::Usable)
        };
        let found = self.kernel.values().find(|(service, _)| key(service) == key(wanted));
        found.is_some_and(|(service, target)| {
            target.carries(service, |address, hops| {
                truth.next_hops.get(&address).is_some_and(|true_ones| true_ones == hops) && is_usable(address)
            })
        })
    }

    fn check_announcement(&self, set: &BTreeSet<Prefix>) {
        for vip in set.difference(&self.advertised).filter(|vip| !self.own.contains(vip)) {
            assert!(self.forwards(*vip), "{vip} announced without forwarding: {self:#?}");
            let is_verified = self.wanted(*vip).all(|one| self.verified.contains(&key(one)));
            assert!(is_verified, "{vip} announced untried: {self:#?}");
        }
    }

    /// Only a VIP that shall be announced answers echo requests.
    fn check_echo(&self, target: &Target) {
        for vip in target.state.vips.keys() {
            assert!(self.truth.state.vips.contains_key(vip), "{vip:?} answers echo requests");
        }
        assert!(self.truth.state.vips.keys().all(|vip| self.up.contains(vip)), "{:?}", self.truth.state.vips);
    }

    fn check_removals(&self, target: &Target) {
        let now = self.now.expect("prepared");
        for (service, _) in self.kernel.values() {
            let stays = target.state.services.values().any(|one| key(one) == key(service));
            let is_vip_wanted = self.truth.state.services.values().any(|one| prefix(one) == prefix(service));
            if stays || is_vip_wanted {
                continue;
            }
            assert!(!self.advertised.contains(&prefix(service)), "{} lost its forwarding first", service.vip);
            if let Some(at) = self.withdrawn_at.get(&prefix(service)) {
                let waited = now.duration_since(*at);
                assert!(waited >= self.drain_wait, "{} drained for {waited:?} only", service.vip);
            }
        }
    }

    fn write(&mut self, target: &Target, mut bits: u64) {
        let names: BTreeSet<String> =
            self.kernel.keys().chain(target.state.services.keys()).cloned().collect();
        for name in names {
            bits = bits.rotate_left(1);
            if bits & 1 == 0 {
                continue;
            }
            let before = match target.state.services.get(&name) {
                Some(service) => self.kernel.insert(name.clone(), (service.clone(), target.clone())),
                None => self.kernel.remove(&name),
            };
            if let Some((service, before)) = before
                && tables(&service, &before) != self.kernel.get(&name).and_then(|(one, of)| tables(one, of))
            {
                self.verified.remove(&key(&service));
            }
        }
    }
}

/// All that a packet of `service` meets in `target`.
fn tables(service: &Service, target: &Target) -> Option<(Service, Pool, BTreeMap<IpAddr, Vec<NextHop>>)> {
    let pool = target.state.pools.get(&service.pool)?;
    let hops = |address| Some((address, target.next_hops.get(&address)?.clone()));
    let hops = pool.backends.values().filter_map(|one| hops(one.address)).collect();
    Some((service.clone(), pool.clone(), hops))
}

impl Forwarder for Shared {
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError> {
        let mut world = self.world();
        let names: Vec<&str> = target.state.services.keys().map(String::as_str).collect();
        let line = format!("forward {}", names.join(" "));
        world.log.push(line);
        world.check_removals(target);
        world.check_echo(target);
        match world.forwarding_fate {
            Fate::Works => world.write(target, u64::MAX),
            Fate::Fails | Fate::Gone => return Err(failed()),
            Fate::FailsHalfWay(bits) => {
                world.write(target, bits);
                return Err(failed());
            }
        }
        Ok(())
    }

    fn attach(&mut self) -> Result<(), PortError> {
        let mut world = self.world();
        world.log.push("attach".into());
        match world.attach_fate {
            Fate::Works => world.is_attached = true,
            Fate::Fails | Fate::FailsHalfWay(_) | Fate::Gone => return Err(failed()),
        }
        Ok(())
    }

    fn is_attached(&mut self) -> bool {
        self.world().is_attached
    }

    fn detach(&mut self) -> Result<(), PortError> {
        let mut world = self.world();
        world.log.push("detach".into());
        world.is_attached = false;
        world.kernel.clear();
        Ok(())
    }

    fn traffic(&mut self) -> Result<Traffic, PortError> {
        Ok(Traffic::default())
    }

    fn sweep(&mut self) -> Result<Option<Flows>, PortError> {
        let mut world = self.world();
        world.slices += 1;
        Ok(world.slices.is_multiple_of(SLICES).then(|| Flows { slots_used: world.slices, by_backend: None }))
    }

    fn backend_ids(&mut self) -> Arc<BackendIds> {
        let world = self.world();
        let target = world.kernel.values().map(|(_, target)| target).next();
        let pools = target.into_iter().flat_map(|target| &target.state.pools);
        let names =
            pools.flat_map(|(pool, of)| of.backends.keys().map(move |one| (pool.clone(), one.clone())));
        Arc::new(names.zip(1..).collect())
    }

    fn verify(&mut self, services: &BTreeMap<String, Service>) -> BTreeMap<String, Result<(), String>> {
        let mut world = self.world();
        let names: Vec<&str> = services.keys().map(String::as_str).collect();
        let line = format!("verify {}", names.join(" "));
        world.log.push(line);
        let mut bits = match world.verify_fate {
            Fate::Works => 0,
            Fate::Fails | Fate::Gone => u64::MAX,
            Fate::FailsHalfWay(bits) => bits,
        };
        let mut outcomes = BTreeMap::new();
        for (name, service) in services {
            bits = bits.rotate_left(1);
            let is_through = bits & 1 == 0 && world.carries(service);
            if is_through {
                world.verified.insert(key(service));
            } else {
                world.verified.remove(&key(service));
            }
            outcomes.insert(name.clone(), if is_through { Ok(()) } else { Err("a fake drop".to_owned()) });
        }
        outcomes
    }

    fn open_check_path(&mut self) -> Result<(), PortError> {
        match self.world().path_fate {
            Fate::Works => Ok(()),
            Fate::Fails | Fate::FailsHalfWay(_) | Fate::Gone => Err(failed()),
        }
    }

    fn keep_clones(&mut self) {
        self.world().clones_kept += 1;
    }
}

impl Checker for Shared {
    async fn set_checks(&mut self, checks: BTreeMap<CheckKey, Check>) -> Result<(), PortError> {
        let mut world = self.world();
        let keys: Vec<String> =
            checks.keys().map(|key| format!("{}/{}/{}", key.pool, key.backend, key.check)).collect();
        world.log.push(format!("check {}", keys.join(" ")));
        match world.check_fate {
            Fate::Works => {
                world.checks = checks;
                Ok(())
            }
            Fate::Fails | Fate::FailsHalfWay(_) | Fate::Gone => Err(failed()),
        }
    }
}

impl Announcer for Shared {
    async fn set_advertisements(&mut self, wanted: &BTreeSet<Advertisement>) -> Result<(), PortError> {
        let mut world = self.world();
        let set: BTreeSet<Prefix> = wanted.iter().map(|one| one.prefix).collect();
        let words: Vec<String> = set.iter().map(|one| crate::model::address_text(*one)).collect();
        world.log.push(format!("advertise {}", words.join(" ")));
        world.check_announcement(&set);
        let fate = world.announce_fate;
        let is_told = match fate {
            Fate::Works => true,
            Fate::Fails | Fate::Gone => false,
            Fate::FailsHalfWay(bits) => bits & 1 == 1,
        };
        if is_told {
            let now = world.now.expect("prepared");
            let gone: Vec<Prefix> = world.advertised.difference(&set).copied().collect();
            world.withdrawn_at.extend(gone.into_iter().map(|vip| (vip, now)));
            world.advertised = set;
        }
        match fate {
            Fate::Works => Ok(()),
            Fate::Gone => Err(PortError::Gone { part: "the speaker" }),
            Fate::Fails | Fate::FailsHalfWay(_) => Err(failed()),
        }
    }

    fn handle_complete(&mut self) {
        self.world().is_complete = true;
    }

    fn set_forwarding(&mut self, is_preserved: bool) {
        self.world().is_preserved = is_preserved;
    }
}

fn failed() -> PortError {
    PortError::Failed { cause: "a fake failure".into() }
}
