// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Desired state to tables, in an order in which a packet never meets half a change.
//!
//! 1. next hops and backends (a new one is named by nothing yet; an old one changes by single words, at once),
//! 2. rows of each pool into a free region, then the pool's descriptor in one word,
//! 3. services and what belongs to their VIPs (`services`),
//! 4. what is no longer wanted, the other way round: services, pools, backends.
//!
//! Pools that are wanted as they are in force, and services likewise, are not looked at (`in_force`). Each step compares before
//! it writes, so an apply that failed half-way is finished by the next, and applying the same state twice writes nothing.
//!
//! What stands against one pool holds up nobody else: the other pools are brought to what is wanted, and so are the services,
//! but none is led to a pool that is not as it is wanted, unless it was already. Only the last step waits until nothing stands against any.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::MapError;
use weir_dataplane_core::limits::{IDLE_S_MAX, PREFIXES_MAX};
use weir_dataplane_core::rendezvous::PoolSeed;
use weir_dataplane_core::{BackendFlags, BackendValue, PoolValue};

use super::in_force::{self, PoolInForce};
use super::tables::{RowsOf, Unfinished};
use super::{Dataplane, carriage};
use crate::forwarding::{Backend, BackendState, ForwardingState, OnFailed, Pool};
use crate::identity;
use crate::ids::NoneFree;
use crate::kernel::grace;
use crate::next_hop::NextHop;
use crate::next_hop_ids::{self, TooMany};
use crate::regions::NoRoom;
use crate::rows::{self, MemberInput, Ranking, RowsError, RowsInput};
use crate::service_records::AmbiguousFragments;

/// What an apply did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Pools whose rows were written anew, with the number of rows that differ.
    pub pools_rebuilt: BTreeMap<String, u32>,
    /// Backends without a next hop that their mode can use.
    pub unresolved: u32,
    /// Words and entries written.
    pub writes: u32,
    /// Pools, backends and services whose tables were looked at: those of pools that are not as they were, and all services
    /// when one is not.
    pub examined: u32,
    /// Times that packets under way were waited for, since rows or next hops changed faster than their grace times end.
    pub graces_waited: u32,
    /// Such a wait gave no next hop back: further pools do not try again.
    waits_in_vain: bool,
    /// Nor room for rows.
    waits_for_rows_in_vain: bool,
}

/// What gives room, as documents call it.
pub(super) const SERVICES_KEY: &str = "capacity.services";
const BACKENDS_KEY: &str = "capacity.backends";
const ROWS_KEY: &str = "capacity.rows";

/// Times that one apply waits for packets under way so that next hops can be reused, at most; each takes milliseconds. What is
/// not done then is an error, and done by the next apply.
const GRACES_MAX: u32 = 64;

/// Why a desired state is not (wholly) in force. What was written before stays; apply again to finish.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A service names a pool that is not there.
    #[error("service `{service}` names pool `{pool}`, which does not exist")]
    UnknownPool {
        /// The service.
        service: String,
        /// The pool it names.
        pool: String,
    },
    /// A table is full.
    #[error("no room for another {what} (`{name}`): raise `{key}` and restart")]
    Full {
        /// Kind of object.
        what: &'static str,
        /// Which one did not fit.
        name: String,
        /// What gives it room, as documents call it.
        key: &'static str,
    },
    /// There are more VIPs that are prefixes than their table holds.
    #[error(
        "{found} VIPs are prefixes, {PREFIXES_MAX} are possible: give VIPs that lie side by side one prefix, or single addresses"
    )]
    TooManyPrefixes {
        /// How many there are.
        found: usize,
    },
    /// The next-hop table is full.
    #[error(transparent)]
    NextHops(#[from] TooMany),
    /// The row table is full.
    #[error("no room for the rows of pool `{pool}`: raise `{ROWS_KEY}` and restart, or lower `max_backends`")]
    RowsFull {
        /// The pool.
        pool: String,
        /// How much was wanted.
        #[source]
        source: NoRoom,
    },
    /// The rows cannot be made.
    #[error("rows of pool `{pool}`")]
    Rows {
        /// The pool.
        pool: String,
        /// Why not.
        #[source]
        source: RowsError,
    },
    /// The mode names a pool's backends to each other, and they are not of one address family.
    #[error(
        "pool `{pool}` has backends of both address families: mode gue with candidates needs one, make a pool for each"
    )]
    MixedFamilies {
        /// The pool.
        pool: String,
    },
    /// There is no outer source address of the backend's family.
    #[error(
        "backend `{pool}.{backend}` has address {address}, but the appliance has no source address of that family"
    )]
    NoSource {
        /// The pool.
        pool: String,
        /// The backend.
        backend: String,
        /// Its address.
        address: IpAddr,
    },
    /// Fragments of a VIP would have to go two ways.
    #[error(transparent)]
    Fragments(#[from] AmbiguousFragments),
    /// An idle time is out of range.
    #[error("service `{service}` has an idle time of {found:?}; 1 s to {IDLE_S_MAX} s are possible")]
    Idle {
        /// The service.
        service: String,
        /// What was asked for.
        found: Duration,
    },
    /// The kernel refused a write.
    #[error("write map {map}")]
    Map {
        /// The map.
        map: &'static str,
        /// What it said.
        #[source]
        source: Box<MapError>,
    },
}

/// Resolved next hops by backend address, one to four each: flows are spread over them by hash. An address that is missing
/// is unresolved.
pub type NextHops = BTreeMap<IpAddr, Vec<NextHop>>;

impl Applied {
    fn may_wait(&self) -> bool {
        self.graces_waited < GRACES_MAX && !self.waits_in_vain
    }
}

impl Dataplane {
    /// Puts the whole of `wanted` in force. What equals the part of it that is in force already is not looked at again.
    ///
    /// # Errors
    /// The first [`ApplyError`]. All that it does not concern is in force then, but nothing is taken away before everything new
    /// is in place.
    pub fn set_forwarding(
        &mut self,
        wanted: &ForwardingState,
        next_hops: &NextHops,
    ) -> Result<Applied, ApplyError> {
        self.check_sizes(wanted)?;
        let was_settled = std::mem::replace(&mut self.settled, false);
        self.forget_idle_times();
        let outcome = self.put_in_force(wanted, next_hops, was_settled);
        match outcome {
            Ok(_) => {
                self.settled = true;
                self.tables.unfinished = Unfinished::default();
                self.want_clones(wanted);
                self.settle_clones();
            }
            // Should it never succeed, and others be asked for instead, all ids would be gone one day.
            Err(_) => self.let_go_of_unfinished(wanted),
        }
        outcome
    }

    fn put_in_force(
        &mut self,
        wanted: &ForwardingState,
        next_hops: &NextHops,
        was_settled: bool,
    ) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        let held = &self.tables.in_force;
        let has_services = held.has_services_of(wanted);
        let changed: Vec<(&String, &Pool)> = wanted
            .pools
            .iter()
            .filter(|(name, pool)| held.pools.get(*name).is_none_or(|held| !held.is(pool, next_hops)))
            .collect();
        let is_same_set = was_settled && held.pools.keys().eq(wanted.pools.keys());
        self.apply_limits(&wanted.limits, &mut applied);
        // A backend that fails or moves is not to wait until somebody has mended another pool.
        let mut outcome = Ok(());
        for (name, pool) in &changed {
            outcome = outcome.and(self.apply_pool(name, pool, next_hops, &mut applied));
        }
        let are_pools_there = if has_services && is_same_set { Ok(()) } else { check_pools(wanted) };
        let services = are_pools_there.and_then(|()| self.apply_services(wanted, has_services, &mut applied));
        outcome.and(services)?;
        self.settle_limits(&wanted.limits, &mut applied);
        if !is_same_set || !changed.is_empty() {
            self.retire(wanted, &mut applied);
        }
        self.name_backends();
        applied.unresolved = self.tables.in_force.pools.values().map(|held| held.unresolved).sum();
        Ok(applied)
    }

    /// Refuses before any work what can never be in force: pools that are too large, and more rows than the table has.
    fn check_sizes(&self, wanted: &ForwardingState) -> Result<(), ApplyError> {
        let size = self.maps.rows.len();
        let mut left = size;
        for (name, pool) in &wanted.pools {
            let too_large = |source| ApplyError::Rows { pool: name.clone(), source };
            rows::check_size(pool.algorithm, pool.max_backends, pool.backends.len()).map_err(too_large)?;
            if pool.backends.is_empty() {
                continue;
            }
            let count = pool.algorithm.row_count(pool.max_backends);
            left = left
                .checked_sub(count)
                .ok_or_else(|| ApplyError::RowsFull { pool: name.clone(), source: NoRoom { count, size } })?;
        }
        Ok(())
    }

    /// Backends of the pool, then its rows.
    fn apply_pool(
        &mut self,
        name: &str,
        pool: &Pool,
        next_hops: &NextHops,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let identity = identity::pool(name);
        let full = |_: NoneFree| ApplyError::Full { what: "pool", name: name.to_owned(), key: SERVICES_KEY };
        let was_in_use = self.tables.pools.in_use(identity).is_some();
        let (id, new) = self.tables.pools.want(identity).map_err(full)?;
        if new {
            self.maps.pools.write(id, &PoolValue { rows: 0, identity });
        }
        if !was_in_use {
            self.tables.unfinished.pools.insert(id, name.to_owned());
        }
        // Until all is written, nothing is known of it.
        let before = self.tables.in_force.pools.remove(name);
        let was_named = self.tables.unnamed.insert(name.to_owned());
        if carriage::mixes_families(pool) {
            return Err(ApplyError::MixedFamilies { pool: name.to_owned() });
        }
        applied.examined += 1;
        let mut members = Vec::with_capacity(pool.backends.len());
        let mut held = PoolInForce {
            id,
            pool: pool.clone(),
            backends: Vec::with_capacity(pool.backends.len()),
            next_hops: BTreeSet::new(),
            unresolved: 0,
        };
        for (backend_name, backend) in &pool.backends {
            let hops = in_force::of(next_hops, backend.address);
            let (id, used) = self.apply_backend((name, id, pool), (backend_name, backend), hops, applied)?;
            let state = match backend.state {
                BackendState::Usable if used.is_empty() => BackendState::Failed,
                state => state,
            };
            held.unresolved += u32::from(used.is_empty());
            held.next_hops.extend(used);
            held.backends.push((id, hops.to_vec()));
            members.push(MemberInput {
                id,
                name: backend_name,
                weight: backend.weight,
                cap_permille: backend.cap_permille,
                state,
            });
        }
        self.apply_rows(name, id, pool, &members, applied)?;
        if was_named && before.is_some_and(|before| held.has_backends_of(&before)) {
            self.tables.unnamed.remove(name);
        }
        self.tables.in_force.pools.insert(name.to_owned(), held);
        Ok(())
    }

    /// The backend's table entry. Gives its id and those of the next hops that it uses.
    fn apply_backend(
        &mut self,
        (pool_name, pool_id, pool): (&str, u32, &Pool),
        (name, backend): (&str, &Backend),
        hops: &[NextHop],
        applied: &mut Applied,
    ) -> Result<(u16, Vec<u16>), ApplyError> {
        let identity = identity::backend(pool_name, name, backend.address, pool.mode);
        let full = |_: NoneFree| {
            let name = format!("{pool_name}.{name}");
            ApplyError::Full { what: "backend", name, key: BACKENDS_KEY }
        };
        let was_in_use = self.tables.backends.in_use(identity).is_some();
        let (id, new) = self.tables.backends.want(identity).map_err(full)?;
        self.tables.backend_pools.insert(id, pool_id);
        if !was_in_use {
            self.tables.unfinished.backends.insert(id);
        }
        let used = self.apply_next_hops(&carriage::usable_hops(pool.mode, hops), applied)?;
        let outer = carriage::outer(&self.config, pool.mode, backend.address).ok_or_else(|| {
            let (pool, backend_name) = (pool_name.to_owned(), name.to_owned());
            ApplyError::NoSource { pool, backend: backend_name, address: backend.address }
        })?;
        let value = BackendValue {
            pool: pool_id,
            flags: flags(backend.state, pool.on_failed) | carriage::flags(pool, backend.address),
            mode: pool.mode.number(),
            options: carriage::options(&pool.outer),
            next_hops: next_hop_ids::slots(&used, id),
            outer,
            identity,
        };
        // Should it be retired again before the next sweep, that sweep is its first.
        self.tables.retired_before_sweep.remove(&id);
        if new {
            Self::reset_counter(&mut self.maps.backend_counters, id).map_err(map_error("BACKEND_COUNTS"))?;
        }
        if new || self.maps.backends.read(id) != value {
            self.maps.backends.write(id, &value);
            applied.writes += 1;
        }
        applied.examined += 1;
        Ok((u16::try_from(id).expect("capacity is at most 65,535"), used))
    }

    /// Table entries of next hops: gives their ids.
    fn apply_next_hops(&mut self, hops: &[NextHop], applied: &mut Applied) -> Result<Vec<u16>, TooMany> {
        let mut ids = Vec::with_capacity(hops.len());
        for value in hops.iter().map(next_hop_ids::value) {
            let (id, new) = match self.tables.next_hops.want(value, Self::now()) {
                Err(TooMany) if applied.may_wait() => {
                    applied.graces_waited += 1;
                    self.free_next_hops(&ids);
                    let outcome = self.tables.next_hops.want(value, Self::now());
                    applied.waits_in_vain = outcome.is_err();
                    outcome
                }
                outcome => outcome,
            }?;
            if new {
                self.maps.next_hops.write(u32::from(id), &value);
                applied.writes += 1;
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// Frees every next hop that no backend of the table has, and that is not `held` for one: when paths change faster than
    /// grace times end, what packets may still read is waited for instead.
    fn free_next_hops(&mut self, held: &[u16]) {
        let mut named = self.named_next_hops();
        named.extend(held);
        self.tables.next_hops.retain(|id| named.contains(&id), Self::now());
        grace::wait();
        self.tables.next_hops.end_grace();
    }

    /// Next hops that a backend has in its table entry, retired ones included.
    fn named_next_hops(&self) -> BTreeSet<u16> {
        let backends = self.tables.backends.held();
        backends.flat_map(|id| self.maps.backends.read(id).next_hops).filter(|id| *id != 0).collect()
    }

    /// Builds the pool's rows, unless those in force were made from the same; if they differ from what lies in its region, writes
    /// them elsewhere and switches.
    fn apply_rows(
        &mut self,
        name: &str,
        pool_id: u32,
        pool: &Pool,
        members: &[MemberInput<'_>],
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let failed = |source| ApplyError::Rows { pool: name.to_owned(), source };
        if members.is_empty() {
            self.switch_rows(pool_id, None);
            return Ok(());
        }
        let of = RowsOf::new(pool.algorithm, pool.max_backends, members);
        if self.tables.rows_of.get(&pool_id) == Some(&of) {
            return Ok(());
        }
        let input = RowsInput {
            algorithm: pool.algorithm,
            seed: PoolSeed::derive(&self.config.hash_seed, name),
            max_backends: pool.max_backends,
            epsilon_permille: rows::EPSILON_PERMILLE_DEFAULT,
        };
        let ranking = match self.tables.rankings.take(pool_id).filter(|ranking| ranking.is_for(&input)) {
            Some(mut kept) => kept.update(members).map(|()| kept),
            None => Ranking::new(&input, members),
        };
        let ranking = ranking.map_err(failed)?;
        let built = ranking.assign(members).map_err(failed)?;
        self.tables.rankings.keep(pool_id, ranking);
        let rows = built.as_slice();
        let count = u32::try_from(rows.len()).expect("at most 1,048,576");
        let differing = self.differing_rows(pool_id, rows);
        if differing == 0 {
            self.tables.rows_of.insert(pool_id, of);
            return Ok(());
        }
        let regions = &mut self.tables.regions;
        let region = regions.take(count, Self::now()).or_else(|full| {
            if applied.waits_for_rows_in_vain {
                return Err(full);
            }
            // Changes follow each other fast: make sure that nobody reads the regions in grace instead of waiting it out.
            applied.graces_waited += 1;
            grace::wait();
            regions.end_grace();
            let outcome = regions.take(count, Self::now());
            applied.waits_for_rows_in_vain = outcome.is_err();
            outcome
        });
        let region = region.map_err(|source| ApplyError::RowsFull { pool: name.to_owned(), source })?;
        for (index, row) in (region.first..).zip(rows) {
            self.maps.rows.word(index, 0).store(row.raw(), Ordering::Release);
        }
        self.switch_rows(pool_id, Some(region));
        self.tables.rows_of.insert(pool_id, of);
        applied.pools_rebuilt.insert(name.to_owned(), differing);
        applied.writes += differing;
        Ok(())
    }

    /// In how many rows `rows` differs from what the pool has in force.
    fn differing_rows(&self, pool_id: u32, rows: &[weir_dataplane_core::Row]) -> u32 {
        let count = u32::try_from(rows.len()).expect("at most 1,048,576");
        let Some(region) = self.tables.pool_regions.get(&pool_id).filter(|region| region.count == count)
        else {
            return count;
        };
        let differing =
            (region.first..).zip(rows).filter(|&(index, row)| self.maps.rows.read(index) != *row).count();
        u32::try_from(differing).expect("no more than rows")
    }

    /// Points the pool at `region`, by one store, and gives the old region back.
    fn switch_rows(&mut self, pool_id: u32, region: Option<crate::regions::Region>) {
        self.tables.rows_of.remove(&pool_id);
        let descriptor = region.map_or(0, |region| PoolValue::descriptor(region.first, region.count));
        self.maps.pools.word(pool_id, 0).store(descriptor, Ordering::Release);
        let old = match region {
            Some(region) => self.tables.pool_regions.insert(pool_id, region),
            None => self.tables.pool_regions.remove(&pool_id),
        };
        if let Some(old) = old {
            self.tables.regions.give_back(old, Self::now());
        }
    }

    /// Takes pools and backends that are not `wanted` out of service. Their ids stay taken until the sweeper frees them.
    fn retire(&mut self, wanted: &ForwardingState, applied: &mut Applied) {
        let unnamed = &mut self.tables.unnamed;
        self.tables.in_force.pools.retain(|name, _| {
            let stays = wanted.pools.contains_key(name);
            if !stays {
                unnamed.insert(name.clone());
            }
            stays
        });
        let held = self.tables.in_force.pools.values();
        let pools: BTreeSet<u32> = held.clone().map(|held| held.id).collect();
        let mut backends = vec![false; self.maps.backends.len() as usize];
        for (id, _) in held.clone().flat_map(|held| &held.backends) {
            backends[usize::from(*id)] = true;
        }
        let next_hops: BTreeSet<u16> = held.flat_map(|held| &held.next_hops).copied().collect();
        for id in self.tables.pools.retain(|id| pools.contains(&id)) {
            applied.writes += 1;
            self.drop_pool(id);
        }
        // Pools adopted from a former process and wanted by nobody are retired already, with rows still in force.
        let unwanted: Vec<u32> = self.tables.pools.retired().collect();
        for id in unwanted {
            self.drop_pool(id);
        }
        self.tables.backends.retain(|id| backends[id as usize]);
        let unwanted: Vec<u32> = self.tables.backends.retired().collect();
        for id in unwanted {
            applied.writes += u32::from(self.switch_off(id));
        }
        self.tables.next_hops.retain(|id| next_hops.contains(&id), Self::now());
    }

    /// Takes the backend out of service, if it is in it.
    fn switch_off(&mut self, id: u32) -> bool {
        let value = self.maps.backends.read(id);
        let is_on = value.flags != 0;
        if is_on {
            let off = BackendValue { flags: 0, ..value };
            self.maps.backends.word(id, 0).store(off.word(), Ordering::Release);
        }
        is_on
    }

    fn drop_pool(&mut self, id: u32) {
        self.tables.rankings.take(id);
        if self.tables.pool_regions.contains_key(&id) {
            self.switch_rows(id, None);
        }
    }

    /// After an apply that failed: retires what has been made since the last state that is wholly in force, as far as nothing
    /// leads to it and, with pools, `wanted` does not name it. Whoever wants it again gets it again.
    fn let_go_of_unfinished(&mut self, wanted: &ForwardingState) {
        let served: BTreeSet<u32> = self.tables.service_map.values().map(|value| value.pool).collect();
        let Unfinished { mut pools, mut backends } = std::mem::take(&mut self.tables.unfinished);
        let gone: Vec<(u32, String)> = pools
            .extract_if(.., |id, name| !served.contains(id) && !wanted.pools.contains_key(name))
            .collect();
        for (id, name) in gone {
            self.tables.pools.retain(|held| held != id);
            self.drop_pool(id);
            self.tables.in_force.pools.remove(&name);
            self.tables.unnamed.insert(name);
        }
        let gone: BTreeSet<u32> = backends.extract_if(.., |id| !self.rows_may_name(*id)).collect();
        self.tables.backends.retain(|id| !gone.contains(&id));
        for id in gone {
            self.switch_off(id);
        }
        let named = self.named_next_hops();
        self.tables.next_hops.retain(|id| named.contains(&id), Self::now());
        self.tables.unfinished = Unfinished { pools, backends };
    }

    /// Whether the backend may stand in a row that packets go by. Of rows that a former process wrote nothing is known.
    pub(super) fn rows_may_name(&self, backend: u32) -> bool {
        let Some(pool) = self.tables.backend_pools.get(&backend) else { return false };
        match self.tables.rows_of.get(pool) {
            Some(of) => of.names(backend),
            None => self.has_rows(*pool),
        }
    }

    /// Whether the pool has rows in force.
    pub(super) fn has_rows(&self, pool: u32) -> bool {
        let (_, count) = PoolValue::region(self.maps.pools.read(pool).rows);
        count != 0
    }

    /// Tells the names of the backends in force, of pools in which they changed.
    fn name_backends(&mut self) {
        if self.tables.unnamed.is_empty() {
            return;
        }
        let ids = Arc::make_mut(&mut self.tables.backend_ids);
        for pool in std::mem::take(&mut self.tables.unnamed) {
            let first = (pool.clone(), String::new());
            let old = ids.range(first..).map(|(key, _)| key).take_while(|(of, _)| *of == pool).cloned();
            for key in old.collect::<Vec<_>>() {
                ids.remove(&key);
            }
            let new = self.tables.in_force.backends_of(&pool);
            ids.extend(new.map(|(name, _, id)| ((pool.clone(), name.clone()), id)));
        }
    }
}

/// That the services' pools exist.
fn check_pools(wanted: &ForwardingState) -> Result<(), ApplyError> {
    match wanted.services.iter().find(|(_, service)| !wanted.pools.contains_key(&service.pool)) {
        None => Ok(()),
        Some((name, service)) => {
            Err(ApplyError::UnknownPool { service: name.clone(), pool: service.pool.clone() })
        }
    }
}

/// What a backend in this state may receive, as bits.
fn flags(state: BackendState, on_failed: OnFailed) -> u8 {
    match (state, on_failed) {
        (BackendState::Usable, _) => {
            BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW
        }
        (BackendState::Draining, _) => BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW,
        (BackendState::Failed, OnFailed::Keep) => BackendFlags::KEEPS_ESTABLISHED,
        (BackendState::Failed, OnFailed::Reset) | (BackendState::Disabled, _) => 0,
    }
}

pub(super) fn map_error(map: &'static str) -> impl Fn(MapError) -> ApplyError {
    move |source| ApplyError::Map { map, source: Box::new(source) }
}
