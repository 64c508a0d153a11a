// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP and ICMPv6 for a VIP (ADR 0031).
//!
//! ```text
//! echo request ─► VIP answers? ─► plain header? ─► budget ─► Answer
//! error        ─► quote: a packet that the VIP sent ─► MTU allowed? ─► budget ─► where its flow goes
//! neighbour and multicast listener discovery ─► the host's
//! anything else ─► dropped
//! ```
//!
//! An error comes from a router on the way from a backend to a client, or from the client. It quotes what the backend sent,
//! so the flow is the quoted packet's turned round, and its backend's kernel knows what to do: the whole message goes there
//! unchanged. Of the transport only the first octets need be there (RFC 792 promises eight), so only ports are read; what lies
//! where flags would be is nobody's SYN. One about an unknown flow may go to all candidates ([`crate::clone`]). The flow table is asked and never written: what a stranger may make up must not change
//! it.

use super::select::Tuple;
use super::vip::Vip;
use super::{plan, tuple};
use crate::Packet;
use crate::answer::{is_host_v4, is_host_v6};
use crate::bytes::{Address, VipFlags, budget};
use crate::packet::OFFSET_MAX;
use crate::parse::full::EXTENSIONS_MAX;
use crate::parse::{IPV4_HEADER, IPV6_HEADER, View, protocol};
use crate::plan::{Answer, Plan};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Octets of an ICMP header.
const ICMP_HEADER: usize = 8;
/// The same, for sums of lengths.
const ICMP_LEN: u32 = 8;
/// Octets of the transport header that a quote holds at least (RFC 792).
const TRANSPORT_MIN: u32 = 8;
/// Least MTU that an ICMPv6 error may tell (RFC 8201 §4).
const MTU_MIN_V6: u32 = 1_280;

/// Type, code, checksum and the word that means something else in each message.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    code: u8,
    checksum: u16,
    rest: u32,
}
const _: () = assert!(size_of::<Header>() == ICMP_HEADER);

/// What a message is for.
enum Message {
    Echo,
    /// An error, and the MTU that it tells in which family's way.
    Error(Mtu),
    /// Neighbour discovery, router discovery and multicast listener discovery.
    Control,
    Other,
}

/// The MTU that an error tells.
enum Mtu {
    None,
    V4(u32),
    V6(u32),
}

impl Message {
    /// Numbers of the IANA registries of ICMP and ICMPv6 types.
    #[inline(always)]
    const fn of(is_v6: bool, header: &Header) -> Self {
        let rest = u32::from_be(header.rest);
        match (is_v6, header.kind, header.code) {
            (false, 8, 0) | (true, 128, 0) => Self::Echo,
            (false, 3, 4) => Self::Error(Mtu::V4(rest & 0xffff)),
            (true, 2, _) => Self::Error(Mtu::V6(rest)),
            (false, 3 | 11 | 12, _) | (true, 1 | 3 | 4, _) => Self::Error(Mtu::None),
            (true, 130..=137 | 143, _) => Self::Control,
            _ => Self::Other,
        }
    }
}

/// What becomes of an ICMP packet that is neither dropped nor the host's.
pub enum Icmp {
    /// An answer, whose plan is set.
    Answer,
    /// It goes where this flow goes.
    Error(Tuple),
}

/// Decides about the ICMP packet `view` of the right family for `vip`, which has no fault but may be a fragment.
///
/// # Errors
/// How it ends.
#[inline(always)]
pub fn icmp<P: Packet, T: Tables>(packet: &P, tables: &T, view: &View, vip: &Vip) -> Result<Icmp, Verdict> {
    // Half a message says nothing, and nobody sends errors or discovery in fragments (RFC 1122 §3.2.2, RFC 6980).
    if view.is_fragment {
        return Err(Verdict::DropFragment);
    }
    if view.carried_len() < ICMP_LEN {
        return Err(Verdict::DropIcmpMalformed);
    }
    let header: Header = packet.read(view.l4).ok_or(Verdict::DropIcmpMalformed)?;
    match Message::of(view.is_v6, &header) {
        Message::Echo => echo(packet, tables, view, vip),
        Message::Error(mtu) => error(packet, tables, view, vip, &mtu),
        Message::Control => Err(Verdict::PassControl),
        Message::Other => Err(Verdict::DropIcmp),
    }
}

/// An echo request. One with options or extension headers is not answered: what they ask for on the way back (RFC 1122
/// §3.2.2.6) is more than an echo.
#[inline(always)]
fn echo<P: Packet, T: Tables>(packet: &P, tables: &T, view: &View, vip: &Vip) -> Result<Icmp, Verdict> {
    let header_len = if view.is_v6 { IPV6_HEADER } else { IPV4_HEADER };
    let is_host = if view.is_v6 { is_host_v6(&view.source) } else { is_host_v4(view.source.0[3]) };
    if vip.record.flags & VipFlags::ECHO == 0 || view.l4 - view.l3 != header_len || !is_host {
        return Err(Verdict::DropEcho);
    }
    let knobs = tables.knobs().ok_or(Verdict::DropInternal)?;
    if !tables.take(budget::echo(vip.record.id), knobs.echo_max) {
        return Err(Verdict::DropEchoLimited);
    }
    let plan = plan(packet, tables, view, &tuple(view, 0));
    let plan = Plan { answer: Answer::ECHO, ..plan };
    if tables.set_plan(&plan) { Ok(Icmp::Answer) } else { Err(Verdict::DropInternal) }
}

/// An error about a packet that a service of the VIP sent.
#[inline(always)]
fn error<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    view: &View,
    vip: &Vip,
    mtu: &Mtu,
) -> Result<Icmp, Verdict> {
    let flow = quoted(packet, view)?;
    let knobs = tables.knobs().ok_or(Verdict::DropInternal)?;
    // Whoever makes a backend send small packets makes it send many (RFC 8201 §6).
    let is_allowed = match *mtu {
        Mtu::None => true,
        Mtu::V4(mtu) => mtu >= knobs.mtu_min_v4 as u32,
        Mtu::V6(mtu) => mtu >= MTU_MIN_V6,
    };
    if !is_allowed {
        return Err(Verdict::DropIcmpMtu);
    }
    if !tables.take(budget::icmp_errors(vip.record.id), knobs.icmp_errors_max) {
        return Err(Verdict::DropIcmpLimited);
    }
    Ok(Icmp::Error(flow))
}

/// The flow, as its client sends it, of the packet that the error `view` quotes; that packet came from `view`'s destination.
#[inline(always)]
fn quoted<P: Packet>(packet: &P, view: &View) -> Result<Tuple, Verdict> {
    let quote = at(packet, view.l4 + ICMP_HEADER)?;
    let walked = if view.is_v6 { quoted_v6(packet, view, quote) } else { quoted_v4(packet, view, quote) };
    let quoted = walked.ok_or(Verdict::DropIcmpMalformed)?;
    if quoted.protocol != protocol::TCP && quoted.protocol != protocol::UDP {
        return Err(Verdict::DropIcmpMalformed);
    }
    let l4 = at(packet, quoted.l4)?;
    #[expect(clippy::cast_possible_truncation, reason = "offsets in a frame")]
    let end = (l4 - view.l3) as u32 + TRANSPORT_MIN;
    if end > view.ip_len {
        return Err(Verdict::DropIcmpMalformed);
    }
    let ports_be: u32 = packet.read(l4).ok_or(Verdict::DropIcmpMalformed)?;
    Ok(Tuple {
        source: quoted.client,
        destination: view.destination,
        // The other way round: it was sent from the service's port to the client's.
        ports_be: ports_be.rotate_left(16),
        protocol: quoted.protocol,
        is_v6: view.is_v6,
    })
}

/// `off` where it may be read, and to the verifier no matter how it came about.
#[inline(always)]
fn at<P: Packet>(packet: &P, off: usize) -> Result<usize, Verdict> {
    if off > OFFSET_MAX { Err(Verdict::DropIcmpMalformed) } else { Ok(packet.launder(off)) }
}

/// What a quote says before its transport header.
struct Quoted {
    client: Address,
    protocol: u8,
    l4: usize,
}

/// The quoted IPv4 packet at `quote`. `None`: it is none, or a later fragment, or its source is not whom the error went to.
#[inline(always)]
fn quoted_v4<P: Packet>(packet: &P, view: &View, quote: usize) -> Option<Quoted> {
    /// Offset of a fragment.
    const OFFSET: u16 = 0x1fff;
    let [first, fragment, ttl_and_protocol, source, destination] = packet.read::<[u32; 5]>(quote)?;
    let [version_ihl, ..] = first.to_ne_bytes();
    let header_len = (version_ihl & 0xf) as usize * 4;
    let [_, _, high, low] = fragment.to_ne_bytes();
    let is_later = u16::from_be_bytes([high, low]) & OFFSET != 0;
    if version_ihl >> 4 != 4 || header_len < IPV4_HEADER || is_later || source != view.destination.0[3] {
        return None;
    }
    let [_, protocol, ..] = ttl_and_protocol.to_ne_bytes();
    Some(Quoted { client: Address::mapped(destination), protocol, l4: quote + header_len })
}

/// The quoted IPv6 packet at `quote`; as [`quoted_v4`].
#[inline(always)]
fn quoted_v6<P: Packet>(packet: &P, view: &View, quote: usize) -> Option<Quoted> {
    const FRAGMENT: u8 = 44;
    let [first, lengths] = packet.read::<[u32; 2]>(quote)?;
    let [source, client] = packet.read::<[Address; 2]>(quote + 8)?;
    let (s, d) = (&source.0, &view.destination.0);
    let differs = (s[0] ^ d[0]) | (s[1] ^ d[1]) | (s[2] ^ d[2]) | (s[3] ^ d[3]);
    if first.to_ne_bytes()[0] >> 4 != 6 || differs != 0 {
        return None;
    }
    let [_, _, mut protocol, _] = lengths.to_ne_bytes();
    let mut l4 = quote + IPV6_HEADER;
    let mut walked = 0;
    // Hop-by-hop options, routing, fragment, destination options.
    while walked < EXTENSIONS_MAX && matches!(protocol, 0 | 43 | FRAGMENT | 60) {
        if l4 > OFFSET_MAX {
            return None;
        }
        l4 = packet.launder(l4);
        let [next, length, high, low] = packet.read::<[u8; 4]>(l4)?;
        let is_fragment = protocol == FRAGMENT;
        if is_fragment && u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
            return None;
        }
        // Of a fragment header the second octet is reserved.
        let units = if is_fragment { 0 } else { length as usize };
        protocol = next;
        l4 += (units + 1) * 8;
        walked += 1;
    }
    Some(Quoted { client, protocol, l4 })
}
