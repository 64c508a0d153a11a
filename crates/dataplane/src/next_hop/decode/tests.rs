// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages as the kernel sends them, as values.

use std::net::{Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::AddressFamily;

use super::*;

fn route_message(family: AddressFamily, length: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.attributes = attributes;
    message
}

#[test]
fn default_route_via_inet6_is_an_ipv4_route_with_an_ipv6_gateway() {
    let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
    let attributes = vec![
        RouteAttribute::Via(RouteVia::Inet6(gateway)),
        RouteAttribute::Oif(3),
        RouteAttribute::Priority(20),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
    ];
    let expected = Route {
        table: RouteTableId::Main,
        destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix_length: 0,
        priority: 20,
        mtu: Some(1400),
        action: RouteAction::Forward(vec![Path {
            gateway: Some(gateway.into()),
            interface: 3,
            is_dead: false,
            is_encapsulated: false,
        }]),
    };
    assert_eq!(route(&route_message(AddressFamily::Inet, 0, attributes)), Some(expected));
}

#[test]
fn a_route_by_a_nexthop_object_has_its_paths_or_says_that_they_are_hidden() {
    let with = |attributes| route(&route_message(AddressFamily::Inet, 24, attributes)).unwrap().action;
    let id = RouteAttribute::NhId(10);
    let destination = RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(198, 51, 100, 0)));
    assert_eq!(with(vec![destination.clone(), id.clone()]), RouteAction::Hidden);
    let shown = with(vec![destination, id, RouteAttribute::Oif(3)]);
    let path = Path { gateway: None, interface: 3, is_dead: false, is_encapsulated: false };
    assert_eq!(shown, RouteAction::Forward(vec![path]));
}

#[test]
fn a_device_on_an_interface_of_another_namespace_has_none_below_it() {
    let vlan = LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(rtnetlink::packet_route::link::InfoKind::Vlan),
        LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(100)])),
    ]);
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName("eth0.100".to_owned()),
        LinkAttribute::Link(2),
        vlan,
        LinkAttribute::Controller(7),
    ];
    let (_, found) = link(&message).unwrap();
    assert_eq!(found.vlan, Some(VlanDevice { id: 100, lower: 2 }));
    assert_eq!((found.kind.as_deref(), found.controller), (Some("vlan"), Some(7)));
    message.attributes.push(LinkAttribute::LinkNetNsId(0));
    assert_eq!(link(&message).unwrap().1.vlan, None);
}

#[test]
fn multipath_route_lists_its_paths_with_their_own_flags() {
    let hop = |index, last, flags| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.flags = flags;
        hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, last)))];
        hop
    };
    let hops = vec![hop(3, 1, RouteNextHopFlags::empty()), hop(4, 2, RouteNextHopFlags::Linkdown)];
    let decoded =
        route(&route_message(AddressFamily::Inet, 0, vec![RouteAttribute::MultiPath(hops)])).unwrap();
    let RouteAction::Forward(paths) = decoded.action else { panic!("forwards") };
    assert_eq!(paths.iter().map(|p| (p.interface, p.is_dead)).collect::<Vec<_>>(), [(3, false), (4, true)]);
}

#[test]
fn routes_of_other_tables_types_of_service_and_caches_are_left_out() {
    let plain = route_message(AddressFamily::Inet, 0, vec![RouteAttribute::Oif(3)]);
    assert!(route(&plain).is_some());
    let mut other = plain.clone();
    other.attributes.push(RouteAttribute::Table(1000));
    assert_eq!(route(&other), None);
    let mut other = plain.clone();
    other.header.tos = 8;
    assert_eq!(route(&other), None);
    let mut other = plain.clone();
    other.header.flags = RouteFlags::Cloned;
    assert_eq!(route(&other), None);
    let mut other = plain;
    other.header.address_family = AddressFamily::Mpls;
    assert_eq!(route(&other), None);
}

#[test]
fn link_is_up_only_with_carrier_and_has_a_mac_only_on_ethernet() {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Link(3),
    ];
    let (index, no_carrier) = link(&message).unwrap();
    assert_eq!((index, no_carrier.is_up, no_carrier.mac), (7, false, Some([2, 0, 0, 0, 0, 1])));
    assert_eq!(no_carrier.vlan, None, "a veth names its peer, which is no VLAN");
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    let tag = vec![InfoVlan::Id(100), InfoVlan::Protocol(VlanProtocol::Ieee8021Q)];
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Data(InfoData::Vlan(tag))]));
    let (_, up) = link(&message).unwrap();
    assert_eq!((up.is_up, up.vlan), (true, Some(VlanDevice { id: 100, lower: 3 })));
    message.header.link_layer_type = LinkLayerType::Loopback;
    assert_eq!(link(&message).unwrap().1.mac, None);
}

#[test]
fn neighbour_states_are_bit_sets() {
    let cases = [
        (Nud::Reachable, NeighbourState::Usable),
        (Nud::Stale, NeighbourState::Usable),
        (Nud::Delay, NeighbourState::Usable),
        (Nud::Probe, NeighbourState::Usable),
        (Nud::Noarp, NeighbourState::Usable),
        (Nud::Permanent, NeighbourState::Permanent),
        (Nud::Failed, NeighbourState::Failed),
        (Nud::Incomplete, NeighbourState::Incomplete),
        (Nud::None, NeighbourState::Incomplete),
        (Nud::Other(0xc0), NeighbourState::Permanent),
    ];
    for (nud, expected) in cases {
        assert_eq!(state(nud), expected);
    }
}

#[test]
fn our_mark_and_the_managed_flag_are_read() {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 4;
    message.header.state = Nud::Reachable;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(Ipv4Addr::new(10, 0, 0, 1))),
        NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
        NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed),
        NeighbourAttribute::Protocol(RouteProtocol::Other(NEIGHBOUR_PROTOCOL)),
    ];
    let ((index, address), decoded) = neighbour(&message).unwrap();
    assert_eq!((index, address), (4, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
    assert!(decoded.is_managed && decoded.is_ours);
    assert_eq!(decoded.mac, Some([2, 0, 0, 0, 0, 1]));
    message.header.flags = NeighbourFlags::Proxy;
    assert_eq!(neighbour(&message), None);
}
