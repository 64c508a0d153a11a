// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program on the egress of the check interface.

use core::ptr::{null_mut, read_volatile};

use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1};
use aya_ebpf::helpers::{bpf_redirect, bpf_redirect_neigh};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use weir_dataplane_core::check::{CHECK_VERDICTS, CheckVerdict, Directed, direct};
use weir_dataplane_ebpf::KernelSkb;

use crate::appliance::KernelTables;

/// Address families (include/linux/socket.h).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

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
        Ok(directed) => {
            // From here on it is a packet like any other: no rule of routing or filtering shall know it by its mark.
            packet.set_mark(0);
            match leave(&mut packet, &directed) as i32 {
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

/// Has the kernel send the packet after this run.
///
/// Mostly it finds the neighbour and writes the Ethernet header, also when the entry was just flushed: by the packet's
/// destination, or by the backend's address where the destination is the VIP. It cannot where a tag is to be pushed, since
/// the neighbour then is on a device above this one; the frame has the MAC addresses already.
#[inline(always)]
fn leave(packet: &mut KernelSkb, directed: &Directed) -> i64 {
    if directed.vlan != 0 {
        if !packet.push_vlan(directed.vlan) {
            return TC_ACT_SHOT as i64;
        }
        // SAFETY: the helper only notes where the packet goes after this run.
        return unsafe { bpf_redirect(directed.ifindex, 0) };
    }
    let Some(neighbour) = directed.neighbour else {
        // SAFETY: no parameters are handed over; otherwise as above.
        return unsafe { bpf_redirect_neigh(directed.ifindex, null_mut(), 0, 0) };
    };
    let (nh_family, ipv6_nh) = (if neighbour.is_v6 { AF_INET6 } else { AF_INET }, neighbour.address);
    let mut parameters =
        bpf_redir_neigh { nh_family, __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh } };
    // SAFETY: the parameters live through the call, and their size is given; otherwise as above.
    unsafe {
        bpf_redirect_neigh(directed.ifindex, &raw mut parameters, size_of::<bpf_redir_neigh>() as i32, 0)
    }
}
