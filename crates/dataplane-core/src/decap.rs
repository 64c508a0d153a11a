// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's decision: take the outer header off a tunnel packet, or leave the packet alone.
//!
//! ```text
//! IP? ─► tunnel? ─► from an appliance? ─► to an address of this host? ─► inner towards a VIP? ─┬─► checks ─► decapsulated
//!   │        │             │                        │                             │           └─► dropped, by reason
//!   └────────┴─────────────┴────────────────────────┴─────────────────────────────┴─► passed untouched, by reason
//! ```
//!
//! Nothing is dropped before all four questions are answered with yes: whatever else a host receives, tunnels of others
//! included, is none of the agent's business. A packet for which they are is the agent's alone; if it is broken it is
//! dropped under its own name rather than left to a stack that would answer it.
//!
//! IPv4 in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473). ECN is carried inwards as RFC 6040 §4.2 says. The inner TTL is
//! left as it is: the appliance took its one.

use crate::Packet;
use crate::bytes::Address;
use crate::encap::checksum;
use crate::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, IPV4_HEADER, IPV6_HEADER,
};
use crate::verdict::Action;

/// Names of the agent's maps; each at most 15 octets, the kernel's limit.
pub mod names {
    /// LPM trie: prefixes of outer sources to 1.
    pub const MAP_APPLIANCES: &str = "AGENT_SOURCES";
    /// LPM trie: prefixes of inner destinations to the index of their counters.
    pub const MAP_VIPS: &str = "AGENT_VIPS";
    /// Hash: [`crate::bytes::Address`] of this host to 1.
    pub const MAP_ADDRESSES: &str = "AGENT_ADDRESSES";
    /// Per-CPU array: [`super::AgentVerdict`] to [`crate::bytes::PacketCounter`].
    pub const MAP_VERDICTS: &str = "AGENT_VERDICTS";
    /// Per-CPU array: index of a VIP prefix to [`crate::bytes::PacketCounter`].
    pub const MAP_VIP_COUNTERS: &str = "AGENT_VIP_COUNT";
    /// The maps that are pinned.
    pub const PINNED_MAPS: [&str; 5] =
        [MAP_APPLIANCES, MAP_VIPS, MAP_ADDRESSES, MAP_VERDICTS, MAP_VIP_COUNTERS];
}

/// Prefixes of appliances. About 64 bytes each.
pub const APPLIANCES_MAX: u32 = 1_024;
/// Prefixes of VIPs. About 64 bytes each, and 16 bytes per CPU of counters.
pub const VIPS_MAX: u32 = 4_096;
/// Addresses of the host. About 64 bytes each.
pub const ADDRESSES_MAX: u32 = 4_096;

const PROTOCOL_IPIP: u8 = 4;
const NEXT_HEADER_IPV6: u8 = 41;
const NEXT_HEADER_FRAGMENT: u8 = 44;
/// More-fragments flag and fragment offset.
const FRAGMENT_BITS: u16 = 0x3fff;

macro_rules! agent_verdicts {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $action:ident;)+) => {
        /// Every way a packet can leave the agent's program. Numbers index the per-CPU counters and never change their
        /// meaning within one [`crate::ABI_VERSION`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum AgentVerdict { $($(#[$doc])* $name = $number,)+ }

        impl AgentVerdict {
            /// All verdicts in order of their numbers.
            pub const ALL: &'static [AgentVerdict] = &[$(AgentVerdict::$name),+];

            /// The name in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(AgentVerdict::$name => $text,)+ }
            }

            /// What happens to the frame; never [`Action::Forward`].
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(AgentVerdict::$name => Action::$action,)+ }
            }
        }
    };
}

agent_verdicts! {
    /// The outer header was taken off; the inner packet goes to the host.
    Decapsulated = 0, "decapsulated", Pass;
    /// Neither IPv4 nor IPv6.
    PassNotIp = 1, "pass_not_ip", Pass;
    /// An IP header too short or of the wrong version.
    PassMalformed = 2, "pass_malformed", Pass;
    /// Neither IPv4 in IPv4 nor IPv6 in IPv6.
    PassNotTunnel = 3, "pass_not_tunnel", Pass;
    /// A fragment of a tunnel packet; appliances never send them.
    PassFragment = 4, "pass_fragment", Pass;
    /// A tunnel packet with IPv4 options in its outer header; appliances never send them.
    PassOptions = 5, "pass_options", Pass;
    /// A tunnel packet from somebody who is no appliance.
    PassForeignSource = 6, "pass_foreign_source", Pass;
    /// A tunnel packet that is not for an address of this host.
    PassForeignAddress = 7, "pass_foreign_address", Pass;
    /// A tunnel packet whose inner header cannot be read, so that its destination is unknown.
    PassInnerMalformed = 8, "pass_inner_malformed", Pass;
    /// A tunnel packet whose inner destination is no VIP.
    PassNotVip = 9, "pass_not_vip", Pass;
    /// For a VIP, and the outer header's checksum is wrong.
    DropChecksum = 10, "drop_checksum", Drop;
    /// For a VIP, and the frame ends before the outer length says.
    DropTruncated = 11, "drop_truncated", Drop;
    /// For a VIP, and the inner length is shorter than its header or longer than the outer packet's payload.
    DropBadLength = 12, "drop_bad_length", Drop;
    /// For a VIP, congestion was experienced and the inner packet cannot say so (RFC 6040 §4.2).
    DropEcn = 13, "drop_ecn", Drop;
    /// For a VIP, and the frame could not be shortened.
    DropNoRoom = 14, "drop_no_room", Drop;
}

/// Number of verdicts of the agent.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
pub const AGENT_VERDICTS: u32 = AgentVerdict::ALL.len() as u32;

impl AgentVerdict {
    /// The verdict with this number.
    pub fn from_raw(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

/// What the agent may ask.
pub trait AgentTables {
    /// Whether tunnel packets from `source` may be from an appliance.
    fn is_appliance(&self, source: &Address) -> bool;

    /// Whether `destination` is an address of this host.
    fn is_own(&self, destination: &Address) -> bool;

    /// Counter index of the longest VIP prefix that holds `destination`.
    fn vip(&self, destination: &Address) -> Option<u32>;
}

/// What came of a packet: what to do with the frame, and what to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentOutcome {
    /// How it leaves.
    pub verdict: AgentVerdict,
    /// Counter index of the VIP prefix, or [`AgentOutcome::NO_VIP`] unless decapsulated.
    pub vip: u32,
    /// Octets of the inner packet as its header says, when decapsulated.
    pub inner_len: u32,
}

impl AgentOutcome {
    /// Not decapsulated.
    pub const NO_VIP: u32 = u32::MAX;
}

/// Decides about a frame and, if it is ours, turns it into the frame the host shall see. A frame that passes for any
/// other reason is unchanged.
#[inline(always)]
pub fn decapsulate<P: Packet, T: AgentTables>(packet: &mut P, tables: &T) -> AgentOutcome {
    let result = match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => ipv4(packet, tables),
        Some(ETHERTYPE_IPV6) => ipv6(packet, tables),
        _ => Err(AgentVerdict::PassNotIp),
    };
    match result {
        Ok((vip, inner_len)) => AgentOutcome { verdict: AgentVerdict::Decapsulated, vip, inner_len },
        Err(verdict) => AgentOutcome { verdict, vip: AgentOutcome::NO_VIP, inner_len: 0 },
    }
}

/// An IPv4 header without options as five words (RFC 791 §3.1), each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct HeaderV4 {
    version_ihl: u8,
    traffic_class: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}
const _: () = assert!(size_of::<HeaderV4>() == IPV4_HEADER);

/// Lengths of headers, as lengths in packets are counted.
const ETHERNET_LEN: u32 = 14;
const HEADER_V4_LEN: u32 = 20;
const HEADER_V6_LEN: u32 = 40;
const _: () = assert!(
    ETHERNET_LEN as usize == ETHERNET_HEADER
        && HEADER_V4_LEN as usize == IPV4_HEADER
        && HEADER_V6_LEN as usize == IPV6_HEADER
);

const OUTER: usize = ETHERNET_HEADER;
const INNER_V4: usize = OUTER + IPV4_HEADER;
const INNER_V6: usize = OUTER + IPV6_HEADER;

/// VIP index and inner length of an IPv4 packet in IPv4.
#[inline(always)]
fn ipv4<P: Packet, T: AgentTables>(packet: &mut P, tables: &T) -> Result<(u32, u32), AgentVerdict> {
    let outer: HeaderV4 = packet.read(OUTER).ok_or(AgentVerdict::PassMalformed)?;
    if outer.version_ihl >> 4 != 4 || outer.version_ihl & 0xf < 5 {
        return Err(AgentVerdict::PassMalformed);
    }
    if outer.protocol != PROTOCOL_IPIP {
        return Err(AgentVerdict::PassNotTunnel);
    }
    if outer.fragment & FRAGMENT_BITS.to_be() != 0 {
        return Err(AgentVerdict::PassFragment);
    }
    if outer.version_ihl != 0x45 {
        return Err(AgentVerdict::PassOptions);
    }
    ours(tables, &Address::mapped(outer.source), &Address::mapped(outer.destination))?;
    let inner: HeaderV4 = packet.read(INNER_V4).ok_or(AgentVerdict::PassInnerMalformed)?;
    let inner_header = (inner.version_ihl & 0xf) as u32 * 4;
    if inner.version_ihl >> 4 != 4 || inner_header < HEADER_V4_LEN {
        return Err(AgentVerdict::PassInnerMalformed);
    }
    let vip = tables.vip(&Address::mapped(inner.destination)).ok_or(AgentVerdict::PassNotVip)?;

    if checksum_v4(&outer) != 0 {
        return Err(AgentVerdict::DropChecksum);
    }
    let outer_len = u16::from_be(outer.total_length) as u32;
    let inner_len = u16::from_be(inner.total_length) as u32;
    lengths(packet, outer_len, HEADER_V4_LEN, inner_len, inner_header)?;
    let traffic_class = ecn(inner.traffic_class, outer.traffic_class)?;
    if traffic_class != inner.traffic_class {
        let word = |class: u8| ((inner.version_ihl as u16) << 8) | class as u16;
        let sum =
            checksum::update(u16::from_be(inner.checksum), word(inner.traffic_class), word(traffic_class));
        packet.write(INNER_V4 + 1, traffic_class).ok_or(AgentVerdict::DropTruncated)?;
        packet.write(INNER_V4 + 10, sum.to_be()).ok_or(AgentVerdict::DropTruncated)?;
    }
    strip(packet, IPV4_HEADER)?;
    Ok((vip, inner_len))
}

/// The fixed IPv6 header (RFC 8200 §3), each field as it lies in the packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct HeaderV6 {
    /// Version, traffic class, flow label.
    first: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: Address,
    destination: Address,
}
const _: () = assert!(size_of::<HeaderV6>() == IPV6_HEADER);

/// VIP index and inner length of an IPv6 packet in IPv6.
#[inline(always)]
fn ipv6<P: Packet, T: AgentTables>(packet: &mut P, tables: &T) -> Result<(u32, u32), AgentVerdict> {
    let outer: HeaderV6 = packet.read(OUTER).ok_or(AgentVerdict::PassMalformed)?;
    let outer_first = u32::from_be(outer.first);
    if outer_first >> 28 != 6 {
        return Err(AgentVerdict::PassMalformed);
    }
    match outer.next_header {
        NEXT_HEADER_IPV6 => {}
        // The octet behind the fixed header says what the fragment is of.
        NEXT_HEADER_FRAGMENT if packet.read(INNER_V6) == Some(NEXT_HEADER_IPV6) => {
            return Err(AgentVerdict::PassFragment);
        }
        _ => return Err(AgentVerdict::PassNotTunnel),
    }
    // As IPv4 addresses in IPv6 form these would find what the tables hold for IPv4.
    if outer.source.is_mapped() {
        return Err(AgentVerdict::PassForeignSource);
    }
    if outer.destination.is_mapped() {
        return Err(AgentVerdict::PassForeignAddress);
    }
    ours(tables, &outer.source, &outer.destination)?;
    let inner: HeaderV6 = packet.read(INNER_V6).ok_or(AgentVerdict::PassInnerMalformed)?;
    let inner_first = u32::from_be(inner.first);
    if inner_first >> 28 != 6 {
        return Err(AgentVerdict::PassInnerMalformed);
    }
    if inner.destination.is_mapped() {
        return Err(AgentVerdict::PassNotVip);
    }
    let vip = tables.vip(&inner.destination).ok_or(AgentVerdict::PassNotVip)?;

    let outer_len = u16::from_be(outer.payload_length) as u32 + HEADER_V6_LEN;
    let inner_len = u16::from_be(inner.payload_length) as u32 + HEADER_V6_LEN;
    lengths(packet, outer_len, HEADER_V6_LEN, inner_len, HEADER_V6_LEN)?;
    let class = traffic_class_v6(inner_first);
    let merged = ecn(class, traffic_class_v6(outer_first))?;
    if merged != class {
        let first = (inner_first & !(0xff << 20)) | ((merged as u32) << 20);
        packet.write(INNER_V6, first.to_be()).ok_or(AgentVerdict::DropTruncated)?;
    }
    strip(packet, IPV6_HEADER)?;
    Ok((vip, inner_len))
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the traffic class is these eight bits")]
const fn traffic_class_v6(first: u32) -> u8 {
    (first >> 20) as u8
}

/// Whether the outer addresses are those of a packet for us.
#[inline(always)]
fn ours<T: AgentTables>(tables: &T, source: &Address, destination: &Address) -> Result<(), AgentVerdict> {
    if !tables.is_appliance(source) {
        return Err(AgentVerdict::PassForeignSource);
    }
    if !tables.is_own(destination) {
        return Err(AgentVerdict::PassForeignAddress);
    }
    Ok(())
}

/// Whether the outer packet is in the frame and the inner packet in the outer one. Shorter inner packets are fine: the
/// host cuts what is behind them, as it does with Ethernet padding.
#[inline(always)]
fn lengths<P: Packet>(
    packet: &P,
    outer_len: u32,
    outer_header: u32,
    inner_len: u32,
    inner_header: u32,
) -> Result<(), AgentVerdict> {
    if outer_len > packet.len().saturating_sub(ETHERNET_LEN) {
        return Err(AgentVerdict::DropTruncated);
    }
    if inner_len < inner_header || inner_len + outer_header > outer_len {
        return Err(AgentVerdict::DropBadLength);
    }
    Ok(())
}

/// The inner traffic class after decapsulation (RFC 6040 §4.2, figure 4).
#[inline(always)]
const fn ecn(inner: u8, outer: u8) -> Result<u8, AgentVerdict> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => Err(AgentVerdict::DropEcn),
        (ECT_0 | ECT_1, CE) => Ok(inner | CE),
        (ECT_0, ECT_1) => Ok((inner & !3) | ECT_1),
        _ => Ok(inner),
    }
}

/// Zero if the header's checksum is right. Sums words as they lie: the one's complement sum does not mind byte order.
#[inline(always)]
fn checksum_v4(header: &HeaderV4) -> u16 {
    let halves = |word: u32| (word & 0xffff) + (word >> 16);
    let first = u16::from_ne_bytes([header.version_ihl, header.traffic_class]) as u32;
    let ttl = u16::from_ne_bytes([header.ttl, header.protocol]) as u32;
    let sum = first
        + header.total_length as u32
        + header.id as u32
        + header.fragment as u32
        + ttl
        + header.checksum as u32
        + halves(header.source)
        + halves(header.destination);
    checksum::finish(sum)
}

/// Takes `bytes` octets out behind the Ethernet header.
#[inline(always)]
fn strip<P: Packet>(packet: &mut P, bytes: usize) -> Result<(), AgentVerdict> {
    let ethernet: [u16; ETHERNET_HEADER / 2] = packet.read(0).ok_or(AgentVerdict::DropTruncated)?;
    if !packet.shrink_front(bytes) {
        return Err(AgentVerdict::DropNoRoom);
    }
    packet.write(0, ethernet).ok_or(AgentVerdict::DropTruncated)
}

#[cfg(test)]
mod tests;
