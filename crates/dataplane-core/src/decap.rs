// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's decision: take the outer headers off a tunnel packet, or leave the packet alone.
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
//! Tunnels ([`outer`]): IP in IP of any two families (RFC 2003, RFC 2473, RFC 4213), and GUE to one of the document's UDP
//! ports: variant 0, whose private data is skipped, and variant 1 (draft-ietf-intarea-gue). ECN is carried inwards as
//! RFC 6040 §4.2 says ([`inner`]). The inner TTL is left as it is: the appliance took its one.
//!
//! A UDP checksum is not looked at, be it zero or not: over IPv6 zero is agreed on with the appliances (RFC 6935), addresses
//! and inner destination are held against tables, and the inner packet has checksums of its own, which the host's stack
//! verifies (`docs/adr/0029-forwarding-modes.md`).

mod inner;
mod outer;

use crate::Packet;
use crate::bytes::Address;
use crate::parse::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET};
use crate::verdict::Action;

/// Names of the agent's maps; each at most 15 octets, the kernel's limit.
pub mod names {
    /// LPM trie: prefixes of outer sources to 1.
    pub const MAP_APPLIANCES: &str = "AGENT_SOURCES";
    /// LPM trie: prefixes of inner destinations to the index of their counters.
    pub const MAP_VIPS: &str = "AGENT_VIPS";
    /// Hash: [`crate::bytes::Address`] of this host to 1.
    pub const MAP_ADDRESSES: &str = "AGENT_ADDRESSES";
    /// Hash: UDP ports of GUE, as they lie in packets, to 1.
    pub const MAP_GUE_PORTS: &str = "AGENT_PORTS";
    /// Array of two: the largest MSS to announce over IPv4 and over IPv6, 0 = whatever the host says.
    pub const MAP_MSS: &str = "AGENT_MSS";
    /// Per-CPU array: [`crate::mss::MssVerdict`] to [`crate::bytes::PacketCounter`].
    pub const MAP_MSS_COUNTS: &str = "AGENT_MSS_COUNT";
    /// Per-CPU array: [`super::AgentVerdict`] to [`crate::bytes::PacketCounter`].
    pub const MAP_VERDICTS: &str = "AGENT_VERDICTS";
    /// Per-CPU array: index of a VIP prefix to [`crate::bytes::PacketCounter`].
    pub const MAP_VIP_COUNTERS: &str = "AGENT_VIP_COUNT";
    /// The maps that are pinned.
    pub const PINNED_MAPS: [&str; 8] = [
        MAP_APPLIANCES,
        MAP_VIPS,
        MAP_ADDRESSES,
        MAP_GUE_PORTS,
        MAP_MSS,
        MAP_MSS_COUNTS,
        MAP_VERDICTS,
        MAP_VIP_COUNTERS,
    ];
}

/// Prefixes of appliances. About 64 bytes each.
pub const APPLIANCES_MAX: u32 = 1_024;
/// Prefixes of VIPs. About 64 bytes each, and 16 bytes per CPU of counters.
pub const VIPS_MAX: u32 = 4_096;
/// Addresses of the host. About 64 bytes each.
pub const ADDRESSES_MAX: u32 = 4_096;

/// UDP ports of GUE.
pub const GUE_PORTS_MAX: u32 = 16;

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
    /// Neither IP in IP nor UDP to a port of GUE.
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
    /// GUE from an appliance that holds no IP packet to take out: a control message, another protocol, extension fields,
    /// another variant. The host's, which may know what it is.
    PassGue = 15, "pass_gue", Pass;
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

    /// Whether UDP port `port_be`, as it lies in the packet, is GUE's.
    fn is_gue_port(&self, port_be: u16) -> bool;

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

/// Lengths of headers, as lengths in packets are counted.
const ETHERNET_LEN: u32 = 14;
const HEADER_V4_LEN: u32 = 20;
const HEADER_V6_LEN: u32 = 40;

/// Decides about a frame and, if it is ours, turns it into the frame the host shall see. A frame that passes for any
/// other reason is unchanged.
#[inline(always)]
pub fn decapsulate<P: Packet, T: AgentTables>(packet: &mut P, tables: &T) -> AgentOutcome {
    match decide(packet, tables) {
        Ok((vip, inner_len)) => AgentOutcome { verdict: AgentVerdict::Decapsulated, vip, inner_len },
        Err(verdict) => AgentOutcome { verdict, vip: AgentOutcome::NO_VIP, inner_len: 0 },
    }
}

/// VIP index and inner length of a packet that was decapsulated.
#[inline(always)]
fn decide<P: Packet, T: AgentTables>(packet: &mut P, tables: &T) -> Result<(u32, u32), AgentVerdict> {
    let tunnel = match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be) {
        Some(ETHERTYPE_IPV4) => outer::ipv4(packet, tables)?,
        Some(ETHERTYPE_IPV6) => outer::ipv6(packet, tables)?,
        _ => return Err(AgentVerdict::PassNotIp),
    };
    let (ethertype, vip, inner_len) = if tunnel.holds_v6 {
        let (vip, len) = inner::ipv6(packet, tables, &tunnel)?;
        (ETHERTYPE_IPV6, vip, len)
    } else {
        let (vip, len) = inner::ipv4(packet, tables, &tunnel)?;
        (ETHERTYPE_IPV4, vip, len)
    };
    strip(packet, tunnel.inner - ETHERNET_HEADER, ethertype)?;
    Ok((vip, inner_len))
}

/// Takes `bytes` octets out behind the Ethernet header, which is then that of a packet of `ethertype`.
#[inline(always)]
fn strip<P: Packet>(packet: &mut P, bytes: usize, ethertype: u16) -> Result<(), AgentVerdict> {
    let macs: [u32; 3] = packet.read(0).ok_or(AgentVerdict::DropTruncated)?;
    if !packet.shrink_front(bytes) {
        return Err(AgentVerdict::DropNoRoom);
    }
    packet.write(0, macs).ok_or(AgentVerdict::DropTruncated)?;
    packet.write(ETHERTYPE_OFFSET, ethertype.to_be()).ok_or(AgentVerdict::DropTruncated)
}

#[cfg(test)]
mod tests;
