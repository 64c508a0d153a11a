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
    /// IPv4 packets go the plain way: by an IPv4 header and nothing else.
    pub const PLAIN_V4: u8 = 16;
    /// IPv6 packets go the plain way: by an IPv6 header and nothing else.
    pub const PLAIN_V6: u8 = 32;
    /// IPv4 packets go by an IPv4 header and GUE variant 0, all by default.
    pub const GUE_V4: u8 = 64;
    /// IPv6 packets go by an IPv6 header and GUE variant 0, all by default.
    pub const GUE_V6: u8 = 128;
}

/// Values of [`BackendValue::mode`].
pub struct BackendMode;
impl BackendMode {
    /// IP in IP, of any two families (RFC 2003, RFC 2473, RFC 4213).
    pub const IPIP: u8 = 1;
    /// GUE variant 0 without private data.
    pub const GUE: u8 = 2;
    /// GUE variant 0 with the row's other candidates in private data.
    pub const GUE_CANDIDATES: u8 = 3;
    /// GUE variant 1: the inner IP header right behind UDP.
    pub const GUE_DIRECT: u8 = 4;
    /// The frame's MAC addresses are rewritten, nothing is put on.
    pub const L2: u8 = 5;
}

/// Bits of [`BackendValue::options`]: how outer headers are made. 0 is the default.
pub struct OuterOptions;
impl OuterOptions {
    /// The outer UDP checksum is computed (from header fields) instead of zero.
    pub const UDP_CHECKSUM: u16 = 1;
    /// The outer source address is made from the flow, in the prefix of [`super::Knobs`].
    pub const SOURCE_ENTROPY: u16 = 2;
    /// The outer DSCP is 0 instead of a copy (ECN is always copied, RFC 6040).
    pub const NO_DSCP: u16 = 4;
    /// The outer IPv6 flow label is 0 instead of the flow's.
    pub const NO_FLOW_LABEL: u16 = 8;
    /// The outer UDP source port is fixed instead of the flow's.
    pub const NO_PORT_ENTROPY: u16 = 16;
}

/// Value of the backend table, 64 bytes.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendValue {
    /// Index in the pool table.
    pub pool: u32,
    /// See [`BackendFlags`]; 0 = entry unused or backend removed: every flow of it is a miss.
    pub flags: u8,
    /// See [`BackendMode`].
    pub mode: u8,
    /// See [`OuterOptions`].
    pub options: u16,
    /// Next-hop ids: four, some of them alike when there are fewer, so that two bits of the flow's hash choose one; all
    /// 0 = unresolved.
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
    /// UDP destination port of modes that have one, in network order.
    pub port: u16,
    /// Always 0.
    pub zero: u16,
}
const _: () = assert!(size_of::<Outer>() == 40);

impl BackendValue {
    /// The first eight bytes (pool, flags, mode, options) as the word that user space stores at once.
    pub const fn word(&self) -> u64 {
        let p = self.pool.to_ne_bytes();
        let z = self.options.to_ne_bytes();
        u64::from_ne_bytes([p[0], p[1], p[2], p[3], self.flags, self.mode, z[0], z[1]])
    }

    /// The next-hop ids as the word that user space stores at once.
    #[inline(always)]
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

    /// The next hop for a flow with this hash: its two highest bits choose.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "one id is 16 bits")]
    pub const fn next_hop(&self, hash: u64) -> u16 {
        (self.next_hops_word() >> ((hash >> 58) & 48)) as u16
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
            port: 0,
            zero: 0,
        }
    }

    /// Outer IPv6 header from `source` to `destination`.
    pub fn v6(source: core::net::Ipv6Addr, destination: core::net::Ipv6Addr) -> Self {
        Self {
            source: super::Address::from_octets(source.octets()).0,
            destination: super::Address::from_octets(destination.octets()).0,
            checksum: 0,
            port: 0,
            zero: 0,
        }
    }
}
