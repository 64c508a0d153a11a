// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Desired state to tables, in an order in which a packet never meets half a change.
//!
//! 1. next hops and backends (a new one is named by nothing yet; an old one changes by single words, at once),
//! 2. rows of each pool into a free region, then the pool's descriptor in one word,
//! 3. services and what belongs to their VIPs (`services`),
//! 4. what is no longer wanted, the other way round: services, pools, backends.
//!
//! Each step compares before it writes, so an apply that failed half-way is finished by the next, and applying the same
//! state twice writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::MapError;
use weir_dataplane_core::limits::IDLE_S_MAX;
use weir_dataplane_core::rendezvous::PoolSeed;
use weir_dataplane_core::{BackendFlags, BackendValue, PoolValue};

use super::tables::RowsOf;
use super::{Dataplane, carriage};
use crate::forwarding::{Backend, BackendState, ForwardingState, OnFailed, Pool, Service};
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
}

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
    #[error("no room for another {what} (`{name}`): raise its capacity")]
    Full {
        /// Kind of object.
        what: &'static str,
        /// Which one did not fit.
        name: String,
    },
    /// The next-hop table is full.
    #[error(transparent)]
    NextHops(#[from] TooMany),
    /// The row table is full.
    #[error("rows of pool `{pool}`")]
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
    #[error("pool `{pool}` has backends of both address families: mode gue with candidates needs one")]
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

impl Dataplane {
    /// Puts the whole of `wanted` in force.
    ///
    /// # Errors
    /// [`ApplyError`]. Nothing is taken away before everything new is in place.
    pub fn set_forwarding(
        &mut self,
        wanted: &ForwardingState,
        next_hops: &NextHops,
    ) -> Result<Applied, ApplyError> {
        self.check_sizes(wanted)?;
        let mut applied = Applied::default();
        self.settled = false;
        for (name, service) in &wanted.services {
            check_pool(name, service, wanted)?;
        }
        if let Some((pool, _)) = wanted.pools.iter().find(|(_, pool)| carriage::mixes_families(pool)) {
            return Err(ApplyError::MixedFamilies { pool: pool.clone() });
        }
        self.apply_limits(&wanted.limits, &mut applied);
        let mut live = Live::default();
        for (name, pool) in &wanted.pools {
            let id = self.apply_pool(name, pool, next_hops, &mut live, &mut applied)?;
            live.pools.insert(name.clone(), id);
        }
        self.apply_services(wanted, &live.pools, &mut applied)?;
        self.retire(&live, &mut applied);
        self.tables.backend_names = live.backend_names;
        self.tables.backend_addresses = addresses(wanted);
        self.settled = true;
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

    /// Backends of the pool, then its rows. Gives the pool's id.
    fn apply_pool(
        &mut self,
        name: &str,
        pool: &Pool,
        next_hops: &NextHops,
        live: &mut Live,
        applied: &mut Applied,
    ) -> Result<u32, ApplyError> {
        let identity = identity::pool(name);
        let full = |_: NoneFree| ApplyError::Full { what: "pool", name: name.to_owned() };
        let (pool_id, new) = self.tables.pools.want(identity).map_err(full)?;
        if new {
            self.maps.pools.write(pool_id, &PoolValue { rows: 0, identity });
        }
        let mut members = Vec::with_capacity(pool.backends.len());
        for (backend_name, backend) in &pool.backends {
            let (id, resolved) =
                self.apply_backend((name, pool_id, pool), (backend_name, backend), next_hops, live, applied)?;
            let state = match backend.state {
                BackendState::Usable if !resolved => BackendState::Failed,
                state => state,
            };
            members.push(MemberInput {
                id,
                name: backend_name,
                weight: backend.weight,
                cap_permille: backend.cap_permille,
                state,
            });
        }
        self.apply_rows(name, pool_id, pool, &members, applied)?;
        Ok(pool_id)
    }

    /// The backend's table entry. Gives its id and whether it has a next hop.
    fn apply_backend(
        &mut self,
        (pool_name, pool_id, pool): (&str, u32, &Pool),
        (name, backend): (&str, &Backend),
        next_hops: &NextHops,
        live: &mut Live,
        applied: &mut Applied,
    ) -> Result<(u16, bool), ApplyError> {
        let owned = || (pool_name.to_owned(), name.to_owned());
        let identity = identity::backend(pool_name, name, backend.address, pool.mode);
        let full = |_: NoneFree| ApplyError::Full { what: "backend", name: format!("{pool_name}.{name}") };
        let (id, new) = self.tables.backends.want(identity).map_err(full)?;
        let hops = next_hops.get(&backend.address).map_or(&[][..], Vec::as_slice);
        let hops = carriage::usable_hops(pool.mode, hops);
        let hops = next_hop_ids::slots(&self.apply_next_hops(&hops, live, applied)?, id);
        let outer = carriage::outer(&self.config, pool.mode, backend.address).ok_or_else(|| {
            let (pool, backend_name) = owned();
            ApplyError::NoSource { pool, backend: backend_name, address: backend.address }
        })?;
        let value = BackendValue {
            pool: pool_id,
            flags: flags(backend.state, pool.on_failed) | carriage::flags(pool, backend.address),
            mode: pool.mode.number(),
            options: carriage::options(&pool.outer),
            next_hops: hops,
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
        applied.unresolved += u32::from(hops[0] == 0);
        live.backends.insert(id);
        live.backend_names.insert(owned(), id);
        self.tables.backend_pools.insert(id, pool_id);
        Ok((u16::try_from(id).expect("capacity is at most 65,535"), hops[0] != 0))
    }

    /// Table entries of next hops: gives their ids.
    fn apply_next_hops(
        &mut self,
        hops: &[NextHop],
        live: &mut Live,
        applied: &mut Applied,
    ) -> Result<Vec<u16>, TooMany> {
        let mut ids = Vec::with_capacity(hops.len());
        for value in hops.iter().map(next_hop_ids::value) {
            let (id, new) = self.tables.next_hops.want(value, Self::now())?;
            if new {
                self.maps.next_hops.write(u32::from(id), &value);
                applied.writes += 1;
            }
            live.next_hops.insert(id);
            ids.push(id);
        }
        Ok(ids)
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
        let region = regions.take(count, Self::now()).or_else(|_| {
            // Changes follow each other fast: make sure that nobody reads the regions in grace instead of waiting it out.
            grace::wait();
            regions.end_grace();
            regions.take(count, Self::now())
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

    /// Takes pools and backends that are not live out of service. Their ids stay taken until the sweeper frees them.
    fn retire(&mut self, live: &Live, applied: &mut Applied) {
        let pools = live.pools.values().copied().collect();
        for id in self.tables.pools.retain(&pools) {
            applied.writes += 1;
            self.drop_pool(id);
        }
        // Pools adopted from a former process and wanted by nobody are retired already, with rows still in force.
        let unwanted: Vec<u32> = self.tables.pools.retired().collect();
        for id in unwanted {
            self.drop_pool(id);
        }
        self.tables.backends.retain(&live.backends);
        let unwanted: Vec<u32> = self.tables.backends.retired().collect();
        for id in unwanted {
            let value = self.maps.backends.read(id);
            if value.flags != 0 {
                let off = BackendValue { flags: 0, ..value };
                self.maps.backends.word(id, 0).store(off.word(), Ordering::Release);
                applied.writes += 1;
            }
        }
        self.tables.next_hops.retain(&live.next_hops, Self::now());
    }

    fn drop_pool(&mut self, id: u32) {
        self.tables.rankings.take(id);
        if self.tables.pool_regions.contains_key(&id) {
            self.switch_rows(id, None);
        }
    }
}

/// That the service's pool is there.
fn check_pool(name: &str, service: &Service, wanted: &ForwardingState) -> Result<(), ApplyError> {
    if wanted.pools.contains_key(&service.pool) {
        return Ok(());
    }
    Err(ApplyError::UnknownPool { service: name.to_owned(), pool: service.pool.clone() })
}

/// Addresses of all backends by pool and name.
fn addresses(wanted: &ForwardingState) -> BTreeMap<(String, String), IpAddr> {
    let mut addresses = BTreeMap::new();
    for (pool_name, pool) in &wanted.pools {
        for (name, backend) in &pool.backends {
            addresses.insert((pool_name.clone(), name.clone()), backend.address);
        }
    }
    addresses
}

/// Ids that the desired state uses.
#[derive(Default)]
struct Live {
    pools: BTreeMap<String, u32>,
    backends: BTreeSet<u32>,
    backend_names: BTreeMap<(String, String), u32>,
    next_hops: BTreeSet<u16>,
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
