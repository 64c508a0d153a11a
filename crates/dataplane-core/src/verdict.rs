// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every way a packet can leave, its number and its name.

/// What the kernel is to do with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Hand it to the host, unchanged but for [`Verdict::PassToClone`].
    Pass,
    /// Send it to a backend.
    Forward,
    /// Send it back by the interface it came in by.
    Answer,
    /// Discard it.
    Drop,
}

macro_rules! verdicts {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $action:ident;)+) => {
        /// Every way a packet can leave the appliance's program. Numbers index the per-CPU counters and never change
        /// their meaning within one [`crate::ABI_VERSION`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Verdict { $($(#[$doc])* $name = $number,)+ }

        impl Verdict {
            /// All verdicts in order of their numbers.
            pub const ALL: &'static [Verdict] = &[$(Verdict::$name),+];

            /// The name in metrics, `explain` and captures.
            pub const fn name(self) -> &'static str {
                match self { $(Verdict::$name => $text,)+ }
            }

            /// What happens to the frame.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Verdict::$name => Action::$action,)+ }
            }
        }
    };
}

verdicts! {
    /// Neither IPv4 nor IPv6.
    PassNotIp = 0, "pass_not_ip", Pass;
    /// An IP header too short or of the wrong version, or an IPv6 packet to an IPv4 address in IPv6 form: whose it is cannot
    /// be told, so the host judges it.
    PassMalformed = 1, "pass_malformed", Pass;
    /// Not for a VIP.
    PassNotVip = 2, "pass_not_vip", Pass;
    /// Sent to the backend that the flow table remembers.
    ForwardFlow = 3, "forward_flow", Forward;
    /// Sent by its row, and remembered.
    ForwardNew = 4, "forward_new", Forward;
    /// The remembered backend may not have it any more (or not a new connection): sent by its row, and remembered anew.
    ForwardRechosen = 5, "forward_rechosen", Forward;
    /// Sent by its row; not remembered, since all slots of its set hold live flows.
    ForwardUncached = 6, "forward_uncached", Forward;
    /// Sent by its row; not remembered, since it ends a flow nobody knows (FIN or RST).
    ForwardEnding = 7, "forward_ending", Forward;
    /// Sent by its row; the service has the flow table switched off.
    ForwardStateless = 8, "forward_stateless", Forward;
    /// For a VIP, and the frame ends before its headers do, or before its IP length says.
    DropTruncated = 9, "drop_truncated", Drop;
    /// For a VIP, and the IP length leaves no room for the transport header.
    DropBadLength = 10, "drop_bad_length", Drop;
    /// For a VIP, and a fragment: its service takes none, or it is one of ICMP, or of a protocol that the VIP has no service of.
    DropFragment = 11, "drop_fragment", Drop;
    /// For a VIP, and before the transport header stand more extension headers than are walked, or one that ends the walk: in the
    /// wrong place, with segments left to route, encrypted or authenticated, or too long.
    DropExtensionHeader = 12, "drop_extension_header", Drop;
    /// For a VIP, and an ICMP message that is neither an echo request nor an error, or ICMP of the other family.
    DropIcmp = 13, "drop_icmp", Drop;
    /// For a VIP, and neither TCP, UDP nor ICMP.
    DropProtocol = 14, "drop_protocol", Drop;
    /// For a VIP, and no service has this protocol and port.
    DropNoService = 15, "drop_no_service", Drop;
    /// TTL or hop limit would become zero.
    DropTtl = 16, "drop_ttl", Drop;
    /// The pool has no rows, or no candidate of the row may receive the packet.
    DropNoBackend = 17, "drop_no_backend", Drop;
    /// A backend was chosen, and there is no next hop towards it.
    DropNoNextHop = 18, "drop_no_next_hop", Drop;
    /// The encapsulated packet would not fit the path.
    DropTooBig = 19, "drop_too_big", Drop;
    /// The driver left no room for the outer header in front of the frame.
    DropNoRoom = 20, "drop_no_room", Drop;
    /// A table or a program of the appliance is missing: a defect.
    DropInternal = 21, "drop_internal", Drop;
    /// An echo request to a VIP, answered.
    AnswerEcho = 22, "answer_echo", Answer;
    /// Too big for the path to its backend once encapsulated: the sender was told what fits.
    AnswerTooBig = 23, "answer_too_big", Answer;
    /// Neighbour discovery or multicast listener discovery: the host's, whomever it is addressed to.
    PassControl = 24, "pass_control", Pass;
    /// An ICMP error about a flow, sent to where the flow goes.
    ForwardIcmp = 25, "forward_icmp", Forward;
    /// A fragment, sent to where the first of its datagram went.
    ForwardFragment = 26, "forward_fragment", Forward;
    /// Sent by its row; not remembered, since the service has had its new flows of this second.
    ForwardLimited = 27, "forward_limited", Forward;
    /// For a VIP, and a first fragment too short to hold the ports.
    DropFragmentTiny = 28, "drop_fragment_tiny", Drop;
    /// For a VIP, and a fragment that would overwrite the transport header (RFC 1858, RFC 5722).
    DropFragmentOverlap = 29, "drop_fragment_overlap", Drop;
    /// For a VIP, and a fragment whose first nobody saw.
    DropFragmentUnknown = 30, "drop_fragment_unknown", Drop;
    /// An echo request to a VIP that is down or does not answer any.
    DropEcho = 31, "drop_echo", Drop;
    /// An echo request to a VIP that has given its answers of this second.
    DropEchoLimited = 32, "drop_echo_limited", Drop;
    /// An ICMP error for a VIP that quotes no packet of its.
    DropIcmpMalformed = 33, "drop_icmp_malformed", Drop;
    /// An ICMP error for a VIP that has had its ones of this second.
    DropIcmpLimited = 34, "drop_icmp_limited", Drop;
    /// An ICMP error for a VIP that tells an MTU nobody may have.
    DropIcmpMtu = 35, "drop_icmp_mtu", Drop;
    /// Too big, and its VIP has sent its answers of this second.
    DropTooBigLimited = 36, "drop_too_big_limited", Drop;
    /// Sent by its row; not remembered, since this CPU has remembered its new flows of this second.
    ForwardUnlearned = 37, "forward_unlearned", Forward;
    /// A first fragment for a VIP of which as many as it may have were remembered this second: without that the later ones
    /// would find no backend.
    DropFragmentLimited = 38, "drop_fragment_limited", Drop;
    /// An ICMP error about a flow that nobody here knows: handed to the program in traffic control, which sends a copy to
    /// each candidate of its row.
    PassToClone = 39, "pass_to_clone", Pass;
    /// A copy of such an error, sent to one candidate. Counted beside the frame it was made of.
    ForwardIcmpCopy = 40, "forward_icmp_copy", Forward;
}

/// Number of verdicts.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
pub const VERDICTS: u32 = Verdict::ALL.len() as u32;

impl Verdict {
    /// The number, as a plan holds it.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether the flow table has a new entry.
    #[inline(always)]
    pub const fn is_new_flow(self) -> bool {
        matches!(self, Self::ForwardNew | Self::ForwardRechosen)
    }

    /// The forwarding verdict with this number, of a plan; any other number is one that no plan has.
    #[inline(always)]
    pub const fn from_plan(number: u8) -> Self {
        match number as u32 {
            3 => Self::ForwardFlow,
            4 => Self::ForwardNew,
            5 => Self::ForwardRechosen,
            6 => Self::ForwardUncached,
            7 => Self::ForwardEnding,
            8 => Self::ForwardStateless,
            25 => Self::ForwardIcmp,
            26 => Self::ForwardFragment,
            27 => Self::ForwardLimited,
            37 => Self::ForwardUnlearned,
            _ => Self::DropInternal,
        }
    }

    /// The verdict with this number.
    pub fn from_raw(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indexes_and_names_are_distinct() {
        let mut names = std::collections::BTreeSet::new();
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
            assert_eq!(Verdict::from_raw(*verdict as u32), Some(*verdict));
            assert!(names.insert(verdict.name()));
            let prefix = match verdict.action() {
                Action::Pass => "pass_",
                Action::Forward => "forward_",
                Action::Answer => "answer_",
                Action::Drop => "drop_",
            };
            assert!(verdict.name().starts_with(prefix), "{}", verdict.name());
        }
        assert_eq!(Verdict::from_raw(VERDICTS), None);
    }
}
