// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet logic on the live tables without a trace: nothing is counted, and the flow table is neither asked nor written,
//! so that the answer is what a flow nobody knows would get.

use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::hash::{KeyV4, KeyV6};
use weir_dataplane_core::{
    Action, BackendValue, Count, NextHopValue, Packet as _, Row, ServiceKey, ServiceValue, Tables, Verdict,
    process,
};
use weir_dataplane_ebpf::KernelPacket;

use crate::appliance::{KernelSlots, KernelTables, maps};

/// Decides about the frame of `context` and turns it into the frame that would leave. Gives the number of the verdict.
#[inline(always)]
pub fn decide(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let outcome = process(&mut packet, &DryTables(KernelTables));
    let by = outcome.egress_ifindex;
    let is_lost = outcome.verdict.action() == Action::Forward
        && by != packet.ingress_ifindex()
        && maps::EGRESS.get_ifindex(by).is_none();
    // As for a packet that came in by another uplink: an interface that is none is as good as no next hop.
    let verdict = if is_lost { Verdict::DropNoNextHop } else { outcome.verdict };
    verdict as u32
}

/// The appliance's maps, to be looked at only.
struct DryTables(KernelTables);

impl Tables for DryTables {
    type Slots = KernelSlots;

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        self.0.service(key)
    }

    #[inline(always)]
    fn pool_rows(&self, pool: u32) -> Option<u64> {
        self.0.pool_rows(pool)
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<Row> {
        self.0.row(index)
    }

    #[inline(always)]
    fn backend(&self, id: u16) -> Option<&BackendValue> {
        self.0.backend(id)
    }

    #[inline(always)]
    fn next_hop(&self, id: u16) -> Option<&NextHopValue> {
        self.0.next_hop(id)
    }

    #[inline(always)]
    fn flow_set(&self, _hash: u64) -> Option<KernelSlots> {
        None
    }

    #[inline(always)]
    fn tick(&self) -> u16 {
        0
    }

    #[inline(always)]
    fn count(&self, _count: &Count) {}

    #[inline(always)]
    fn key_v4(&self) -> KeyV4 {
        self.0.key_v4()
    }

    #[inline(always)]
    fn key_v6(&self) -> KeyV6 {
        self.0.key_v6()
    }
}
