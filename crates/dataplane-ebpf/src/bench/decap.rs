// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's decapsulation, on tables that the bench fills.

use aya_ebpf::programs::XdpContext;

use crate::agent;

/// What the agent's program does.
#[inline(never)]
pub fn decap(context: XdpContext) -> u32 {
    agent::ingress(context)
}
