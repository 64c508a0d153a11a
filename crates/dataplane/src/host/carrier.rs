// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame that was handed over for copies, and the copies that were made of it.

use weir_dataplane_core::clone::Carrier;
use weir_dataplane_core::{Outcome, Packet};

use super::HostPacket;

/// What became of one candidate's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// How it ended, and by which interface it left; 0 when it did not.
    pub outcome: Outcome,
    /// The frame.
    pub frame: Vec<u8>,
}

/// A frame in a buffer, of which copies are kept.
#[derive(Debug, Clone)]
pub struct HostCarrier {
    packet: HostPacket,
    /// What became of the copies so far, in the order of the candidates.
    pub left: Vec<Left>,
}

impl HostCarrier {
    /// The frame `octets` as it was handed over.
    pub fn new(octets: &[u8]) -> Self {
        Self { packet: HostPacket::new(octets, 0), left: Vec::new() }
    }
}

impl Carrier for HostCarrier {
    fn leave(&mut self, outcome: Outcome, _frame_len: u32) {
        self.left.push(Left { outcome, frame: self.packet.frame().to_vec() });
    }
}

impl Packet for HostCarrier {
    fn len(&self) -> u32 {
        self.packet.len()
    }

    fn total_len(&self) -> u32 {
        self.packet.total_len()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        self.packet.read(off)
    }

    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        self.packet.write(off, value)
    }

    fn grow_front(&mut self, bytes: usize) -> bool {
        self.packet.grow_front(bytes)
    }

    fn shrink_front(&mut self, bytes: usize) -> bool {
        self.packet.shrink_front(bytes)
    }

    fn truncate(&mut self, len: u32) -> bool {
        self.packet.truncate(len)
    }

    fn ingress_ifindex(&self) -> u32 {
        self.packet.ingress_ifindex()
    }
}
