// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Next-hop table: by which interface and to which MAC address a frame leaves.

/// Value of the next-hop table, 24 bytes. Entry 0 is never used; an entry is written once and reused only after a grace
/// time, since packets may be reading it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NextHopValue {
    /// Interface index; 0 = entry unused.
    pub ifindex: u32,
    /// As [`NextHopValue::mtu`] for frames without a tag; 0 if one is to be pushed, which is not the plain path's work.
    pub plain_mtu: u16,
    /// VLAN id to push, 0 = none.
    pub vlan: u16,
    /// Destination MAC, then source MAC, as on the wire: the first twelve octets of the frame.
    pub macs: [u32; 3],
    /// Largest IP packet the path takes, in bytes, outer header included.
    pub mtu: u16,
    /// Always 0.
    pub zero: u16,
}
const _: () = assert!(size_of::<NextHopValue>() == 24);

impl NextHopValue {
    /// The frame's first twelve octets from destination `d` and source `s`.
    pub const fn macs(d: [u8; 6], s: [u8; 6]) -> [u32; 3] {
        [
            u32::from_ne_bytes([d[0], d[1], d[2], d[3]]),
            u32::from_ne_bytes([d[4], d[5], s[0], s[1]]),
            u32::from_ne_bytes([s[2], s[3], s[4], s[5]]),
        ]
    }
}
