// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's kernel object: decapsulation on a backend, and the MSS that its VIPs announce.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

#[path = "../agent/mod.rs"]
mod agent;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Takes the outer header off tunnel packets of appliances towards VIPs; everything else passes. Frames may lie in several
/// buffers.
#[xdp(frags)]
pub fn weir_agent(context: XdpContext) -> u32 {
    agent::ingress(context)
}

/// Lowers the MSS in SYN-ACKs of VIPs to what fits the tunnel. On the egress of the agent's interfaces.
#[classifier]
pub fn weir_mss(context: TcContext) -> i32 {
    agent::egress(context)
}
