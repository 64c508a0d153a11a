// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host knows about its links, routes and neighbours, as plain values.
//!
//! [`Tables`] is a snapshot, read whole from the kernel and never patched. It knows no netlink: `decode` fills it,
//! `resolver` reads it, tests write it by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address in wire order.
pub type MacAddress = [u8; 6];

/// One consistent view of the host's forwarding.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Interfaces by index.
    pub links: BTreeMap<u32, Link>,
    /// Routes of the tables `local` and `main`.
    pub routes: RouteTable,
    /// Neighbours by interface index and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    /// Names of the interfaces that packets may leave by.
    pub uplinks: BTreeSet<String>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Administratively up, and its carrier too.
    pub is_up: bool,
    /// Its Ethernet address; `None` for a link that is not Ethernet.
    pub mac: Option<MacAddress>,
    /// Largest IP packet it carries.
    pub mtu: u32,
    /// Set for an 802.1Q device.
    pub vlan: Option<VlanDevice>,
    /// Kind of a virtual device as the kernel names it (`veth`, `bond`, `macvlan`); `None` for hardware.
    pub kind: Option<String>,
    /// Index of the bond, bridge or VRF that it is in.
    pub controller: Option<u32>,
}

/// What an 802.1Q device adds to the interface below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanDevice {
    /// VLAN identifier, 1 to 4094.
    pub id: u16,
    /// Index of the interface below.
    pub lower: u32,
}

/// Which of the kernel's tables a route is in. Others (policy routing, VRFs) are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTableId {
    /// 255: the host's own addresses.
    Local,
    /// 254: everything else.
    Main,
}

/// One route, or one path of a multipath route that the kernel lists singly (IPv6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The table it is in.
    pub table: RouteTableId,
    /// Network; bits beyond `prefix_length` are ignored.
    pub destination: IpAddr,
    /// 0 to 32 or 128.
    pub prefix_length: u8,
    /// Metric; the lowest wins.
    pub priority: u32,
    /// Path MTU written on the route, if any.
    pub mtu: Option<u32>,
    /// What it does.
    pub action: RouteAction,
}

/// What a route does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Sends it by one of these paths.
    Forward(Vec<Path>),
    /// Delivers it to this host.
    Local,
    /// Broadcast, anycast or multicast.
    NotUnicast,
    /// Sends it by the paths of a nexthop object, which the kernel does not tell here.
    Hidden,
    /// Drops it silently.
    Blackhole,
    /// Drops it, host unreachable.
    Unreachable,
    /// Drops it, prohibited.
    Prohibit,
    /// Goes on with the next table.
    Throw,
}

/// One way a route may send a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The router; `None` when the destination itself is on the link. An IPv4 route may have an IPv6 router (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub interface: u32,
    /// The kernel says that it is dead or its link is down.
    pub is_dead: bool,
    /// It adds a tunnel header (lwtunnel), which the dataplane does not do.
    pub is_encapsulated: bool,
}

/// One neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address; `None` while unknown or not Ethernet.
    pub mac: Option<MacAddress>,
    /// What the kernel thinks of it.
    pub state: NeighbourState,
    /// The kernel keeps it resolved by itself (`NTF_EXT_MANAGED`).
    pub is_managed: bool,
    /// It carries this program's protocol number, so this program may remove it.
    pub is_ours: bool,
}

/// State of a neighbour entry, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// Its address may be used: reachable, stale, delay, probe, noarp.
    Usable,
    /// As [`NeighbourState::Usable`], and set by hand: never touched by us.
    Permanent,
    /// Asked for, no answer yet; or never asked.
    Incomplete,
    /// Asked for, no answer.
    Failed,
}

/// Routes by prefix.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    by_prefix: BTreeMap<(RouteTableId, u8, IpAddr), Vec<Route>>,
    len: usize,
}

impl RouteTable {
    /// Adds a route; its order among the others does not matter. One with a wrong prefix length is left out.
    pub fn insert(&mut self, route: Route) {
        let Some(network) = masked(route.destination, route.prefix_length) else { return };
        let routes = self.by_prefix.entry((route.table, route.prefix_length, network)).or_default();
        // Stable among equals of one metric: the resolver sorts their paths itself.
        let at = routes.partition_point(|other| other.priority <= route.priority);
        routes.insert(at, route);
        self.len += 1;
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The routes of the same table and prefix as `route`, itself among them if it is here, lowest metric first.
    pub fn at_prefix(&self, route: &Route) -> &[Route] {
        masked(route.destination, route.prefix_length)
            .and_then(|network| self.by_prefix.get(&(route.table, route.prefix_length, network)))
            .map_or(&[], Vec::as_slice)
    }

    /// Routes of one table that hold for `address`: longest prefix first, within it lowest metric first.
    pub fn matching(&self, table: RouteTableId, address: IpAddr) -> impl Iterator<Item = &Route> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (0..=bits)
            .rev()
            .filter_map(move |length| {
                let network = masked(address, length)?;
                self.by_prefix.get(&(table, length, network))
            })
            .flatten()
    }
}

/// The first `length` bits of `address`; `None` when it has fewer bits than that.
pub(super) fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask)))
        }
        IpAddr::V6(v6) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask)))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
