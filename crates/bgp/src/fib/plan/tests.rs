// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The plan against a small model of the kernel's table, in which routes of others lie as well.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const METRIC: u32 = 20;

fn hop(gateway: &str, interface: Option<u32>) -> DefaultNextHop {
    DefaultNextHop { gateway: gateway.parse().unwrap(), interface, weight: 1 }
}

fn desired(family: Family, hops: &[DefaultNextHop]) -> Defaults {
    Defaults::from([(family, hops.iter().copied().collect())])
}

fn observed(family: Family, metric: u32, hops: &[DefaultNextHop]) -> ObservedRoute {
    ObservedRoute { route: Route { family, metric, hops: hops.to_vec() }, dead: vec![false; hops.len()] }
}

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

#[test]
fn the_first_ipv4_route_asks_for_an_empty_place() {
    let hops = [hop("10.0.0.1", None), hop("fe80::1", Some(3))];
    let add =
        Change::Add { route: Route { family: V4, metric: METRIC, hops: hops.to_vec() }, is_first: true };
    assert_eq!(plan(&desired(V4, &hops), METRIC, &[]), [add]);
}

#[test]
fn an_ipv4_route_is_appended_before_the_old_one_goes() {
    let old = observed(V4, METRIC, &[hop("10.0.0.1", Some(3))]);
    let new = [hop("10.0.1.1", None)];
    let changes = plan(&desired(V4, &new), METRIC, std::slice::from_ref(&old));
    let add =
        Change::Add { route: Route { family: V4, metric: METRIC, hops: new.to_vec() }, is_first: false };
    assert_eq!(changes, [add, Change::Remove(old.route)]);
}

#[test]
fn ipv6_next_hops_come_and_go_one_by_one() {
    let (a, b, c) = (hop("fe80::1", Some(3)), hop("fe80::1", Some(4)), hop("fe80::2", Some(3)));
    let present = [observed(V6, METRIC, &[a]), observed(V6, METRIC, &[b])];
    let changes = plan(&desired(V6, &[b, c]), METRIC, &present);
    let one = |hop| Route { family: V6, metric: METRIC, hops: vec![hop] };
    assert_eq!(changes, [Change::Add { route: one(c), is_first: false }, Change::Remove(one(a))]);
}

#[test]
fn only_the_first_of_several_new_ipv6_routes_asks_for_an_empty_place() {
    let changes = plan(&desired(V6, &[hop("fe80::1", Some(3)), hop("fe80::1", Some(4))]), METRIC, &[]);
    let first: Vec<bool> = changes.iter().map(|c| matches!(c, Change::Add { is_first: true, .. })).collect();
    assert_eq!(first, [true, false]);
}

#[test]
fn the_kernels_order_and_the_interface_it_found_change_nothing() {
    let present = observed(V4, METRIC, &[hop("fe80::1", Some(4)), hop("10.0.0.1", Some(3))]);
    let wanted = desired(V4, &[hop("10.0.0.1", None), hop("fe80::1", Some(4))]);
    assert_eq!(plan(&wanted, METRIC, std::slice::from_ref(&present)), []);
    let other = desired(V4, &[hop("10.0.0.1", None), hop("fe80::1", Some(5))]);
    assert_eq!(plan(&other, METRIC, &[present]).len(), 2, "another interface is another next hop");
}

#[test]
fn the_last_loss_removes() {
    let present = observed(V4, METRIC, &[hop("10.0.0.1", Some(3))]);
    assert_eq!(
        plan(&Defaults::new(), METRIC, std::slice::from_ref(&present)),
        [Change::Remove(present.route)]
    );
}

#[test]
fn a_route_of_an_earlier_metric_moves() {
    let present = observed(V6, 30, &[hop("fe80::1", Some(3))]);
    let changes = plan(&desired(V6, &[hop("fe80::1", Some(3))]), METRIC, std::slice::from_ref(&present));
    assert!(
        matches!(&changes[..], [Change::Add { is_first: true, .. }, Change::Remove(old)] if *old == present.route)
    );
}

/// A table as the kernel keeps it: aliases of one metric in order, each with who made it.
#[derive(Debug, Clone)]
struct Model {
    entries: Vec<(bool, Route)>,
    next_interface: u32,
}

impl Model {
    fn ours(&self) -> Vec<ObservedRoute> {
        let ours = self.entries.iter().filter(|(is_ours, _)| *is_ours);
        ours.map(|(_, route)| observed(route.family, route.metric, &route.hops)).collect()
    }

    fn foreign(&self) -> Vec<Route> {
        self.entries.iter().filter(|(is_ours, _)| !is_ours).map(|(_, route)| route.clone()).collect()
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Add { route, is_first } => {
                let same =
                    |(_, other): &(bool, Route)| other.family == route.family && other.metric == route.metric;
                if *is_first && self.entries.iter().any(same) {
                    return; // EEXIST
                }
                assert!(!route.hops.is_empty());
                let mut route = route.clone();
                for hop in &mut route.hops {
                    self.next_interface += 1;
                    hop.interface = hop.interface.or(Some(1000 + self.next_interface));
                }
                route.hops.reverse();
                self.entries.push((true, route));
            }
            Change::Remove(route) => {
                let place = self.entries.iter().position(|(is_ours, other)| *is_ours && other == route);
                self.entries.remove(place.expect("a removal names a route that is there"));
            }
        }
    }
}

fn any_hop(family: Family) -> impl Strategy<Value = DefaultNextHop> {
    (1u8..6, 1u32..4, any::<bool>(), 1u8..3).prop_map(move |(n, interface, is_local, weight)| {
        let (text, interface) = match (family, is_local) {
            (_, true) => (format!("fe80::{n}"), Some(interface)),
            (Family::Ipv4Unicast, false) => (format!("10.0.0.{n}"), None),
            (Family::Ipv6Unicast, false) => (format!("2001:db8::{n}"), None),
        };
        DefaultNextHop { gateway: text.parse().unwrap(), interface, weight }
    })
}

fn any_hops(family: Family, max: usize) -> impl Strategy<Value = BTreeSet<DefaultNextHop>> {
    // One weight for each next hop: the kernel has no two of the same.
    proptest::collection::vec(any_hop(family), 0..max).prop_map(|hops| {
        let unique: std::collections::BTreeMap<_, _> =
            hops.into_iter().map(|h| ((h.gateway, h.interface), h)).collect();
        unique.into_values().collect()
    })
}

fn any_defaults() -> impl Strategy<Value = Defaults> {
    (any_hops(V4, 6), any_hops(V6, 6)).prop_map(|(v4, v6)| Defaults::from([(V4, v4), (V6, v6)]))
}

fn any_entry() -> impl Strategy<Value = (bool, Route)> {
    let hops = prop_oneof![
        any_hops(V4, 4).prop_map(|hops| (V4, hops)),
        any_hops(V6, 2).prop_map(|hops| (V6, hops)),
    ];
    let metric = prop_oneof![Just(METRIC), Just(30u32), Just(0)];
    (any::<bool>(), hops, metric)
        .prop_filter("has a next hop", |(_, (_, hops), _)| !hops.is_empty())
        .prop_map(|(is_ours, (family, hops), metric)| {
            let hops = hops.into_iter().map(|h| DefaultNextHop { interface: h.interface.or(Some(9)), ..h });
            // Others keep away from our metric here; what happens if they do not is the kernel's to say.
            let metric = if is_ours { metric } else { metric.max(1) + 1 };
            (is_ours, Route { family, metric, hops: hops.collect() })
        })
}

proptest! {
    #[test]
    fn a_plan_that_was_applied_leaves_what_is_desired_and_every_foreign_route(
        start in proptest::collection::vec(any_entry(), 0..8), wishes in proptest::collection::vec(any_defaults(), 1..4),
    ) {
        let mut model = Model { entries: start, next_interface: 0 };
        let foreign = model.foreign();
        for wish in &wishes {
            let changes = plan(wish, METRIC, &model.ours());
            for change in &changes {
                model.apply(change);
                // Make before break: a family that had a route and shall have one is never without.
                for family in Family::ALL {
                    let is_wanted = wish.get(&family).is_some_and(|hops| !hops.is_empty());
                    let is_removal = matches!(change, Change::Remove(route) if route.family == family);
                    if is_wanted && is_removal {
                        prop_assert!(model.ours().iter().any(|o| o.route.family == family));
                    }
                }
            }
            prop_assert_eq!(plan(wish, METRIC, &model.ours()), []);
            for family in Family::ALL {
                let wanted = wish.get(&family).map_or(0, BTreeSet::len);
                let ours = model.ours();
                let present: Vec<&Route> =
                    ours.iter().map(|o| &o.route).filter(|r| r.family == family).collect();
                prop_assert!(present.iter().all(|r| r.metric == METRIC));
                prop_assert_eq!(present.iter().map(|r| r.hops.len()).sum::<usize>(), wanted);
            }
        }
        prop_assert_eq!(model.foreign(), foreign);
    }
}
