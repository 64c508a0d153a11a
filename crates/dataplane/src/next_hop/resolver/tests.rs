// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The resolver against tables written by hand, and against a search that looks at every route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::table::{Neighbour, VlanDevice, masked};
use super::*;

const UP0: u32 = 2;
const UP1: u32 = 3;
const MANAGEMENT: u32 = 4;
const TAGGED: u32 = 5;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(last: u8) -> MacAddress {
    [2, 0, 0, 0, 0, last]
}

fn link(name: &str, last: u8) -> Link {
    Link {
        name: name.to_owned(),
        is_up: true,
        mac: Some(mac(last)),
        mtu: 1500,
        vlan: None,
        kind: None,
        controller: None,
    }
}

fn tables() -> Tables {
    let mut tables = Tables { uplinks: ["up0".to_owned(), "up1".to_owned()].into(), ..Tables::default() };
    tables.links.insert(UP0, link("up0", 0x10));
    tables.links.insert(UP1, link("up1", 0x11));
    tables.links.insert(MANAGEMENT, link("mgmt", 0x12));
    let tagged = Link { mtu: 1400, vlan: Some(VlanDevice { id: 100, lower: UP0 }), ..link("up0.100", 0x13) };
    tables.links.insert(TAGGED, tagged);
    tables
}

fn path(gateway: Option<&str>, interface: u32) -> Path {
    Path { gateway: gateway.map(ip), interface, is_dead: false, is_encapsulated: false }
}

fn route(prefix: &str, priority: u32, action: RouteAction) -> Route {
    let (network, length) = prefix.split_once('/').unwrap();
    let prefix_length = length.parse().unwrap();
    Route { table: RouteTableId::Main, destination: ip(network), prefix_length, priority, mtu: None, action }
}

fn via(prefix: &str, priority: u32, gateway: &str, interface: u32) -> Route {
    route(prefix, priority, RouteAction::Forward(vec![path(Some(gateway), interface)]))
}

fn neighbour(tables: &mut Tables, interface: u32, address: &str, last: u8, state: NeighbourState) {
    let neighbour = Neighbour { mac: Some(mac(last)), state, is_managed: false, is_ours: false };
    tables.neighbours.insert((interface, ip(address)), neighbour);
}

fn hop(ifindex: u32, source: u8, destination: u8) -> NextHop {
    NextHop {
        ifindex,
        source_mac: mac(source),
        destination_mac: mac(destination),
        mtu: 1500,
        vlan: None,
        is_on_link: false,
    }
}

#[test]
fn gateway_and_on_link_destinations_resolve() {
    let mut t = tables();
    t.routes.insert(via("0.0.0.0/0", 0, "10.0.0.1", UP0));
    t.routes.insert(route("10.0.0.0/24", 0, RouteAction::Forward(vec![path(None, UP0)])));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
    neighbour(&mut t, UP0, "10.0.0.9", 9, NeighbourState::Permanent);
    assert_eq!(resolve(&t, ip("198.51.100.7")), Ok(vec![hop(UP0, 0x10, 1)]));
    let on_link = NextHop { is_on_link: true, ..hop(UP0, 0x10, 9) };
    assert_eq!(resolve(&t, ip("10.0.0.9")), Ok(vec![on_link]));
    let missing = Unresolved::NoNeighbour { gateway: ip("10.0.0.8"), interface: "up0".to_owned() };
    assert_eq!(resolve(&t, ip("10.0.0.8")), Err(missing));
    assert_eq!(resolve(&t, ip("2001:db8::1")), Err(Unresolved::NoRoute));
}

#[test]
fn ipv4_goes_by_an_ipv6_gateway() {
    let mut t = tables();
    t.routes.insert(via("0.0.0.0/0", 0, "fe80::1", UP1));
    t.routes.insert(via("::/0", 1024, "fe80::1", UP1));
    neighbour(&mut t, UP1, "fe80::1", 7, NeighbourState::Usable);
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![hop(UP1, 0x11, 7)]));
    assert_eq!(resolve(&t, ip("2001:db8::1")), Ok(vec![hop(UP1, 0x11, 7)]));
}

#[test]
fn longest_prefix_wins_then_lowest_metric() {
    let mut t = tables();
    t.routes.insert(via("10.0.0.0/8", 0, "10.0.0.1", UP0));
    t.routes.insert(via("10.1.0.0/16", 200, "10.0.0.2", UP0));
    t.routes.insert(via("10.1.0.0/16", 100, "10.0.0.3", UP0));
    for last in 1..=3 {
        neighbour(&mut t, UP0, &format!("10.0.0.{last}"), last, NeighbourState::Usable);
    }
    assert_eq!(resolve(&t, ip("10.1.2.3")), Ok(vec![hop(UP0, 0x10, 3)]));
    assert_eq!(resolve(&t, ip("10.2.2.3")), Ok(vec![hop(UP0, 0x10, 1)]));
}

#[test]
fn every_kind_of_route_that_does_not_forward_has_its_reason() {
    let cases = [
        (RouteAction::Local, Unresolved::LocalAddress),
        (RouteAction::NotUnicast, Unresolved::NotUnicast),
        (RouteAction::Blackhole, Unresolved::Blackhole),
        (RouteAction::Unreachable, Unresolved::Unreachable),
        (RouteAction::Prohibit, Unresolved::Prohibit),
        (RouteAction::Throw, Unresolved::NoRoute),
        (RouteAction::Hidden, Unresolved::Hidden),
    ];
    for (action, reason) in cases {
        let mut t = tables();
        t.routes.insert(via("0.0.0.0/0", 0, "10.0.0.1", UP0));
        t.routes.insert(route("10.0.0.0/24", 0, action));
        neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
        assert_eq!(resolve(&t, ip("10.0.0.5")), Err(reason));
        assert!(wanted_neighbours(&t, &[ip("10.0.0.5")].into()).is_empty());
    }
}

#[test]
fn own_address_is_found_before_the_main_table() {
    let mut t = tables();
    t.routes.insert(via("192.0.2.1/32", 0, "10.0.0.1", UP0));
    t.routes.insert(Route { table: RouteTableId::Local, ..route("192.0.2.1/32", 0, RouteAction::Local) });
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(Unresolved::LocalAddress));
}

#[test]
fn only_uplinks_carry_packets() {
    let mut t = tables();
    t.routes.insert(via("0.0.0.0/0", 0, "10.9.0.1", MANAGEMENT));
    neighbour(&mut t, MANAGEMENT, "10.9.0.1", 1, NeighbourState::Usable);
    let reason = Unresolved::NotAnUplink { interface: "mgmt".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(reason));
    assert!(wanted_neighbours(&t, &[ip("192.0.2.1")].into()).is_empty());
}

#[test]
fn virtual_devices_that_are_no_uplinks_are_refused_by_kind() {
    let name = || "dev0".to_owned();
    let kind = |kind: &str| Unresolved::NotFollowed { interface: name(), kind: kind.to_owned() };
    let cases = [
        (None, Unresolved::NotAnUplink { interface: name() }),
        (Some("veth"), Unresolved::NotAnUplink { interface: name() }),
        (Some("macvlan"), kind("macvlan")),
        (Some("ipvlan"), kind("ipvlan")),
        (Some("bridge"), kind("bridge")),
        (Some("vxlan"), kind("vxlan")),
        (Some("wireguard"), kind("wireguard")),
        (Some("bond"), Unresolved::NotAnUplink { interface: name() }),
    ];
    for (device, reason) in cases {
        let mut t = tables();
        t.links.insert(9, Link { kind: device.map(str::to_owned), ..link("dev0", 0x19) });
        t.routes.insert(via("0.0.0.0/0", 0, "10.9.0.1", 9));
        neighbour(&mut t, 9, "10.9.0.1", 1, NeighbourState::Usable);
        assert_eq!(resolve(&t, ip("192.0.2.1")), Err(reason));
    }
}

#[test]
fn a_bond_is_an_uplink_and_its_members_are_none() {
    const BOND: u32 = 20;
    const TAGGED_BOND: u32 = 21;
    let mut t = tables();
    t.links.insert(BOND, Link { kind: Some("bond".to_owned()), ..link("bond0", 0x20) });
    let vlan = Some(VlanDevice { id: 7, lower: BOND });
    t.links.insert(TAGGED_BOND, Link { vlan, kind: Some("vlan".to_owned()), ..link("bond0.7", 0x20) });
    t.links.get_mut(&UP0).unwrap().controller = Some(BOND);
    t.links.get_mut(&UP1).unwrap().controller = Some(BOND);
    t.routes.insert(via("0.0.0.0/0", 0, "10.0.0.1", BOND));
    t.routes.insert(via("10.7.0.0/16", 0, "10.0.7.1", TAGGED_BOND));
    neighbour(&mut t, BOND, "10.0.0.1", 1, NeighbourState::Usable);
    neighbour(&mut t, TAGGED_BOND, "10.0.7.1", 7, NeighbourState::Usable);
    let members = Unresolved::BondOfUplinks { interface: "bond0".to_owned(), member: "up0".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(members));
    t.uplinks = ["bond0".to_owned()].into();
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![hop(BOND, 0x20, 1)]));
    let tagged = NextHop { vlan: Some(7), ..hop(BOND, 0x20, 7) };
    assert_eq!(resolve(&t, ip("10.7.0.9")), Ok(vec![tagged]));
    t.links.get_mut(&BOND).unwrap().is_up = false;
    let down = Unresolved::LinkDown { interface: "bond0".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(down));
}

#[test]
fn a_tag_on_a_tag_is_not_followed() {
    let mut t = tables();
    let vlan = Some(VlanDevice { id: 200, lower: TAGGED });
    t.links.insert(30, Link { vlan, kind: Some("vlan".to_owned()), ..link("up0.100.200", 0x30) });
    t.routes.insert(via("0.0.0.0/0", 0, "10.0.0.1", 30));
    neighbour(&mut t, 30, "10.0.0.1", 1, NeighbourState::Usable);
    let reason = Unresolved::NotAnUplink { interface: "up0.100.200".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(reason));
}

#[test]
fn a_tagged_path_takes_no_more_than_the_interface_below() {
    let mut t = tables();
    t.routes.insert(via("0.0.0.0/0", 0, "10.5.0.1", TAGGED));
    neighbour(&mut t, TAGGED, "10.5.0.1", 5, NeighbourState::Usable);
    t.links.get_mut(&UP0).unwrap().mtu = 1300;
    assert_eq!(resolve(&t, ip("192.0.2.1")).map(|hops| hops[0].mtu), Ok(1300));
}

#[test]
fn when_paths_die_one_after_the_other_the_rest_carry_on_and_the_last_ends_it() {
    let mut t = tables();
    let paths =
        vec![path(Some("10.0.0.1"), UP0), path(Some("10.0.1.1"), UP1), path(Some("10.5.0.1"), TAGGED)];
    t.routes.insert(route("0.0.0.0/0", 0, RouteAction::Forward(paths)));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
    neighbour(&mut t, UP1, "10.0.1.1", 2, NeighbourState::Usable);
    neighbour(&mut t, TAGGED, "10.5.0.1", 5, NeighbourState::Usable);
    let (first, second) = (hop(UP0, 0x10, 1), hop(UP1, 0x11, 2));
    let third = NextHop { vlan: Some(100), mtu: 1400, ..hop(UP0, 0x13, 5) };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![first, second, third]));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Failed);
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![second, third]));
    t.links.get_mut(&UP1).unwrap().is_up = false;
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![third]));
    neighbour(&mut t, TAGGED, "10.5.0.1", 5, NeighbourState::Incomplete);
    // The operator is told of the path that came furthest.
    let failed = Unresolved::NeighbourFailed { gateway: ip("10.0.0.1"), interface: "up0".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(failed));
}

#[test]
fn tagged_device_resolves_to_the_interface_below_with_its_tag() {
    let mut t = tables();
    t.routes.insert(via("0.0.0.0/0", 0, "10.5.0.1", TAGGED));
    neighbour(&mut t, TAGGED, "10.5.0.1", 5, NeighbourState::Usable);
    let expected = NextHop { vlan: Some(100), mtu: 1400, ..hop(UP0, 0x13, 5) };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![expected]));
    t.links.get_mut(&UP0).unwrap().is_up = false;
    let down = Unresolved::LinkDown { interface: "up0.100".to_owned() };
    assert_eq!(resolve(&t, ip("192.0.2.1")), Err(down));
}

#[test]
fn every_usable_path_is_taken_whatever_the_order() {
    let forward = |order: [&str; 3]| {
        RouteAction::Forward(order.into_iter().map(|gateway| path(Some(gateway), UP0)).collect())
    };
    for order in [["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["10.0.0.3", "10.0.0.1", "10.0.0.2"]] {
        let mut t = tables();
        t.routes.insert(route("0.0.0.0/0", 0, forward(order)));
        neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Failed);
        neighbour(&mut t, UP0, "10.0.0.2", 2, NeighbourState::Usable);
        neighbour(&mut t, UP0, "10.0.0.3", 3, NeighbourState::Usable);
        let both = vec![hop(UP0, 0x10, 2), hop(UP0, 0x10, 3)];
        assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(both));
        // The silent one is wanted too, so that it is ready.
        assert_eq!(wanted_neighbours(&t, &[ip("192.0.2.1")].into()).len(), 3);
    }
}

#[test]
fn of_more_paths_than_are_used_the_first_usable_are_taken() {
    let gateways: Vec<String> = (1..=6).map(|last| format!("10.0.0.{last}")).collect();
    let mut t = tables();
    let paths = gateways.iter().rev().map(|gateway| path(Some(gateway), UP0)).collect();
    t.routes.insert(route("0.0.0.0/0", 0, RouteAction::Forward(paths)));
    for (last, gateway) in (1..).zip(&gateways) {
        neighbour(&mut t, UP0, gateway, last, NeighbourState::Usable);
    }
    neighbour(&mut t, UP0, "10.0.0.2", 2, NeighbourState::Failed);
    let expected = [1, 3, 4, 5].map(|last| hop(UP0, 0x10, last));
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(expected.to_vec()));
    assert_eq!(wanted_neighbours(&t, &[ip("192.0.2.1")].into()).len(), 6);
}

#[test]
fn two_addresses_of_one_router_are_one_path() {
    let mut t = tables();
    let paths = vec![path(Some("10.0.0.1"), UP0), path(Some("fe80::1"), UP0)];
    t.routes.insert(route("0.0.0.0/0", 0, RouteAction::Forward(paths)));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
    neighbour(&mut t, UP0, "fe80::1", 1, NeighbourState::Usable);
    assert_eq!(resolve(&t, ip("192.0.2.1")), Ok(vec![hop(UP0, 0x10, 1)]));
}

#[test]
fn sibling_routes_of_one_metric_are_paths_of_one_route() {
    let mut t = tables();
    t.routes.insert(via("::/0", 1024, "fe80::2", UP1));
    t.routes.insert(via("::/0", 1024, "fe80::1", UP0));
    neighbour(&mut t, UP1, "fe80::2", 2, NeighbourState::Usable);
    assert_eq!(resolve(&t, ip("2001:db8::1")), Ok(vec![hop(UP1, 0x11, 2)]));
    neighbour(&mut t, UP0, "fe80::1", 1, NeighbourState::Usable);
    assert_eq!(resolve(&t, ip("2001:db8::1")), Ok(vec![hop(UP0, 0x10, 1), hop(UP1, 0x11, 2)]));
}

#[test]
fn link_down_passes_on_to_the_next_metric_and_the_shorter_prefix() {
    let mut t = tables();
    t.routes.insert(via("10.1.0.0/16", 100, "10.0.0.1", UP0));
    t.routes.insert(via("10.0.0.0/8", 0, "10.0.1.1", UP1));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
    neighbour(&mut t, UP1, "10.0.1.1", 2, NeighbourState::Usable);
    t.links.get_mut(&UP0).unwrap().is_up = false;
    assert_eq!(resolve(&t, ip("10.1.2.3")), Ok(vec![hop(UP1, 0x11, 2)]));
    t.links.get_mut(&UP1).unwrap().is_up = false;
    assert_eq!(resolve(&t, ip("10.1.2.3")), Err(Unresolved::LinkDown { interface: "up0".to_owned() }));
}

#[test]
fn silent_neighbour_does_not_pass_on_to_another_route() {
    let mut t = tables();
    t.routes.insert(via("10.1.0.0/16", 100, "10.0.0.1", UP0));
    t.routes.insert(via("0.0.0.0/0", 0, "10.0.1.1", UP1));
    neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Failed);
    neighbour(&mut t, UP1, "10.0.1.1", 2, NeighbourState::Usable);
    let failed = Unresolved::NeighbourFailed { gateway: ip("10.0.0.1"), interface: "up0".to_owned() };
    assert_eq!(resolve(&t, ip("10.1.2.3")), Err(failed));
}

#[test]
fn path_that_cannot_be_used_has_its_reason() {
    let mut t = tables();
    let odd = |is_dead, is_encapsulated| {
        RouteAction::Forward(vec![Path { is_dead, is_encapsulated, ..path(Some("10.0.0.1"), UP0) }])
    };
    t.routes.insert(route("10.1.0.0/16", 0, odd(true, false)));
    t.routes.insert(route("10.2.0.0/16", 0, odd(false, true)));
    t.routes.insert(via("10.3.0.0/16", 0, "10.0.0.1", 99));
    assert_eq!(resolve(&t, ip("10.1.0.1")), Err(Unresolved::LinkDown { interface: "up0".to_owned() }));
    assert_eq!(resolve(&t, ip("10.2.0.1")), Err(Unresolved::Encapsulated { interface: "up0".to_owned() }));
    assert_eq!(resolve(&t, ip("10.3.0.1")), Err(Unresolved::NoInterface { ifindex: 99 }));
    t.links.get_mut(&UP0).unwrap().mac = None;
    t.routes.insert(via("10.4.0.0/16", 0, "10.0.0.1", UP0));
    assert_eq!(resolve(&t, ip("10.4.0.1")), Err(Unresolved::NotEthernet { interface: "up0".to_owned() }));
}

#[test]
fn mtu_is_the_smaller_of_link_and_route() {
    let mut t = tables();
    t.links.get_mut(&UP0).unwrap().mtu = 9000;
    for (prefix, mtu, expected) in [
        ("10.1.0.0/16", None, 9000),
        ("10.2.0.0/16", Some(1400), 1400),
        ("10.3.0.0/16", Some(0), 9000),
        ("10.4.0.0/16", Some(60_000), 9000),
    ] {
        t.routes.insert(Route { mtu, ..via(prefix, 0, "10.0.0.1", UP0) });
        neighbour(&mut t, UP0, "10.0.0.1", 1, NeighbourState::Usable);
        assert_eq!(resolve(&t, ip(prefix.trim_end_matches("/16"))).map(|hops| hops[0].mtu), Ok(expected));
    }
}

prop_compose! {
    fn any_route()(
        bits in 0_u32..64, length in 0_u8..=32, priority in 0_u32..3, kind in 0_u8..8,
        gateway in 1_u8..6, interface in 2_u32..7, is_local in prop::bool::weighted(0.1),
    ) -> Route {
        let action = match kind {
            0 => RouteAction::Blackhole,
            1 => RouteAction::Throw,
            _ => RouteAction::Forward(vec![path(Some(&format!("10.0.0.{gateway}")), interface)]),
        };
        let destination = IpAddr::V4(Ipv4Addr::from_bits(bits << 26));
        let table = if is_local { RouteTableId::Local } else { RouteTableId::Main };
        Route { table, destination, prefix_length: length, priority, mtu: None, action }
    }
}

proptest! {
    #[test]
    fn answer_does_not_depend_on_order_and_leaves_only_by_an_uplink(
        routes in prop::collection::vec(any_route(), 0..12),
        known in prop::collection::btree_map((2_u32..7, 1_u8..6), 0_u8..3, 0..12),
        down in 2_u32..8,
        destination in any::<u32>(),
    ) {
        let mut forth = tables();
        for ((interface, last), state) in known {
            let state = [NeighbourState::Usable, NeighbourState::Failed, NeighbourState::Incomplete][usize::from(state)];
            neighbour(&mut forth, interface, &format!("10.0.0.{last}"), last, state);
        }
        if let Some(link) = forth.links.get_mut(&down) {
            link.is_up = false;
        }
        let mut back = forth.clone();
        routes.iter().for_each(|route| forth.routes.insert(route.clone()));
        routes.iter().rev().for_each(|route| back.routes.insert(route.clone()));
        // A prefix with two actions of one metric cannot exist in a kernel: leave those out.
        let clash = routes.iter().any(|a| routes.iter().any(|b| {
            (a.table, a.prefix_length, a.priority) == (b.table, b.prefix_length, b.priority)
                && masked(a.destination, a.prefix_length) == masked(b.destination, b.prefix_length)
                && std::mem::discriminant(&a.action) != std::mem::discriminant(&b.action)
        }));
        prop_assume!(!clash);
        let destination = IpAddr::V4(Ipv4Addr::from_bits(destination));
        let answer = resolve(&forth, destination);
        prop_assert_eq!(&answer, &resolve(&back, destination));
        let hops = answer.unwrap_or_default();
        prop_assert!(hops.len() <= PATHS_USED_MAX);
        prop_assert!(!hops.iter().enumerate().any(|(index, hop)| hops[..index].contains(hop)), "two are alike");
        for hop in hops {
            prop_assert!(hop.ifindex == UP0 || hop.ifindex == UP1);
            prop_assert!(forth.links[&hop.ifindex].is_up);
            let wanted = wanted_neighbours(&forth, &[destination].into());
            let macs: Vec<_> = wanted.iter().filter_map(|key| forth.neighbours.get(key)?.mac).collect();
            prop_assert!(macs.contains(&hop.destination_mac));
        }
    }

    #[test]
    fn first_match_is_the_longest_prefix_found_by_looking_at_all(
        routes in prop::collection::vec(any_route(), 0..24), destination in any::<u32>(),
    ) {
        let destination = IpAddr::V4(Ipv4Addr::from_bits(destination));
        let mut t = tables();
        routes.iter().for_each(|route| t.routes.insert(route.clone()));
        let holds = |route: &&Route| {
            route.table == RouteTableId::Main
                && masked(destination, route.prefix_length) == masked(route.destination, route.prefix_length)
        };
        let best = routes.iter().filter(holds).map(|r| (u8::MAX - r.prefix_length, r.priority)).min();
        let first = t.routes.matching(RouteTableId::Main, destination).next();
        prop_assert_eq!(first.map(|r| (u8::MAX - r.prefix_length, r.priority)), best);
        prop_assert_eq!(t.routes.matching(RouteTableId::Main, destination).count(), routes.iter().filter(holds).count());
    }

    #[test]
    fn masking_keeps_exactly_the_first_bits(address in any::<u128>(), length in 0_u8..=140) {
        let v6 = IpAddr::V6(Ipv6Addr::from_bits(address));
        match masked(v6, length) {
            Some(IpAddr::V6(network)) => {
                let kept = (0..128).filter(|bit| network.to_bits() >> (127 - bit) & 1 == 1).all(|bit| {
                    bit < u32::from(length) && address >> (127 - bit) & 1 == 1
                });
                prop_assert!(kept && length <= 128);
                let expected = (0..u32::from(length)).filter(|bit| address >> (127 - bit) & 1 == 1).count();
                prop_assert_eq!(usize::try_from(network.to_bits().count_ones()), Ok(expected));
            }
            Some(IpAddr::V4(_)) => prop_assert!(false, "another family"),
            None => prop_assert!(length > 128),
        }
    }
}
