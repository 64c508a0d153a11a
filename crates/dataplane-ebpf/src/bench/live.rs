// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What live frames need besides the floors: a sender and a redirection, both to interfaces that the harness's map names.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_TX};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::XdpContext;

use super::floors;
use super::harness::HARNESS;

/// Sends the frame, which the harness has just made, by the sender's interface.
#[inline(never)]
pub fn send(_context: XdpContext) -> u32 {
    let Some(harness) = HARNESS.get_ptr(0) else { return XDP_ABORTED };
    // SAFETY: the map's only value, which user space writes between two batches; a plain number.
    let interface = unsafe { (*harness).send_by };
    redirect(interface)
}

/// Encapsulates as the floor does and hands the frame on by another interface.
#[inline(always)]
pub fn encap_and_redirect(context: XdpContext) -> u32 {
    if floors::encap_v4(context) != XDP_TX {
        return XDP_ABORTED;
    }
    let Some(harness) = HARNESS.get_ptr(0) else { return XDP_ABORTED };
    // SAFETY: as in `send`.
    let interface = unsafe { (*harness).hand_on_by };
    redirect(interface)
}

#[inline(always)]
fn redirect(interface: u32) -> u32 {
    // SAFETY: takes two numbers. An interface that is not there is an error that the kernel counts.
    (unsafe { bpf_redirect(interface, 0) }) as u32
}
