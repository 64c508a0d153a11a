// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every state of a pool of five, and every single change between two of them.

use super::*;
use std::collections::BTreeMap;

const BACKENDS: u16 = 5;
/// Disabled stands for "not there" too: both leave the same rows.
const STATES: [BackendState; 4] = [Usable, Draining, Failed, Disabled];

/// The pool whose backend i is in the state of digit i of `number`, base four.
fn pool(number: usize) -> Pool {
    Pool::equal(BACKENDS, 8).with(|members| {
        for (digit, member) in members.iter_mut().enumerate() {
            member.state = STATES[number >> (2 * digit) & 3];
        }
    })
}

#[test]
fn every_single_change_between_all_states_of_five_backends_keeps_the_promise() {
    let all = 1_usize << (2 * BACKENDS);
    let mut rankings = BTreeMap::new();
    let states: Vec<_> = (0..all)
        .map(|number| {
            let pool = pool(number);
            let absent: Vec<_> = pool.members.iter().map(|m| m.state == Disabled).collect();
            let ranking = rankings.entry(absent).or_insert_with(|| pool.ranking());
            let rows = ranking.assign(&pool.members()).unwrap();
            rows_are_sound(&pool, &rows).unwrap();
            let promised = pool.promised(ranking);
            let out = pool.members.iter().filter(|m| matches!(m.state, Draining | Failed)).count();
            let enabled = pool.members.iter().filter(|m| m.state != Disabled).count();
            if out < enabled.min(OWNER_HEADS) {
                assert!(promised.iter().all(|covered| *covered), "{:?}", pool.members);
            }
            (pool, rows, promised)
        })
        .collect();
    let mut checked = 0_u64;
    for (number, (_, old, promised)) in states.iter().enumerate() {
        for digit in 0..usize::from(BACKENDS) {
            for step in 1..4 {
                let other = number ^ step << (2 * digit);
                let (pool, new, _) = &states[other];
                for ((old, new), covered) in old.as_slice().iter().zip(new.as_slice()).zip(promised) {
                    let owner = old.candidate(0);
                    let stays = *covered && pool.members[usize::from(owner) - 1].state != Disabled;
                    assert!(!stays || new.carries(owner), "{:?}: {old:?} became {new:?}", pool.members);
                    checked += u64::from(stays);
                }
            }
        }
    }
    assert!(checked > 30_000_000, "{checked} rows checked");
}
