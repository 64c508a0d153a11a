// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
//!
//! The keyed hash for everything that is hashed rarely and must not be predictable from outside: names of backends, row
//! numbers, keys derived from the fleet's seed. It is specified byte by byte (little-endian words, length in the last
//! one), so the same seed gives the same value on every appliance and in every version of this project. Packets are
//! hashed by [`crate::hash`], which is cheaper.
//!
//! ```text
//! v0..v3 = key ^ "somepseudorandomlygeneratedbytes"
//! for each 8-byte word m:  v3 ^= m; 2 rounds; v0 ^= m        last word: rest of the message, length in its top byte
//! v2 ^= 0xff; 4 rounds; v0 ^ v1 ^ v2 ^ v3
//! ```

/// SipHash-2-4 of `message` under a 128-bit `key`. The key's halves are read little-endian, as in the paper.
pub fn siphash24(key: &[u8; 16], message: &[u8]) -> u64 {
    let key = u128::from_le_bytes(*key);
    #[expect(clippy::cast_possible_truncation, reason = "the low half of the key")]
    let (k0, k1) = (key as u64, (key >> 64) as u64);
    let mut state = State {
        v0: k0 ^ 0x736f_6d65_7073_6575,
        v1: k1 ^ 0x646f_7261_6e64_6f6d,
        v2: k0 ^ 0x6c79_6765_6e65_7261,
        v3: k1 ^ 0x7465_6462_7974_6573,
    };
    let words = message.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        state.absorb(little_endian(word));
    }
    state.absorb((message.len() as u64) << 56 | little_endian(rest));
    state.finish()
}

/// Up to eight bytes as one word, the first byte lowest.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::siphash24;
    use core::hash::Hasher;
    use proptest::prelude::*;

    /// Results of the reference implementation for key 00 01 .. 0f and the messages of length 0 to 15 whose bytes count
    /// up from 0; the last one is the worked example in appendix A of the paper.
    const VECTORS: [u64; 16] = [
        0x726f_db47_dd0e_0e31,
        0x74f8_39c5_93dc_67fd,
        0x0d6c_8009_d9a9_4f5a,
        0x8567_6696_d7fb_7e2d,
        0xcf27_94e0_2771_87b7,
        0x1876_5564_cd99_a68d,
        0xcbc9_466e_58fe_e3ce,
        0xab02_00f5_8b01_d137,
        0x93f5_f579_9a93_2462,
        0x9e00_82df_0ba9_e4b0,
        0x7a5d_bbc5_94dd_b9f3,
        0xf4b3_2f46_226b_ada7,
        0x751e_8fbc_860e_e5fb,
        0x14ea_5627_c084_3d90,
        0xf723_ca90_8e7a_f2ee,
        0xa129_ca61_49be_45e5,
    ];

    #[test]
    fn official_vectors_hold() {
        let key: [u8; 16] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        for (length, expected) in VECTORS.iter().enumerate() {
            assert_eq!(siphash24(&key, &key[..length]), *expected, "message of {length} bytes");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(key: [u8; 16], message: std::vec::Vec<u8>) {
            let half = |i: usize| u64::from_le_bytes(key[i..i + 8].try_into().unwrap());
            #[expect(deprecated, reason = "the one public SipHash-2-4 of the standard library, as an oracle")]
            let mut theirs = core::hash::SipHasher::new_with_keys(half(0), half(8));
            theirs.write(&message);
            prop_assert_eq!(siphash24(&key, &message), theirs.finish());
        }
    }
}
