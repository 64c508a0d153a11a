// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Defects of other balancers' selection that must not be ours.

use super::*;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::BoundedRendezvous, Algorithm::Maglev];

fn pool(algorithm: Algorithm, backends: u16, max_backends: u32) -> Pool {
    Pool { algorithm, ..Pool::equal(backends, max_backends) }
}

/// GLB: tables of one backend read past the end of the list.
#[test]
fn pools_of_fewer_backends_than_candidates_have_rows() {
    for (algorithm, backends) in ALGORITHMS.into_iter().flat_map(|a| (1..=4).map(move |n| (a, n))) {
        let pool = pool(algorithm, backends, 8);
        let rows = pool.rows();
        rows_are_sound(&pool, &rows).unwrap();
        for row in rows.as_slice() {
            let ids = row.ids();
            let (named, empty) = ids.split_at(usize::from(backends));
            assert!(named.iter().all(|id| (1..=backends).contains(id)) && empty.iter().all(|id| *id == 0));
        }
        for state in [Draining, Failed] {
            let out = pool.with(|members| members[0].state = state);
            rows_are_sound(&out, &out.rows()).unwrap();
        }
    }
}

/// Katran's first weighted fill (facebookincubator/katran#35): 1:10 came out about even.
#[test]
fn a_weight_of_ten_gets_ten_times_a_weight_of_one() {
    for algorithm in ALGORITHMS {
        let two = pool(algorithm, 2, 8).with(|members| (members[0].weight, members[1].weight) = (1, 10));
        let [light, heavy] = two.rows().shares().iter().map(|share| share.rows).collect::<Vec<_>>()[..]
        else {
            panic!("two shares");
        };
        let ratio = f64::from(heavy) / f64::from(light);
        assert!((9.0..11.2).contains(&ratio), "{algorithm:?}: {heavy} to {light}");

        // As in that report: many of weight 1 and as many of weight 10.
        let many = pool(algorithm, 40, 64).with(|members| {
            members.iter_mut().step_by(2).for_each(|member| member.weight = 10);
            members.iter_mut().skip(1).step_by(2).for_each(|member| member.weight = 1);
        });
        for share in many.rows().shares() {
            let over = f64::from(share.rows) / share.fair;
            assert!((0.75..1.03).contains(&over), "{algorithm:?}: {share:?}");
        }
    }
}

/// loxilb: hash modulo the number of backends, so that one less moves nearly every flow.
#[test]
fn one_backend_less_moves_its_own_flows() {
    for algorithm in ALGORITHMS {
        let pool = pool(algorithm, 20, 32);
        let change = pool.rows().change(&pool.with(|members| drop(members.remove(7))).rows());
        let part = |rows: u32| f64::from(rows) / f64::from(change.rows);
        assert!(part(change.moved) < 0.09, "{algorithm:?}: {change:?}; modulo would have moved 95 %");
        assert!((0.048..0.052).contains(&part(change.moved_forced)), "{algorithm:?}: {change:?}");
    }
}

/// loxilb: flows of a failed backend all go to the first one that is alive.
#[test]
fn flows_of_a_failed_backend_spread_over_all_others() {
    for algorithm in ALGORITHMS {
        let pool = pool(algorithm, 10, 16);
        let (before, after) = (pool.rows(), pool.with(|members| members[0].state = Failed).rows());
        let mut got = [0_u32; 11];
        for (old, new) in before.as_slice().iter().zip(after.as_slice()) {
            if old.candidate(0) == 1 {
                got[usize::from(new.candidate(0))] += 1;
            }
        }
        let fair = f64::from(got.iter().sum::<u32>()) / 9.0;
        assert_eq!(got[1], 0);
        for (id, rows) in got.iter().enumerate().skip(2) {
            let share = f64::from(*rows) / fair;
            assert!((0.6..1.5).contains(&share), "{algorithm:?}: {id} got {share} of its part");
        }
    }
}
