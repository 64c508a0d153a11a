// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame of which only the first buffer can be read (`xdp.frags`).

use weir_dataplane::host::HostPacket;
use weir_dataplane_core::Packet;

/// What is always left of the first buffer.
const FIRST_MIN: usize = 14;

/// A frame in one or two buffers.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    packet: HostPacket,
    /// Octets behind the first buffer.
    behind: usize,
}

impl Buffers {
    /// `frame`, of which the first buffer holds `first` octets at most, with `room` octets in front.
    pub(super) fn new(frame: &[u8], ingress_ifindex: u32, first: usize, room: usize) -> Self {
        let behind = frame.len().saturating_sub(first.max(FIRST_MIN));
        Self { packet: HostPacket::with_room(frame, ingress_ifindex, room), behind }
    }

    /// All of it as it is now.
    pub(super) fn frame(&self) -> &[u8] {
        self.packet.frame()
    }

    fn first(&self) -> usize {
        self.packet.frame().len() - self.behind
    }
}

impl Packet for Buffers {
    fn len(&self) -> u32 {
        u32::try_from(self.first()).expect("frames are short")
    }

    fn total_len(&self) -> u32 {
        self.packet.total_len()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        if off.checked_add(size_of::<T>())? > self.first() { None } else { self.packet.read(off) }
    }

    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        if off.checked_add(size_of::<T>())? > self.first() { None } else { self.packet.write(off, value) }
    }

    fn grow_front(&mut self, bytes: usize) -> bool {
        self.packet.grow_front(bytes)
    }

    fn shrink_front(&mut self, bytes: usize) -> bool {
        self.first() >= bytes.saturating_add(FIRST_MIN) && self.packet.shrink_front(bytes)
    }

    fn truncate(&mut self, len: u32) -> bool {
        let before = self.packet.frame().len();
        let is_cut = self.packet.truncate(len);
        // From the end: the later buffer goes first.
        self.behind = self.behind.saturating_sub(before - self.packet.frame().len());
        is_cut
    }

    fn ingress_ifindex(&self) -> u32 {
        self.packet.ingress_ifindex()
    }
}
