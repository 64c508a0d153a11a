// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Default routes to netlink messages and back. Pure.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteType, RouteVia,
};

use super::FibConfig;
use super::plan::{ObservedRoute, Route};
use crate::config::Family;
use crate::import::DefaultNextHop;

/// Metric of an IPv4 route that names none.
const METRIC_UNNAMED: u32 = 0;

/// A default route with our protocol number, in whatever table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) table: u32,
    /// One for IPv4; for IPv6 one for each next hop.
    pub(super) routes: Vec<ObservedRoute>,
}

/// Asks for the routes with `protocol`; filtered by the kernel, for a host may hold a million others.
pub(super) fn request(family: Family, protocol: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.protocol = RouteProtocol::from(protocol);
    message
}

/// The message that adds or removes `route`.
pub(super) fn encode(route: &Route, config: &FibConfig) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(route.family);
    // The header has room for 255 tables; the attribute is what counts.
    message.header.table = u8::try_from(config.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = RouteProtocol::from(config.protocol);
    message.header.kind = RouteType::Unicast;
    // The form for several next hops also for one: removals then name just that next hop (IPv6), and nothing else
    // that the kernel has joined to it.
    let hops = route.hops.iter().map(|hop| encode_hop(route.family, hop)).collect();
    message.attributes = vec![
        RouteAttribute::Table(config.table),
        RouteAttribute::Priority(route.metric),
        RouteAttribute::MultiPath(hops),
    ];
    message
}

fn encode_hop(family: Family, hop: &DefaultNextHop) -> RouteNextHop {
    let gateway = match (family, hop.gateway) {
        (Family::Ipv4Unicast, IpAddr::V6(v6)) => RouteAttribute::Via(RouteVia::Inet6(v6)),
        (Family::Ipv4Unicast | Family::Ipv6Unicast, gateway) => RouteAttribute::Gateway(gateway.into()),
    };
    let mut encoded = RouteNextHop::default();
    encoded.hops = hop.weight.saturating_sub(1);
    encoded.interface_index = hop.interface.unwrap_or(0);
    encoded.attributes = vec![gateway];
    encoded
}

/// Whether a route that was added or removed may be one of ours.
pub(super) fn concerns(message: &RouteMessage, protocol: u8) -> bool {
    u8::from(message.header.protocol) == protocol && message.header.destination_prefix_length == 0
}

/// A default route of `family` with `protocol`; `None` for anything else, and for a form that is never made here.
pub(super) fn decode(message: &RouteMessage, family: Family, protocol: u8) -> Option<Found> {
    let header = &message.header;
    if !concerns(message, protocol)
        || header.address_family != address_family(family)
        || header.kind != RouteType::Unicast
        || header.flags.contains(RouteFlags::Cloned)
        || header.source_prefix_length != 0
        || header.tos != 0
    {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut metric = METRIC_UNNAMED;
    let mut hops = Vec::new();
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(value) => table = *value,
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::MultiPath(multiple) => hops.extend(multiple.iter().filter_map(decode_hop)),
            _ => {}
        }
    }
    if hops.is_empty() {
        let is_dead = header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
        hops.push((DefaultNextHop { gateway: gateway(&message.attributes)?, interface, weight: 1 }, is_dead));
    }
    let route = |hops: &[(DefaultNextHop, bool)]| {
        let (hops, dead) = hops.iter().copied().unzip();
        ObservedRoute { route: Route { family, metric, hops }, dead }
    };
    let routes = match family {
        Family::Ipv4Unicast => vec![route(&hops)],
        Family::Ipv6Unicast => hops.chunks(1).map(route).collect(),
    };
    Some(Found { table, routes })
}

fn decode_hop(hop: &RouteNextHop) -> Option<(DefaultNextHop, bool)> {
    let is_dead = hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown);
    let decoded = DefaultNextHop {
        gateway: gateway(&hop.attributes)?,
        interface: Some(hop.interface_index),
        weight: hop.hops.saturating_add(1),
    };
    Some((decoded, is_dead))
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
            Some(IpAddr::V4(*v4))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
            Some(IpAddr::V6(*v6))
        }
        _ => None,
    })
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4Unicast => AddressFamily::Inet,
        Family::Ipv6Unicast => AddressFamily::Inet6,
    }
}
