// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the bench's kernel object and the bench that runs it must agree on; compiled into both.
//!
//! A timed program must not see its own output. Between two runs of one batch the harness undoes the change of length,
//! writes the head of the frame anew and turns it into a packet of the next flow:
//!
//! ```text
//!  0        12   14                           14 + header   14 + header + 4
//! | MACs    |type| IP header (5 or 10 words)  | ports       | rest, never touched |
//!   ethernet       words[0..]                   words[last]
//! ```
//!
//! The head is written in the pieces in which programs read it, so that no load waits for two stores.

/// Array of one [`Harness`].
pub const MAP_HARNESS: &str = "HARNESS";
/// Entries of the kernel LRU map in the variant that has one.
pub const LRU_ENTRIES: u32 = 1 << 20;

/// Words of an IPv4 header without options and the ports behind it.
pub const WORDS_V4: usize = 6;
/// Words of an IPv6 header and the ports behind it.
pub const WORDS_V6: usize = 11;

/// The frame of a batch and where its flows have got to, 84 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Harness {
    /// First twelve octets: both MAC addresses.
    pub ethernet: [u32; 3],
    /// EtherType as it lies in the frame.
    pub ethertype: u16,
    /// Always 0.
    pub zero: u16,
    /// IP header and ports as they lie in the frame; for IPv4 only the first six words.
    pub words: [u32; WORDS_V6],
    /// Octets of the frame.
    pub frame_len: u32,
    /// State of the generator; each packet advances it.
    pub state: u32,
    /// Flows minus one, a power of two minus one.
    pub mask: u32,
    /// Set in every flow's number, so that flows of different batches are different.
    pub base: u32,
    /// Interface that live frames are sent by.
    pub send_by: u32,
    /// Interface that the floor of redirection hands them on by.
    pub hand_on_by: u32,
}
const _: () = assert!(size_of::<Harness>() == 84);

/// The generator's next state. Its low n bits visit all 2^n flows before one comes again (Hull and Dobell: increment
/// odd, multiplier 1 modulo 4), in an order that no prefetcher follows.
#[inline(always)]
pub const fn advance(state: u32) -> u32 {
    state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

/// IPv4 source address, or last word of the IPv6 source address, of flow `number`, as it lies in the frame.
///
/// The second half is the complement of the first, so every flow's address has the same one's complement sum and one
/// header checksum fits all. Flow 0 comes from 198.18.57.237 (RFC 2544).
#[inline(always)]
pub const fn source(number: u32) -> u32 {
    let first = 0x12c6 ^ (number >> 16);
    first | (!first << 16)
}

/// Ports word of flow `number`: its source port, and the destination port of `ports`. Little-endian, as the kernel
/// object is.
#[inline(always)]
pub const fn ports(number: u32, ports: u32) -> u32 {
    ports & 0xffff_0000 | (number & 0xffff) ^ 0x0080
}

/// What the encapsulation floors write, having decided nothing.
pub mod floor {
    /// Destination MAC, then source MAC.
    pub const MACS: [u8; 12] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1];
    /// Outer IPv4 source.
    pub const SOURCE_V4: [u8; 4] = [192, 0, 2, 1];
    /// Outer IPv4 destination.
    pub const DESTINATION_V4: [u8; 4] = [10, 1, 0, 1];
    /// Outer IPv6 source, 2001:db8:ffff::1.
    pub const SOURCE_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    /// Outer IPv6 destination, 2001:db8:1::1.
    pub const DESTINATION_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    /// UDP port of GUE (draft-ietf-intarea-gue §3, IANA `gue`).
    pub const GUE_PORT: u16 = 6080;
}
