// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame on its way out, in traffic control.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO,
};
use aya_ebpf::programs::TcContext;
use weir_dataplane_core::Packet;
use weir_dataplane_core::parse::{IPV4_HEADER, IPV6_HEADER};

/// Largest offset that is ever read, plus room for the largest type: keeps the verifier's idea of offsets small.
const OFFSET_MAX: usize = 512;
/// `BPF_ADJ_ROOM_MAC` (include/uapi/linux/bpf.h): room behind the Ethernet header.
const ROOM_MAC: u32 = 1;

/// The frame of a run in traffic control.
///
/// Only its linear part can be read; the kernel builds headers there. It is written through the verifier's own copy-on-write,
/// since TCP keeps a clone of what it sends.
pub struct KernelSkb {
    context: TcContext,
    start: usize,
    end: usize,
}

impl KernelSkb {
    /// The frame of `context`.
    #[inline(always)]
    pub fn new(context: TcContext) -> Self {
        let (start, end) = bounds(&context);
        Self { context, start, end }
    }

    /// The mark that its socket gave it.
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: the context of the running program; the verifier turns it into a read of the kernel's field.
        unsafe { (*self.context.skb.skb).mark }
    }

    /// Gives it another mark.
    #[inline(always)]
    pub fn set_mark(&mut self, mark: u32) {
        self.context.set_mark(mark);
    }

    #[inline(always)]
    fn at<T>(&self, off: usize) -> Option<*mut T> {
        if off > OFFSET_MAX || self.start + off + size_of::<T>() > self.end {
            return None;
        }
        Some((self.start + off) as *mut T)
    }
}

impl Packet for KernelSkb {
    #[inline(always)]
    fn len(&self) -> u32 {
        // All of it, not only what can be read here.
        self.context.len()
    }

    #[inline(always)]
    fn total_len(&self) -> u32 {
        self.context.len()
    }

    #[inline(always)]
    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        // SAFETY: `at` checked that the whole of `T` lies in the linear part. The kernel runs on machines with efficient
        // unaligned access, where the verifier accepts loads that are two-byte aligned.
        self.at::<T>(off).map(|p| unsafe { *p })
    }

    #[inline(always)]
    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        // SAFETY: as in `read`; the kernel made the part its own before the program began, since the program writes.
        self.at::<T>(off).map(|p| unsafe { *p = value })
    }

    /// Room for an outer IPv4 or IPv6 header; the kernel notes that the packet is encapsulated, so that offloads of
    /// checksums still find the inner transport header. The Ethernet header moves to the front, as in XDP.
    #[inline(always)]
    fn grow_front(&mut self, bytes: usize) -> bool {
        let family = match bytes {
            IPV4_HEADER => BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
            IPV6_HEADER => BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
            _ => return false,
        };
        let flags = (family | BPF_F_ADJ_ROOM_FIXED_GSO) as u64;
        if self.context.adjust_room(bytes as i32, ROOM_MAC, flags).is_err() {
            return false;
        }
        (self.start, self.end) = bounds(&self.context);
        true
    }

    #[inline(always)]
    fn shrink_front(&mut self, _bytes: usize) -> bool {
        false
    }

    #[inline(always)]
    fn truncate(&mut self, _len: u32) -> bool {
        false
    }

    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        0
    }
}

/// First octet and end of the linear part, opaque to the optimiser for the reason given in `packet.rs`.
#[inline(always)]
fn bounds(context: &TcContext) -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: reads `data` and `data_end` of `struct __sk_buff`, which the verifier turns into pointers.
    unsafe {
        asm!(
            "{start} = *(u32 *)({context} + 76)",
            "{end} = *(u32 *)({context} + 80)",
            context = in(reg) context.as_ptr(),
            start = out(reg) start,
            end = out(reg) end,
            options(nostack, readonly)
        );
    }
    (start, end)
}
