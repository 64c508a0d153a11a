// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet logic on the live tables without a trace: nothing is counted, and the flow table is neither asked nor written,
//! so that the answer is what a flow nobody knows would get.

use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::bytes::Address;
use weir_dataplane_core::hash::{KeyV4, KeyV6};
use weir_dataplane_core::steer::FlowTable;
use weir_dataplane_core::{
    Action, BackendValue, Count, FragmentKey, FragmentValue, Knobs, NextHopValue, Packet as _, Plan,
    PrefixValue, Row, ServiceKey, ServiceValue, Step, Tables, Verdict, answer, encap, ingress, slow,
};
use weir_dataplane_ebpf::KernelPacket;

use crate::appliance::{DRY, DRY_STEPS, KernelSlots, KernelTables, go_on, maps, plan, set_plan};

/// The first step.
#[inline(always)]
pub fn ingress(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let step = ingress::ingress::<_, _, FlowTable>(&mut packet, &DryTables(KernelTables));
    finish(&packet, step)
}

/// The slow path.
#[inline(always)]
pub fn slow(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let step = slow::slow(&mut packet, &DryTables(KernelTables));
    finish(&packet, step)
}

/// Encapsulation by the plan.
#[inline(always)]
pub fn encap(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let step = encap::encap(&mut packet, &DryTables(KernelTables));
    finish(&packet, step)
}

/// Answer by the plan.
#[inline(always)]
pub fn answer(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let step = answer::answer(&mut packet, &DryTables(KernelTables));
    finish(&packet, step)
}

/// Goes on to the next step, or gives the number of the verdict; the frame is then the one that would leave.
#[inline(always)]
fn finish(packet: &KernelPacket, step: Step) -> u32 {
    let outcome = match step {
        Step::Done(outcome) => outcome,
        Step::Slow | Step::Encap | Step::Answer => go_on(packet, step, DRY_STEPS),
    };
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
    fn knobs(&self) -> Option<&Knobs> {
        self.0.knobs()
    }

    #[inline(always)]
    fn prefix(&self, address: &Address) -> Option<PrefixValue> {
        self.0.prefix(address)
    }

    #[inline(always)]
    fn take(&self, _index: u32, limit: u32) -> bool {
        limit != 0
    }

    #[inline(always)]
    fn learn(&self, limit: u32) -> bool {
        limit != 0
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.0.fragment(key)
    }

    #[inline(always)]
    fn set_fragment(&self, _key: &FragmentKey, _value: &FragmentValue) {}

    #[inline(always)]
    fn plan(&self) -> Option<Plan> {
        plan(DRY)
    }

    #[inline(always)]
    fn set_plan(&self, plan: &Plan) -> bool {
        set_plan(DRY, plan)
    }

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
