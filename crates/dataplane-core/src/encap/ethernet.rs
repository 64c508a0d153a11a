// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Ethernet header of the frame that leaves: the next hop's addresses, and its VLAN tag if it has one.
//!
//! Tags that the frame came with are gone: they belong to the link it came by. A tag that is pushed has priority 0
//! (IEEE 802.1Q §9.6).

use crate::Packet;
use crate::bytes::NextHopValue;
use crate::parse::full::TAG;
use crate::parse::{ETHERNET_HEADER, ETHERTYPE_OFFSET};

/// EtherType of a customer's VLAN tag.
const ETHERTYPE_VLAN: u32 = 0x8100;

/// Octets of the Ethernet header towards `next_hop`.
#[inline(always)]
pub(super) const fn header_len(next_hop: &NextHopValue) -> usize {
    if next_hop.vlan == 0 { ETHERNET_HEADER } else { ETHERNET_HEADER + TAG }
}

/// Writes the Ethernet header towards `next_hop` at the frame's front.
#[inline(always)]
pub(super) fn write<P: Packet>(packet: &mut P, next_hop: &NextHopValue, ethertype: u16) -> Option<()> {
    let [first, second, third] = &next_hop.macs;
    packet.write(0, [*first, *second, *third])?;
    if next_hop.vlan == 0 {
        packet.write(ETHERTYPE_OFFSET, ethertype.to_be())
    } else {
        packet.write(ETHERTYPE_OFFSET, (ETHERTYPE_VLAN << 16 | next_hop.vlan as u32).to_be())?;
        packet.write(ETHERTYPE_OFFSET + TAG, ethertype.to_be())
    }
}
