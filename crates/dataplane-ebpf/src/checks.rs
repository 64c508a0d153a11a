// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program on the egress of the check interface.

use core::ptr::{null_mut, read_volatile};

use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT};
use aya_ebpf::helpers::bpf_redirect_neigh;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use weir_dataplane_core::check::{CHECK_VERDICTS, CheckVerdict, direct};
use weir_dataplane_ebpf::KernelSkb;

use crate::appliance::KernelTables;

/// Check verdict to packets. Written here; read by user space of the process that attached the program.
#[map]
pub static CHECK_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(CHECK_VERDICTS, 0);

/// Upper half of the marks of health checks. Set at load.
#[unsafe(no_mangle)]
pub static CHECK_MARK: u32 = 0;

/// Sends the packet of `context` to the backend its mark names, or drops it; nothing leaves by the interface itself.
#[inline(always)]
pub fn egress(context: TcContext) -> i32 {
    let mut packet = KernelSkb::new(context);
    // SAFETY: a constant of the object. Volatile: the loader sets it, the compiler must not take it for zero.
    let base = unsafe { read_volatile(&raw const CHECK_MARK) };
    let mark = packet.mark();
    let (verdict, action) = match direct(&mut packet, &KernelTables, mark, base) {
        Ok(ifindex) => {
            // From here on it is a packet like any other: no rule of routing or filtering shall know it by its mark.
            packet.set_mark(0);
            // The kernel finds the neighbour and writes the Ethernet header, also when the entry was just flushed.
            // SAFETY: no parameters are handed over; the helper only notes where the packet goes after this run.
            match unsafe { bpf_redirect_neigh(ifindex, null_mut(), 0, 0) } as i32 {
                TC_ACT_REDIRECT => (CheckVerdict::Encapsulated, TC_ACT_REDIRECT),
                _ => (CheckVerdict::Failed, TC_ACT_SHOT),
            }
        }
        Err(verdict) => (verdict, TC_ACT_SHOT),
    };
    if let Some(counter) = CHECK_COUNTS.get_ptr_mut(verdict as u32) {
        // SAFETY: a per-CPU value that the map gave; egress runs with bottom halves off, so nobody else writes it here.
        unsafe { *counter += 1 };
    }
    action
}
