// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prefix VIPs, and the table of first fragments.

use super::Address;

/// Value of the prefix table, 20 bytes: under which key the services of the prefix lie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixValue {
    /// The prefix's first address.
    pub network: Address,
    /// Its length in bits of the 128, at least 1.
    pub length: u32,
}
const _: () = assert!(size_of::<PrefixValue>() == 20);

/// Key of the table of first fragments, 40 bytes: what all fragments of a datagram share (RFC 791 §3.2, RFC 8200 §4.5).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification as it lies in the packet: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// IANA protocol number of what is fragmented.
    pub protocol: u32,
}
const _: () = assert!(size_of::<FragmentKey>() == 40);
