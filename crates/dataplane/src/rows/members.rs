// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who takes part in a pool's rows, and what is refused before any work.

use std::collections::HashSet;

use super::{Algorithm, MemberInput, RowsError, RowsInput, SCORES_MAX};
use crate::forwarding::BackendState;

/// No member, where the seat of one could stand.
pub(super) const NOBODY: u16 = u16::MAX;

/// What the cheap part must know of a member, by its seat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) id: u16,
    /// Base weight; 0: nobody sits here.
    pub(super) weight: u32,
    pub(super) cap_permille: u16,
    pub(super) state: BackendState,
}

impl Member {
    /// An empty seat.
    pub(super) const NONE: Self = Self { id: 0, weight: 0, cap_permille: 0, state: BackendState::Disabled };

    /// Whether somebody sits here.
    pub(super) const fn is_here(&self) -> bool {
        self.weight != 0
    }

    /// Whether it may have new flows.
    pub(super) fn is_usable(&self) -> bool {
        self.state == BackendState::Usable
    }
}

/// Whether a pool that declares `max_backends` may have `members` members: the limits that need no look at them.
///
/// # Errors
/// [`RowsError::TooManyMembers`], and [`RowsError::TooLarge`] beyond [`SCORES_MAX`].
pub fn check_size(algorithm: Algorithm, max_backends: u32, members: usize) -> Result<(), RowsError> {
    if members > max_backends as usize || members >= usize::from(NOBODY) {
        return Err(RowsError::TooManyMembers { members, max_backends });
    }
    let rows = algorithm.row_count(max_backends);
    let scores = u64::from(rows) * members as u64;
    if scores > SCORES_MAX {
        return Err(RowsError::TooLarge { rows, members, scores });
    }
    Ok(())
}

/// The members that are not disabled in the order of their names, if all make sense together.
pub(super) fn checked<'a>(
    input: &RowsInput,
    members: &[MemberInput<'a>],
) -> Result<Vec<MemberInput<'a>>, RowsError> {
    check_size(input.algorithm, input.max_backends, members.len())?;
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
