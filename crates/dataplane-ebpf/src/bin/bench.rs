// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Floors that the bench measures the appliance against.
#![no_std]
#![no_main]
#![expect(unreachable_pub, reason = "programs and maps are found by name, not by path")]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use weir_dataplane_ebpf as _;

/// Does nothing.
#[xdp]
pub fn floor_empty(_context: XdpContext) -> u32 {
    XDP_PASS
}
