// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a destination address to the frame header that reaches it: a pure function of [`Tables`].
//!
//! ```text
//! destination ─► table local: ours? ─► table main: longest prefix, lowest metric ─► paths ─► link ─► neighbour
//! ```
//!
//! Policy rules other than the kernel's three defaults are not followed. A path whose link is down or dead is passed
//! over, then the next metric, then the next shorter prefix, as the kernel does with `ignore_routes_with_linkdown`;
//! a neighbour that does not answer only passes on to the other paths of the same route. The answer is every usable path of
//! one route (ECMP), by gateway and then interface, so it does not depend on the order in which the kernel lists them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::table::{Link, MacAddress, NeighbourState, Path, Route, RouteAction, RouteTableId, Tables};
use super::{NextHop, PATHS_USED_MAX, Unresolved};

/// Paths of one route that are looked at; the kernel allows more, no network here has them.
const PATHS_MAX: usize = 256;

/// The headers that reach `destination`, one for each path of its route, or why there is none.
pub fn resolve(tables: &Tables, destination: IpAddr) -> Result<Vec<NextHop>, Unresolved> {
    let mut link_down = None;
    for route in candidates(tables, destination)? {
        match through(tables, route, destination) {
            // Only a route that cannot carry anything hands over to the next.
            Err(reason @ Unresolved::LinkDown { .. }) => link_down = link_down.or(Some(reason)),
            answer => return answer,
        }
    }
    Err(link_down.unwrap_or(Unresolved::NoRoute))
}

/// The neighbours that must be known for `destinations`: interface index and address of every path that could be
/// taken, not only of the one that is, so that the others are ready.
pub fn wanted_neighbours(tables: &Tables, destinations: &BTreeSet<IpAddr>) -> BTreeSet<(u32, IpAddr)> {
    let mut wanted = BTreeSet::new();
    for &destination in destinations {
        let Ok(routes) = candidates(tables, destination) else { continue };
        for route in routes {
            let mut usable = paths(tables, route);
            usable.retain(|path| exit(tables, path).is_ok());
            if !usable.is_empty() {
                wanted
                    .extend(usable.iter().map(|path| (path.interface, path.gateway.unwrap_or(destination))));
                break;
            }
        }
    }
    wanted
}

/// The forwarding routes for `destination`, best first, up to the first that ends the search.
fn candidates(tables: &Tables, destination: IpAddr) -> Result<Vec<&Route>, Unresolved> {
    let mut found = Vec::new();
    let mut best: Option<(u8, u32)> = None;
    'tables: for table in [RouteTableId::Local, RouteTableId::Main] {
        for route in tables.routes.matching(table, destination) {
            let end = match &route.action {
                RouteAction::Forward(_) => {
                    let rank = (route.prefix_length, route.priority);
                    // Further routes of one prefix and metric are siblings: `paths` gathers them at the first.
                    if best != Some(rank) {
                        found.push(route);
                    }
                    best = Some(rank);
                    continue;
                }
                RouteAction::Throw => continue 'tables,
                RouteAction::Local => Unresolved::LocalAddress,
                RouteAction::NotUnicast => Unresolved::NotUnicast,
                RouteAction::Hidden => Unresolved::Hidden,
                RouteAction::Blackhole => Unresolved::Blackhole,
                RouteAction::Unreachable => Unresolved::Unreachable,
                RouteAction::Prohibit => Unresolved::Prohibit,
            };
            // Behind a forwarding route it only ends the list.
            return if found.is_empty() { Err(end) } else { Ok(found) };
        }
    }
    if found.is_empty() { Err(Unresolved::NoRoute) } else { Ok(found) }
}

/// The paths of `route` and of its siblings with the same prefix and metric, lowest gateway first.
fn paths(tables: &Tables, route: &Route) -> Vec<Path> {
    let siblings = tables.routes.at_prefix(route).iter().filter(|other| other.priority == route.priority);
    let mut paths: Vec<Path> = siblings
        .filter_map(|sibling| match &sibling.action {
            RouteAction::Forward(paths) => Some(paths),
            RouteAction::Local
            | RouteAction::NotUnicast
            | RouteAction::Hidden
            | RouteAction::Blackhole
            | RouteAction::Unreachable
            | RouteAction::Prohibit
            | RouteAction::Throw => None,
        })
        .flatten()
        .take(PATHS_MAX)
        .cloned()
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The usable paths of `route`; without one the reason of the path that came furthest.
fn through(tables: &Tables, route: &Route, destination: IpAddr) -> Result<Vec<NextHop>, Unresolved> {
    let mut reason: Option<Unresolved> = None;
    let mut hops = Vec::with_capacity(PATHS_USED_MAX);
    for path in paths(tables, route) {
        match along(tables, route, &path, destination) {
            // Two paths may come to one header, for instance two addresses of one router.
            Ok(next_hop) if hops.contains(&next_hop) => {}
            Ok(next_hop) => hops.push(next_hop),
            Err(other) if reason.as_ref().is_none_or(|known| progress(&other) > progress(known)) => {
                reason = Some(other);
            }
            Err(_) => {} // The reason kept says more.
        }
        if hops.len() == PATHS_USED_MAX {
            break;
        }
    }
    if hops.is_empty() { Err(reason.unwrap_or(Unresolved::NoRoute)) } else { Ok(hops) }
}

fn along(tables: &Tables, route: &Route, path: &Path, destination: IpAddr) -> Result<NextHop, Unresolved> {
    let Exit { link, ifindex, vlan, source_mac, mtu } = exit(tables, path)?;
    let gateway = path.gateway.unwrap_or(destination);
    let interface = || link.name.clone();
    let no_neighbour = || Unresolved::NoNeighbour { gateway, interface: interface() };
    let neighbour = tables.neighbours.get(&(path.interface, gateway)).ok_or_else(no_neighbour)?;
    let destination_mac = match neighbour.state {
        NeighbourState::Usable | NeighbourState::Permanent => neighbour.mac.ok_or_else(no_neighbour)?,
        NeighbourState::Incomplete => return Err(no_neighbour()),
        NeighbourState::Failed => {
            return Err(Unresolved::NeighbourFailed { gateway, interface: interface() });
        }
    };
    let mtu = route.mtu.filter(|&mtu| mtu > 0).unwrap_or(mtu).min(mtu);
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let is_on_link = gateway == destination;
    Ok(NextHop { ifindex, source_mac, destination_mac, mtu, vlan, is_on_link })
}

/// The uplink that a path leaves by.
struct Exit<'a> {
    /// The route's interface: the uplink itself or an 802.1Q device on it.
    link: &'a Link,
    ifindex: u32,
    vlan: Option<u16>,
    source_mac: MacAddress,
    mtu: u32,
}

fn exit<'a>(tables: &'a Tables, path: &Path) -> Result<Exit<'a>, Unresolved> {
    let Some(link) = tables.links.get(&path.interface) else {
        return Err(Unresolved::NoInterface { ifindex: path.interface });
    };
    let interface = || link.name.clone();
    let mut exit_link = (path.interface, link, None);
    if !tables.uplinks.contains(&link.name) {
        let lower =
            link.vlan.and_then(|vlan| Some((vlan.lower, tables.links.get(&vlan.lower)?, Some(vlan.id))));
        match lower {
            Some(lower) if tables.uplinks.contains(&lower.1.name) => exit_link = lower,
            Some(_) | None => return Err(not_an_uplink(tables, path.interface, link)),
        }
    }
    let (ifindex, uplink, vlan) = exit_link;
    if path.is_encapsulated {
        return Err(Unresolved::Encapsulated { interface: interface() });
    }
    if path.is_dead || !link.is_up || !uplink.is_up {
        return Err(Unresolved::LinkDown { interface: interface() });
    }
    let Some(source_mac) = link.mac else {
        return Err(Unresolved::NotEthernet { interface: interface() });
    };
    // A tag does not count towards an MTU, so that of the interface below holds for tagged packets too.
    Ok(Exit { link, ifindex, vlan, source_mac, mtu: link.mtu.min(uplink.mtu) })
}

/// Why `link`, which is none, cannot stand for an uplink.
fn not_an_uplink(tables: &Tables, index: u32, link: &Link) -> Unresolved {
    let interface = link.name.clone();
    let member = tables
        .links
        .values()
        .find(|other| other.controller == Some(index) && tables.uplinks.contains(&other.name));
    match (link.kind.as_deref(), member) {
        (Some("bond" | "team"), Some(member)) => {
            Unresolved::BondOfUplinks { interface, member: member.name.clone() }
        }
        // These could be uplinks themselves.
        (None | Some("bond" | "team" | "veth" | "vlan"), _) => Unresolved::NotAnUplink { interface },
        (Some(kind), _) => Unresolved::NotFollowed { interface, kind: kind.to_owned() },
    }
}

/// How far a path came before it failed: the operator is told about the one that came furthest.
fn progress(reason: &Unresolved) -> u8 {
    match reason {
        Unresolved::NoRoute => 0,
        Unresolved::Blackhole | Unresolved::Unreachable | Unresolved::Prohibit => 1,
        Unresolved::LocalAddress | Unresolved::NotUnicast | Unresolved::Hidden => 1,
        Unresolved::NoInterface { .. } => 2,
        Unresolved::NotAnUplink { .. }
        | Unresolved::NotFollowed { .. }
        | Unresolved::BondOfUplinks { .. } => 3,
        Unresolved::NotEthernet { .. } | Unresolved::Encapsulated { .. } => 4,
        Unresolved::LinkDown { .. } => 5,
        Unresolved::NoNeighbour { .. } => 6,
        Unresolved::NeighbourFailed { .. } => 7,
        Unresolved::NotOnLink => 8,
    }
}

#[cfg(test)]
mod tests;
