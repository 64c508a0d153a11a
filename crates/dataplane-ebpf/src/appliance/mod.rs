// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's maps and the kernel's implementation of `Tables`; part of each object that runs the packet logic.
//!
//! Each step of the packet logic (`weir_dataplane_core::process`) is a program; one that hands on ends in a tail call.

pub mod maps;
mod tables;

pub use tables::{DRY, KernelSlots, KernelTables, plan, set_plan};

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::steer::Steer;
use weir_dataplane_core::{Action, Outcome, Packet, Step, Tables, Verdict, answer, encap, ingress, slow};
use weir_dataplane_ebpf::KernelPacket;

/// Index of the first live step in the step table.
pub const LIVE_STEPS: u32 = 0;
/// Index of the first dry step.
pub const DRY_STEPS: u32 = 3;

/// The first step, with `S` as the way to choose backends.
#[inline(always)]
pub fn ingress_by<S: Steer>(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.len();
    let step = ingress::ingress::<_, _, S>(&mut packet, &KernelTables);
    finish(&packet, step, frame_len)
}

/// The slow path.
#[inline(always)]
pub fn slow(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.total_len();
    let step = slow::slow(&mut packet, &KernelTables);
    finish(&packet, step, frame_len)
}

/// Encapsulation by the plan.
#[inline(always)]
pub fn encap(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = KernelTables.plan().map_or(0, |plan| plan.frame_len);
    let step = encap::encap(&mut packet, &KernelTables);
    finish(&packet, step, frame_len)
}

/// Answer by the plan.
#[inline(always)]
pub fn answer(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = KernelTables.plan().map_or(0, |plan| plan.frame_len);
    let step = answer::answer(&mut packet, &KernelTables);
    finish(&packet, step, frame_len)
}

/// Goes on to the next step, or counts and gives the XDP action.
#[inline(always)]
fn finish(packet: &KernelPacket, step: Step, frame_len: u32) -> u32 {
    let outcome = match step {
        Step::Done(outcome) => outcome,
        Step::Slow | Step::Encap | Step::Answer => go_on(packet, step, LIVE_STEPS),
    };
    let egress = outcome.egress_ifindex;
    // By the interface and not by the verdict, which would be asked for its action: only what is forwarded has one.
    let (action, verdict) = if egress == packet.ingress_ifindex() {
        (XDP_TX, outcome.verdict)
    } else if egress != 0 {
        match maps::EGRESS.redirect(egress, 0) {
            Ok(action) => (action, outcome.verdict),
            // The interface is no uplink (any more): the next hop is as good as none.
            Err(_) => (XDP_DROP, Verdict::DropNoNextHop),
        }
    } else {
        let action = match outcome.verdict.action() {
            Action::Pass => XDP_PASS,
            Action::Drop | Action::Forward => XDP_DROP,
            Action::Answer => XDP_TX,
        };
        (action, outcome.verdict)
    };
    count_verdict(verdict, frame_len);
    action
}

/// Counts a frame of `frame_len` octets for `verdict`.
#[inline(always)]
pub fn count_verdict(verdict: Verdict, frame_len: u32) {
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: a per-CPU value that the map gave; XDP and traffic control run to their end on this CPU with bottom halves
        // off, so nobody else writes it.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += frame_len as u64;
        }
    }
}

/// Runs the program of `step`, the steps of this kind of run beginning at index `first`. Comes back only if it is missing.
#[inline(always)]
pub fn go_on(packet: &KernelPacket, step: Step, first: u32) -> Outcome {
    let index = match step {
        Step::Slow => 0,
        Step::Encap => 1,
        Step::Answer | Step::Done(_) => 2,
    };
    // SAFETY: the context is that of the running program. On success the helper does not return.
    unsafe { maps::STEPS.tail_call(packet.context(), first + index) };
    Outcome { verdict: Verdict::DropInternal, egress_ifindex: 0 }
}
