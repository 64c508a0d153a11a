// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Services, VIPs and settings of a desired state to tables.
//!
//! In this order, so that no packet meets half a change:
//!
//! 1. limits, before any backend can ask for what they allow (`apply_limits`),
//! 2. prefixes that go: their addresses are the host's from then on,
//! 3. services, markers and records of fragments, what goes first,
//! 4. prefixes that come: all that they lead to is there,
//! 5. the word that makes programs ask for prefixes at all, and when all else is in force the limits as they shall be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use weir_dataplane_core::bytes::{Address, PrefixValue, ServiceSlot};
use weir_dataplane_core::limits::{IDLE_S_MAX, PREFIXES_MAX};
use weir_dataplane_core::{Knobs, ServiceKey, ServiceValue};

use super::Dataplane;
use super::apply::{Applied, ApplyError, SERVICES_KEY, map_error};
use super::in_force::ServicesInForce;
use crate::forwarding::{ForwardingState, Limits, Service, VipPrefix};
use crate::identity;
use crate::ids::NoneFree;
use crate::kernel::grace;
use crate::service_records::{self, Named, VipRecord, marker_key, service_key};
use crate::service_slots;

impl Dataplane {
    /// Puts the limits in force, but for what backends in force may still use and what needs services to be there.
    pub(super) fn apply_limits(&mut self, limits: &Limits, applied: &mut Applied) {
        let old = self.maps.knobs.read(0);
        let new = knobs(limits, old.flags);
        let entropy_v4 = if new.entropy_v4 == 0 { old.entropy_v4 } else { new.entropy_v4 };
        let entropy_v6 = if new.entropy_v6 == [0; 2] { old.entropy_v6 } else { new.entropy_v6 };
        self.write_knobs(&Knobs { entropy_v4, entropy_v6, ..new }, applied);
    }

    fn write_knobs(&mut self, knobs: &Knobs, applied: &mut Applied) {
        if self.maps.knobs.read(0) != *knobs {
            self.maps.knobs.write(0, knobs);
            applied.writes += 1;
        }
    }

    /// Limits as they shall be: nothing in force uses others any more.
    pub(super) fn settle_limits(&mut self, limits: &Limits, applied: &mut Applied) {
        let flags = self.maps.knobs.read(0).flags;
        self.write_knobs(&knobs(limits, flags), applied);
    }

    /// Services and what belongs to their VIPs; if `has_services`, all of them are as they are in force.
    ///
    /// New ones on a pool against which something stands are left out; were one to leave another pool for it, then all services
    /// stay as they are.
    pub(super) fn apply_services(
        &mut self,
        wanted: &ForwardingState,
        has_services: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        if has_services {
            return Ok(());
        }
        let leads = |service: &&Service| self.pool_id(service).is_some();
        let is_held = |service: &Service| self.tables.service_map.contains_key(&service_key(service));
        let mut left_out = wanted.services.values().filter(|service| !leads(service)).peekable();
        if left_out.peek().is_none() {
            self.tables.in_force.services = None;
            self.change_services(wanted, applied)?;
            self.tables.in_force.services = Some(ServicesInForce::of(wanted));
        } else if !left_out.any(is_held) {
            let services = wanted.services.iter().filter(|(_, service)| leads(service));
            let services = services.map(|(name, service)| (name.clone(), service.clone())).collect();
            let rest = ForwardingState { services, vips: wanted.vips.clone(), ..ForwardingState::default() };
            self.tables.in_force.services = None;
            self.change_services(&rest, applied)?;
        }
        // Who copies errors is not for this state alone to say (`super::clones`).
        let old = self.maps.knobs.read(0);
        let prefixes = if self.tables.prefixes.is_empty() { 0 } else { Knobs::PREFIXES };
        self.write_knobs(&Knobs { flags: old.flags & Knobs::CLONES | prefixes, ..old }, applied);
        Ok(())
    }

    /// Id of the pool that `service` may be led to: it is in force; or something stands against it, and the service is led to
    /// what it was before already. Never to that of a pool it was not on: what is there nobody wants for it.
    fn pool_id(&self, service: &Service) -> Option<u32> {
        if let Some(held) = self.tables.in_force.pools.get(&service.pool) {
            return Some(held.id);
        }
        let id = self.tables.pools.in_use(identity::pool(&service.pool))?;
        let value = self.tables.service_map.get(&service_key(service))?;
        (value.pool == id).then_some(id)
    }

    fn change_services(&mut self, wanted: &ForwardingState, applied: &mut Applied) -> Result<(), ApplyError> {
        let vips = self.vip_records(wanted)?;
        let mut services = Vec::with_capacity(wanted.services.len());
        // A service id only indexes counters and budgets: nothing in flight can do harm with one that is given to another
        // at once.
        let identities = wanted.services.values().map(|service| identity::service(&service_key(service)));
        self.tables.services.free_all_but(&identities.collect());
        let mut idles: BTreeMap<u32, u16> = BTreeMap::new();
        for (name, service) in &wanted.services {
            let id = self.service_id(name, service)?;
            let pool = self.pool_id(service).expect("services without such a pool are left out");
            let idle = idle(name, service)?;
            let longest = idles.entry(pool).or_default();
            *longest = idle.max(*longest);
            services.push(Named { name, service, id, pool, idle });
            applied.examined += 1;
        }
        let records = service_records::records(&services, &vips)?;
        let names = services.iter().map(|named| (named.name.to_owned(), named.id)).collect();
        // Until the switch is done the sweeper must go by the longer of old and new idle times.
        for (&pool, &idle) in &idles {
            let longest = self.tables.pool_idle.entry(pool).or_default();
            *longest = idle.max(*longest);
        }
        let prefixes: BTreeSet<_> =
            vips.keys().filter_map(|vip| service_records::prefix(&marker_key(*vip))).collect();
        if prefixes.len() > PREFIXES_MAX as usize {
            return Err(ApplyError::TooManyPrefixes { found: prefixes.len() });
        }
        self.retire_prefixes(&prefixes, applied)?;
        self.switch_services(records, applied)?;
        self.add_prefixes(&prefixes, applied)?;
        self.tables.service_names = names;
        self.tables.pool_idle = idles;
        Ok(())
    }

    /// Ids and flags of the VIPs that services have.
    fn vip_records(
        &mut self,
        wanted: &ForwardingState,
    ) -> Result<BTreeMap<VipPrefix, VipRecord>, ApplyError> {
        let vips: BTreeSet<VipPrefix> = wanted.services.values().map(Service::vip).collect();
        // As with services: an id only indexes budgets.
        let identities = vips.iter().map(|vip| identity::vip(&marker_key(*vip)));
        self.tables.vips.free_all_but(&identities.collect());
        let mut records = BTreeMap::new();
        for vip in vips {
            let full = |_: NoneFree| {
                let name = vip.address.to_string();
                ApplyError::Full { what: "VIP", name, key: SERVICES_KEY }
            };
            let (id, _) = self.tables.vips.want(identity::vip(&marker_key(vip))).map_err(full)?;
            let answers_echo = wanted.vips.get(&vip).copied().unwrap_or_default().answers_echo;
            records.insert(vip, VipRecord { id, answers_echo });
        }
        Ok(records)
    }

    fn service_id(&mut self, name: &str, service: &Service) -> Result<u32, ApplyError> {
        let full =
            |_: NoneFree| ApplyError::Full { what: "service", name: name.to_owned(), key: SERVICES_KEY };
        let (id, new) = self.tables.services.want(identity::service(&service_key(service))).map_err(full)?;
        if new {
            Self::reset_counter(&mut self.maps.service_counters, id).map_err(map_error("SERVICE_COUNTS"))?;
        }
        Ok(id)
    }

    /// Brings the service map and the slots in front of it to `wanted`. Slots that change first say "ask the map", so that
    /// a packet finds the map's old or new answer and never half a slot.
    fn switch_services(
        &mut self,
        wanted: HashMap<ServiceKey, ServiceValue>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        if self.tables.slots_settled && self.tables.service_map == wanted {
            return Ok(());
        }
        self.tables.slots_settled = false;
        let slots = service_slots::slots(&wanted);
        let changed: Vec<(u32, ServiceSlot)> =
            (0..).zip(slots).filter(|(index, slot)| self.maps.service_slots.read(*index) != *slot).collect();
        for (index, _) in &changed {
            self.maps.service_slots.word(*index, 0).store(0, Ordering::Release);
        }
        if !changed.is_empty() {
            grace::wait();
        }
        // What goes, goes first: there must be room for as many new ones.
        let gone: Vec<ServiceKey> =
            self.tables.service_map.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            match self.maps.services.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(map_error("SERVICES")(source)),
            }
            self.tables.service_map.remove(&key);
            applied.writes += 1;
        }
        for (key, value) in &wanted {
            if self.tables.service_map.get(key) != Some(value) {
                self.maps.services.insert(key, value, 0).map_err(map_error("SERVICES"))?;
                self.tables.service_map.insert(*key, *value);
                applied.writes += 1;
            }
        }
        for (index, slot) in &changed {
            self.maps.service_slots.write(*index, slot);
            applied.writes += 1;
        }
        self.tables.slots_settled = true;
        Ok(())
    }

    /// Takes away the prefixes that `wanted` does not hold.
    fn retire_prefixes(
        &mut self,
        wanted: &BTreeSet<PrefixValue>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        for prefix in self.tables.prefixes.difference(wanted).copied().collect::<Vec<_>>() {
            match self.maps.prefixes.remove(&trie_key(&prefix)) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(map_error("PREFIXES")(source)),
            }
            self.tables.prefixes.remove(&prefix);
            applied.writes += 1;
        }
        Ok(())
    }

    fn add_prefixes(
        &mut self,
        wanted: &BTreeSet<PrefixValue>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        for prefix in wanted.difference(&self.tables.prefixes).copied().collect::<Vec<_>>() {
            self.maps.prefixes.insert(&trie_key(&prefix), prefix, 0).map_err(map_error("PREFIXES"))?;
            self.tables.prefixes.insert(prefix);
            applied.writes += 1;
        }
        Ok(())
    }
}

fn trie_key(prefix: &PrefixValue) -> Key<Address> {
    Key::new(prefix.length, prefix.network)
}

fn idle(name: &str, service: &Service) -> Result<u16, ApplyError> {
    let seconds = u16::try_from(service.idle.as_secs()).ok();
    seconds
        .filter(|idle| (1..=IDLE_S_MAX).contains(idle))
        .ok_or_else(|| ApplyError::Idle { service: name.to_owned(), found: service.idle })
}

fn knobs(limits: &Limits, flags: u32) -> Knobs {
    let entropy_v6 = limits.entropy_v6.map_or([0; 2], |prefix| {
        let [a, b, ..] = Address::from_octets(prefix.octets()).0;
        [a, b]
    });
    Knobs {
        flags,
        echo_max: limits.echo_per_second,
        icmp_errors_max: limits.icmp_errors_per_second,
        too_big_max: limits.too_big_per_second,
        fragments_max: limits.fragments_per_second,
        mtu_min_v4: limits.min_mtu_v4,
        entropy_v4: limits.entropy_v4.map_or(0, |prefix| u32::from_ne_bytes(prefix.octets())),
        entropy_v6,
        learn_max: limits.new_flows_per_cpu.map_or(0, u32::from),
        ..Knobs::default()
    }
}
