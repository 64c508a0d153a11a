// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Next-hop table: by which interface and to which MAC address a frame leaves.

/// Value of the next-hop table, 24 bytes. Entry 0 is never used; an entry is written once and reused only after a grace
/// time, since packets may be reading it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NextHopValue {
    /// Interface index; 0 = entry unused.
    pub ifindex: u32,
    /// Largest IP packet the path takes, in bytes, outer header included.
    pub mtu: u16,
    /// VLAN id to push, 0 = none. Always 0 in this layout version.
    pub vlan: u16,
    /// Destination MAC, then source MAC, as on the wire: the first twelve octets of the frame.
    pub macs: [u16; 6],
    /// Always 0.
    pub zero: u32,
}
const _: () = assert!(size_of::<NextHopValue>() == 24);

impl NextHopValue {
    /// The frame's first twelve octets from the two addresses.
    pub fn macs(destination: [u8; 6], source: [u8; 6]) -> [u16; 6] {
        let pair = |m: &[u8; 6], i: usize| u16::from_ne_bytes([m[2 * i], m[2 * i + 1]]);
        [
            pair(&destination, 0),
            pair(&destination, 1),
            pair(&destination, 2),
            pair(&source, 0),
            pair(&source, 1),
            pair(&source, 2),
        ]
    }
}
