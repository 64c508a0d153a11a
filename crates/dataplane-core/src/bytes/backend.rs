// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Backend table: what a backend may receive, and the outer header of packets to it.
//!
//! One cache line a backend. User space changes a live entry only by single aligned 64-bit stores ([`BackendValue::word`]
//! for pool, flags and mode, [`BackendValue::next_hops`]); address and mode of an id never change: another address is
//! another backend with an id of its own.

use crate::limits::NEXT_HOPS_PER_BACKEND;

/// Backend id 0 means none.
pub const UNUSED_ID: u16 = 0;

/// Bits of [`BackendValue::flags`].
pub struct BackendFlags;
impl BackendFlags {
    /// May receive new flows.
    pub const USABLE: u8 = 1;
    /// Keeps the flows it has.
    pub const KEEPS_ESTABLISHED: u8 = 2;
    /// Keeps flows that are not established yet (a draining backend accepted their SYN, a failed one may not have).
    pub const KEEPS_NEW: u8 = 4;
    /// The outer header is IPv6; otherwise IPv4.
    pub const OUTER_V6: u8 = 8;
}

/// Value of the backend table, 64 bytes.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendValue {
    /// Index in the pool table.
    pub pool: u32,
    /// See [`BackendFlags`]; 0 = entry unused or backend removed: every flow of it is a miss.
    pub flags: u8,
    /// Forwarding mode; 1 = IP in IP.
    pub mode: u8,
    /// Always 0.
    pub zero: u16,
    /// Next-hop ids, as many as there are, from the front; all 0 = unresolved.
    pub next_hops: [u16; NEXT_HOPS_PER_BACKEND],
    /// Prebuilt parts of the outer header.
    pub outer: Outer,
    /// Who this is, for a daemon that adopts the table: hash of pool, name, address and mode. 0 = entry unused.
    pub identity: u64,
}
const _: () = assert!(size_of::<BackendValue>() == 64 && align_of::<BackendValue>() == 8);

/// Prebuilt parts of an outer header, 40 bytes, addresses in network order.
///
/// IPv4: `source[0]`, `destination[0]` and `checksum`, the one's complement sum of the header's constant words.
/// IPv6: `source`, `destination`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outer {
    /// Outer source address.
    pub source: [u32; 4],
    /// Outer destination address.
    pub destination: [u32; 4],
    /// Unfolded sum of the IPv4 header's words that are the same for every packet (host order).
    pub checksum: u32,
    /// Always 0.
    pub zero: u32,
}
const _: () = assert!(size_of::<Outer>() == 40);

impl BackendValue {
    /// The first eight bytes (pool, flags, mode) as the word that user space stores at once.
    pub const fn word(&self) -> u64 {
        let p = self.pool.to_ne_bytes();
        let z = self.zero.to_ne_bytes();
        u64::from_ne_bytes([p[0], p[1], p[2], p[3], self.flags, self.mode, z[0], z[1]])
    }

    /// The next-hop ids as the word that user space stores at once.
    pub const fn next_hops_word(&self) -> u64 {
        let n = self.next_hops;
        let (a, b, c, d) = (n[0].to_ne_bytes(), n[1].to_ne_bytes(), n[2].to_ne_bytes(), n[3].to_ne_bytes());
        u64::from_ne_bytes([a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]])
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Whether it has a next hop.
    #[inline(always)]
    pub const fn is_resolved(&self) -> bool {
        self.next_hops[0] != 0
    }
}

impl Outer {
    /// Outer IPv4 header from `source` to `destination` carrying `protocol`.
    pub fn v4(source: core::net::Ipv4Addr, destination: core::net::Ipv4Addr, protocol: u8) -> Self {
        let half = |o: [u8; 4]| {
            u32::from(u16::from_be_bytes([o[0], o[1]])) + u32::from(u16::from_be_bytes([o[2], o[3]]))
        };
        let (s, d) = (source.octets(), destination.octets());
        // Version and IHL, DF, TTL and protocol; type of service and length are added per packet.
        let fixed = 0x4500 + 0x4000 + (u32::from(crate::encap::OUTER_TTL) << 8 | u32::from(protocol));
        Self {
            source: [u32::from_ne_bytes(s), 0, 0, 0],
            destination: [u32::from_ne_bytes(d), 0, 0, 0],
            checksum: fixed + half(s) + half(d),
            zero: 0,
        }
    }

    /// Outer IPv6 header from `source` to `destination`.
    pub fn v6(source: core::net::Ipv6Addr, destination: core::net::Ipv6Addr) -> Self {
        Self {
            source: super::Address::from_octets(source.octets()).0,
            destination: super::Address::from_octets(destination.octets()).0,
            checksum: 0,
            zero: 0,
        }
    }
}
