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
    fn update_equals_a_new_sum_for_every_ttl() {
        for ttl in 2..=255_u16 {
            for salt in [0_u16, 1, 0x1234, 0x7fff, 0xfffe, 0xffff] {
                let old = ttl << 8 | 6;
                let new = (ttl - 1) << 8 | 6;
                let before = finish(sum(&[0x4500, 0x0028, salt, 0x4000, old, 0xc633, salt]));
                let after = finish(sum(&[0x4500, 0x0028, salt, 0x4000, new, 0xc633, salt]));
                assert_eq!(update(before, old, new), after);
            }
        }
    }
}
