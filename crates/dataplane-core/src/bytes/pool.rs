// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pool table: where the rows of a pool lie.

/// Value of the pool table, 16 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolValue {
    /// First row in the low 32 bits, number of rows in the high 32 bits; 0 while the pool has no rows.
    ///
    /// One aligned word, so that a packet sees the old region or the new one and never a mix.
    pub rows: u64,
    /// Who this is, for a daemon that adopts the table: hash of the name. 0 = entry unused.
    pub identity: u64,
}
const _: () = assert!(size_of::<PoolValue>() == 16);

impl PoolValue {
    /// Descriptor of `count` rows from `first` on.
    pub const fn descriptor(first: u32, count: u32) -> u64 {
        (count as u64) << 32 | first as u64
    }

    /// First row and number of rows of a descriptor.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    pub const fn region(rows: u64) -> (u32, u32) {
        (rows as u32, (rows >> 32) as u32)
    }
}
