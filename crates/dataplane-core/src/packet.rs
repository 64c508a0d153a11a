// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One frame, as the packet logic sees it: checked reads and writes, and room in front.

/// Largest offset that anything is read or written at: keeps the verifier's idea of offsets small. Headers that reach further
/// are not walked.
pub const OFFSET_MAX: usize = 512;
/// Largest offset that [`Packet::word`] reads at: the quote of an ICMPv6 error ends before.
pub const WORD_OFFSET_MAX: usize = 1_536;

/// What room in front is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    /// The outer header is IPv6; otherwise IPv4.
    pub is_v6: bool,
    /// UDP stands behind the outer IP header.
    pub is_udp: bool,
}

/// Checked access to a frame. Offsets count from the frame's first octet (the Ethernet destination).
///
/// Implementations are `#[inline(always)]`: in the kernel each access becomes a bounds check and a load.
pub trait Packet {
    /// Length of the part of the frame that can be read and written, in octets, padding included: all of it, unless the
    /// frame came in several buffers (`xdp.frags`), whose first holds the headers.
    fn len(&self) -> u32;

    /// Length of the whole frame in octets, padding included. Dearer than [`Packet::len`] in the kernel.
    fn total_len(&self) -> u32;

    /// Whether the frame has no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of `T` at `off`, or `None` if the frame ends before. `T` must be valid for any bytes (integers, arrays
    /// and `repr(C)` structs of such); octets are taken as they lie, so multi-octet integers are in network order.
    fn read<T: Copy>(&self, off: usize) -> Option<T>;

    /// The four octets at `off`, at most [`WORD_OFFSET_MAX`], as they lie: for what is summed, which reaches further than
    /// headers do.
    #[inline(always)]
    fn word(&self, off: usize) -> Option<u32> {
        self.read(off)
    }

    /// `off`, at most [`OFFSET_MAX`], as it is. In the kernel it comes back as a number of which the verifier only
    /// knows the range, so that it walks what follows once and not once for each place where a header may lie.
    #[inline(always)]
    fn launder(&self, off: usize) -> usize {
        off
    }

    /// Writes `value` at `off`, or `None` (nothing written) if the frame ends before.
    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()>;

    /// As [`Packet::read`] at an offset that is a constant. In the kernel the check is left out where an earlier one, of a constant
    /// that reaches farther, answers for it.
    #[inline(always)]
    fn read_at<const OFF: usize, T: Copy>(&self) -> Option<T> {
        self.read(OFF)
    }

    /// As [`Packet::write`], otherwise as [`Packet::read_at`].
    #[inline(always)]
    fn write_at<const OFF: usize, T: Copy>(&mut self, value: T) -> Option<()> {
        self.write(OFF, value)
    }

    /// Opens `bytes` octets of undefined content in front of the frame. `false`: no room, nothing changed.
    fn grow_front(&mut self, bytes: usize) -> bool;

    /// As [`Packet::grow_front`] for an encapsulation of this kind. XDP need not know; traffic control must, since it keeps
    /// account of headers for the offloads of the device.
    #[inline(always)]
    fn open_front(&mut self, bytes: usize, kind: Encapsulation) -> bool {
        let _ = kind;
        self.grow_front(bytes)
    }

    /// Cuts `bytes` octets off the front. `false`: the frame is too short, nothing changed.
    fn shrink_front(&mut self, bytes: usize) -> bool;

    /// Cuts the frame to `len` octets, fewer than it has. `false`: not possible, nothing changed.
    fn truncate(&mut self, len: u32) -> bool;

    /// Interface the frame came in by.
    fn ingress_ifindex(&self) -> u32;
}
