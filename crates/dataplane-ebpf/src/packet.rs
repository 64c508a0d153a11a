// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame in XDP.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use weir_dataplane_core::Packet;
use weir_dataplane_core::packet::{OFFSET_MAX, WORD_OFFSET_MAX};

/// The frame of an XDP program run.
///
/// Start and end are read once and again after the frame grew or shrank, when the old pointers are void.
pub struct KernelPacket {
    context: XdpContext,
    start: usize,
    end: usize,
}

impl KernelPacket {
    /// The frame of `context`.
    #[inline(always)]
    pub fn new(context: XdpContext) -> Self {
        let (start, end) = bounds(&context);
        Self { context, start, end }
    }

    /// The context of the running program, for a tail call.
    #[inline(always)]
    pub fn context(&self) -> &XdpContext {
        &self.context
    }

    #[inline(always)]
    fn at<T>(&self, off: usize) -> Option<*mut T> {
        if off > OFFSET_MAX || self.start + off + size_of::<T>() > self.end {
            return None;
        }
        Some((self.start + off) as *mut T)
    }

    /// As [`Self::at`], for constants. Told that addresses do not wrap, the compiler drops what an earlier check implies. The
    /// verifier agrees where all offsets are constants: a check is remembered for the frame's start. An offset that is added at run
    /// time makes a pointer that it knows nothing of (6.18: `invalid access to packet`).
    #[inline(always)]
    fn fixed<const OFF: usize, T>(&self) -> Option<*mut T> {
        const { assert!(OFF <= OFFSET_MAX) };
        // SAFETY: a frame lies in memory with more than 512 octets behind it before addresses end.
        let (at, end) = unsafe {
            let at = self.start.unchecked_add(OFF);
            (at, at.unchecked_add(size_of::<T>()))
        };
        if end > self.end { None } else { Some(at as *mut T) }
    }

    #[inline(always)]
    fn adjust(&mut self, delta: i32) -> bool {
        // SAFETY: the context is that of the running program; all packet pointers are derived anew below.
        let status = unsafe { bpf_xdp_adjust_head(self.context.as_ptr().cast(), delta) };
        if status != 0 {
            return false;
        }
        (self.start, self.end) = bounds(&self.context);
        true
    }
}

impl Packet for KernelPacket {
    #[inline(always)]
    fn len(&self) -> u32 {
        (self.end - self.start) as u32
    }

    #[inline(always)]
    fn total_len(&self) -> u32 {
        // SAFETY: the context is that of the running program.
        (unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) }) as u32
    }

    #[inline(always)]
    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        // SAFETY: `at` checked that the whole of `T` lies in the frame. The kernel runs on machines with efficient
        // unaligned access, where the verifier accepts loads that are two-byte aligned.
        self.at::<T>(off).map(|p| unsafe { *p })
    }

    #[inline(always)]
    fn word(&self, off: usize) -> Option<u32> {
        if off > WORD_OFFSET_MAX || self.start + off + size_of::<u32>() > self.end {
            return None;
        }
        // SAFETY: the whole word lies in the frame; otherwise as in `read`.
        Some(unsafe { *((self.start + off) as *const u32) })
    }

    #[inline(always)]
    fn launder(&self, off: usize) -> usize {
        let mut laundered = off as u64;
        // SAFETY: plain arithmetic that ends where it began. The verifier does not see that the two cancel out; it keeps the
        // range and forgets the constant (needed on 6.18; guarded by the test of verified instructions).
        unsafe {
            asm!(
                "{off} ^= {salt}",
                "{off} ^= {salt}",
                "{off} &= 0x3ff",
                off = inout(reg) laundered,
                salt = in(reg) self.ingress_ifindex() as u64,
                options(nomem, nostack, pure)
            );
        }
        laundered as usize
    }

    #[inline(always)]
    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        // SAFETY: as in `read`; the frame is this program's alone while it runs.
        self.at::<T>(off).map(|p| unsafe { *p = value })
    }

    #[inline(always)]
    fn read_at<const OFF: usize, T: Copy>(&self) -> Option<T> {
        // SAFETY: as in `read`.
        self.fixed::<OFF, T>().map(|p| unsafe { *p })
    }

    #[inline(always)]
    fn write_at<const OFF: usize, T: Copy>(&mut self, value: T) -> Option<()> {
        // SAFETY: as in `write`.
        self.fixed::<OFF, T>().map(|p| unsafe { *p = value })
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: usize) -> bool {
        self.adjust(-(bytes as i32))
    }

    #[inline(always)]
    fn shrink_front(&mut self, bytes: usize) -> bool {
        self.adjust(bytes as i32)
    }

    #[inline(always)]
    fn truncate(&mut self, len: u32) -> bool {
        let delta = len.wrapping_sub(self.total_len()) as i32;
        // SAFETY: as in `adjust`. Only ever fewer octets: what growing would show is not ours to send.
        if delta > 0 || unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), delta) } != 0 {
            return false;
        }
        (self.start, self.end) = bounds(&self.context);
        true
    }

    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }
}

/// First octet and end of the frame, opaque to the optimiser: it would otherwise compare the 32-bit context fields and
/// derive equalities that the verifier does not follow (6.1 to 6.18: `invalid access to packet`).
#[inline(always)]
fn bounds(context: &XdpContext) -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: reads `data` and `data_end`, the first two words of `struct xdp_md`, which the verifier turns into pointers.
    unsafe {
        asm!(
            "{start} = *(u32 *)({context} + 0)",
            "{end} = *(u32 *)({context} + 4)",
            context = in(reg) context.as_ptr(),
            start = out(reg) start,
            end = out(reg) end,
            options(nostack, readonly)
        );
    }
    (start, end)
}
