// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's kernel object: decapsulation on a backend.
#![no_std]
#![no_main]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

#[path = "../agent/mod.rs"]
mod agent;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Takes the outer header off tunnel packets of appliances towards VIPs; everything else passes.
#[xdp]
pub fn weir_agent(context: XdpContext) -> u32 {
    agent::ingress(context)
}
