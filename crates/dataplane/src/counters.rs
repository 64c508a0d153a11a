// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the programs counted, summed over CPUs.

use std::collections::BTreeMap;

use weir_dataplane_core::Verdict;
use weir_dataplane_core::bytes::{PacketCounter, ServiceCounter};

/// One verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerdictCounters {
    /// Which.
    pub verdict: Verdict,
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames as received. Of a frame that came in several buffers (with jumbo frames, one beyond about 3,400
    /// octets) and that the first step already passed or dropped, only those of the first buffer: to ask the kernel for the
    /// whole length would cost every packet a call. What is forwarded or answered is counted whole.
    pub bytes: u64,
}

/// One service or one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets from clients.
    pub bytes: u64,
    /// Flows that were remembered.
    pub new_flows: u64,
}

/// All counters at one moment; each is exact, but they are not read at the very same time.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// In the order of [`Verdict::ALL`].
    pub verdicts: Vec<VerdictCounters>,
    /// By service name; dropped packets of a service count as well.
    pub services: BTreeMap<String, ServiceCounters>,
    /// By pool and backend name; forwarded packets.
    pub backends: BTreeMap<(String, String), ServiceCounters>,
}

/// Sums over CPUs.
pub(crate) fn sum_packets<'a>(values: impl IntoIterator<Item = &'a PacketCounter>) -> (u64, u64) {
    values.into_iter().fold((0, 0), |(packets, bytes), v| (packets + v.packets, bytes + v.bytes))
}

/// Sums over CPUs.
pub(crate) fn sum_services<'a>(values: impl IntoIterator<Item = &'a ServiceCounter>) -> ServiceCounters {
    values.into_iter().fold(ServiceCounters::default(), |sum, v| ServiceCounters {
        packets: sum.packets + v.packets,
        bytes: sum.bytes + v.bytes,
        new_flows: sum.new_flows + v.new_flows,
    })
}
