// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame in traffic control: on its way out, or after XDP on its way in.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
    BPF_F_ADJ_ROOM_FIXED_GSO,
};
use aya_ebpf::helpers::{bpf_skb_change_head, bpf_skb_vlan_pop, bpf_skb_vlan_push};
use aya_ebpf::programs::TcContext;
use weir_dataplane_core::mss::Change;
use weir_dataplane_core::packet::OFFSET_MAX;
use weir_dataplane_core::{Encapsulation, Packet};

/// `BPF_ADJ_ROOM_MAC` (include/uapi/linux/bpf.h): room behind the Ethernet header.
const ROOM_MAC: u32 = 1;

/// What one run leaves for the next beside the frame.
#[derive(Clone, Copy)]
pub struct Notes {
    /// Candidate of the row whose turn it is.
    pub position: u32,
    /// Not 0: one before it had a copy.
    pub made: u32,
}

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

    /// Has the kernel push an 802.1Q tag with this VLAN id.
    #[inline(always)]
    pub fn push_vlan(&mut self, vlan: u16) -> bool {
        const ETHERTYPE_VLAN: u16 = 0x8100;
        // SAFETY: the context of the running program; packet pointers are not used after it.
        unsafe { bpf_skb_vlan_push(self.context.skb.skb, ETHERTYPE_VLAN.to_be(), vlan) == 0 }
    }

    /// The context of the running program, for a tail call.
    #[inline(always)]
    pub fn context(&self) -> &TcContext {
        &self.context
    }

    /// What the program before left.
    #[inline(always)]
    pub fn notes(&self) -> Notes {
        // SAFETY: the context of the running program; the verifier turns these into reads of the kernel's fields.
        unsafe { Notes { position: (*self.context.skb.skb).cb[0], made: (*self.context.skb.skb).cb[1] } }
    }

    /// Leaves this for the program behind the next tail call.
    #[inline(always)]
    pub fn set_notes(&mut self, notes: Notes) {
        // SAFETY: as in `notes`.
        unsafe {
            (*self.context.skb.skb).cb[0] = notes.position;
            (*self.context.skb.skb).cb[1] = notes.made;
        }
    }

    /// Has at least `len` octets, or as many as the frame has, lie in the part that can be read.
    #[inline(always)]
    pub fn make_readable(&mut self, len: u32) -> bool {
        let all = self.context.len();
        let is_pulled = self.context.pull_data(if all < len { all } else { len }).is_ok();
        (self.start, self.end) = bounds(&self.context);
        is_pulled
    }

    /// Gives the frame a link-layer header of `len` octets, all zeros, in front of what can be seen of it.
    #[inline(always)]
    pub fn open_head(&mut self, len: u32) -> bool {
        // SAFETY: the context of the running program; packet pointers are derived anew below.
        let is_done = unsafe { bpf_skb_change_head(self.context.skb.skb, len, 0) == 0 };
        (self.start, self.end) = bounds(&self.context);
        is_done
    }

    /// Forgets a tag that the device took off on receipt and the kernel keeps beside the frame: it belongs to the link that
    /// the frame came by, and would leave with every copy.
    #[inline(always)]
    pub fn forget_vlan(&mut self) -> bool {
        let skb = self.context.skb.skb;
        // SAFETY: the context of the running program; packet pointers are derived anew below.
        let is_bare = unsafe { (*skb).vlan_present == 0 || bpf_skb_vlan_pop(skb) == 0 };
        (self.start, self.end) = bounds(&self.context);
        is_bare
    }

    /// Sends a copy of the frame by interface `ifindex`. The frame stays.
    #[inline(always)]
    pub fn send_copy(&mut self, ifindex: u32) -> bool {
        let is_sent = self.context.clone_redirect(ifindex, 0).is_ok();
        (self.start, self.end) = bounds(&self.context);
        is_sent
    }

    /// Opens `bytes` octets behind the Ethernet header, or closes as many when negative, and tells the kernel nothing of
    /// what for.
    #[inline(always)]
    pub fn adjust_room(&mut self, bytes: i32) -> bool {
        let is_done = self.context.adjust_room(bytes, ROOM_MAC, 0).is_ok();
        (self.start, self.end) = bounds(&self.context);
        is_done
    }

    /// Makes a change of the MSS. The helpers know whether the checksum is whole or is yet to be finished by the device,
    /// which must not be told of the change twice.
    #[inline(always)]
    pub fn replace(self, change: &Change) {
        const SIZE: u64 = 2;
        let (old, new) = change.words();
        let checked = self.context.l4_csum_replace(change.checksum, old as u64, new as u64, SIZE);
        // If the second should fail where the first did not, the client drops a packet that is sent again.
        if checked.is_ok() {
            let _ = self.context.store(change.at, &change.new.to_be(), 0);
        }
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

    #[inline(always)]
    fn grow_front(&mut self, _bytes: usize) -> bool {
        // Not without saying what for.
        false
    }

    /// The kernel notes that the packet is encapsulated, so that offloads of checksums still find the inner transport header,
    /// and which family it is of now. The Ethernet header moves to the front, as in XDP.
    #[inline(always)]
    fn open_front(&mut self, bytes: usize, kind: Encapsulation) -> bool {
        let family = if kind.is_v6 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 };
        let udp = if kind.is_udp { BPF_F_ADJ_ROOM_ENCAP_L4_UDP } else { 0 };
        let flags = (family | udp | BPF_F_ADJ_ROOM_FIXED_GSO) as u64;
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
