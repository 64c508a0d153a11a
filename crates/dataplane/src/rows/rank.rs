// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The dear part: the four best members of every row, by rendezvous score.
//!
//! Heads depend on seed, names and base weights of the members that are not disabled, and on nothing else. Two bytes a
//! head, eight a row: 8 MiB for the largest pool. A ranking may be kept and asked again as long as it
//! [`Ranking::covers`] the members.

use super::{MemberInput, Rows, RowsError, RowsInput, SCORES_MAX, row_count};
use crate::forwarding::BackendState;
use std::collections::HashSet;
use weir_dataplane_core::Row;
use weir_dataplane_core::rendezvous::{BackendKey, RowKey, Score};

/// No member, where an index of one could stand.
pub(super) const NOBODY: u16 = u16::MAX;

/// Members of a row by index, best first, [`NOBODY`] behind the last.
pub(super) type Heads = [u16; Row::CANDIDATES];

/// The ranked heads of all rows of a pool.
#[derive(Debug, Clone)]
pub struct Ranking {
    input: RowsInput,
    /// Name and weight in the order of names: the order in which equal scores go, and what `covers` compares.
    names: Vec<(String, u32)>,
    keys: Vec<BackendKey>,
    heads: Vec<Heads>,
}

/// A member that takes part, in the order of names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) id: u16,
    pub(super) weight: u32,
    pub(super) cap_permille: u16,
    pub(super) state: BackendState,
}

impl Ranking {
    /// Ranks the members that are not disabled.
    ///
    /// # Errors
    /// See [`RowsError`].
    pub fn new(input: &RowsInput, members: &[MemberInput<'_>]) -> Result<Self, RowsError> {
        let members = checked(input, members)?;
        let rows = row_count(input.max_backends);
        let scores = u64::from(rows) * members.len() as u64;
        if scores > SCORES_MAX {
            return Err(RowsError::TooLarge { rows, members: members.len(), scores });
        }
        let keys: Vec<_> = members.iter().map(|m| BackendKey::new(&input.seed, m.name, m.weight)).collect();
        let heads = (0..rows).map(|row| heads(&RowKey::new(&input.seed, row), &keys)).collect();
        let names = members.iter().map(|m| (m.name.to_owned(), m.weight)).collect();
        Ok(Self { input: *input, names, keys, heads })
    }

    /// Whether this ranking is still right for a pool: same input, and the same names with the same base weights are
    /// enabled. Ids, caps and other states may differ.
    pub fn covers(&self, input: &RowsInput, members: &[MemberInput<'_>]) -> bool {
        self.input == *input && checked(input, members).is_ok_and(|members| self.is_of(&members))
    }

    /// The rows for the members' present ids, caps and states.
    ///
    /// # Errors
    /// [`RowsError::OtherMembers`] if the ranking does not cover the members, and what contradicts itself.
    pub fn assign(&self, members: &[MemberInput<'_>]) -> Result<Rows, RowsError> {
        let members = checked(&self.input, members)?;
        if !self.is_of(&members) {
            return Err(RowsError::OtherMembers);
        }
        let members: Vec<_> = members
            .iter()
            .map(|m| Member { id: m.id, weight: m.weight, cap_permille: m.cap_permille, state: m.state })
            .collect();
        Ok(super::order::rows(self, &members, self.input.epsilon_permille))
    }

    fn is_of(&self, members: &[MemberInput<'_>]) -> bool {
        self.names.len() == members.len()
            && self.names.iter().zip(members).all(|((name, weight), m)| name == m.name && *weight == m.weight)
    }

    /// Heads of all rows.
    pub(super) fn heads(&self) -> &[Heads] {
        &self.heads
    }

    /// Rows of the pool.
    pub(super) fn row_count(&self) -> u32 {
        row_count(self.input.max_backends)
    }

    /// The best member behind the heads of `row` that is `eligible`. Asks all scores of the row again: rows that need it
    /// are those with hardly any usable head.
    pub(super) fn next_behind_heads(&self, row: u32, eligible: &[bool]) -> Option<u16> {
        let key = RowKey::new(&self.input.seed, row);
        let heads = &self.heads[row as usize];
        let mut best = (Score::WORST, None);
        for ((index, backend), eligible) in (0..NOBODY).zip(&self.keys).zip(eligible) {
            if *eligible
                && let Some(score) = key.score_below(backend, best.0)
                && !heads.contains(&index)
            {
                best = (score, Some(index));
            }
        }
        best.1
    }
}

/// The members that are not disabled in the order of their names, if they make sense together.
fn checked<'a>(input: &RowsInput, members: &[MemberInput<'a>]) -> Result<Vec<MemberInput<'a>>, RowsError> {
    if members.len() > input.max_backends as usize || members.len() >= usize::from(NOBODY) {
        return Err(RowsError::TooManyMembers { members: members.len(), max_backends: input.max_backends });
    }
    let mut ids = HashSet::with_capacity(members.len());
    for member in members {
        let name = || member.name.to_owned();
        if member.id == 0 {
            return Err(RowsError::IdZero { name: name() });
        }
        if !ids.insert(member.id) {
            return Err(RowsError::DuplicateId { id: member.id });
        }
        if member.weight == 0 {
            return Err(RowsError::WeightZero { name: name() });
        }
        if member.cap_permille > 1_000 {
            return Err(RowsError::CapTooLarge { name: name(), cap_permille: member.cap_permille });
        }
    }
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|m| m.name);
    if let Some(pair) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(RowsError::DuplicateName { name: pair[0].name.to_owned() });
    }
    members.retain(|m| m.state != BackendState::Disabled);
    Ok(members)
}

/// The four smallest scores of a row. Members are asked in the order of names, and only a smaller score displaces one, so
/// equal scores go by name.
fn heads(row: &RowKey, keys: &[BackendKey]) -> Heads {
    let mut best = [(Score::WORST, NOBODY); Row::CANDIDATES];
    for (index, key) in (0..NOBODY).zip(keys) {
        if let Some(score) = row.score_below(key, best[Row::CANDIDATES - 1].0) {
            let place = best.iter().position(|(other, _)| score < *other).unwrap_or(Row::CANDIDATES - 1);
            best.copy_within(place..Row::CANDIDATES - 1, place + 1);
            best[place] = (score, index);
        }
    }
    best.map(|(_, index)| index)
}
