// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One row of a pool's lookup table: four candidates in one word, so a reader sees all of them or none.
//!
//! ```text
//!  63        48 47        32 31        16 15         0
//! | id at 3    | id at 2    | id at 1    | id at 0    |       0 = no backend; new flows go to position 0
//! ```

/// Four backend ids, best first.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Row(u64);
const _: () = assert!(size_of::<Row>() == 8 && align_of::<Row>() == 8);

// SAFETY: a transparent wrapper of a u64, for which every bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Row {}

impl Row {
    /// Candidates of a row.
    pub const CANDIDATES: usize = 4;

    /// The row without any candidate.
    pub const EMPTY: Self = Self(0);

    /// The row with these ids, position 0 first; 0 stands for none.
    #[inline(always)]
    pub const fn from_ids(ids: [u16; 4]) -> Self {
        Self(ids[0] as u64 | (ids[1] as u64) << 16 | (ids[2] as u64) << 32 | (ids[3] as u64) << 48)
    }

    /// The row as it lies in the map.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The word that lies in the map.
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Id at `position` 0 to 3, 0 if there is none. Only the two low bits of `position` count, so no check is needed in
    /// the kernel.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "one id is the low 16 bits")]
    pub const fn candidate(self, position: usize) -> u16 {
        (self.0 >> ((position & 3) * 16)) as u16
    }

    /// All four ids.
    #[inline(always)]
    pub const fn ids(self) -> [u16; 4] {
        [self.candidate(0), self.candidate(1), self.candidate(2), self.candidate(3)]
    }

    /// The row without `id`, the others closing the gap in their order; all of it if `id` is not in it.
    ///
    /// Without a branch, since the verifier would walk all that follows once for each position: the lowest 16-bit lane of
    /// `lanes` that is zero is where `id` stands.
    #[inline(always)]
    pub const fn without(self, id: u16) -> Self {
        const ONES: u64 = 0x0001_0001_0001_0001;
        let lanes = self.0 ^ (id as u64).wrapping_mul(ONES);
        let zeros = lanes.wrapping_sub(ONES) & !lanes & (ONES << 15);
        let lowest = zeros & zeros.wrapping_neg();
        let before = (lowest >> 15).wrapping_sub(1);
        Self(self.0 & before | (self.0 >> 16) & !before)
    }

    /// Whether the id at `position` is at no position before. Without a branch, as [`Row::without`].
    #[inline(always)]
    pub const fn is_first_at(self, position: usize) -> bool {
        const ONES: u64 = 0x0001_0001_0001_0001;
        let lanes = self.0 ^ (self.candidate(position) as u64).wrapping_mul(ONES);
        let zeros = lanes.wrapping_sub(ONES) & !lanes & (ONES << 15);
        zeros & zeros.wrapping_neg() == 0x8000 << ((position & 3) * 16)
    }

    /// Whether backend `id` is among the candidates; id 0 never is.
    pub const fn carries(self, id: u16) -> bool {
        let ids = self.ids();
        id != 0 && (ids[0] == id || ids[1] == id || ids[2] == id || ids[3] == id)
    }
}

impl core::fmt::Debug for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Row").field(&self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Row;
    use std::format;

    #[test]
    fn position_zero_lies_in_the_low_bits() {
        let row = Row::from_ids([1, 2, 3, 0xffff]);
        assert_eq!(row.raw(), 0xffff_0003_0002_0001);
        assert_eq!(Row::from_raw(row.raw()), row);
        assert_eq!([0, 1, 2, 3].map(|i| row.candidate(i)), [1, 2, 3, 0xffff]);
        assert_eq!(row.candidate(4), 1, "positions wrap");
        assert_eq!(format!("{row:?}"), "Row([1, 2, 3, 65535])");
    }

    #[test]
    fn an_id_is_first_where_it_stands_first() {
        for (ids, first) in [
            ([1, 2, 3, 4], [true; 4]),
            ([1, 1, 1, 1], [true, false, false, false]),
            ([1, 2, 1, 2], [true, true, false, false]),
            ([5, 0, 0, 0], [true, true, false, false]),
            ([0xffff, 0xfffe, 0x8000, 0xffff], [true, true, true, false]),
        ] {
            assert_eq!([0, 1, 2, 3].map(|at| Row::from_ids(ids).is_first_at(at)), first, "{ids:?}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_no_gap() {
        let row = Row::from_ids([1, 2, 3, 0xffff]);
        for (id, others) in [
            (1, [2, 3, 0xffff, 0]),
            (2, [1, 3, 0xffff, 0]),
            (3, [1, 2, 0xffff, 0]),
            (0xffff, [1, 2, 3, 0]),
            (9, [1, 2, 3, 0xffff]),
        ] {
            assert_eq!(row.without(id), Row::from_ids(others), "without {id}");
        }
        assert_eq!(Row::from_ids([7, 0, 0, 0]).without(7), Row::EMPTY);
        assert_eq!(Row::from_ids([7, 8, 0, 0]).without(7), Row::from_ids([8, 0, 0, 0]));
        assert_eq!(Row::from_ids([7, 8, 0, 0]).without(9), Row::from_ids([7, 8, 0, 0]));
        // Lanes next to each other that differ by one: a borrow must not be taken for a zero.
        assert_eq!(Row::from_ids([0x0100, 0x0101, 1, 2]).without(0x0100), Row::from_ids([0x0101, 1, 2, 0]));
        assert_eq!(Row::from_ids([0x8000, 1, 0, 0]).without(1), Row::from_ids([0x8000, 0, 0, 0]));
    }

    #[test]
    fn id_zero_is_nobody() {
        assert_eq!(Row::EMPTY, Row::from_ids([0; 4]));
        assert!(!Row::from_ids([7, 0, 0, 0]).carries(0));
        assert!(Row::from_ids([7, 0, 9, 0]).carries(9));
        assert!(!Row::from_ids([7, 0, 9, 0]).carries(8));
    }
}
