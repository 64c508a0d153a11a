// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's maps and the kernel's implementation of `Tables`; part of each object that runs the packet logic.

pub mod maps;
mod tables;

pub use tables::KernelTables;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::bytes::{PacketCounter, ServiceCounter};
use weir_dataplane_core::{Action, Outcome, Packet, process};
use weir_dataplane_ebpf::KernelPacket;

/// Decides about the frame of `context`, counts, and gives the XDP action.
#[inline(always)]
pub fn ingress(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.len();
    let outcome = process(&mut packet, &KernelTables);
    count(&outcome, frame_len);
    match outcome.verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Forward if outcome.egress_ifindex == packet.ingress_ifindex() => XDP_TX,
        Action::Forward => maps::EGRESS.redirect(outcome.egress_ifindex, XDP_DROP as u64).unwrap_or(XDP_DROP),
    }
}

#[inline(always)]
fn count(outcome: &Outcome, frame_len: u32) {
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(outcome.verdict as u32) {
        add_packet(counter, frame_len);
    }
    if outcome.service == Outcome::NO_SERVICE {
        return;
    }
    let new = outcome.is_new_flow() as u64;
    if let Some(counter) = maps::SERVICE_COUNTS.get_ptr_mut(outcome.service) {
        add(counter, outcome.ip_len, new);
    }
    if outcome.backend != 0
        && let Some(counter) = maps::BACKEND_COUNTS.get_ptr_mut(outcome.backend as u32)
    {
        add(counter, outcome.ip_len, new);
    }
}

#[inline(always)]
fn add_packet(counter: *mut PacketCounter, bytes: u32) {
    // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes as u64;
    }
}

#[inline(always)]
fn add(counter: *mut ServiceCounter, bytes: u32, new_flows: u64) {
    // SAFETY: as in `add_packet`.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes as u64;
        (*counter).new_flows += new_flows;
    }
}
