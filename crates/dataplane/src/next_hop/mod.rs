// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Next hops: which frame header reaches a backend, kept true as routes, links and neighbours change.
//!
//! ```text
//!  kernel ──multicast──► events (only wake) ─┐
//!  set_destinations ─────────────────────────┤   read links, routes, neighbours ─► resolver (pure) ─► watch
//!  resync every 30 s ────────────────────────┘   and ask for the neighbours that are wanted
//! ```
//!
//! `table` holds values, `resolver` is pure, `decode` turns messages into values, `netlink` and `notices` are the sockets,
//! `task` the loop. It does not know backends, maps or programs: addresses go in, [`NextHop`]s come out.
//!
//! Neighbours are made, not only read: each wanted gateway gets an entry that the kernel keeps resolved by itself
//! (`NTF_EXT_MANAGED`, kernel 5.16), marked with [`NEIGHBOUR_PROTOCOL`] so that it can be told from others and is removed
//! at [`NextHopHandle::shutdown`]. After a crash the entries stay, and the next start takes them over by that mark.

mod decode;
mod netlink;
mod notices;
mod resolver;
mod table;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use resolver::{resolve, wanted_neighbours};
pub use table::{
    Link, MacAddress, Neighbour, NeighbourState, Path, Route, RouteAction, RouteTable, RouteTableId, Tables,
    VlanDevice,
};

/// Protocol number on the neighbour entries made here (`NDA_PROTOCOL`); unassigned in the kernel's list.
pub const NEIGHBOUR_PROTOCOL: u8 = 87;

/// What is written before an IP packet so that it reaches its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Interface that the frame leaves by; for a route over an 802.1Q device the interface below it.
    pub ifindex: u32,
    /// Source of the frame.
    pub source_mac: MacAddress,
    /// Destination of the frame.
    pub destination_mac: MacAddress,
    /// Largest IP packet: the smaller of the link's and the route's.
    pub mtu: u16,
    /// 802.1Q tag to add.
    pub vlan: Option<u16>,
    /// Whether the frame goes to the destination itself and not to a router on the way.
    pub is_on_link: bool,
}

/// Why a destination has no next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unresolved {
    /// No route holds for it.
    #[error("no route")]
    NoRoute,
    /// Its route drops.
    #[error("blackhole route")]
    Blackhole,
    /// Its route answers "unreachable".
    #[error("unreachable route")]
    Unreachable,
    /// Its route answers "prohibited".
    #[error("prohibit route")]
    Prohibit,
    /// It is an address of this host.
    #[error("an address of this host")]
    LocalAddress,
    /// It is a broadcast, anycast or multicast address.
    #[error("not a unicast address")]
    NotUnicast,
    /// Its route names an interface that is gone.
    #[error("no interface with index {ifindex}")]
    NoInterface {
        /// The index in the route.
        ifindex: u32,
    },
    /// Its route leaves by an interface that is not among the uplinks.
    #[error("interface `{interface}` is not an uplink")]
    NotAnUplink {
        /// The route's interface.
        interface: String,
    },
    /// Its route leaves by a virtual device that is neither an uplink nor an 802.1Q device on one.
    #[error("interface `{interface}` is no uplink but a device of kind `{kind}`, which is not followed")]
    NotFollowed {
        /// The route's interface.
        interface: String,
        /// What the kernel calls such devices.
        kind: String,
    },
    /// Its route leaves by a bond whose members are uplinks.
    #[error(
        "interface `{interface}` is not an uplink, but `{member}` in it is: name the bond, not its members"
    )]
    BondOfUplinks {
        /// The bond.
        interface: String,
        /// One of its members.
        member: String,
    },
    /// Its route uses a nexthop object and the kernel does not tell which paths that stands for.
    #[error("the route's paths are hidden: set `net.ipv4.nexthop_compat_mode` to 1")]
    Hidden,
    /// The uplink is down or has no carrier.
    #[error("interface `{interface}` is down")]
    LinkDown {
        /// The route's interface.
        interface: String,
    },
    /// The uplink has no Ethernet address.
    #[error("interface `{interface}` is not ethernet")]
    NotEthernet {
        /// The route's interface.
        interface: String,
    },
    /// The route adds a tunnel header.
    #[error("route over `{interface}` adds a tunnel header")]
    Encapsulated {
        /// The route's interface.
        interface: String,
    },
    /// Its route goes by a router, and whoever asks puts no outer header on. The resolver itself never says so.
    #[error(
        "behind a router, and mode `l2` reaches only backends on the link: use `ipip` or `gue`, or an address on the link"
    )]
    NotOnLink,
    /// The neighbour has not answered yet.
    #[error("neighbour {gateway} on `{interface}` not resolved yet")]
    NoNeighbour {
        /// The router, or the destination itself when on the link.
        gateway: IpAddr,
        /// The route's interface.
        interface: String,
    },
    /// The neighbour does not answer.
    #[error("neighbour {gateway} on `{interface}` does not answer")]
    NeighbourFailed {
        /// The router, or the destination itself when on the link.
        gateway: IpAddr,
        /// The route's interface.
        interface: String,
    },
}

/// Answer for every destination asked for: the usable paths of its route, at least one and at most [`PATHS_USED_MAX`], in
/// an order that depends on nothing but the paths themselves.
pub type NextHops = BTreeMap<IpAddr, Result<Vec<NextHop>, Unresolved>>;

/// Paths of one destination that are used; a backend's entry has room for so many. Of more the first are taken.
pub const PATHS_USED_MAX: usize = weir_dataplane_core::limits::NEXT_HOPS_PER_BACKEND;

/// Starts the resolver.
#[derive(Debug)]
pub struct NextHopResolver;

impl NextHopResolver {
    /// Opens the sockets in the network namespace of the calling thread and spawns the loop on the current runtime.
    ///
    /// `uplinks` are the interfaces that frames may leave by; one that does not exist yet is fine.
    pub fn start(uplinks: Vec<String>) -> Result<NextHopHandle, StartError> {
        let (destinations, destinations_seen) = watch::channel(BTreeSet::new());
        let (publish, published) = watch::channel(Arc::new(NextHops::new()));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let task = task::Task::new(uplinks, destinations_seen, publish, stopped)?;
        let task = runtime.spawn(task.run());
        Ok(NextHopHandle { destinations, published, stop, task })
    }
}

/// Why the resolver did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Called outside a tokio runtime.
    #[error("no runtime to run on")]
    NoRuntime,
    /// A netlink socket could not be opened.
    #[error("open a netlink socket")]
    Socket(#[source] std::io::Error),
}

/// A running resolver. Dropping it ends the loop and leaves the neighbour entries in place.
#[derive(Debug)]
pub struct NextHopHandle {
    destinations: watch::Sender<BTreeSet<IpAddr>>,
    published: watch::Receiver<Arc<NextHops>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl NextHopHandle {
    /// Replaces the set of destinations. Neighbours that only the old set wanted are removed.
    pub fn set_destinations(&self, destinations: BTreeSet<IpAddr>) {
        self.destinations.send_if_modified(|current| {
            let is_new = *current != destinations;
            *current = destinations;
            is_new
        });
    }

    /// The answers; changes within milliseconds of the event behind it. A destination that was just set is missing until
    /// the tables were read for it.
    pub fn watch(&self) -> watch::Receiver<Arc<NextHops>> {
        self.published.clone()
    }

    /// Removes the neighbour entries made here and ends.
    pub async fn shutdown(self) {
        if self.stop.send(true).is_ok() && self.task.await.is_err() {
            tracing::error!("the next-hop task had panicked");
        }
    }
}

#[cfg(test)]
mod netns_tests;
