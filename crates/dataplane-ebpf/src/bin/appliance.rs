// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's kernel object: the program on the uplinks, the same without effects, the one for health
//! checks, and a clock for the loader.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

#[path = "../appliance/mod.rs"]
mod appliance;
#[path = "../checks.rs"]
mod checks;
#[path = "../dry.rs"]
mod dry;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_dataplane_core::Packet as _;
use weir_dataplane_ebpf::KernelPacket;

/// Steers packets for VIPs to backends; everything else passes.
#[xdp]
pub fn weir_ingress(context: XdpContext) -> u32 {
    appliance::ingress(context)
}

/// Sends packets of health checks to the backends that their marks name. On the egress of the check interface.
#[classifier]
pub fn weir_checks(context: TcContext) -> i32 {
    checks::egress(context)
}

/// Decides about its packet as a new flow's first, on the live tables, and encapsulates it, but counts and remembers
/// nothing. Gives the number of the verdict. Never attached: user space runs it to verify a service.
#[xdp]
pub fn weir_dry(context: XdpContext) -> u32 {
    dry::decide(context)
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
