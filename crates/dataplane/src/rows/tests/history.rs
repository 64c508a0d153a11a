// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A ranking that was brought through many changes is the one that a fresh start makes.

use super::*;
use proptest::test_runner::TestCaseError;

/// One step of a history, with numbers to be taken modulo the members.
#[derive(Debug, Clone)]
enum Step {
    Add {
        name: u8,
        weight: u32,
    },
    Remove {
        which: usize,
    },
    Weight {
        which: usize,
        weight: u32,
    },
    State {
        which: usize,
        state: BackendState,
    },
    /// Several steps that become one change.
    Together(Vec<Step>),
}

fn state() -> impl Strategy<Value = BackendState> {
    prop_oneof![4 => Just(Usable), 1 => Just(Draining), 1 => Just(Failed), 2 => Just(Disabled)]
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(100), 2 => 1_u32..1_000]
}

fn one() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<u8>(), weight()).prop_map(|(name, weight)| Step::Add { name, weight }),
        3 => any::<usize>().prop_map(|which| Step::Remove { which }),
        1 => (any::<usize>(), weight()).prop_map(|(which, weight)| Step::Weight { which, weight }),
        2 => (any::<usize>(), state()).prop_map(|(which, state)| Step::State { which, state }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![8 => one(), 1 => prop::collection::vec(one(), 1..12).prop_map(Step::Together)]
}

fn take(members: &mut Vec<Member>, step: &Step) {
    let count = members.len();
    match step {
        Step::Add { name, weight } => {
            let name = format!("b{name}");
            // Names come back, also with another weight; never two at once.
            if count < 16 && members.iter().all(|m| m.name != name) {
                let id = (1..).find(|id| members.iter().all(|m| m.id != *id)).unwrap();
                members.push(Member { id, name, weight: *weight, cap_permille: 1_000, state: Usable });
            }
        }
        Step::Together(steps) => steps.iter().for_each(|step| take(members, step)),
        Step::Remove { which } if count > 0 => drop(members.remove(which % count)),
        Step::Weight { which, weight } if count > 0 => members[which % count].weight = *weight,
        Step::State { which, state } if count > 0 => members[which % count].state = *state,
        Step::Remove { .. } | Step::Weight { .. } | Step::State { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_history_of_changes_ends_in_the_rows_of_a_fresh_start(
        backends in 0_u16..16, maglev: bool, steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut pool = Pool::equal(backends, 16);
        if maglev {
            pool.algorithm = Algorithm::Maglev;
        }
        let input = pool.input();
        let mut ranking = pool.ranking();
        for step in &steps {
            take(&mut pool.members, step);
            ranking.update(&pool.members()).unwrap();
            prop_assert!(ranking.covers(&input, &pool.members()));
            let fresh = pool.ranking();
            prop_assert_eq!(pool.heads(&ranking), pool.heads(&fresh));
            let rows = ranking.assign(&pool.members()).unwrap();
            prop_assert_eq!(&rows, &fresh.assign(&pool.members()).unwrap());
            rows_are_sound(&pool, &rows).map_err(TestCaseError::fail)?;
        }
    }
}

/// Members leave one by one until none is left, so that every row runs out of heads again and again; then all come back.
#[test]
fn rows_that_run_out_of_heads_ask_again() {
    for algorithm in [Algorithm::BoundedRendezvous, Algorithm::Maglev] {
        let mut pool = Pool { algorithm, ..Pool::equal(30, 32) };
        let all = pool.members.clone();
        let mut ranking = pool.ranking();
        for _ in 0..30 {
            pool.members.remove(pool.members.len() / 2);
            ranking.update(&pool.members()).unwrap();
            assert_eq!(ranking.assign(&pool.members()), Ok(pool.rows()), "{} left", pool.members.len());
        }
        for member in all {
            pool.members.push(member);
            ranking.update(&pool.members()).unwrap();
            assert_eq!(ranking.assign(&pool.members()), Ok(pool.rows()), "{} back", pool.members.len());
        }
    }
}

/// What an update refuses changes nothing.
#[test]
fn a_refused_update_leaves_the_ranking_as_it_was() {
    let pool = Pool::equal(9, 16);
    let mut ranking = pool.ranking();
    for wrong in [
        pool.with(|m| m[1].weight = 0),
        pool.with(|m| m[1].name = "b3".into()),
        pool.with(|m| (10..20).for_each(|id| m.push(member(id)))),
    ] {
        ranking.update(&wrong.members()).unwrap_err();
        assert_eq!(ranking.assign(&pool.members()), Ok(pool.rows()));
    }
}

#[test]
fn a_kept_ranking_costs_what_is_said() {
    let pool = Pool::equal(100, 100);
    let per_row = pool.ranking().bytes() as f64 / 65_536.0;
    assert!((34.0..34.5).contains(&per_row), "{per_row} bytes a row");
}
