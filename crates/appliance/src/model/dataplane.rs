// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Settings of the packet path that concern all services.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

/// Rates are for each VIP by itself, on this appliance, in a second, unless said otherwise; 0: none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Echo replies.
    pub echo_per_second: u32,
    /// ICMP errors passed on to backends.
    pub icmp_errors_per_second: u32,
    /// "Too big" messages sent to clients.
    pub too_big_per_second: u32,
    /// Flows of all services that one CPU remembers anew.
    pub new_flows_per_cpu: NonZeroU32,
    /// Least MTU that an ICMP error may tell a backend over IPv4.
    pub min_mtu_v4: u16,
    /// First address of the /16 in which outer IPv4 sources are made from flows, where a pool wants it.
    pub entropy_v4: Option<Ipv4Addr>,
    /// First address of the /64 in which outer IPv6 sources are.
    pub entropy_v6: Option<Ipv6Addr>,
}

impl Limits {
    /// Length of the prefix of [`Self::entropy_v4`].
    pub const ENTROPY_LENGTH_V4: u8 = 16;
    /// Length of the prefix of [`Self::entropy_v6`].
    pub const ENTROPY_LENGTH_V6: u8 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            echo_per_second: 1_000,
            icmp_errors_per_second: 1_000,
            too_big_per_second: 1_000,
            new_flows_per_cpu: NonZeroU32::new(125_000).expect("not zero"),
            min_mtu_v4: 552,
            entropy_v4: None,
            entropy_v6: None,
        }
    }
}
