// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Room in front of the frame, outer header, Ethernet header.

pub mod checksum;
mod ipip;

use crate::Packet;
use crate::bytes::NextHopValue;

pub use ipip::{ipip_v4, ipip_v6};

/// TTL or hop limit of outer headers.
pub const OUTER_TTL: u8 = 64;

/// Writes the Ethernet header of a frame to `next_hop`.
#[inline(always)]
fn ethernet<P: Packet>(packet: &mut P, next_hop: &NextHopValue, ethertype: u16) -> Option<()> {
    let m = &next_hop.macs;
    packet.write(0, [m[0], m[1], m[2], m[3], m[4], m[5], ethertype.to_be()])
}
