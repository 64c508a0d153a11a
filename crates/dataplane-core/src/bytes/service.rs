// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Service table: what a packet's destination means.

/// Sixteen octets of an address in network order, as four words as read from memory; IPv4 is mapped (`::ffff:a.b.c.d`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// From the sixteen octets as they lie on the wire.
    pub const fn from_octets(o: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }

    /// From an IPv4 address word as read from a packet.
    #[inline(always)]
    pub const fn mapped(v4_be: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), v4_be])
    }

    /// Whether this is how an IPv4 address is written here. Such an address in an IPv6 packet is nobody's: it must not reach
    /// a table, where it would find what is IPv4's.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        self.0[0] | self.0[1] | (self.0[2] ^ 0xffff_u32.to_be()) == 0
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::mapped(u32::from_ne_bytes(v4.octets())),
            core::net::IpAddr::V6(v6) => Self::from_octets(v6.octets()),
        }
    }
}

/// Transport protocols that services have (IANA protocol numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp = 6,
    /// UDP (RFC 768).
    Udp = 17,
}

/// Key of the service table, 20 bytes.
///
/// Port 0 with a protocol is the service for every port that has none of its own. Port 0 and protocol 0 together are the
/// *VIP marker*: the record that says an address is a VIP at all, consulted when
/// no service matches, so that what is for a VIP can be told from what is for the host. Protocol [`ServiceKey::FRAGMENTS`]
/// makes the record of later fragments.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceKey {
    /// Destination address.
    pub address: Address,
    /// Destination port in network order, 0 in a marker.
    pub port_be: u16,
    /// IANA protocol number, 0 in a marker.
    pub protocol: u8,
    /// 0 for one address; for a prefix its length in bits of the 128 (an IPv4 prefix: 96 more than its own), the
    /// address being its first.
    pub prefix_len: u8,
}
const _: () = assert!(size_of::<ServiceKey>() == 20 && align_of::<ServiceKey>() == 4);

impl ServiceKey {
    /// Key of a service; `port` in host order.
    pub fn new(address: core::net::IpAddr, protocol: Protocol, port: u16) -> Self {
        Self { address: address.into(), port_be: port.to_be(), protocol: protocol as u8, prefix_len: 0 }
    }

    /// Key of the exact service that a packet would belong to.
    #[inline(always)]
    pub const fn of(segment: &crate::parse::Segment) -> Self {
        Self {
            address: segment.destination,
            port_be: segment.destination_port_be(),
            protocol: segment.protocol,
            prefix_len: 0,
        }
    }

    /// Key of the marker that makes `address` a VIP.
    #[inline(always)]
    pub const fn marker(address: Address) -> Self {
        Self { address, port_be: 0, protocol: 0, prefix_len: 0 }
    }

    /// Protocol number in the key of a record about later fragments, which have no ports: that of IPv6 fragment headers,
    /// which no service has.
    pub const FRAGMENTS: u8 = 44;

    /// Key of the record that says what becomes of later fragments of `protocol` under the VIP that `self` is a key of.
    pub const fn fragments(&self, protocol: Protocol) -> Self {
        Self { port_be: (protocol as u16).to_be(), protocol: Self::FRAGMENTS, ..*self }
    }

    /// Whether both are the same, word by word: comparing arrays makes wide loads of words just stored, which the CPU cannot
    /// forward.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let (a, b) = (&self.address.0, &other.address.0);
        let address = (a[3] ^ b[3]) | (a[2] ^ b[2]) | (a[1] ^ b[1]) | (a[0] ^ b[0]);
        address | (self.last() ^ other.last()) == 0
    }

    /// All but the address, as the word that it is in memory.
    #[inline(always)]
    const fn last(&self) -> u32 {
        let p = self.port_be.to_ne_bytes();
        u32::from_ne_bytes([p[0], p[1], self.protocol, self.prefix_len])
    }

    /// Whether this is a VIP marker.
    pub const fn is_marker(&self) -> bool {
        self.port_be == 0 && self.protocol == 0
    }

    /// Whether this is a service, and neither a marker nor the record of later fragments.
    pub const fn is_service(&self) -> bool {
        self.protocol != 0 && self.protocol != Self::FRAGMENTS
    }
}

/// Bits of [`ServiceSlot::control`].
pub struct SlotControl;
impl SlotControl {
    /// Key and value are valid.
    pub const HOLDS: u64 = 1;
    /// No key but the one it holds, if any, belongs to this slot: a key that differs is in no table.
    pub const ALONE: u64 = 2;
}

/// A slot of the direct-mapped table in front of the service table, 64 bytes.
///
/// The hash map is the truth; a slot answers for it when it can, in a third of the instructions: with the service it holds,
/// or with "no such service" when nothing else belongs to it. Zero means "ask the map", which is how a fresh table starts
/// and what a slot says while user space rewrites it.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceSlot {
    /// See [`SlotControl`].
    pub control: u64,
    /// The key it holds.
    pub key: ServiceKey,
    /// Always 0.
    pub zero: u32,
    /// The value of the key it holds.
    pub value: ServiceValue,
    /// Always 0.
    pub zeros: u64,
}
const _: () = assert!(size_of::<ServiceSlot>() == 64);

impl ServiceKey {
    /// Slot of this key among [`crate::limits::SERVICE_SLOTS`]. Not keyed: only the operator's own services can meet in a
    /// slot, and then the map answers.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the highest bits of a word, as many as an index has"
    )]
    pub const fn slot(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let a = &self.address.0;
        let address = (a[0] ^ a[1] ^ a[2] ^ a[3]) as u64;
        let word = address << 24 ^ (self.port_be as u64) << 8 ^ self.protocol as u64;
        (word.wrapping_mul(ODD) >> (64 - crate::limits::SERVICE_SLOTS.trailing_zeros())) as u32
    }
}

/// Bits of [`ServiceValue::flags`].
pub struct ServiceFlags;
impl ServiceFlags {
    /// Flows are not remembered.
    pub const STATELESS: u32 = 1;
    /// Has an option that only the slow path knows: whole packets choose by less than
    /// the 5-tuple.
    pub const SLOW: u32 = 2;
    /// All flows of a client address go to one backend.
    pub const AFFINITY_SOURCE: u32 = 4;
    /// All flows of a client address to one destination port go to one backend.
    pub const AFFINITY_SOURCE_PORT: u32 = 8;
    /// Fragments go by client address, VIP and protocol, and so does every other packet of the service.
    pub const FRAGMENTS_BY_SOURCE: u32 = 16;
    /// Fragments go where the first of their datagram went.
    pub const FRAGMENTS_TABLE: u32 = 32;
}

/// Bits of [`ServiceValue::flags`] in the record of a VIP marker.
pub struct VipFlags;
impl VipFlags {
    /// Echo requests are answered.
    pub const ECHO: u32 = 1;
}

/// Value of the service table, 24 bytes. In a marker: `id` of the VIP (for its budgets), `flags` as [`VipFlags`], the rest zero.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceValue {
    /// Index of the service's counters.
    pub id: u32,
    /// Index in the pool table; a flow's backend must belong to it.
    pub pool: u32,
    /// See [`ServiceFlags`].
    pub flags: u32,
    /// New flows that are remembered each second, 0 = as many as come.
    pub new_flows_max: u32,
    /// Idle times, see [`crate::flow::Idle`].
    pub idle: u64,
}
const _: () = assert!(size_of::<ServiceValue>() == 24);
