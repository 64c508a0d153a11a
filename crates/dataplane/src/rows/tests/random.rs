// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Properties on random pools.

use super::*;
use proptest::test_runner::TestCaseError;

/// A single change, with numbers to be taken modulo the members.
#[derive(Debug, Clone)]
enum Single {
    Add { weight: u32, state: BackendState },
    Remove { which: usize },
    State { which: usize, state: BackendState },
    Cap { which: usize, cap_permille: u16 },
    RaiseWeight { which: usize, by: u32 },
    LowerWeight { which: usize, to: u32 },
}

fn state() -> impl Strategy<Value = BackendState> {
    prop_oneof![6 => Just(Usable), 1 => Just(Draining), 1 => Just(Failed), 1 => Just(Disabled)]
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(100), 4 => 1_u32..1_000, 1 => 1_u32..]
}

fn cap() -> impl Strategy<Value = u16> {
    prop_oneof![3 => Just(1_000), 1 => Just(0), 2 => 0_u16..=1_000]
}

fn single() -> impl Strategy<Value = Single> {
    prop_oneof![
        (weight(), state()).prop_map(|(weight, state)| Single::Add { weight, state }),
        any::<usize>().prop_map(|which| Single::Remove { which }),
        (any::<usize>(), state()).prop_map(|(which, state)| Single::State { which, state }),
        (any::<usize>(), cap()).prop_map(|(which, cap_permille)| Single::Cap { which, cap_permille }),
        (any::<usize>(), 1_u32..1_000).prop_map(|(which, by)| Single::RaiseWeight { which, by }),
        (any::<usize>(), weight()).prop_map(|(which, to)| Single::LowerWeight { which, to }),
    ]
}

prop_compose! {
    /// One to twelve members with ids that have nothing to do with their order.
    fn pool()(
        members in prop::collection::vec((weight(), cap(), state()), 1..=12),
        ids in Just((1_u16..=12).collect::<Vec<_>>()).prop_shuffle(),
    ) -> Pool {
        let members = members.into_iter().zip(ids).enumerate().map(|(i, ((weight, cap_permille, state), id))| {
            Member { id, name: format!("backend-{i}"), weight, cap_permille, state }
        });
        Pool { members: members.collect(), ..Pool::equal(0, 16) }
    }
}

/// The pool after the change, and whom the promise does not cover.
fn apply(pool: &Pool, change: &Single) -> (Pool, Option<u16>) {
    let mut but = None;
    let changed = pool.with(|members| {
        let count = members.len();
        match *change {
            Single::Add { weight, state } => {
                members.push(Member { id: 13, name: "added".into(), weight, cap_permille: 1_000, state });
            }
            Single::Remove { which } => drop(members.remove(which % count)),
            Single::State { which, state } => members[which % count].state = state,
            Single::Cap { which, cap_permille } => members[which % count].cap_permille = cap_permille,
            Single::RaiseWeight { which, by } => {
                let member = &mut members[which % count];
                member.weight = member.weight.saturating_add(by);
            }
            Single::LowerWeight { which, to } => {
                let member = &mut members[which % count];
                member.weight = member.weight.min(to);
                but = Some(member.id);
            }
        }
    });
    (changed, but)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_single_change_carries_old_owners_and_leaves_sound_rows(pool in pool(), change in single()) {
        let (changed, but) = apply(&pool, &change);
        let ranking = pool.ranking();
        let (old, new) = (ranking.assign(&pool.members()).unwrap(), changed.rows());
        for (pool, rows) in [(&pool, &old), (&changed, &new)] {
            rows_are_sound(pool, rows).map_err(TestCaseError::fail)?;
        }
        for ((old, new), covered) in old.as_slice().iter().zip(new.as_slice()).zip(pool.promised(&ranking)) {
            let owner = old.candidate(0);
            let stays = changed.state(owner).is_some_and(|state| state != Disabled) && Some(owner) != but;
            prop_assert!(!(covered && stays) || new.carries(owner), "{:?} became {:?}", old, new);
        }
    }

    /// Two backends flip one after the other in a healthy pool: all owners on the way are carried to the end.
    #[test]
    fn two_flips_of_different_backends_carry_all_owners_on_the_way(
        backends in 3_u16..12, first: prop::sample::Index, second: prop::sample::Index,
        states in (prop_oneof![Just(Draining), Just(Failed)], prop_oneof![Just(Draining), Just(Failed)]),
    ) {
        let healthy = Pool::equal(backends, 16);
        let ranking = healthy.ranking();
        let first = first.index(usize::from(backends));
        let second = (first + 1 + second.index(usize::from(backends) - 1)) % usize::from(backends);
        let once = healthy.with(|members| members[first].state = states.0);
        let twice = once.with(|members| members[second].state = states.1);
        let back = twice.with(|members| members[first].state = Usable);
        let [healthy, once, twice, back] = [healthy, once, twice, back].map(|p| ranking.assign(&p.members()).unwrap());
        for (from, to) in [(&healthy, &once), (&once, &twice), (&healthy, &twice), (&twice, &back), (&once, &back)] {
            prop_assert_eq!(from.change(to).owners_lost, 0);
        }
    }

    /// The order in which members are given and the ids they have do not matter.
    #[test]
    fn rows_depend_on_names_not_on_order_or_ids(
        pool in pool(), order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        ids in Just((100_u16..112).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut other = pool.with(|members| {
            *members = order.iter().filter_map(|i| members.get(*i)).cloned().collect();
        });
        prop_assert_eq!(other.rows(), pool.rows());
        for (member, id) in other.members.iter_mut().zip(ids) {
            member.id = id;
        }
        let renamed = |id: u16| {
            let name = pool.members.iter().find(|m| m.id == id).map(|m| &m.name);
            other.members.iter().find(|m| Some(&m.name) == name).map_or(0, |m| m.id)
        };
        for (ours, theirs) in pool.rows().as_slice().iter().zip(other.rows().as_slice()) {
            prop_assert_eq!(ours.ids().map(renamed), theirs.ids());
        }
    }

    /// Without a third backend, the others keep their order; one of those behind moves up.
    #[test]
    fn heads_of_two_backends_do_not_depend_on_a_third(pool in pool(), third: prop::sample::Index) {
        let third = third.index(pool.members.len());
        let id = pool.members[third].id;
        let without = pool.with(|members| drop(members.remove(third)));
        for (with, without) in pool.heads(&pool.ranking()).into_iter().zip(without.heads(&without.ranking())) {
            let rest: Vec<_> = with.into_iter().filter(|head| *head != id).collect();
            prop_assert_eq!(&without[..rest.len()], rest.as_slice());
        }
    }

    /// Nobody owns a row while somebody better is under his cap, in a pool without drains, failures and lowered caps.
    #[test]
    fn an_owner_is_the_best_of_three_under_its_cap(mut pool in pool()) {
        for member in &mut pool.members {
            (member.cap_permille, member.state) = (1_000, Usable);
        }
        let rows = pool.rows();
        let is_full = |id: u16| {
            let share = rows.shares().iter().find(|share| share.id == id).unwrap();
            f64::from(share.rows) >= share.fair * 1.01 - 1e-6
        };
        for (row, heads) in rows.as_slice().iter().zip(pool.heads(&pool.ranking())) {
            let owner = row.candidate(0);
            let place = heads[..OWNER_HEADS].iter().position(|head| *head == owner).unwrap();
            prop_assert!(heads[..place].iter().all(|better| is_full(*better)), "heads {:?}, owner {}", heads, owner);
        }
    }

    /// Equal backends get equal shares: nobody more than 3 % over, at 512 rows a backend or more.
    #[test]
    fn equal_backends_get_equal_shares(backends in 1_u16..=32, epsilon_permille in 5_u16..20) {
        let pool = Pool::equal(backends, 32);
        let input = RowsInput { epsilon_permille, ..pool.input() };
        for share in build(&input, &pool.members()).unwrap().shares() {
            prop_assert!(f64::from(share.rows) <= share.fair * 1.03 + 1.0, "{:?}", share);
            prop_assert!(f64::from(share.rows) >= share.fair * 0.80, "{:?}", share);
        }
    }

    /// One addition or removal moves little more than it has to.
    #[test]
    fn a_removal_moves_little_more_than_it_has_to(backends in 4_u16..=24, victim: prop::sample::Index) {
        let pool = Pool::equal(backends, 32);
        let victim = victim.index(usize::from(backends));
        let without = pool.with(|members| drop(members.remove(victim)));
        let (with, without) = (pool.rows(), without.rows());
        let (there, back) = (with.change(&without), without.change(&with));
        prop_assert_eq!(there.moved_forced, with.shares()[victim].rows);
        prop_assert_eq!(there.moved, back.moved);
        let extra = f64::from(there.moved - there.moved_forced) / f64::from(there.rows);
        prop_assert!(extra <= 0.006, "{} rows more than {}", there.moved - there.moved_forced, there.moved_forced);
    }
}

/// [`NOBODY`] is no index of a member, so a pool may not have one there.
#[test]
fn the_largest_number_of_members_leaves_room_for_nobody() {
    let pool = Pool::equal(NOBODY, u32::MAX);
    let error = Ranking::new(&pool.input(), &pool.members()).unwrap_err();
    assert!(matches!(error, RowsError::TooManyMembers { members: 65_535, .. }), "{error}");
}
