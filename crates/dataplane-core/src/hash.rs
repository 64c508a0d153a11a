// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keyed hash of a flow, and what its bits are used for.
//!
//! The words of the tuple are summed as products of key-shifted halves (NH, the universal hash inside UMAC, RFC 4418
//! §5.2.2: for a random key two different tuples collide with probability at most 2^-32, so nobody who does not know the
//! key can prepare tuples that meet), then mixed so that every bit depends on all. It needs only 64-bit multiplications,
//! which BPF has. The same seed gives the same value on every appliance; the words are read as little-endian, which makes it independent of the host.
//!
//! ```text
//!  63            33 32    30 29        0     set index: low bits, as many as the table has sets
//! |   tag 31 bits  | slot   |           |    row: multiply-shift of the fold of both halves
//! ```

use crate::bytes::Address;
use crate::siphash::siphash24;

/// Secret for IPv4 flows: two words to shift by and one to mix with.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyV4 {
    /// One word for the addresses, one for ports and protocol.
    pub words: [u64; 2],
    /// Added before the final mix.
    pub seal: u64,
}

/// Secret for IPv6 flows.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyV6 {
    /// Four words for the addresses, one for ports and protocol.
    pub words: [u64; 5],
    /// Added before the final mix.
    pub seal: u64,
}

/// Both secrets as the kernel object holds them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashKeys {
    /// Secret for IPv4 flows.
    pub v4: KeyV4,
    /// Secret for IPv6 flows.
    pub v6: KeyV6,
}
const _: () = assert!(size_of::<HashKeys>() == 72);

impl HashKeys {
    /// Derives both secrets from the fleet's 32-byte seed: SipHash-2-4 with the seed's first half as key over the second
    /// half and a counter.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut key = [0_u8; 16];
        key.copy_from_slice(&seed[..16]);
        let word = |counter: u8| {
            let mut message = [0_u8; 17];
            message[..16].copy_from_slice(&seed[16..]);
            message[16] = counter;
            siphash24(&key, &message)
        };
        Self {
            v4: KeyV4 { words: [word(0), word(1)], seal: word(2) },
            v6: KeyV6 { words: [word(3), word(4), word(5), word(6), word(7)], seal: word(8) },
        }
    }
}

/// Hash of an IPv4 flow. Addresses and ports as read from the packet (network order); `ports` holds source then
/// destination.
#[inline(always)]
pub fn flow_v4(key: &KeyV4, source_be: u32, destination_be: u32, ports_be: u32, protocol: u8) -> u64 {
    let addresses = (u32::from_le(source_be) as u64) << 32 | u32::from_le(destination_be) as u64;
    let rest = (u32::from_le(ports_be) as u64) << 32 | protocol as u64;
    mix(nh(addresses, key.words[0]).wrapping_add(nh(rest, key.words[1])).wrapping_add(key.seal))
}

/// Hash of an IPv6 flow; arguments as in [`flow_v4`].
#[inline(always)]
pub fn flow_v6(key: &KeyV6, source: &Address, destination: &Address, ports_be: u32, protocol: u8) -> u64 {
    let word = |high: u32, low: u32| (u32::from_le(high) as u64) << 32 | u32::from_le(low) as u64;
    let (s, d) = (&source.0, &destination.0);
    let rest = (u32::from_le(ports_be) as u64) << 32 | protocol as u64;
    let sum = nh(word(s[0], s[1]), key.words[0])
        .wrapping_add(nh(word(s[2], s[3]), key.words[1]))
        .wrapping_add(nh(word(d[0], d[1]), key.words[2]))
        .wrapping_add(nh(word(d[2], d[3]), key.words[3]))
        .wrapping_add(nh(rest, key.words[4]));
    mix(sum.wrapping_add(key.seal))
}

/// The row of a flow among `rows` (a power of two or not): multiply-shift, from bits that the tag does not use alone.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the fold of both halves is meant to drop the upper one")]
pub const fn row_index(hash: u64, rows: u32) -> u32 {
    let folded = (hash ^ (hash >> 29)) as u32;
    ((folded as u64 * rows as u64) >> 32) as u32
}

/// 20 bits for the outer IPv6 flow label (RFC 6437), from bits of the hash; 0 means "no label" and is avoided.
#[inline(always)]
pub const fn flow_label(hash: u64) -> u32 {
    (hash >> 40) as u32 & 0xf_ffff | 1
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "NH works on the halves of a word")]
const fn nh(word: u64, key: u64) -> u64 {
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32);
    let low = (word as u32).wrapping_add(key as u32);
    (high as u64).wrapping_mul(low as u64)
}

/// The finaliser of MurmurHash3 (public domain): every output bit depends on every input bit.
#[inline(always)]
const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests;
