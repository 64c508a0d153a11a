// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's maps and the kernel's implementation of `AgentTables`; part of each object that runs the decapsulation.

use core::hint::black_box;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_dataplane_core::bytes::{Address, PacketCounter};
use weir_dataplane_core::decap::{self, AgentOutcome, AgentTables, decapsulate};
use weir_dataplane_core::mss::{MSS_VERDICTS, MssTables, MssVerdict, clamp};
use weir_dataplane_core::{Action, Packet as _};
use weir_dataplane_ebpf::{KernelPacket, KernelSkb};

/// Prefixes of outer sources, IPv4 mapped, to 1. Written by user space; full: the document is refused.
#[map]
pub static AGENT_SOURCES: LpmTrie<Address, u32> = LpmTrie::with_max_entries(decap::APPLIANCES_MAX, 0);

/// Prefixes of inner destinations, IPv4 mapped, to the index of their counters. Written by user space; full: the document
/// is refused.
#[map]
pub static AGENT_VIPS: LpmTrie<Address, u32> = LpmTrie::with_max_entries(decap::VIPS_MAX, 0);

/// Addresses of this host to 1. Written by user space; full: further addresses are no tunnel endpoints, which is logged.
#[map]
pub static AGENT_ADDRESSES: HashMap<Address, u32> = HashMap::with_max_entries(decap::ADDRESSES_MAX, 0);

/// UDP ports of GUE, as they lie in packets, to 1. Written by user space; full: the document is refused.
#[map]
pub static AGENT_PORTS: HashMap<u32, u32> = HashMap::with_max_entries(decap::GUE_PORTS_MAX, 0);

/// Verdict to packets and bytes of frames. Written here.
#[map]
pub static AGENT_VERDICTS: PerCpuArray<PacketCounter> =
    PerCpuArray::with_max_entries(decap::AGENT_VERDICTS, 0);

/// Index of a VIP prefix to packets and bytes of inner packets. Written here.
#[map]
pub static AGENT_VIP_COUNT: PerCpuArray<PacketCounter> = PerCpuArray::with_max_entries(decap::VIPS_MAX, 0);

/// The largest MSS to announce, over IPv4 and over IPv6; 0 = whatever the host says. Written by user space.
#[map]
pub static AGENT_MSS: Array<u32> = Array::with_max_entries(2, 0);

/// MSS verdict to packets and bytes. Written here.
#[map]
pub static AGENT_MSS_COUNT: PerCpuArray<PacketCounter> = PerCpuArray::with_max_entries(MSS_VERDICTS, 0);

/// Lowers the MSS of SYN-ACKs of VIPs on their way out; nothing else changes, and everything goes on.
#[inline(always)]
pub fn egress(context: TcContext) -> i32 {
    let packet = KernelSkb::new(context);
    if let Some((verdict, change)) = clamp(&packet, &KernelTables) {
        count(AGENT_MSS_COUNT.get_ptr_mut(verdict as u32), packet.total_len());
        if verdict == MssVerdict::Clamped {
            packet.replace(&change);
        }
    }
    TC_ACT_UNSPEC
}

/// Decides about the frame of `context`, counts, and gives the XDP action.
#[inline(always)]
pub fn ingress(context: XdpContext) -> u32 {
    let mut packet = KernelPacket::new(context);
    let frame_len = packet.len();
    let outcome = decapsulate(&mut packet, &KernelTables);
    let mut counted = frame_len;
    if outcome.vip != AgentOutcome::NO_VIP {
        count(AGENT_VIP_COUNT.get_ptr_mut(outcome.vip), outcome.inner_len);
        // The packet goes on in further buffers. Frames that pass are counted by their first: asking for the rest would cost
        // every one of them a call. So are those of which less lies behind the first than was taken off in front.
        if outcome.inner_len > frame_len {
            // A number of its own: from a difference of two lengths the compiler takes the pointers that they are made of,
            // which the verifier refuses to see subtracted.
            let taken = frame_len - black_box(packet.len());
            counted = packet.total_len() + taken;
        }
    }
    count(AGENT_VERDICTS.get_ptr_mut(outcome.verdict as u32), counted);
    match outcome.verdict.action() {
        Action::Drop => XDP_DROP,
        Action::Pass | Action::Forward | Action::Answer => XDP_PASS,
    }
}

/// The agent's maps.
struct KernelTables;

impl AgentTables for KernelTables {
    #[inline(always)]
    fn is_appliance(&self, source: &Address) -> bool {
        AGENT_SOURCES.get(Key::new(128, *source)).is_some()
    }

    #[inline(always)]
    fn is_own(&self, destination: &Address) -> bool {
        AGENT_ADDRESSES.get_ptr(destination).is_some()
    }

    #[inline(always)]
    fn is_gue_port(&self, port_be: u16) -> bool {
        AGENT_PORTS.get_ptr(&(port_be as u32)).is_some()
    }

    #[inline(always)]
    fn vip(&self, destination: &Address) -> Option<u32> {
        AGENT_VIPS.get(Key::new(128, *destination)).copied()
    }
}

impl MssTables for KernelTables {
    #[inline(always)]
    fn is_vip(&self, source: &Address) -> bool {
        AGENT_VIPS.get(Key::new(128, *source)).is_some()
    }

    #[inline(always)]
    fn largest(&self, is_v6: bool) -> u16 {
        AGENT_MSS.get(is_v6 as u32).map_or(0, |mss| *mss as u16)
    }
}

#[inline(always)]
fn count(counter: Option<*mut PacketCounter>, bytes: u32) {
    if let Some(counter) = counter {
        // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes as u64;
        }
    }
}
