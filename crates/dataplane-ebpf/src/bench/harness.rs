// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Puts the packet of a repeated test run back, as the next flow's, and calls the program under test.

use core::ptr::read_volatile;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::Packet as _;
use weir_dataplane_core::parse::{ETHERNET_HEADER, ETHERTYPE_OFFSET};
use weir_dataplane_ebpf::KernelPacket;

use super::layout::{self, Harness, WORDS_V4, WORDS_V6};

/// Frame and flows of the running batch. Written by the bench before it, and here.
#[map]
pub static HARNESS: Array<Harness> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The next IPv4 flow's packet to `program`.
#[inline(always)]
pub fn v4(context: XdpContext, program: impl Fn(XdpContext) -> u32) -> u32 {
    run::<WORDS_V4, true>(context, program)
}

/// The next IPv6 flow's packet to `program`.
#[inline(always)]
pub fn v6(context: XdpContext, program: impl Fn(XdpContext) -> u32) -> u32 {
    run::<WORDS_V6, true>(context, program)
}

/// The very same packet, an IPv4 one, to `program`.
#[inline(always)]
pub fn same(context: XdpContext, program: impl Fn(XdpContext) -> u32) -> u32 {
    run::<WORDS_V4, false>(context, program)
}

#[inline(always)]
fn run<const WORDS: usize, const FLOWS: bool>(
    context: XdpContext,
    program: impl Fn(XdpContext) -> u32,
) -> u32 {
    match restore::<WORDS, FLOWS>(&context) {
        Some(()) => program(context),
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn restore<const WORDS: usize, const FLOWS: bool>(context: &XdpContext) -> Option<()> {
    let harness = HARNESS.get_ptr_mut(0)?;
    let mut packet = KernelPacket::new(XdpContext::new(context.ctx));
    // SAFETY: the map's only value; one batch runs at a time, on one CPU.
    let frame_len = unsafe { (*harness).frame_len };
    let excess = packet.len().wrapping_sub(frame_len) as i32;
    if excess > 0 && !packet.shrink_front(excess as usize) {
        return None;
    }
    if excess < 0 && !packet.grow_front(-excess as usize) {
        return None;
    }
    // Word by word and volatile, or the compiler makes calls of `memcpy`, which copies octet by octet on this target.
    let mut words = [0; WORDS];
    let mut index = 0;
    while index < WORDS {
        // SAFETY: as above; `WORDS` is at most the array's length.
        words[index] = unsafe { read_volatile((&raw const (*harness).words).cast::<u32>().add(index)) };
        index += 1;
    }
    if FLOWS {
        // SAFETY: as above.
        let number = unsafe {
            let state = layout::advance((*harness).state);
            (*harness).state = state;
            state & (*harness).mask | (*harness).base
        };
        // The ports are the last word; the last word of the source address is the IPv4 header's fourth, the IPv6 header's
        // sixth.
        words[if WORDS == WORDS_V4 { 3 } else { 5 }] = layout::source(number);
        words[WORDS - 1] = layout::ports(number, words[WORDS - 1]);
    }
    // SAFETY: as above.
    let (ethernet, ethertype) = unsafe {
        let word = |index: usize| read_volatile((&raw const (*harness).ethernet).cast::<u32>().add(index));
        ([word(0), word(1), word(2)], (*harness).ethertype)
    };
    packet.write(0, ethernet)?;
    packet.write(ETHERTYPE_OFFSET, ethertype)?;
    packet.write(ETHERNET_HEADER, words)
}
