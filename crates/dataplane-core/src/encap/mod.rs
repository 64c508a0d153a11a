// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Room in front of the frame, outer header, Ethernet header.
//!
//! ```text
//! Ethernet │ [802.1Q] │ outer IPv4 or IPv6 │ [UDP │ [GUE │ [private data: candidates]]] │ inner packet      ipip, gue
//! Ethernet │ [802.1Q] │ packet                                                                            l2
//! ```
//!
//! What [`crate::ingress`] calls is the plain path's: no options, no tag, one family. All else goes through [`encap`].

pub mod checksum;
pub mod gue;

mod ethernet;
mod inner;
mod ipip;
mod outer;
mod plain_gue;
mod step;

use crate::Packet;
use crate::bytes::NextHopValue;
use crate::parse::{ETHERNET_HEADER, ETHERTYPE_OFFSET};

pub use ipip::{ipip_v4, ipip_v6};
pub use plain_gue::{
    CANDIDATES_V4_LEN, CANDIDATES_V6_LEN, SHIM_LEN as GUE_SHIM_LEN, candidates_v4, candidates_v6, gue_v4,
    gue_v6,
};
pub use step::{Carried, carry, encap, overhead_max};

/// TTL or hop limit of outer headers.
pub const OUTER_TTL: u8 = 64;

/// Writes the Ethernet header of a frame to `next_hop`, and the outer header behind it.
#[inline(always)]
fn headers<P: Packet, const N: usize>(
    packet: &mut P,
    next_hop: &NextHopValue,
    ethertype: u16,
    outer: [u32; N],
) -> Option<()> {
    // What reaches farthest comes first: it answers for the others that the frame is long enough.
    packet.write_at::<ETHERNET_HEADER, _>(outer)?;
    packet.write_at::<ETHERTYPE_OFFSET, _>(ethertype.to_be())?;
    // Word by word: of a copied array the compiler makes a call of `memmove`, which goes octet by octet on this target.
    let [first, second, third] = &next_hop.macs;
    packet.write_at::<0, _>([*first, *second, *third])
}
