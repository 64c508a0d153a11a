// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame in a buffer, with the headroom that XDP gives.

use weir_dataplane_core::Packet;

/// Octets of what lies in front of a frame. On a wire that is whatever the last frame in the buffer left; zeros would be right
/// for many a header octet that is never written, and hide it.
const GARBAGE: u8 = 0xff;
/// What `bpf_xdp_adjust_head` always leaves of a frame: an Ethernet header.
const FRAME_MIN: usize = 14;

/// A frame in a buffer.
#[derive(Debug, Clone)]
pub struct HostPacket {
    buffer: Vec<u8>,
    start: usize,
    ingress_ifindex: u32,
}

impl HostPacket {
    /// Octets in front of a frame that it can grow into: XDP_PACKET_HEADROOM (include/uapi/linux/bpf.h), less `struct
    /// xdp_frame`, which `bpf_xdp_adjust_head` keeps free.
    pub const ROOM: usize = 256 - 40;

    /// The frame `octets`, come in by interface `ingress_ifindex`.
    pub fn new(octets: &[u8], ingress_ifindex: u32) -> Self {
        Self::with_room(octets, ingress_ifindex, Self::ROOM)
    }

    /// As [`HostPacket::new`], of a driver that leaves only `room` octets in front, or in front of metadata.
    pub fn with_room(octets: &[u8], ingress_ifindex: u32, room: usize) -> Self {
        let mut buffer = vec![GARBAGE; room];
        buffer.extend_from_slice(octets);
        Self { buffer, start: room, ingress_ifindex }
    }

    /// The frame as it is now.
    pub fn frame(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Packet for HostPacket {
    fn len(&self) -> u32 {
        u32::try_from(self.frame().len()).unwrap_or(u32::MAX)
    }

    fn total_len(&self) -> u32 {
        self.len()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        let octets = self.frame().get(off..off.checked_add(size_of::<T>())?)?;
        // SAFETY: `octets` has the size of `T`, and the trait demands that any bytes make a valid `T`.
        Some(unsafe { octets.as_ptr().cast::<T>().read_unaligned() })
    }

    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        let end = off.checked_add(size_of::<T>())?;
        let octets = self.buffer[self.start..].get_mut(off..end)?;
        // SAFETY: `octets` has the size of `T` and is borrowed mutably.
        unsafe { octets.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn grow_front(&mut self, bytes: usize) -> bool {
        match self.start.checked_sub(bytes) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    fn shrink_front(&mut self, bytes: usize) -> bool {
        if self.frame().len() < bytes.saturating_add(FRAME_MIN) {
            return false;
        }
        self.start += bytes;
        true
    }

    fn truncate(&mut self, len: u32) -> bool {
        let wanted = self.start.saturating_add(len as usize);
        if wanted > self.buffer.len() || (len as usize) < FRAME_MIN {
            return false;
        }
        self.buffer.truncate(wanted);
        true
    }

    fn ingress_ifindex(&self) -> u32 {
        self.ingress_ifindex
    }
}
