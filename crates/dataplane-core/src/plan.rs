// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one step leaves for the next: all that was found out about the packet, and what shall become of it.

use crate::parse::Segment;
use crate::row::Row;
use crate::verdict::Verdict;

/// Bits of [`Plan::flags`].
pub struct PlanFlags;
impl PlanFlags {
    /// The packet from the client is IPv6; otherwise IPv4.
    pub const V6: u8 = 1;
    /// [`Plan::row`] holds the flow's row already.
    pub const HAS_ROW: u8 = 2;
    /// An IPv4 packet has DF clear, so "too big" must not be answered.
    pub const MAY_FRAGMENT: u8 = 4;
    /// An ICMP error about a flow: no answer is ever made to it.
    pub const ICMP_ERROR: u8 = 8;
    /// A fragment: its transport checksum covers more than this packet.
    pub const FRAGMENT: u8 = 16;
}

/// What to answer ([`Plan::answer`]).
pub struct Answer;
impl Answer {
    /// Nothing: the packet is forwarded.
    pub const NONE: u8 = 0;
    /// Echo reply (RFC 792, RFC 4443 §4.2).
    pub const ECHO: u8 = 1;
    /// "Fragmentation needed" or "packet too big" (RFC 1191, RFC 4443 §3.2), with [`Plan::mtu`].
    pub const TOO_BIG: u8 = 2;
    /// No answer: handed to the program that sends copies (see [`crate::clone`]).
    pub const CLONE: u8 = 3;
}

/// Value of the plan table, 48 bytes; one per CPU and kind of run.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Hash that chose flow set and row: of the 5-tuple, or of what the service's affinity says.
    pub hash: u64,
    /// The flow's row; valid with [`PlanFlags::HAS_ROW`].
    pub row: Row,
    /// Upper half of the 5-tuple's hash: for outer ports, flow label and the choice among next hops.
    pub entropy: u32,
    /// Counter index of the service; means nothing in an echo reply, which is nobody's.
    pub service: u32,
    /// Octets of the frame as received.
    pub frame_len: u32,
    /// Octets of the IP packet as its header says.
    pub ip_len: u32,
    /// The backend chosen, 0 when the packet is answered.
    pub backend: u16,
    /// Where the IP header lies in the frame: 14, or behind one or two VLAN tags 18 or 22.
    pub l3: u16,
    /// Where the transport header lies in the frame; 0 = none that may be read.
    pub l4: u16,
    /// Largest packet that would have fitted, for [`Answer::TOO_BIG`].
    pub mtu: u16,
    /// Number of the verdict if all goes well.
    pub verdict: u8,
    /// See [`PlanFlags`].
    pub flags: u8,
    /// Type of service or traffic class, all eight bits.
    pub traffic_class: u8,
    /// TTL or hop limit as received.
    pub ttl: u8,
    /// IANA protocol number of the transport header.
    pub protocol: u8,
    /// See [`Answer`].
    pub answer: u8,
    /// Always 0.
    pub zero: u16,
}
const _: () = assert!(size_of::<Plan>() == 48 && align_of::<Plan>() == 8);

impl Default for Plan {
    fn default() -> Self {
        Self {
            hash: 0,
            row: Row::EMPTY,
            entropy: 0,
            service: 0,
            frame_len: 0,
            ip_len: 0,
            backend: 0,
            l3: 0,
            l4: 0,
            mtu: 0,
            verdict: 0,
            flags: 0,
            traffic_class: 0,
            ttl: 0,
            protocol: 0,
            answer: Answer::NONE,
            zero: 0,
        }
    }
}

impl Plan {
    /// The plan for `segment`, whose IP header lies at `l3` of a frame of `frame_len` octets, towards no backend yet.
    /// `hash` is the flow's, of its 5-tuple.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves of a word and small offsets")]
    pub fn new<const V6: bool>(segment: &Segment, hash: u64, l3: usize, frame_len: u32) -> Self {
        let family = if V6 { PlanFlags::V6 } else { 0 };
        let fragments = if segment.may_fragment { PlanFlags::MAY_FRAGMENT } else { 0 };
        Self {
            hash,
            entropy: (hash >> 32) as u32,
            frame_len,
            ip_len: segment.ip_len,
            l3: l3 as u16,
            l4: segment.l4 as u16,
            flags: family | fragments,
            traffic_class: segment.traffic_class,
            ttl: segment.ttl,
            protocol: segment.protocol,
            ..Self::default()
        }
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The verdict if all goes well.
    #[inline(always)]
    pub const fn verdict(&self) -> Verdict {
        Verdict::from_plan(self.verdict)
    }
}
