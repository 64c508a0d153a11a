// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Weighted rendezvous scores in fixed point: how well a backend suits a row.
//!
//! A backend's draw in a row is a number `u` between 0 and 1 made from (pool seed, backend name, row). Its score is
//! `-log2(u) / weight`, and the **smallest** score is the best. `-ln(u) / weight` is an exponential variable with rate
//! `weight`; of several such variables backend i is the smallest with probability `weight_i / sum`, which is what a weight
//! shall mean. A score depends on nothing but its own backend and row, so the order of two backends never depends on a
//! third one. Equal scores go by name; that is the caller's part.
//!
//! No floating point anywhere: two builds that rounded differently would send one flow to two backends. The definition,
//! all in unsigned integers, with vectors in the tests:
//!
//! ```text
//! name    = siphash24(seed, name of the backend)                        once per backend
//! a, b    = siphash24(seed, "row" 0 LE32(row)), siphash24(seed, "row" 1 LE32(row))     once per row
//! x       = (name ^ a); x = (x ^ x >> 30) * M1; x = x ^ b; x = (x ^ x >> 27) * M2; x = x ^ x >> 31     (mod 2^64)
//! u       = max(x, 1) / 2^64
//! L       = 2^57 * -log2(u), log2 of the mantissa from 513 exact points and straight lines between them, rounded down
//! inverse = (2^64 - 1) / weight, rounded down                           once per backend
//! score   = L * inverse                                                 128 bits, nothing is lost
//! ```
//!
//! The lines between the points lie below log2, so `L` is never smaller than the true value and strictly monotone but for
//! rounding: backends of one weight are ordered by their draws alone. Its relative error is at most 2^-11 and only
//! bends shares of unequal weights, far below the noise of a few hundred rows per backend.
//!
//! For a given row the draw is a bijection of the name's hash: two backends tie only if their name hashes are equal (once
//! in 2^64) or their scores round to the same value.

use crate::siphash::siphash24;

/// Secret of one pool, equal on every appliance. It keys all scores of the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PoolSeed([u8; 16]);

impl PoolSeed {
    /// A seed given as bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a key of SipHash.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The seed of the pool called `pool` in a fleet with this secret: SipHash-2-4 of the name under the secret's first
    /// half, then of that and a counter under its second half.
    pub fn derive(fleet: &[u8; 32], pool: &str) -> Self {
        let (mut outer, mut inner) = ([0; 16], [0; 16]);
        outer.copy_from_slice(&fleet[..16]);
        inner.copy_from_slice(&fleet[16..]);
        let name = siphash24(&outer, pool.as_bytes()).to_le_bytes();
        let mut message = [0; 9];
        message[..8].copy_from_slice(&name);
        let mut seed = [0; 16];
        for (counter, half) in (0_u8..).zip(seed.chunks_exact_mut(8)) {
            message[8] = counter;
            half.copy_from_slice(&siphash24(&inner, &message).to_le_bytes());
        }
        Self(seed)
    }
}

impl core::fmt::Debug for PoolSeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PoolSeed(..)")
    }
}

/// What a score needs of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendKey {
    name: u64,
    inverse: u64,
}

impl BackendKey {
    /// Key of the backend called `name` with this base weight; weight 0 is taken as 1.
    pub fn new(seed: &PoolSeed, name: &str, weight: u32) -> Self {
        let inverse = u64::MAX / u64::from(if weight == 0 { 1 } else { weight });
        Self { name: siphash24(&seed.0, name.as_bytes()), inverse }
    }
}

/// What a score needs of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey {
    first: u64,
    second: u64,
}

impl RowKey {
    /// Key of row number `row`.
    pub fn new(seed: &PoolSeed, row: u32) -> Self {
        let word = |counter: u8| {
            let mut message = [b'r', b'o', b'w', counter, 0, 0, 0, 0];
            message[4..].copy_from_slice(&row.to_le_bytes());
            siphash24(&seed.0, &message)
        };
        Self { first: word(0), second: word(1) }
    }

    /// Score of `backend` in this row.
    #[inline]
    pub const fn score(&self, backend: &BackendKey) -> Score {
        Score(neg_log2(self.draw(backend)) as u128 * backend.inverse as u128)
    }

    /// Score of `backend` in this row if it is better (smaller) than `limit`.
    ///
    /// Says exactly what [`RowKey::score`] and a comparison would say. Nearly all backends are refused by a lower bound
    /// that costs a third of the logarithm.
    #[inline]
    pub const fn score_below(&self, backend: &BackendKey, limit: Score) -> Option<Score> {
        let draw = self.draw(backend);
        if neg_log2_at_least(draw) as u128 * backend.inverse as u128 >= limit.0 {
            return None;
        }
        let score = neg_log2(draw) as u128 * backend.inverse as u128;
        if score < limit.0 { Some(Score(score)) } else { None }
    }

    /// Whether `backend` is surely worse in this row than `other`; `false` says nothing.
    ///
    /// Of two backends of one weight the one with the smaller draw is worse, but for draws so near to each other that their
    /// logarithms round to the same number: one more in `L` is less than 128 more in a draw.
    #[inline]
    pub const fn is_surely_worse(&self, backend: &BackendKey, other: &BackendKey) -> bool {
        const NEAR: u64 = 1 << 12;
        backend.inverse == other.inverse && self.draw(backend).saturating_add(NEAR) < self.draw(other)
    }

    /// 64 uniform bits for (seed, backend, row). The multipliers are those of the "mix13" finaliser (D. Stafford); a second
    /// secret word between them keeps the draws of two backends in two rows from being related.
    #[inline(always)]
    const fn draw(&self, backend: &BackendKey) -> u64 {
        let x = backend.name ^ self.first;
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ self.second;
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
}

/// How well a backend suits a row: smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u128);

impl Score {
    /// Worse than every score.
    pub const WORST: Self = Self(u128::MAX);

    /// The number itself: `2^57 * -log2(u) * ((2^64 - 1) / weight)`.
    pub const fn raw(self) -> u128 {
        self.0
    }
}

/// Fraction bits of a logarithm: 64 whole units need the other seven.
const FRACTION_BITS: u32 = 57;
/// The mantissa's range is cut into this many segments, as a power of two.
const SEGMENT_BITS: u32 = 9;
/// Bits of the position within a segment: what is left of a word below the leading one and the segment.
const OFFSET_BITS: u32 = 63 - SEGMENT_BITS;

/// `log2(1 + i / 512)` in Q.57, rounded down. 4 KiB, made by the compiler.
static LOG2: [u64; (1 << SEGMENT_BITS) + 1] = {
    let mut table = [0; (1 << SEGMENT_BITS) + 1];
    let mut i = 0;
    while i < 1 << SEGMENT_BITS {
        table[i] = log2_by_squaring((1 << 63) + ((i as u64) << OFFSET_BITS));
        i += 1;
    }
    table[1 << SEGMENT_BITS] = 1 << FRACTION_BITS;
    table
};

/// log2 of `z / 2^63`, which lies in [1, 2), in Q.57 rounded down: squaring doubles a logarithm, and whether the square
/// reaches 2 is the next bit of it.
const fn log2_by_squaring(z: u64) -> u64 {
    let mut z = (z as u128) << 63;
    let mut log = 0;
    let mut bit = FRACTION_BITS;
    while bit > 0 {
        bit -= 1;
        // Q1.126 keeps the truncation of 57 squarings below the last bit that is wanted.
        z = square_q126(z);
        if z >> 127 != 0 {
            log |= 1 << bit;
            z >>= 1;
        }
    }
    log
}

/// Square of a number in Q2.126 below 2, rounded down.
const fn square_q126(z: u128) -> u128 {
    let (high, low) = (z >> 64, z & u64::MAX as u128);
    // (high * 2^64 + low)^2 >> 126
    let middle = ((low * low) >> 64) + 2 * ((high * low) & u64::MAX as u128);
    ((high * high) << 2) + (((high * low) >> 64) << 3) + (middle >> 62)
}

/// `-log2(max(x, 1) / 2^64)` in Q7.57. Never smaller than the true value; 1 at least, 2^63 at most.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a product shifted by its second factor's width")]
const fn neg_log2(x: u64) -> u64 {
    let x = if x == 0 { 1 } else { x };
    let zeros = x.leading_zeros();
    let mantissa = x << zeros;
    let segment = (mantissa >> OFFSET_BITS) as usize & ((1 << SEGMENT_BITS) - 1);
    let offset = mantissa & ((1 << OFFSET_BITS) - 1);
    let (low, high) = (LOG2[segment], LOG2[segment + 1]);
    let log = low + (((high - low) as u128 * offset as u128) >> OFFSET_BITS) as u64;
    ((zeros as u64 + 1) << FRACTION_BITS) - log
}

/// A lower bound of [`neg_log2`]: `-log2(u) >= (1 - u) / ln 2`, with 1.375 for 1.442.. so that three shifts do.
#[inline(always)]
const fn neg_log2_at_least(x: u64) -> u64 {
    let rest = !x;
    (rest >> 7) + (rest >> 9) + (rest >> 10)
}

#[cfg(test)]
mod tests;
