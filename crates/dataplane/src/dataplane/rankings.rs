// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rankings kept from one change of a pool to its next, within a budget of memory.

use std::collections::BTreeMap;

use crate::rows::Ranking;

/// Most bytes of rankings that are kept, as many as the default row table has. 34 bytes a row: 60 pools of 100 backends, or 120
/// of 64. Beyond it the one that was not needed for the longest time goes, and its pool's next change ranks all rows anew.
pub(super) const BYTES_MAX: usize = 128 << 20;

/// Rankings by pool id.
pub(super) struct Rankings {
    kept: BTreeMap<u32, Kept>,
    bytes: usize,
    bytes_max: usize,
    clock: u64,
}

struct Kept {
    ranking: Ranking,
    bytes: usize,
    used: u64,
}

impl Rankings {
    /// None yet.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, bytes_max, clock: 0 }
    }

    /// Takes the pool's ranking out.
    pub(super) fn take(&mut self, pool: u32) -> Option<Ranking> {
        let kept = self.kept.remove(&pool)?;
        self.bytes -= kept.bytes;
        Some(kept.ranking)
    }

    /// Keeps a ranking as the one used last; one that is beyond the budget by itself is not kept.
    pub(super) fn keep(&mut self, pool: u32, ranking: Ranking) {
        self.take(pool);
        let bytes = ranking.bytes();
        self.clock += 1;
        self.bytes += bytes;
        self.kept.insert(pool, Kept { ranking, bytes, used: self.clock });
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(pool, _)| *pool)
        {
            self.take(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Algorithm, EPSILON_PERMILLE_DEFAULT, RowsInput};
    use weir_dataplane_core::rendezvous::PoolSeed;

    fn ranking(max_backends: u32) -> Ranking {
        let input = RowsInput {
            algorithm: Algorithm::BoundedRendezvous,
            seed: PoolSeed::from_bytes([1; 16]),
            max_backends,
            epsilon_permille: EPSILON_PERMILLE_DEFAULT,
        };
        Ranking::new(&input, &[]).unwrap()
    }

    #[test]
    fn the_one_not_needed_for_the_longest_time_goes() {
        let bytes = ranking(8).bytes();
        let mut rankings = Rankings::new(3 * bytes);
        for pool in 0..3 {
            rankings.keep(pool, ranking(8));
        }
        let first = rankings.take(0).unwrap();
        rankings.keep(0, first);
        rankings.keep(3, ranking(8));
        assert!(rankings.take(1).is_none(), "beyond the budget");
        assert!([0, 2, 3].iter().all(|pool| rankings.take(*pool).is_some()));
        assert_eq!((rankings.bytes, rankings.kept.len()), (0, 0));
    }

    #[test]
    fn one_that_is_too_large_alone_is_not_kept() {
        let mut rankings = Rankings::new(ranking(8).bytes());
        rankings.keep(7, ranking(64));
        assert!(rankings.take(7).is_none());
        assert_eq!(rankings.bytes, 0);
    }
}
