// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's maps and the kernel's implementation of `Tables`; part of each object that runs the packet logic.

pub mod maps;
mod tables;

pub use tables::{KernelSlots, KernelTables};

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::steer::{FlowTable, Steer};
use weir_dataplane_core::{Action, Packet, Verdict, process_by};
use weir_dataplane_ebpf::KernelPacket;

/// Decides about the frame of `context`, counts, and gives the XDP action.
#[inline(always)]
pub fn ingress(context: XdpContext) -> u32 {
    ingress_by::<FlowTable>(context)
}

/// As [`ingress`], with another way to choose backends.
#[inline(always)]
pub fn ingress_by<S: Steer>(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.len();
    let outcome = process_by::<_, _, S>(&mut packet, &KernelTables);
    let (action, verdict) = match outcome.verdict.action() {
        Action::Pass => (XDP_PASS, outcome.verdict),
        Action::Drop => (XDP_DROP, outcome.verdict),
        Action::Forward if outcome.egress_ifindex == packet.ingress_ifindex() => (XDP_TX, outcome.verdict),
        Action::Forward => match maps::EGRESS.redirect(outcome.egress_ifindex, 0) {
            Ok(action) => (action, outcome.verdict),
            // The interface is no uplink (any more): the next hop is as good as none.
            Err(_) => (XDP_DROP, Verdict::DropNoNextHop),
        },
    };
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += frame_len as u64;
        }
    }
    action
}
