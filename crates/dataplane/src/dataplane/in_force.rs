// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is in force, in the words that it was asked for in: what is asked for again needs no look at the tables.
//!
//! An entry is made when all its tables are written, and taken out before any of them is touched again; so one that a failed
//! apply left half-way is not here, and the next apply does it anew. It is compared by what it says, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::apply::NextHops;
use crate::forwarding::{Backend, ForwardingState, Pool, Service, Vip, VipPrefix};
use crate::next_hop::NextHop;

/// What is in force.
#[derive(Default)]
pub(super) struct InForce {
    /// Pools by name.
    pub pools: BTreeMap<String, PoolInForce>,
    /// Services and VIPs; `None` before the first, and while they change.
    pub services: Option<ServicesInForce>,
}

/// A pool whose tables are written.
pub(super) struct PoolInForce {
    /// Its id.
    pub id: u32,
    /// As it was asked for.
    pub pool: Pool,
    /// By backend, in the order of their names: its id and its next hops as they were asked for.
    pub backends: Vec<(u16, Vec<NextHop>)>,
    /// Ids of next hops that its backends have.
    pub next_hops: BTreeSet<u16>,
    /// Backends without a next hop that the pool's mode can use.
    pub unresolved: u32,
}

/// Services whose tables are written.
#[derive(PartialEq, Eq)]
pub(super) struct ServicesInForce {
    services: BTreeMap<String, Service>,
    vips: BTreeMap<VipPrefix, Vip>,
}

impl InForce {
    /// Backends of `pool`: names, what was asked for, and ids.
    pub(super) fn backends_of(&self, pool: &str) -> impl Iterator<Item = (&String, &Backend, u16)> {
        let pool = self.pools.get(pool).into_iter();
        pool.flat_map(|held| {
            held.pool
                .backends
                .iter()
                .zip(&held.backends)
                .map(|((name, backend), (id, _))| (name, backend, *id))
        })
    }

    /// Whether the services, and what concerns VIPs as a whole, are those of `wanted`.
    pub(super) fn has_services_of(&self, wanted: &ForwardingState) -> bool {
        self.services
            .as_ref()
            .is_some_and(|held| held.services == wanted.services && held.vips == wanted.vips)
    }
}

impl PoolInForce {
    /// Whether it is `pool`, and its backends have these next hops.
    pub(super) fn is(&self, pool: &Pool, next_hops: &NextHops) -> bool {
        self.pool == *pool
            && pool
                .backends
                .values()
                .zip(&self.backends)
                .all(|(one, (_, hops))| of(next_hops, one.address) == hops)
    }

    /// Whether its backends are those of `before`, by name and id.
    pub(super) fn has_backends_of(&self, before: &Self) -> bool {
        let ids = |held: &Self| held.backends.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        ids(self) == ids(before) && self.pool.backends.keys().eq(before.pool.backends.keys())
    }
}

impl ServicesInForce {
    pub(super) fn of(wanted: &ForwardingState) -> Self {
        Self { services: wanted.services.clone(), vips: wanted.vips.clone() }
    }
}

/// Next hops to `address`; empty: unresolved.
pub(super) fn of(next_hops: &NextHops, address: IpAddr) -> &[NextHop] {
    next_hops.get(&address).map_or(&[], Vec::as_slice)
}
