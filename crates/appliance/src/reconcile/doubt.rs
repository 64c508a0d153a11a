// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of the dataplane while applies fail: each service in it is as in one of some states.
//!
//! The states are bounded. The oldest two become one, of which only that is kept which both hold: whoever is carried by it is
//! carried by either. So what nothing stands against stays announced, however long something else cannot be put in force.

use std::sync::Arc;

use weir_dataplane::forwarding::{BackendState, Pool};

use super::desired::Target;
use super::plan::key;

/// States that are told apart, at most.
pub(super) const POSSIBLE_MAX: usize = 16;

/// Adds `target` to the states in one of which each service is.
pub(super) fn add(possible: &mut Vec<Arc<Target>>, target: Arc<Target>) {
    if possible.contains(&target) {
        return;
    }
    if possible.len() == POSSIBLE_MAX {
        let oldest = possible.remove(0);
        possible[0] = Arc::new(common(&oldest, &possible[0]));
    }
    possible.push(target);
}

/// What both states hold: services on the same pool, and of pools the backends that are usable in both by the same next hops.
fn common(a: &Target, b: &Target) -> Target {
    let mut common = a.clone();
    common.next_hops.retain(|address, hops| b.next_hops.get(address) == Some(hops));
    common.state.services.retain(|name, service| {
        b.state
            .services
            .get(name)
            .is_some_and(|other| key(other) == key(service) && other.pool == service.pool)
    });
    common.state.pools.retain(|name, pool| match b.state.pools.get(name) {
        Some(other) if other.mode == pool.mode => {
            keep_usable(pool, other);
            true
        }
        _ => false,
    });
    common
}

fn keep_usable(pool: &mut Pool, other: &Pool) {
    pool.backends.retain(|name, backend| {
        let is_usable = |state| state == BackendState::Usable;
        other.backends.get(name).is_some_and(|other| {
            other.address == backend.address && is_usable(other.state) && is_usable(backend.state)
        })
    });
}
