// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bench's kernel object: floors, the appliance's logic on the appliance's tables, and the same with a kernel LRU map,
//! each behind the harness that puts the packet back between two runs, only run by test-run. And what the bench of live
//! frames attaches to veth pairs (`live_*`): a sender, the floors without a harness, and the far end.
//!
//! Every other program is entry -> harness (inlined) -> call of the program under test, so what the harness and the call
//! cost is the same everywhere and is what `floor_empty_*` measures.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

#[path = "../agent/mod.rs"]
mod agent;
#[path = "../appliance/mod.rs"]
mod appliance;
#[path = "../bench/mod.rs"]
mod bench;

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use bench::{decap, floors, harness, live, lru};
use weir_dataplane_core::steer::FlowTable;

/// Nothing, behind the IPv4 harness.
#[xdp(frags)]
pub fn floor_empty_v4(context: XdpContext) -> u32 {
    harness::v4(context, floors::empty)
}

/// Nothing, behind the IPv6 harness.
#[xdp(frags)]
pub fn floor_empty_v6(context: XdpContext) -> u32 {
    harness::v6(context, floors::empty)
}

/// One `adjust_head`; the harness undoes it by another.
#[xdp(frags)]
pub fn floor_adjust(context: XdpContext) -> u32 {
    harness::v4(context, floors::adjust_head)
}

/// Parse, swap the MAC addresses.
#[xdp(frags)]
pub fn floor_mac_swap(context: XdpContext) -> u32 {
    harness::v4(context, floors::mac_swap)
}

/// Parse, IPv4 in IPv4.
#[xdp(frags)]
pub fn floor_encap_v4(context: XdpContext) -> u32 {
    harness::v4(context, floors::encap_v4)
}

/// Parse, IPv6 in IPv6.
#[xdp(frags)]
pub fn floor_encap_v6(context: XdpContext) -> u32 {
    harness::v6(context, floors::encap_v6)
}

/// Parse, IPv4 in GUE.
#[xdp(frags)]
pub fn floor_encap_gue(context: XdpContext) -> u32 {
    harness::v4(context, floors::encap_gue)
}

/// The appliance, IPv4 packets.
#[xdp(frags)]
pub fn case_weir_v4(context: XdpContext) -> u32 {
    harness::v4(context, weir)
}

/// The appliance, IPv6 packets.
#[xdp(frags)]
pub fn case_weir_v6(context: XdpContext) -> u32 {
    harness::v6(context, weir)
}

/// The variant with a kernel LRU map.
#[xdp(frags)]
pub fn case_lru_v4(context: XdpContext) -> u32 {
    harness::v4(context, lru::ingress)
}

/// The agent.
#[xdp(frags)]
pub fn case_decap(context: XdpContext) -> u32 {
    harness::same(context, decap::decap)
}

/// The next IPv4 flow's packet, sent by the interface that the harness names. Run by test-run with live frames.
#[xdp(frags)]
pub fn live_send(context: XdpContext) -> u32 {
    harness::v4(context, live::send)
}

/// Drops: the least that an interface can do, and the far end of the others.
#[xdp(frags)]
pub fn live_drop(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// The MAC swap without a harness.
#[xdp(frags)]
pub fn live_mac_swap(context: XdpContext) -> u32 {
    floors::mac_swap(context)
}

/// The encapsulation floor without a harness.
#[xdp(frags)]
pub fn live_encap_v4(context: XdpContext) -> u32 {
    floors::encap_v4(context)
}

/// The same, handed on by the interface that the harness names.
#[xdp(frags)]
pub fn live_redirect(context: XdpContext) -> u32 {
    live::encap_and_redirect(context)
}

/// The whole of the appliance's program.
#[inline(never)]
fn weir(context: XdpContext) -> u32 {
    appliance::ingress_by::<FlowTable>(context)
}
