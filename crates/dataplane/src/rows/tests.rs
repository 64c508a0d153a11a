// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What rows promise, on random pools, on every state of a small pool, and with the figures that must be shown.

use super::members::NOBODY;
use super::*;
use crate::forwarding::BackendState::{Disabled, Draining, Failed, Usable};
use proptest::prelude::*;

mod defects;
mod exhaustive;
mod figures;
mod history;
mod maglev;
mod random;
mod vectors;

/// A pool that tests change.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    algorithm: Algorithm,
    max_backends: u32,
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    id: u16,
    name: String,
    weight: u32,
    cap_permille: u16,
    state: BackendState,
}

impl Pool {
    /// Equal, usable backends `b1`, `b2` ...
    fn equal(backends: u16, max_backends: u32) -> Self {
        let members = (1..=backends).map(member).collect();
        Self { algorithm: Algorithm::BoundedRendezvous, max_backends, members }
    }

    fn input(&self) -> RowsInput {
        RowsInput {
            algorithm: self.algorithm,
            seed: PoolSeed::derive(b"seed of a fleet that exists here", "web"),
            max_backends: self.max_backends,
            epsilon_permille: EPSILON_PERMILLE_DEFAULT,
        }
    }

    fn members(&self) -> Vec<MemberInput<'_>> {
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

    fn ranking(&self) -> Ranking {
        Ranking::new(&self.input(), &self.members()).unwrap()
    }

    fn rows(&self) -> Rows {
        build(&self.input(), &self.members()).unwrap()
    }

    /// This pool after `change`.
    fn with(&self, change: impl FnOnce(&mut Vec<Member>)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.members);
        changed
    }

    fn state(&self, id: u16) -> Option<BackendState> {
        self.members.iter().find(|m| m.id == id).map(|m| m.state)
    }

    /// Ids of the heads of each row.
    fn heads(&self, ranking: &Ranking) -> Vec<[u16; 4]> {
        let id = |name: &str| self.members.iter().find(|m| m.name == name).map_or(0, |m| m.id);
        let ids: Vec<u16> = ranking.names().map(|name| name.map_or(0, id)).collect();
        let id = |seat: u16| ids.get(usize::from(seat)).copied().unwrap_or(0);
        ranking.fours().into_iter().map(|heads| heads.map(id)).collect()
    }

    /// For each row whether the promise covers it: a usable backend among its first three heads.
    fn promised(&self, ranking: &Ranking) -> Vec<bool> {
        let owns = |heads: &[u16; 4]| heads[..OWNER_HEADS].iter().any(|id| self.state(*id) == Some(Usable));
        self.heads(ranking).iter().map(owns).collect()
    }
}

fn member(id: u16) -> Member {
    Member { id, name: format!("b{id}"), weight: 100, cap_permille: 1_000, state: Usable }
}

/// New flows of every row go to a usable backend if there is one; no row carries anybody twice or a disabled one.
fn rows_are_sound(pool: &Pool, rows: &Rows) -> Result<(), String> {
    let has_usable = pool.members.iter().any(|m| m.state == Usable);
    let enabled = pool.members.iter().filter(|m| m.state != Disabled).count();
    if rows.has_usable() != has_usable {
        return Err("has_usable".into());
    }
    for (number, row) in rows.as_slice().iter().enumerate() {
        let ids = row.ids();
        let carried = &ids[..enabled.min(4)];
        let is_twice = |(place, id): (usize, &u16)| carried[..place].contains(id);
        let fault =
            if ids[carried.len()..].iter().any(|id| *id != 0) || carried.iter().enumerate().any(is_twice) {
                "wrong number of candidates"
            } else if carried.iter().any(|id| pool.state(*id).is_none_or(|state| state == Disabled)) {
                "carries who is not there"
            } else if has_usable && pool.state(ids[0]) != Some(Usable) {
                "new flows go nowhere"
            } else if !carried.is_sorted_by_key(|id| pool.state(*id) == Some(Failed)) {
                "a failed one is before another"
            } else {
                continue;
            };
        return Err(format!("row {number} {row:?}: {fault}"));
    }
    let owned: u32 = rows.shares().iter().map(|share| share.rows).sum();
    let expected = if has_usable { pool.algorithm.row_count(pool.max_backends) } else { 0 };
    if owned == expected { Ok(()) } else { Err(format!("{owned} of {expected} rows are owned")) }
}

#[test]
fn row_count_is_a_power_of_two_within_its_limits() {
    for (max_backends, rows) in [
        (0, 4_096),
        (1, 4_096),
        (8, 4_096),
        (9, 8_192),
        (64, 32_768),
        (100, 65_536),
        (128, 65_536),
        (129, 131_072),
        (2_048, 1_048_576),
        (2_049, 1_048_576),
        (u32::MAX, 1_048_576),
    ] {
        assert_eq!(row_count(max_backends), rows, "{max_backends} backends");
    }
}

#[test]
fn a_drained_owner_comes_second_and_a_failed_one_last() {
    let pool = Pool::equal(6, 8);
    let before = pool.rows();
    for (state, place) in [(Draining, 1), (Failed, 3)] {
        let after = pool.with(|members| members[2].state = state).rows();
        let mut seen = 0;
        for (old, new) in before.as_slice().iter().zip(after.as_slice()) {
            if old.candidate(0) == 3 {
                assert_eq!(new.candidate(place), 3, "{state:?}: {old:?} became {new:?}");
                seen += 1;
            }
        }
        assert!(seen > 500, "{seen} rows looked at");
    }
}

#[test]
fn the_others_follow_by_rank() {
    let pool = Pool::equal(6, 8).with(|members| members[4].state = Failed);
    for (row, heads) in pool.rows().as_slice().iter().zip(pool.heads(&pool.ranking())) {
        let owner = row.candidate(0);
        let as_if_failed = heads.contains(&5);
        let expected: Vec<_> = std::iter::once(owner)
            .chain(heads.into_iter().filter(|id| *id != owner && *id != 5))
            .chain(as_if_failed.then_some(5))
            .collect();
        assert_eq!(row.ids().as_slice(), expected, "heads {heads:?}");
    }
}

#[test]
fn rows_without_any_usable_backend_carry_their_heads() {
    let pool = Pool::equal(6, 8);
    let before = pool.rows();
    let drained = pool.with(|members| members.iter_mut().for_each(|m| m.state = Draining));
    let after = drained.rows();
    rows_are_sound(&drained, &after).unwrap();
    assert_eq!(
        after.as_slice(),
        before.as_slice(),
        "everybody drains: established flows find their owner first"
    );
    assert!(!after.has_usable());

    let failed = pool.with(|members| members.iter_mut().for_each(|m| m.state = Failed)).rows();
    assert_eq!(failed.as_slice(), before.as_slice(), "everybody fails: the same");
}

#[test]
fn a_pool_without_members_has_empty_rows() {
    let pool = Pool::equal(0, 8);
    let rows = pool.rows();
    assert_eq!(rows.as_slice(), vec![Row::EMPTY; 4_096]);
    assert!(!rows.has_usable());
    assert_eq!(pool.with(|members| members.push(Member { state: Disabled, ..member(1) })).rows(), rows);
}

#[test]
fn a_backend_alone_gets_everything_and_a_cap_of_zero_is_no_reason_to_drop() {
    let alone = Pool::equal(1, 8).with(|members| members[0].cap_permille = 0);
    assert!(alone.rows().as_slice().iter().all(|row| row.ids() == [1, 0, 0, 0]));

    let beside = Pool::equal(2, 8).with(|members| members[0].cap_permille = 0);
    assert!(
        beside.rows().as_slice().iter().all(|row| row.ids() == [2, 1, 0, 0]),
        "it leaves all to the other"
    );
}

/// Replacing a machine: the old one drains, the new one is added. The old one's flows still find it.
#[test]
fn draining_one_and_adding_another_loses_no_owner() {
    let pool = Pool::equal(7, 8);
    let old = pool.rows();
    let drained = pool.with(|members| members[3].state = Draining);
    let replaced = drained.with(|members| members.push(member(8)));
    assert_eq!(old.change(&replaced.rows()).owners_lost, 0);
    assert_eq!(drained.rows().change(&replaced.rows()).owners_lost, 0);
}

/// Six of eight are out; where all heads are, a guest owns the row. It is still carried when one of the first three is back.
#[test]
fn a_guest_stays_when_a_head_comes_back() {
    let healthy = Pool::equal(8, 8);
    let ranking = healthy.ranking();
    let out = healthy.with(|members| members[..6].iter_mut().for_each(|m| m.state = Failed));
    let old = ranking.assign(&out.members()).unwrap();
    let mut guests = 0;
    for id in 1..=6 {
        let back = out.with(|members| members[usize::from(id) - 1].state = Usable);
        let new = ranking.assign(&back.members()).unwrap();
        for ((old, new), heads) in old.as_slice().iter().zip(new.as_slice()).zip(out.heads(&ranking)) {
            let guest = old.candidate(0);
            if !heads.contains(&guest) && heads[..OWNER_HEADS].contains(&id) {
                assert_eq!(new.candidate(0), id);
                assert!(new.carries(guest), "heads {heads:?}: {old:?} became {new:?}");
                guests += 1;
            }
        }
    }
    assert!(guests > 1_000, "{guests} guests");
}

#[test]
fn a_kept_ranking_gives_the_same_rows() {
    let pool = Pool::equal(9, 16);
    let ranking = pool.ranking();
    let changed = pool.with(|members| {
        members[1].state = Failed;
        members[2].cap_permille = 300;
        members[3].id = 77;
    });
    assert!(ranking.covers(&changed.input(), &changed.members()));
    assert_eq!(ranking.assign(&changed.members()), Ok(changed.rows()));

    for other in [
        pool.with(|members| members.truncate(8)),
        pool.with(|members| members[0].weight = 50),
        pool.with(|members| members[0].name = "b0".into()),
        pool.with(|members| members[0].state = Disabled),
    ] {
        assert!(!ranking.covers(&other.input(), &other.members()));
        assert_eq!(ranking.assign(&other.members()), Err(RowsError::OtherMembers));
    }
    assert!(!ranking.covers(&Pool { max_backends: 17, ..pool.clone() }.input(), &pool.members()));
}

#[test]
fn contradictions_are_refused() {
    let pool = Pool::equal(3, 8);
    let refused = |pool: Pool| build(&pool.input(), &pool.members()).unwrap_err().to_string();
    for (pool, message) in [
        (pool.with(|m| m[1].id = 0), "member `b2` has id 0"),
        (pool.with(|m| m[1].id = 1), "two members have id 1"),
        (pool.with(|m| m[1].name = "b3".into()), "two members are called `b3`"),
        (pool.with(|m| m[1].weight = 0), "member `b2` has weight 0"),
        (pool.with(|m| m[1].cap_permille = 1_001), "member `b2` has a cap of 1001/1000"),
        (Pool { max_backends: 2, ..pool.clone() }, "3 members in a pool of at most 2"),
        (Pool { max_backends: 0, ..pool.clone() }, "3 members in a pool of at most 0"),
        (
            Pool::equal(2_049, 3_000),
            "1048576 rows of 2049 members need 2148532224 scores, more than 2147483648",
        ),
    ] {
        assert_eq!(refused(pool), message);
    }
}

#[test]
fn another_number_of_rows_is_all_change() {
    let change = Pool::equal(3, 8).rows().change(&Pool::equal(3, 16).rows());
    assert_eq!(change, Change { rows: 8_192, moved: 8_192, moved_forced: 0, owners_lost: 8_192 });
}
