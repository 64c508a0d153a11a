// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way back on the link: MAC addresses the other way round, VLAN tags as they came.

use crate::Packet;
use crate::parse::full::TAG;
use crate::parse::{ETHERNET_HEADER, ETHERTYPE_OFFSET};

/// The link-layer header of the answer.
pub(super) struct WayBack {
    /// Destination, then source.
    macs: [u16; 6],
    /// Tags with their EtherTypes; those behind the first `tag_count` mean nothing.
    tags: [[u16; 2]; 2],
    tag_count: usize,
}

impl WayBack {
    /// Reads the header of a frame whose IP header lies at `l3`. `None`: it was not sent to this machine alone, or is none
    /// that the parser lets through.
    #[inline(always)]
    pub(super) fn of<P: Packet>(packet: &P, l3: u16) -> Option<Self> {
        let [d0, d1, d2, s0, s1, s2] = packet.read::<[u16; 6]>(0)?;
        if d0.to_ne_bytes()[0] & 1 != 0 {
            return None;
        }
        let mut way = Self { macs: [s0, s1, s2, d0, d1, d2], tags: [[0; 2]; 2], tag_count: 0 };
        match l3 {
            14 => {}
            18 => {
                way.tags[0] = packet.read(ETHERTYPE_OFFSET)?;
                way.tag_count = 1;
            }
            22 => {
                way.tags[0] = packet.read(ETHERTYPE_OFFSET)?;
                way.tags[1] = packet.read(ETHERTYPE_OFFSET + TAG)?;
                way.tag_count = 2;
            }
            _ => return None,
        }
        Some(way)
    }

    /// Octets of the tags.
    #[inline(always)]
    pub(super) const fn tags_len(&self) -> usize {
        self.tag_count * TAG
    }

    /// Writes the header before an IP packet at [`ETHERNET_HEADER`], with room made for the tags. `None`: there was none.
    #[inline(always)]
    pub(super) fn write<P: Packet>(&self, packet: &mut P, ethertype: u16) -> Option<()> {
        if self.tag_count != 0 && !packet.grow_front(self.tags_len()) {
            return None;
        }
        packet.write(0, self.macs)?;
        match self.tag_count {
            0 => packet.write(ETHERTYPE_OFFSET, ethertype.to_be()),
            1 => {
                packet.write(ETHERTYPE_OFFSET, self.tags[0])?;
                packet.write(ETHERTYPE_OFFSET + TAG, ethertype.to_be())
            }
            _ => {
                packet.write(ETHERTYPE_OFFSET, self.tags[0])?;
                packet.write(ETHERTYPE_OFFSET + TAG, self.tags[1])?;
                packet.write(ETHERTYPE_OFFSET + 2 * TAG, ethertype.to_be())
            }
        }
    }

    /// Turns the MAC addresses of the frame round and leaves the rest.
    #[inline(always)]
    pub(super) fn turn<P: Packet>(&self, packet: &mut P) -> Option<()> {
        packet.write(0, self.macs)
    }
}
const _: () = assert!(ETHERTYPE_OFFSET + 2 == ETHERNET_HEADER);
