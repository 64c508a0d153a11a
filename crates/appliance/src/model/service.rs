// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What clients reach: announced addresses and the ports served on them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use weir_bgp::Prefix;

use super::AnnouncePolicy;

/// An address, or all addresses of a prefix, announced while the services can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// What is announced; a single address as /32 or /128. Unique among the VIPs, though one may lie in another. Holds no
    /// appliance's, peer's or backend's own address.
    pub prefix: Prefix,
    /// Whether echo requests are answered while it is up.
    pub echo: bool,
    /// When it is announced.
    pub announce: AnnouncePolicy,
}

impl Vip {
    /// Whether an address is one of the VIP's.
    pub fn contains(&self, address: IpAddr) -> bool {
        contains(self.prefix, address)
    }

    /// As the document writes it: a single address without its length.
    pub fn address_text(&self) -> String {
        address_text(self.prefix)
    }
}

/// Whether an address lies in a prefix.
pub fn contains(prefix: Prefix, address: IpAddr) -> bool {
    Prefix::truncated(address, prefix.length()).is_ok_and(|around| around == prefix)
}

/// A VIP as the document writes it: a single address without its length.
pub fn address_text(prefix: Prefix) -> String {
    if prefix == Prefix::host(prefix.address()) { prefix.address().to_string() } else { prefix.to_string() }
}

/// One VIP, protocol and port, and the pool that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name of a VIP of the document.
    pub vip: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port, 1 to 65,535; `None`: every port of the protocol that no other service of the VIP has.
    pub port: Option<u16>,
    /// Name of a pool of the document.
    pub pool: String,
    /// Idle time after which an established flow is forgotten; whole seconds.
    pub idle: Duration,
    /// Whether flows are remembered; `false`: every packet goes by its row alone.
    pub flow_table: bool,
    /// What of a packet decides which backend it goes to.
    pub affinity: Affinity,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// Most new flows that are remembered in a second, others go by their rows; `None`: no bound.
    pub new_flows_per_second: Option<NonZeroU32>,
}

/// What of a packet decides which backend it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Both addresses, both ports, the protocol.
    Flow,
    /// Client address and VIP.
    Source,
    /// Client address, VIP, protocol and destination port.
    SourcePort,
}

/// What becomes of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragments {
    /// Dropped and counted.
    Drop,
    /// Client address, VIP and protocol decide for every packet of the service, so fragments go along.
    BySource,
    /// They follow the first fragment of their datagram.
    FirstFragment,
}

/// Transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
