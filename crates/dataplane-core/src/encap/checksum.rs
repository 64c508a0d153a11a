// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Internet checksum arithmetic (RFC 1071, RFC 1624).

/// Folds a sum of 16-bit words to 16 bits with end-around carry. Two folds suffice for any 32-bit sum.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// As [`fold`] for a sum of fewer than 2^16 32-bit words. Such a sum counts the same as that of their halves, since 2^16
/// is 1 modulo 2^16 − 1; and as the sum does not mind byte order either, words may be summed as they lie in a packet, and
/// the result then is as it lies there too (RFC 1071 §2).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 33 bits first")]
pub const fn fold_words(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    fold(sum as u32)
}

/// The checksum field for a header whose words (checksum taken as zero) sum up to `sum`.
#[inline(always)]
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// The checksum after one 16-bit word of the header changed from `old` to `new` (RFC 1624 eqn 3). All in host order.
#[inline(always)]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u32 + !old as u32 + new as u32)
}

/// TTL, protocol and checksum of an IPv4 header, octets 8 to 11 as they lie read with the first lowest, after the TTL, which is not
/// 0, went down by one: [`update`] for that case, in a third of the instructions. One's complement sums do not care in which
/// order octets stand in a word (RFC 1071 §2 B), so nothing is swapped: the TTL loses 1, and the checksum gains it.
#[inline(always)]
pub const fn with_ttl_less_one(word: u32) -> u32 {
    let carry = (word >> 16 >= 0xfffe) as u32;
    word.wrapping_add(0xffff).wrapping_add(carry << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u16]) -> u32 {
        words.iter().map(|&w| u32::from(w)).sum()
    }

    #[test]
    fn rfc_1624_example_keeps_the_carry() {
        // RFC 1624 §4: checksum 0xdd2f, word 0x5555 becomes 0x3285, result 0x0000 (eqn 2 of RFC 1141 gives 0xffff).
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn words_fold_to_what_their_halves_do() {
        let words = [0xffff_ffff_u32, 0x0001_ffff, 0xdead_beef, 0, 0x8000_8000, 0xffff_0000, 0x0102_0304];
        for n in 0..=words.len() {
            let halves = words[..n].iter().map(|w| (w >> 16) + (w & 0xffff)).sum();
            let words = words[..n].iter().map(|&w| u64::from(w)).sum();
            assert_eq!(fold_words(words), fold(halves), "{n} words");
        }
        assert_eq!(fold_words(u64::from(u32::MAX) * 0xffff), 0xffff);
    }

    #[test]
    fn a_ttl_less_one_is_the_update_for_every_checksum() {
        for checksum in 0..=u16::MAX {
            let expected = update(checksum, 0x4006, 0x3f06);
            assert_eq!(ttl_less_one(0x4006, checksum), (0x3f06, expected), "{checksum:#06x}");
        }
    }

    /// TTL with protocol, and checksum, as a header has them afterwards.
    fn ttl_less_one(ttl: u16, checksum: u16) -> (u16, u16) {
        let [a, b] = ttl.to_be_bytes();
        let [c, d] = checksum.to_be_bytes();
        let [a, b, c, d] = with_ttl_less_one(u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    #[test]
    fn update_equals_a_new_sum_for_every_ttl() {
        for ttl in 2..=255_u16 {
            for salt in [0_u16, 1, 0x1234, 0x7fff, 0xfffe, 0xffff] {
                let old = ttl << 8 | 6;
                let new = (ttl - 1) << 8 | 6;
                let before = finish(sum(&[0x4500, 0x0028, salt, 0x4000, old, 0xc633, salt]));
                let after = finish(sum(&[0x4500, 0x0028, salt, 0x4000, new, 0xc633, salt]));
                assert_eq!(update(before, old, new), after);
                assert_eq!(ttl_less_one(old, before), (new, after));
            }
        }
    }
}
