// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Room in front of the frame, outer header, Ethernet header.

pub mod checksum;
mod ipip;

use crate::Packet;
use crate::bytes::NextHopValue;

pub use ipip::{ipip_v4, ipip_v6};

/// TTL or hop limit of outer headers.
pub const OUTER_TTL: u8 = 64;

/// An Ethernet header of three words and the type, and the outer IP header of `N` words behind it, as one piece: one bounds
/// check. Aligned to two octets, as the IP header is in a frame.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
struct Headers<const N: usize> {
    macs: [u32; 3],
    ethertype: u16,
    outer: [u32; N],
}

/// Writes the Ethernet header of a frame to `next_hop`, and the outer header behind it.
#[inline(always)]
fn headers<P: Packet, const N: usize>(
    packet: &mut P,
    next_hop: &NextHopValue,
    ethertype: u16,
    outer: [u32; N],
) -> Option<()> {
    packet.write(0, Headers { macs: next_hop.macs, ethertype: ethertype.to_be(), outer })
}
