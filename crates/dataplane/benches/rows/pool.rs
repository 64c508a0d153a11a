// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pools to be changed.

use weir_dataplane::forwarding::BackendState;
use weir_dataplane::rows::{Algorithm, EPSILON_PERMILLE_DEFAULT, MemberInput, Ranking, RowsError, RowsInput};
use weir_dataplane_core::rendezvous::PoolSeed;

/// A pool by names, so that changes are easy to say.
#[derive(Clone)]
pub struct Pool {
    pub algorithm: Algorithm,
    pub max_backends: u32,
    pub members: Vec<Member>,
    /// Backends ever added: the id and the name of the next one are new.
    added: u16,
}

#[derive(Clone)]
pub struct Member {
    pub id: u16,
    pub name: String,
    pub weight: u32,
    pub cap_permille: u16,
    pub state: BackendState,
}

impl Pool {
    pub fn new(algorithm: Algorithm, backends: usize, max_backends: u32) -> Self {
        let mut pool = Self { algorithm, max_backends, members: Vec::new(), added: 0 };
        (0..backends).for_each(|_| pool.add());
        pool
    }

    pub fn add(&mut self) {
        self.added += 1;
        let name = format!("b{}", self.added);
        let state = BackendState::Usable;
        self.members.push(Member { id: self.added, name, weight: 100, cap_permille: 1_000, state });
    }

    pub fn input(&self) -> RowsInput {
        RowsInput {
            algorithm: self.algorithm,
            seed: PoolSeed::derive(b"the rows bench's fleet-wide seed", "web"),
            max_backends: self.max_backends,
            epsilon_permille: EPSILON_PERMILLE_DEFAULT,
        }
    }

    pub fn members(&self) -> Vec<MemberInput<'_>> {
        self.members
            .iter()
            .map(|m| MemberInput {
                id: m.id,
                name: &m.name,
                weight: m.weight,
                cap_permille: m.cap_permille,
                state: m.state,
            })
            .collect()
    }

    /// Rows that it has, of any number of backends.
    pub fn row_count(&self) -> u32 {
        self.algorithm.row_count(self.max_backends)
    }

    pub fn ranking(&self) -> Result<Ranking, RowsError> {
        Ranking::new(&self.input(), &self.members())
    }
}
