// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The largest segment that a VIP's server announces: no more than fits the tunnel that will carry it.
//!
//! Answers go straight to the client, so the size of what the client sends is chosen by the MSS in the server's SYN-ACK,
//! which no appliance sees. The agent lowers it on its way out (RFC 9293 §3.7.1: the option is advice, so a smaller one is
//! always right); it never raises it, and never adds one.
//!
//! ```text
//! TCP? ─► SYN and ACK? ─► from a VIP? ─► options, at most 15 ─► MSS larger than wanted? ─► Change
//! ```
//!
//! Whoever calls makes the change, since only the kernel knows who finishes the checksum of a packet that is on its way to
//! a device. Everything that is no SYN-ACK of a VIP goes its way uncounted.

use crate::Packet;
use crate::bytes::Address;
use crate::parse::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_OFFSET, IPV6_HEADER, protocol,
};

/// Options of one segment that are looked at.
const OPTIONS_MAX: usize = 15;
const OPTION_END: u8 = 0;
const OPTION_PADDING: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_MSS_LEN: u8 = 4;
const TCP_HEADER: usize = 20;
const SYN_ACK: u8 = 0x12;
const SYN_ACK_RST: u8 = 0x16;

/// What became of a SYN-ACK of a VIP. Numbers index the per-CPU counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum MssVerdict {
    /// Its MSS was lowered.
    Clamped = 0,
    /// Its MSS was small enough.
    Fits = 1,
    /// It announces none, so the client takes the least (RFC 9293 §3.7.1).
    NoMss = 2,
    /// Its options could not be read to the end.
    Unreadable = 3,
}

/// Number of [`MssVerdict`]s.
pub const MSS_VERDICTS: u32 = 4;

impl MssVerdict {
    /// All, in order of their numbers.
    pub const ALL: [Self; MSS_VERDICTS as usize] = [Self::Clamped, Self::Fits, Self::NoMss, Self::Unreadable];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clamped => "clamped",
            Self::Fits => "fits",
            Self::NoMss => "no_mss",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What to write into a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Where the MSS lies in the frame.
    pub at: usize,
    /// Where the TCP checksum lies.
    pub checksum: usize,
    /// The MSS as it is, in host order.
    pub old: u16,
    /// As it shall be.
    pub new: u16,
    /// It lies across two words of the checksum.
    pub is_odd: bool,
}

impl Change {
    /// What the checksum loses and what it gains, as they lie in the packet.
    #[inline(always)]
    pub const fn words(&self) -> (u16, u16) {
        if self.is_odd {
            (self.old.to_be().swap_bytes(), self.new.to_be().swap_bytes())
        } else {
            (self.old.to_be(), self.new.to_be())
        }
    }
}

/// What clamping may ask.
pub trait MssTables {
    /// Whether `source` is a VIP.
    fn is_vip(&self, source: &Address) -> bool;

    /// The largest MSS to announce over IPv6 or IPv4; 0: whatever the host says.
    fn largest(&self, is_v6: bool) -> u16;
}

/// What becomes of an outgoing frame, and the change to make if it is to be clamped; `None`: it is no SYN-ACK of a VIP.
///
/// The change is whole whatever the verdict, and means something only with [`MssVerdict::Clamped`]: as an `Option` it was
/// stored half undefined, which the verifier refuses (6.18: `R2 !read_ok`).
#[inline(always)]
pub fn clamp<P: Packet, T: MssTables>(packet: &P, tables: &T) -> Option<(MssVerdict, Change)> {
    let (source, l4, is_v6) = match packet.read::<u16>(ETHERTYPE_OFFSET).map(u16::from_be)? {
        ETHERTYPE_IPV4 => ipv4(packet)?,
        ETHERTYPE_IPV6 => ipv6(packet)?,
        _ => return None,
    };
    let [offset, flags]: [u8; 2] = packet.read(l4 + 12)?;
    if flags & SYN_ACK_RST != SYN_ACK {
        return None;
    }
    let largest = tables.largest(is_v6);
    if largest == 0 || !tables.is_vip(&source) {
        return None;
    }
    let end = l4 + (offset >> 4) as usize * 4;
    let at = find(packet, l4 + TCP_HEADER, end);
    let (verdict, old) = match at {
        NOWHERE => (MssVerdict::NoMss, 0),
        UNREADABLE => (MssVerdict::Unreadable, 0),
        at => match packet.read::<u16>(at).map(u16::from_be) {
            None => (MssVerdict::Unreadable, 0),
            Some(old) if old <= largest => (MssVerdict::Fits, old),
            Some(old) => (MssVerdict::Clamped, old),
        },
    };
    let is_odd = at.wrapping_sub(l4) % 2 == 1;
    Some((verdict, Change { at, checksum: l4 + 16, old, new: largest, is_odd }))
}

/// Source and place of the TCP header of an IPv4 packet that is no later fragment.
#[inline(always)]
fn ipv4<P: Packet>(packet: &P) -> Option<(Address, usize, bool)> {
    const LATER: u16 = 0x1fff;
    let [version_ihl, _, _, _, _, _, fragment_high, fragment_low, _, next, _, _]: [u8; 12] =
        packet.read(ETHERNET_HEADER)?;
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    let header = (version_ihl & 0xf) as usize * 4;
    if version_ihl >> 4 != 4 || header < 20 || next != protocol::TCP || fragment & LATER != 0 {
        return None;
    }
    let source: u32 = packet.read(ETHERNET_HEADER + 12)?;
    Some((Address::mapped(source), ETHERNET_HEADER + header, false))
}

/// The same of an IPv6 packet without extension headers; a host's own SYN-ACKs have none.
#[inline(always)]
fn ipv6<P: Packet>(packet: &P) -> Option<(Address, usize, bool)> {
    let [version, _, _, _, _, _, next, _]: [u8; 8] = packet.read(ETHERNET_HEADER)?;
    if version >> 4 != 6 || next != protocol::TCP {
        return None;
    }
    let source: Address = packet.read(ETHERNET_HEADER + 8)?;
    Some((source, ETHERNET_HEADER + IPV6_HEADER, true))
}

/// What [`find`] says instead of a place; no place is that near the front.
const NOWHERE: usize = 0;
const UNREADABLE: usize = 1;

/// Where the value of the MSS option lies between `at` and `end`, or [`NOWHERE`], or [`UNREADABLE`].
#[inline(always)]
fn find<P: Packet>(packet: &P, mut at: usize, end: usize) -> usize {
    let mut option = 0;
    while option < OPTIONS_MAX {
        if at >= end {
            return NOWHERE;
        }
        let Some(kind) = packet.read::<u8>(at) else { return UNREADABLE };
        if kind == OPTION_END {
            return NOWHERE;
        }
        let mut len = 1;
        if kind != OPTION_PADDING {
            let Some(stated) = packet.read::<u8>(at + 1) else { return UNREADABLE };
            if stated < 2 || at + stated as usize > end {
                return UNREADABLE;
            }
            if kind == OPTION_MSS {
                return if stated == OPTION_MSS_LEN { at + 2 } else { UNREADABLE };
            }
            len = stated as usize;
        }
        at += len;
        option += 1;
    }
    if at >= end { NOWHERE } else { UNREADABLE }
}

#[cfg(test)]
mod tests;
