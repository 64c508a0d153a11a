// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Siblings that fail on demand, in one world that checks the promise whenever something changes in it.
//!
//! The world is cruel in the ways the ports allow: a failed `set_forwarding` leaves each service old or new as it likes;
//! a failed `set_advertisements` may have told the peers all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use weir_bgp::Advertisement;
use weir_dataplane::forwarding::Service;
use weir_dataplane::next_hop::NextHop;

use super::desired::{Desired, Target};
use super::ports::{Announcer, Forwarder, PortError, Traffic};

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
    /// Services in the kernel by name, each with the state that it was written from.
    pub(super) kernel: BTreeMap<String, (Service, Target)>,
    pub(super) is_attached: bool,
    pub(super) advertised: BTreeSet<IpAddr>,
    /// When each VIP was last withdrawn.
    pub(super) withdrawn_at: BTreeMap<IpAddr, Instant>,
    /// What the promise is checked against.
    pub(super) now: Option<Instant>,
    pub(super) hops: BTreeMap<IpAddr, NextHop>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) own: BTreeSet<IpAddr>,
    pub(super) drain_wait: Duration,
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
        world.hops = desired.target.next_hops.clone();
        world.services = desired.target.state.services.clone();
        world.own = desired.own.iter().map(|one| one.prefix.address()).collect();
        world.drain_wait = desired.drain_wait;
    }
}

impl World {
    /// Whether each wanted service of `vip` is in the kernel with a usable backend behind a true next hop.
    pub(super) fn forwards(&self, vip: IpAddr) -> bool {
        let wanted = self.services.values().filter(|service| service.vip == vip);
        self.is_attached
            && wanted.into_iter().all(|wanted| {
                let found = self.kernel.values().find(|(service, _)| {
                    (service.vip, service.protocol, service.port)
                        == (wanted.vip, wanted.protocol, wanted.port)
                });
                found.is_some_and(|(service, target)| {
                    target.carries(service, |address, hop| self.hops.get(&address) == Some(&hop))
                })
            })
    }

    fn check_announcement(&self, set: &BTreeSet<IpAddr>) {
        for vip in set.difference(&self.advertised).filter(|vip| !self.own.contains(vip)) {
            assert!(self.forwards(*vip), "{vip} announced without forwarding: {self:#?}");
        }
    }

    fn check_removals(&self, target: &Target) {
        let now = self.now.expect("prepared");
        for (service, _) in self.kernel.values() {
            let stays = target.state.services.values().any(|one| {
                (one.vip, one.protocol, one.port) == (service.vip, service.protocol, service.port)
            });
            let is_vip_wanted = self.services.values().any(|one| one.vip == service.vip);
            if stays || is_vip_wanted {
                continue;
            }
            assert!(!self.advertised.contains(&service.vip), "{} lost its forwarding first", service.vip);
            if let Some(at) = self.withdrawn_at.get(&service.vip) {
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
            match target.state.services.get(&name) {
                Some(service) => {
                    self.kernel.insert(name, (service.clone(), target.clone()));
                }
                None => {
                    self.kernel.remove(&name);
                }
            }
        }
    }
}

impl Forwarder for Shared {
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError> {
        let mut world = self.world();
        let names: Vec<&str> = target.state.services.keys().map(String::as_str).collect();
        let line = format!("forward {}", names.join(" "));
        world.log.push(line);
        world.check_removals(target);
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

    fn sweep(&mut self) -> Result<u64, PortError> {
        Ok(7)
    }
}

impl Announcer for Shared {
    async fn set_advertisements(&mut self, wanted: &BTreeSet<Advertisement>) -> Result<(), PortError> {
        let mut world = self.world();
        let set: BTreeSet<IpAddr> = wanted.iter().map(|one| one.prefix.address()).collect();
        let words: Vec<String> = set.iter().map(ToString::to_string).collect();
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
            let gone: Vec<IpAddr> = world.advertised.difference(&set).copied().collect();
            world.withdrawn_at.extend(gone.into_iter().map(|vip| (vip, now)));
            world.advertised = set;
        }
        match fate {
            Fate::Works => Ok(()),
            Fate::Gone => Err(PortError::Gone { part: "the speaker" }),
            Fate::Fails | Fate::FailsHalfWay(_) => Err(failed()),
        }
    }
}

fn failed() -> PortError {
    PortError::Failed { cause: "a fake failure".into() }
}
