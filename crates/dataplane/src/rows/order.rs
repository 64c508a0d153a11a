// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From owners to rows: who else is carried, and in which order.

use super::assign::{Owners, is_set, owners};
use super::rank::{Heads, Member, NOBODY, Ranking};
use super::{Rows, Share};
use crate::forwarding::BackendState;
use weir_dataplane_core::Row;

/// Fewest usable candidates of a row as long as the pool has as many.
const USABLE_WANTED: usize = 2;

/// The rows of a ranked pool.
pub(super) fn rows(ranking: &Ranking, members: &[Member], epsilon_permille: u16) -> Rows {
    let Owners { as_if, now, quota } = owners(ranking, members, epsilon_permille);
    let usable: Vec<_> = members.iter().map(|m| m.state == BackendState::Usable).collect();
    let failed: Vec<_> = members.iter().map(|m| m.state == BackendState::Failed).collect();
    let mut load = vec![0_u32; members.len()];
    let mut rows = Vec::with_capacity(now.len());
    for (row, (owner, as_if)) in (0..ranking.row_count()).zip(now.into_iter().zip(as_if)) {
        let carried = carried(ranking, row, owner, &usable);
        let ordered = ordered(&carried, owner, as_if, &failed);
        rows.push(Row::from_ids(ordered.map(|member| members.get(usize::from(member)).map_or(0, |m| m.id))));
        if let Some(load) = load.get_mut(usize::from(owner)) {
            *load += 1;
        }
    }
    let share = |(member, rows): (usize, u32)| Share {
        id: members[member].id,
        rows,
        fair: quota.fair(member),
        is_usable: usable[member],
    };
    let mut shares: Vec<_> = load.into_iter().enumerate().map(share).collect();
    shares.sort_unstable_by_key(|share| share.id);
    Rows { rows, shares }
}

/// The four members of a row by rank: its heads, but the last gives way to the next usable member when the heads have
/// fewer than two usable ones and it is not one of them.
///
/// Two and not one: a row whose only usable head has just recovered keeps the guest that owned it until then.
fn carried(ranking: &Ranking, row: u32, owner: u16, usable: &[bool]) -> Heads {
    let mut heads = ranking.heads()[row as usize];
    let last = heads[Row::CANDIDATES - 1];
    let usable_heads = heads.iter().filter(|member| is_set(usable, **member)).count();
    if last != NOBODY && !is_set(usable, last) && usable_heads < USABLE_WANTED {
        let guest = if heads.contains(&owner) { ranking.next_behind_heads(row, usable) } else { Some(owner) };
        heads[Row::CANDIDATES - 1] = guest.filter(|guest| *guest != NOBODY).unwrap_or(last);
    }
    heads
}

/// Owner, owner as if nobody drained or failed, the others by rank; failed ones behind all, in the same order.
fn ordered(carried: &Heads, owner: u16, as_if: u16, failed: &[bool]) -> Heads {
    let mut ordered = [NOBODY; Row::CANDIDATES];
    let mut places = ordered.iter_mut();
    let ranked =
        || [owner, as_if].into_iter().chain(carried.iter().copied().filter(|m| *m != owner && *m != as_if));
    let mut take = |has_failed: bool| {
        let mut previous = NOBODY;
        for member in ranked().filter(|m| *m != NOBODY && is_set(failed, *m) == has_failed) {
            // The owner may be both.
            if member != previous
                && let Some(place) = places.next()
            {
                *place = member;
            }
            previous = member;
        }
    };
    take(false);
    take(true);
    ordered
}
