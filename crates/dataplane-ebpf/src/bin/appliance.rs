// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's kernel object: the program on the uplinks and the steps behind it, the same without effects, the one
//! that sends copies, the one for health checks, those that count what the kernel loses, and a clock for the loader.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

#[path = "../appliance/mod.rs"]
mod appliance;
#[path = "../checks.rs"]
mod checks;
#[path = "../clone.rs"]
mod clone;
#[path = "../dry.rs"]
mod dry;
#[path = "../losses.rs"]
mod losses;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::macros::{classifier, raw_tracepoint, xdp};
use aya_ebpf::programs::{RawTracePointContext, TcContext, XdpContext};
use weir_dataplane_core::Packet as _;
use weir_dataplane_core::steer::FlowTable;
use weir_dataplane_ebpf::KernelPacket;

/// Steers packets for VIPs to backends; everything else passes.
#[xdp(frags)]
pub fn weir_ingress(context: XdpContext) -> u32 {
    appliance::ingress_by::<FlowTable>(context)
}

/// Decides about what is not plain.
#[xdp(frags)]
pub fn weir_slow(context: XdpContext) -> u32 {
    appliance::slow(context)
}

/// Carries a packet to its backend in modes that are not plain.
#[xdp(frags)]
pub fn weir_encap(context: XdpContext) -> u32 {
    appliance::encap(context)
}

/// Answers a packet to its sender.
#[xdp(frags)]
pub fn weir_answer(context: XdpContext) -> u32 {
    appliance::answer(context)
}

/// Sends packets of health checks to the backends that their marks name. On the egress of the check interface.
#[classifier]
pub fn weir_checks(context: TcContext) -> i32 {
    checks::egress(context)
}

/// Has a copy of each ICMP error that [`weir_ingress`] handed over sent to every candidate of its row; all else passes.
/// On the ingress of the uplinks.
#[classifier]
pub fn weir_clone(context: TcContext) -> i32 {
    clone::ingress(context)
}

/// One copy of what [`weir_clone`] took over.
#[classifier]
pub fn weir_copy(context: TcContext) -> i32 {
    clone::copy(context)
}

/// Decides about its packet as a new flow's first, on the live tables, and encapsulates it, but counts and remembers
/// nothing. Gives the number of the verdict. Never attached: user space runs it to verify a service.
#[xdp(frags)]
pub fn weir_dry(context: XdpContext) -> u32 {
    dry::ingress(context)
}

/// The slow path behind [`weir_dry`].
#[xdp(frags)]
pub fn weir_dry_slow(context: XdpContext) -> u32 {
    dry::slow(context)
}

/// Encapsulation behind [`weir_dry`].
#[xdp(frags)]
pub fn weir_dry_encap(context: XdpContext) -> u32 {
    dry::encap(context)
}

/// Answers behind [`weir_dry`].
#[xdp(frags)]
pub fn weir_dry_answer(context: XdpContext) -> u32 {
    dry::answer(context)
}

/// Counts frames that could not be handed to the other uplink.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn weir_redirected(context: RawTracePointContext) -> u32 {
    losses::redirect_failed(&context)
}

/// Counts frames that the other uplink's driver did not take.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn weir_transmitted(context: RawTracePointContext) -> u32 {
    losses::transmitted(&context)
}

/// Counts actions that could not be carried out.
#[raw_tracepoint(tracepoint = "xdp_exception")]
pub fn weir_exception(_: RawTracePointContext) -> u32 {
    losses::exception()
}

/// Writes the kernel's jiffies, host order, into the first eight octets of its packet. Never attached: the
/// sweeper runs it to learn the tick.
#[xdp]
pub fn weir_clock(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    // SAFETY: the helper takes nothing and cannot fail.
    match packet.write(0, unsafe { bpf_jiffies64() }) {
        Some(()) => XDP_PASS,
        None => XDP_ABORTED,
    }
}
