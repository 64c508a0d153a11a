// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs at the kernel's tracepoints of XDP: they count frames that were lost behind the program on the uplinks.
//!
//! Arguments are those of the tracepoints (include/trace/events/xdp.h), the same from Linux 5.13 to 6.18. Only numbers are
//! read, no structure of the kernel, so that no layout need be known. A failed redirect names the map that it went by, and
//! only ours is counted; the other two do not say whose frames they were, so those of other XDP programs count as well.

use core::ptr::read_volatile;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::RawTracePointContext;
use weir_dataplane_core::loss::{LOSSES, Loss};

/// Loss to frames. Written here; read by user space of the process that attached the programs.
#[map]
pub static LOSS_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSSES, 0);

/// The kernel's id of the device map. Written by user space before anything is attached.
#[map]
pub static LOSS_OF_MAP: Array<u32> = Array::with_max_entries(1, 0);

/// `xdp_redirect_err(dev, xdp, target, err, map_type, map_id, index)`: one frame.
#[inline(always)]
pub fn redirect_failed(context: &RawTracePointContext) -> u32 {
    let (error, map_id): (i32, u32) = (context.arg(3), context.arg(5));
    let ours = LOSS_OF_MAP.get(0).map_or(0, |id| {
        // SAFETY: a value of an array map, which stays. Volatile: user space wrote it.
        unsafe { read_volatile(id) }
    });
    if map_id == ours {
        count(Loss::of_redirect(error), 1);
    }
    0
}

/// `xdp_devmap_xmit(from, to, sent, drops, err)`: up to 16 frames that a driver was handed.
#[inline(always)]
pub fn transmitted(context: &RawTracePointContext) -> u32 {
    let drops: i32 = context.arg(3);
    if drops > 0 {
        count(Loss::Driver, drops as u64);
    }
    0
}

/// `xdp_exception(dev, xdp, action)`: one frame, or some of a driver that does not say how many.
#[inline(always)]
pub fn exception() -> u32 {
    count(Loss::Exception, 1);
    0
}

#[inline(always)]
fn count(loss: Loss, frames: u64) {
    if let Some(counter) = LOSS_COUNTS.get_ptr_mut(loss as u32) {
        // SAFETY: a per-CPU value that the map gave. An interrupt between reading and writing may lose a count, no more.
        unsafe { *counter += frames };
    }
}
