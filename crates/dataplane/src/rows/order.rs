// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From owners to rows: who else is carried, and in which order.

use super::assign::{Owners, is_set};
use super::heads::{Asked, Four, Heads};
use super::members::{Member, NOBODY};
use super::{Rows, Share};
use crate::forwarding::BackendState;
use weir_dataplane_core::Row;

/// Fewest usable candidates of a row as long as the pool has as many.
const USABLE_WANTED: usize = 2;

/// The rows of a pool with these heads and owners. `carried` tells the four members of a row by rank, and is asked only where
/// it may be others than the heads.
pub(super) fn rows<'a>(
    heads: impl Iterator<Item = &'a Four>,
    members: &[Member],
    owners: &Owners<'_>,
    carried: impl Fn(usize, u16) -> Four,
) -> Rows {
    let failed: Vec<_> = members.iter().map(|m| m.state == BackendState::Failed).collect();
    let usable: Vec<_> = members.iter().map(Member::is_usable).collect();
    let id = |seat: u16| members.get(usize::from(seat)).map_or(0, |m| m.id);
    let mut load = vec![0_u32; members.len()];
    let mut rows = Vec::with_capacity(owners.now.len());
    let of_rows = heads.zip(owners.now.iter().zip(owners.as_if.iter())).enumerate();
    for (row, (heads, (&owner, &as_if))) in of_rows {
        let ordered = if owner == as_if && heads.iter().all(|seat| is_set(&usable, *seat)) {
            first_to_front(*heads, owner)
        } else {
            ordered(&carried(row, owner), owner, as_if, &failed)
        };
        rows.push(Row::from_ids(ordered.map(id)));
        if let Some(load) = load.get_mut(usize::from(owner)) {
            *load += 1;
        }
    }
    let share = |(seat, rows): (usize, u32)| Share {
        id: members[seat].id,
        rows,
        fair: owners.quota.fair(seat),
        is_usable: usable[seat],
    };
    let here = load.into_iter().enumerate().filter(|(seat, _)| members[*seat].is_here());
    let mut shares: Vec<_> = here.map(share).collect();
    shares.sort_unstable_by_key(|share| share.id);
    Rows { rows, shares }
}

/// The four members of a row by rank: its heads, but the last gives way to the next usable member when the heads have
/// fewer than two usable ones and it is not one of them.
///
/// Two and not one: a row whose only usable head has just recovered keeps the guest that owned it until then.
pub(super) fn carried(heads: &Heads, asked: &[Asked], row: usize, owner: u16, usable: &[bool]) -> Four {
    let mut four = *heads.four(row);
    let last = four[Row::CANDIDATES - 1];
    let usable_heads = four.iter().filter(|member| is_set(usable, **member)).count();
    if last != NOBODY && !is_set(usable, last) && usable_heads < USABLE_WANTED {
        let behind = || heads.next_behind(u32::try_from(row).unwrap_or(u32::MAX), asked, usable);
        let guest = if four.contains(&owner) { behind() } else { Some(owner) };
        four[Row::CANDIDATES - 1] = guest.filter(|guest| *guest != NOBODY).unwrap_or(last);
    }
    four
}

/// The heads of a row, the last of which gives way to an owner that is none of them.
pub(super) fn carried_with(mut heads: Four, owner: u16) -> Four {
    if owner != NOBODY && !heads.contains(&owner) {
        let place = heads.iter().position(|seat| *seat == NOBODY).unwrap_or(Row::CANDIDATES - 1);
        heads[place] = owner;
    }
    heads
}

/// The heads with `owner` before the others.
fn first_to_front(mut heads: Four, owner: u16) -> Four {
    let place = heads.iter().position(|seat| *seat == owner).unwrap_or(0);
    heads[..=place].rotate_right(1);
    heads
}

/// Owner, owner as if nobody drained or failed, the others by rank; failed ones behind all, in the same order.
fn ordered(carried: &Four, owner: u16, as_if: u16, failed: &[bool]) -> Four {
    let mut ordered = [NOBODY; Row::CANDIDATES];
    let mut count = 0;
    for is_failed in [false, true] {
        for member in [owner, as_if].into_iter().chain(*carried) {
            let is_next = member != NOBODY && is_set(failed, member) == is_failed;
            if is_next && count < ordered.len() && !ordered[..count].contains(&member) {
                ordered[count] = member;
                count += 1;
            }
        }
    }
    ordered
}
