// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The figures that must be shown: 100 backends, 65,536 rows, ε = 1 %.

use super::*;

const ROWS: f64 = 65_536.0;

fn heaviest(rows: &Rows) -> f64 {
    rows.shares().iter().map(|share| f64::from(share.rows) / share.fair).fold(0.0, f64::max)
}

fn share_of(rows: u32) -> f64 {
    f64::from(rows) / ROWS
}

#[test]
fn a_hundred_backends_stay_within_the_figures_through_any_removal_or_addition() {
    let pool = Pool::equal(100, 100);
    let before = pool.rows();
    assert_eq!(before.as_slice().len(), 65_536);
    assert!(heaviest(&before) <= 1.03, "heaviest {}", heaviest(&before));

    let added = pool.with(|members| members.push(member(101)));
    let removals = [0, 17, 42, 63, 99].map(|victim| pool.with(|members| drop(members.remove(victim))));
    for changed in removals.into_iter().chain([Pool { max_backends: 128, ..added }]) {
        let after = changed.rows();
        let change = before.change(&after);
        assert!(
            share_of(change.moved) <= 0.013,
            "{} backends: moved {}",
            changed.members.len(),
            change.moved
        );
        assert!(change.moved > 0);
        assert_eq!(change.owners_lost, 0);
        assert!(heaviest(&after) <= 1.03, "heaviest {}", heaviest(&after));
    }
}

/// Drains and failures move what they have to and not one row more, and coming back is as cheap.
#[test]
fn a_hundred_backends_move_only_the_rows_of_the_one_that_drains_or_fails() {
    let pool = Pool::equal(100, 100);
    let ranking = pool.ranking();
    let before = ranking.assign(&pool.members()).unwrap();
    for victim in (0..100).step_by(7) {
        for state in [Draining, Failed] {
            let changed = pool.with(|members| members[victim].state = state);
            let after = ranking.assign(&changed.members()).unwrap();
            let (there, back) = (before.change(&after), after.change(&before));
            assert_eq!(there.moved, before.shares()[victim].rows);
            assert_eq!(there.moved, there.moved_forced);
            assert_eq!((there.moved, 0, 0), (back.moved, there.owners_lost, back.owners_lost));
            for share in after.shares().iter().filter(|share| share.is_usable) {
                assert!(f64::from(share.rows) <= share.fair * 1.03, "{share:?}");
            }
        }
    }
}

/// Half the pool gone: the other half carries it evenly, and no row is without a candidate.
#[test]
fn a_hundred_backends_share_what_failed_ones_leave() {
    let pool = Pool::equal(100, 100);
    let ranking = pool.ranking();
    for failed in [5, 30, 50, 99] {
        let changed = pool.with(|members| members[..failed].iter_mut().for_each(|m| m.state = Failed));
        let rows = ranking.assign(&changed.members()).unwrap();
        rows_are_sound(&changed, &rows).unwrap();
        for share in rows.shares().iter().filter(|share| share.is_usable) {
            assert!(f64::from(share.rows) <= share.fair * 1.03, "{failed} failed: {share:?}");
        }
    }
}

/// A cap moves rows of its backend only, about as many as it takes away, and gives them back.
#[test]
fn a_lowered_cap_moves_rows_of_its_backend_only() {
    let pool = Pool::equal(100, 100);
    let ranking = pool.ranking();
    let before = ranking.assign(&pool.members()).unwrap();
    let mut last = before.clone();
    for cap_permille in [900, 500, 100, 0] {
        let changed = pool.with(|members| members[20].cap_permille = cap_permille);
        let after = ranking.assign(&changed.members()).unwrap();
        for (old, new) in before.as_slice().iter().zip(after.as_slice()) {
            assert!(old.candidate(0) == new.candidate(0) || old.candidate(0) == 21, "{old:?} became {new:?}");
        }
        let share = after.shares()[20];
        assert!(f64::from(share.rows) <= share.fair * 1.03 + 1.0, "{share:?}");
        assert_eq!(last.change(&after).owners_lost, 0);
        last = after;
    }
    assert!(last.shares()[20].rows <= 1, "a cap of 0 leaves nothing: {:?}", last.shares()[20]);
}

/// Half of the caps halved: the lowered ones come down to their caps and only they give rows away.
#[test]
fn many_lowered_caps_are_kept_and_nobody_else_gives_rows_away() {
    let pool = Pool::equal(100, 100);
    let ranking = pool.ranking();
    let before = ranking.assign(&pool.members()).unwrap();
    let changed = pool.with(|members| members[..50].iter_mut().for_each(|m| m.cap_permille = 500));
    let after = ranking.assign(&changed.members()).unwrap();
    assert!(heaviest(&after) <= 1.03, "heaviest {}", heaviest(&after));
    for (old, new) in before.as_slice().iter().zip(after.as_slice()) {
        assert!(old.candidate(0) == new.candidate(0) || old.candidate(0) <= 50, "{old:?} became {new:?}");
    }
    let change = before.change(&after);
    assert!((0.15..0.17).contains(&share_of(change.moved)), "moved {}", change.moved);
    assert_eq!((change.moved_forced, change.owners_lost), (0, 0));
}
