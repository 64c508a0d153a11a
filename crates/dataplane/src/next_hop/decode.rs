// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Netlink messages to the values of `table`. Pure; a message that says nothing useful here is `None`.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState as Nud,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteType, RouteVia,
};

use super::NEIGHBOUR_PROTOCOL;
use super::table::{Link, Neighbour, NeighbourState, Path, Route, RouteAction, RouteTableId, VlanDevice};

/// `RT_TABLE_LOCAL`; the library names only the main table.
const RT_TABLE_LOCAL: u32 = 255;
/// Metric of a route that names none: 0 for IPv4; the kernel always writes IPv6's.
const PRIORITY_DEFAULT: u32 = 0;
/// States whose address may be used (`NUD_VALID` without `NUD_PERMANENT`): reachable, stale, delay, probe, noarp.
const NUD_USABLE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40;
const NUD_FAILED: u16 = 0x20;
const NUD_PERMANENT: u16 = 0x80;

/// Index and description of an interface.
pub(super) fn link(message: &LinkMessage) -> Option<(u32, Link)> {
    let mut name = None;
    let mut mac = None;
    let mut mtu = 0;
    let mut lower = None;
    let mut is_lower_elsewhere = false;
    let mut controller = None;
    let mut vlan_id = None;
    let mut kind = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Address(value) => mac = value.as_slice().try_into().ok(),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::Link(value) => lower = Some(*value),
            // The index of the interface below is one of another namespace.
            LinkAttribute::LinkNetNsId(_) => is_lower_elsewhere = true,
            LinkAttribute::Controller(value) => controller = Some(*value),
            LinkAttribute::LinkInfo(infos) => {
                vlan_id = infos.iter().find_map(dot1q_id);
                kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let flags = message.header.flags;
    let link = Link {
        name: name?,
        is_up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        mac: mac.filter(|_| is_ethernet),
        mtu,
        vlan: vlan_id.zip(lower.filter(|_| !is_lower_elsewhere)).map(|(id, lower)| VlanDevice { id, lower }),
        kind,
        controller,
    };
    Some((message.header.index, link))
}

/// The identifier of an 802.1Q device; 802.1ad is another tag and no uplink for us.
fn dot1q_id(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(vlan)) = info else { return None };
    if vlan.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)) {
        return None;
    }
    vlan.iter().find_map(|item| if let InfoVlan::Id(id) = item { Some(*id) } else { None })
}

/// A route of the tables read here that holds for all packets of its prefix.
pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    // Cached copies, and routes for a type of service or a source prefix, are no answer for a destination.
    if header.flags.contains(RouteFlags::Cloned) || header.tos != 0 || header.source_prefix_length != 0 {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut destination = None;
    let mut priority = PRIORITY_DEFAULT;
    let mut mtu = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(value) => table = *value,
            RouteAttribute::Destination(value) => destination = Some(address(value)?),
            RouteAttribute::Priority(value) => priority = *value,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|m| if let RouteMetric::Mtu(v) = m { Some(*v) } else { None });
            }
            _ => {}
        }
    }
    let table = match table {
        RT_TABLE_LOCAL => RouteTableId::Local,
        main if main == u32::from(RouteHeader::RT_TABLE_MAIN) => RouteTableId::Main,
        _ => return None,
    };
    let destination = match (destination, u8::from(header.address_family)) {
        (Some(destination), _) => destination,
        (None, family) if i32::from(family) == libc::AF_INET => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        (None, family) if i32::from(family) == libc::AF_INET6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        (None, _) => return None,
    };
    let action = match header.kind {
        RouteType::Unicast => match paths(message) {
            paths if paths.is_empty() && has_nexthop_object(message) => RouteAction::Hidden,
            paths => RouteAction::Forward(paths),
        },
        RouteType::Local => RouteAction::Local,
        RouteType::BlackHole => RouteAction::Blackhole,
        RouteType::Unreachable => RouteAction::Unreachable,
        RouteType::Prohibit => RouteAction::Prohibit,
        RouteType::Throw => RouteAction::Throw,
        _ => RouteAction::NotUnicast,
    };
    Some(Route { table, destination, prefix_length: header.destination_prefix_length, priority, mtu, action })
}

fn has_nexthop_object(message: &RouteMessage) -> bool {
    message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::NhId(_)))
}

fn paths(message: &RouteMessage) -> Vec<Path> {
    let multipath = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    if let Some(hops) = multipath {
        return hops.iter().map(path_of_hop).collect();
    }
    let interface = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let flags = message.header.flags;
    let is_dead = flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    interface.map(|interface| path(interface, is_dead, &message.attributes)).into_iter().collect()
}

fn path_of_hop(hop: &RouteNextHop) -> Path {
    let is_dead = hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown);
    path(hop.interface_index, is_dead, &hop.attributes)
}

fn path(interface: u32, is_dead: bool, attributes: &[RouteAttribute]) -> Path {
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(value) => address(value),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    let is_encapsulated = attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Encap(_)));
    Path { gateway, interface, is_dead, is_encapsulated }
}

fn address(value: &RouteAddress) -> Option<IpAddr> {
    match value {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// Key and description of a neighbour; `None` for proxy entries and other families.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbour)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    let mut is_managed = false;
    let mut is_ours = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(value) => mac = value.as_slice().try_into().ok(),
            NeighbourAttribute::ExtFlags(flags) => is_managed = flags.contains(NeighbourExtFlags::Managed),
            NeighbourAttribute::Protocol(value) => {
                is_ours = *value == RouteProtocol::Other(NEIGHBOUR_PROTOCOL)
            }
            _ => {}
        }
    }
    let neighbour = Neighbour { mac, state: state(message.header.state), is_managed, is_ours };
    Some(((message.header.ifindex, address?), neighbour))
}

/// The kernel's state is a bit set; the library names only single bits.
fn state(state: Nud) -> NeighbourState {
    let bits = u16::from(state);
    if bits & NUD_PERMANENT != 0 {
        NeighbourState::Permanent
    } else if bits & NUD_USABLE != 0 {
        NeighbourState::Usable
    } else if bits & NUD_FAILED != 0 {
        NeighbourState::Failed
    } else {
        NeighbourState::Incomplete
    }
}

#[cfg(test)]
mod tests;
