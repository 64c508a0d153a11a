// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The programs on the ingress of the uplinks, in traffic control: copies of what XDP handed over, a run for each.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use weir_dataplane_core::clone::{Carrier, HEAD_LEN, copy_to, is_sealed, is_tagged, nobody, receive};
use weir_dataplane_core::parse::ETHERNET_HEADER;
use weir_dataplane_core::{Outcome, Packet, Row, Verdict};
use weir_dataplane_ebpf::{KernelSkb, Notes};

use crate::appliance::{KernelTables, count_verdict, maps};

/// Octets that [`is_tagged`] looks at, with those before them.
const SEEN: usize = 22;

/// A frame that came in, as XDP left it.
struct Handed(KernelSkb);

/// Takes over the frame of `context` if it was handed over, and goes on to [`copy`]; leaves any other to whoever comes next.
#[inline(always)]
pub fn ingress(context: TcContext) -> i32 {
    let mut packet = Handed(KernelSkb::new(context));
    // Some drivers leave the head of a frame in a page of its own.
    if packet.read::<[u8; SEEN]>(0).is_none() {
        packet.0.make_readable(SEEN as u32);
    }
    // Behind generic XDP the kernel (6.18) has forgotten where the Ethernet header of a frame is that it had to copy for want
    // of headroom: what can be seen begins behind it. The place is given back; what stands there is written for each copy.
    let is_in_place = is_tagged(&packet, ETHERNET_HEADER);
    if !is_in_place && !is_tagged(&packet, 0) || !packet.0.make_readable(HEAD_LEN as u32) {
        return TC_ACT_UNSPEC;
    }
    // Anybody can send the octets that were looked at so far. Until the seal is known to be right nothing is changed: a frame
    // of a VLAN that lost its tag here would go on as one of the link's own.
    if !is_in_place
        && (!is_sealed(&packet, &KernelTables, 0)
            || !packet.0.open_head(ETHERNET_HEADER as u32)
            || !packet.0.make_readable(HEAD_LEN as u32))
    {
        return TC_ACT_UNSPEC;
    }
    if !receive(&mut packet, &KernelTables) {
        return TC_ACT_UNSPEC;
    }
    if !packet.0.forget_vlan() {
        count_verdict(Verdict::DropInternal, packet.total_len());
        return TC_ACT_SHOT;
    }
    packet.0.set_notes(Notes { position: 0, made: 0 });
    go_on(&mut packet)
}

/// Sends the copy to one candidate, and goes on to the next; the frame itself ends here.
#[inline(always)]
pub fn copy(context: TcContext) -> i32 {
    let mut packet = Handed(KernelSkb::new(context));
    let position = (packet.0.notes().position & 3) as usize;
    let is_made = copy_to(&mut packet, &KernelTables, position);
    // Read anew: of a position that is kept, the verifier remembers for each path what the path said of it.
    let notes = packet.0.notes();
    let notes = Notes { position: notes.position + 1, made: notes.made | is_made as u32 };
    if notes.position < Row::CANDIDATES as u32 {
        packet.0.set_notes(notes);
        return go_on(&mut packet);
    }
    if notes.made == 0 {
        nobody(&mut packet, &KernelTables);
    }
    TC_ACT_SHOT
}

/// Comes back only if the program is missing.
#[inline(always)]
fn go_on(packet: &mut Handed) -> i32 {
    // SAFETY: the context is that of the running program. On success the helper does not return.
    unsafe { maps::COPIES.tail_call(packet.0.context(), 0) };
    count_verdict(Verdict::DropInternal, packet.total_len());
    TC_ACT_SHOT
}

impl Carrier for Handed {
    #[inline(always)]
    fn leave(&mut self, outcome: Outcome, frame_len: u32) {
        let ifindex = outcome.egress_ifindex;
        // The kernel lacks memory for the copy, or the interface is gone or down.
        let is_lost = ifindex != 0 && !self.0.send_copy(ifindex);
        count_verdict(if is_lost { Verdict::DropNoNextHop } else { outcome.verdict }, frame_len);
    }
}

impl Packet for Handed {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn total_len(&self) -> u32 {
        self.0.total_len()
    }

    #[inline(always)]
    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        self.0.read(off)
    }

    #[inline(always)]
    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        self.0.write(off, value)
    }

    /// Also for an encapsulation, of which the kernel is not told: it would refuse a second one of the same frame. What came
    /// by wire has no checksum left to be finished by a device.
    #[inline(always)]
    fn grow_front(&mut self, bytes: usize) -> bool {
        self.0.adjust_room(bytes as i32)
    }

    #[inline(always)]
    fn shrink_front(&mut self, bytes: usize) -> bool {
        self.0.adjust_room(-(bytes as i32))
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
