// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one set of rows in place of another does to flows. `plan`, tests and benches read it from here.

use super::Rows;

/// What replacing rows does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Rows of the pool. If the number differs, nothing below means much: every row counts as moved and lost.
    pub rows: u32,
    /// Rows whose new flows go to another backend.
    pub moved: u32,
    /// Moved rows whose old owner may have no new flows any more, so that they had to move.
    pub moved_forced: u32,
    /// Rows whose old owner is still a member and not carried any more: flows of it that reach an appliance which has not
    /// seen them are lost.
    pub owners_lost: u32,
}

impl Change {
    pub(super) fn between(old: &Rows, new: &Rows) -> Self {
        let rows = u32::try_from(new.rows.len()).unwrap_or(u32::MAX);
        if old.rows.len() != new.rows.len() {
            return Self { rows, moved: rows, moved_forced: 0, owners_lost: rows };
        }
        let share = |id: u16| new.shares.binary_search_by_key(&id, |s| s.id).ok().map(|i| new.shares[i]);
        let mut change = Self { rows, ..Self::default() };
        for (old, new) in old.rows.iter().zip(&new.rows) {
            let owner = old.candidate(0);
            if owner == 0 {
                continue;
            }
            let share = share(owner);
            if owner != new.candidate(0) {
                change.moved += 1;
                change.moved_forced += u32::from(share.is_none_or(|share| !share.is_usable));
            }
            change.owners_lost += u32::from(share.is_some() && !new.carries(owner));
        }
        change
    }
}
