// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which requests make the kernel's table say what is wanted. Pure.
//!
//! The two families keep several next hops in two ways, and only these hide nobody else's route:
//!
//! ```text
//!   IPv4   one route holds all its next hops; it is changed by appending the new one and removing the old one
//!   IPv6   one route for each next hop, which the kernel joins to a group by metric; they come and go one by one
//! ```
//!
//! `NLM_F_REPLACE` is never used: it replaces the first route of that metric whoever made it (IPv4), or the whole
//! group (IPv6). Removing names table, protocol, metric and next hops, so the kernel itself refuses to remove what is not
//! ours. New routes come before old ones go: at no moment is there no route unless none is wanted.

use crate::config::Family;
use crate::import::{DefaultNextHop, Defaults};

/// A default route of ours; its table and protocol number are the configuration's. IPv6 has one next hop in each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) family: Family,
    pub(super) metric: u32,
    /// In the kernel's order, for that is what a removal has to name.
    pub(super) hops: Vec<DefaultNextHop>,
}

/// A default route with our protocol number that is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedRoute {
    pub(super) route: Route,
    /// Next hops that the kernel does not use at the moment, by their place: interface or carrier lost.
    pub(super) dead: Vec<bool>,
}

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Add it.
    Add {
        route: Route,
        /// We have none of this metric: no other route may have it either, or ours would hide or be hidden.
        is_first: bool,
    },
    /// Remove exactly this one.
    Remove(Route),
}

/// The requests in their order; none if all is as wanted.
pub(super) fn plan(desired: &Defaults, metric: u32, observed: &[ObservedRoute]) -> Vec<Change> {
    let mut adds = Vec::new();
    let mut removes = Vec::new();
    for family in Family::ALL {
        let mut present: Vec<&Route> =
            observed.iter().map(|o| &o.route).filter(|route| route.family == family).collect();
        let mut has_any = present.iter().any(|route| route.metric == metric);
        for wanted in routes(family, metric, desired) {
            if let Some(place) = present.iter().position(|route| is_satisfied(&wanted, route)) {
                present.swap_remove(place);
                continue;
            }
            adds.push(Change::Add { route: wanted, is_first: !has_any });
            has_any = true;
        }
        removes.extend(present.into_iter().cloned().map(Change::Remove));
    }
    adds.append(&mut removes);
    adds
}

/// The routes that a family's next hops need.
fn routes(family: Family, metric: u32, desired: &Defaults) -> Vec<Route> {
    let mut hops: Vec<DefaultNextHop> = desired.get(&family).into_iter().flatten().copied().collect();
    if let [only] = hops.as_mut_slice() {
        // The kernel keeps no weight of a single next hop.
        only.weight = 1;
    }
    match family {
        _ if hops.is_empty() => Vec::new(),
        Family::Ipv4Unicast => vec![Route { family, metric, hops }],
        Family::Ipv6Unicast => {
            hops.into_iter().map(|hop| Route { family, metric, hops: vec![hop] }).collect()
        }
    }
}

/// Whether the route in the kernel is the wanted one, whatever the order of its next hops.
fn is_satisfied(wanted: &Route, present: &Route) -> bool {
    if wanted.metric != present.metric || wanted.hops.len() != present.hops.len() {
        return false;
    }
    let mut unmatched: Vec<&DefaultNextHop> = present.hops.iter().collect();
    wanted.hops.iter().all(|hop| {
        let place = unmatched.iter().position(|other| is_same(hop, other) && hop.weight == other.weight);
        place.map(|place| unmatched.swap_remove(place)).is_some()
    })
}

/// Whether the kernel's next hop is the wanted one; without an interface any that the kernel found will do.
pub(super) fn is_same(wanted: &DefaultNextHop, present: &DefaultNextHop) -> bool {
    wanted.gateway == present.gateway && wanted.interface.is_none_or(|index| present.interface == Some(index))
}

#[cfg(test)]
mod tests;
