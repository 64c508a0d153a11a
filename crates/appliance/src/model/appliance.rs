// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who this appliance is and through which interface its traffic runs.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Who this appliance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appliance {
    /// Name shown in status, logs and to peers.
    pub name: String,
    /// BGP identifier (RFC 6286: any non-zero number, written like an address).
    pub router_id: Ipv4Addr,
    /// Own IPv4 address: on the loopback, announced, outer source of tunnels.
    pub source_v4: Option<Ipv4Addr>,
    /// Own IPv6 address: the same for IPv6.
    pub source_v6: Option<Ipv6Addr>,
    /// File with 32 bytes as 64 hex digits, equal on every appliance of the fleet. Never printed.
    pub hash_seed_file: PathBuf,
    /// How long a clean stop waits between withdrawing the last prefix and detaching.
    pub drain_wait: Duration,
}

/// An interface that carries service traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink {
    /// How XDP is attached; never changed silently.
    pub xdp: XdpMode,
    /// What it carries, in bits per second; told to peers as link bandwidth.
    pub capacity: Option<u64>,
}

/// Where in the receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the kernel made its packet buffer: any driver, much slower.
    Generic,
}
