// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What clients reach: announced addresses and the ports served on them.

use std::net::IpAddr;
use std::time::Duration;

use super::AnnouncePolicy;

/// An address that is announced while its services can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Announced as /32 or /128. Unique among the VIPs, no appliance's or backend's own address.
    pub address: IpAddr,
    /// When it is announced.
    pub announce: AnnouncePolicy,
}

/// One VIP, protocol and port, and the pool that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name of a VIP of the document.
    pub vip: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port, 1 to 65,535.
    pub port: u16,
    /// Name of a pool of the document.
    pub pool: String,
    /// Idle time after which an established flow is forgotten; whole seconds.
    pub idle: Duration,
    /// Whether flows are remembered; `false`: every packet goes by its row alone.
    pub flow_table: bool,
}

/// Transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
