// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Per-CPU counters; user space sums them.

/// Packets and bytes of one verdict. Bytes are frame bytes as received.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketCounter {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames as received.
    pub bytes: u64,
}

/// Packets, bytes and new flows of one service or one backend. Bytes are IP bytes from the client.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceCounter {
    /// Packets.
    pub packets: u64,
    /// Bytes of the inner IP packets.
    pub bytes: u64,
    /// Flows that were remembered.
    pub new_flows: u64,
}
