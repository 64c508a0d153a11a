// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Maglev table: exact shares, published vectors, and what it costs beside bounded rendezvous.

use super::*;
use crate::rows::maglev::prime_below;
use proptest::test_runner::TestCaseError;
use weir_dataplane_core::siphash::siphash24;

fn maglev(backends: u16, max_backends: u32) -> Pool {
    Pool { algorithm: Algorithm::Maglev, ..Pool::equal(backends, max_backends) }
}

/// First rows of three pools and a digest (SipHash-2-4, key of zeros, little-endian words) of all of them. Made by a
/// separate program, written from the text of the module's head with fractions in place of products.
#[test]
fn published_tables_hold() {
    let plain = maglev(10, 16);
    let mixed = plain.with(|members| {
        for (weight, member) in (1..).zip(members.iter_mut()) {
            member.weight = weight;
        }
        members[1].state = Draining;
        members[4].state = Failed;
        members[6].cap_permille = 500;
        members[9].state = Disabled;
    });
    let down = plain.with(|members| {
        members[..6].iter_mut().for_each(|member| member.state = Failed);
        members[2].state = Draining;
        members[7].cap_permille = 100;
    });
    for (pool, first, digest) in [
        (plain, [[9, 7, 5, 4], [1, 4, 8, 6], [6, 10, 7, 5], [3, 2, 10, 9]], 0x7433_160f_2658_542f),
        (mixed, [[9, 7, 4, 5], [4, 8, 9, 6], [6, 7, 8, 5], [3, 9, 2, 8]], 0x8df0_a782_6895_0048),
        (down, [[9, 7, 5, 4], [9, 8, 1, 4], [10, 7, 6, 5], [10, 3, 9, 2]], 0x00ef_28d5_4a5f_4127),
    ] {
        let rows = pool.rows();
        assert_eq!(rows.as_slice().len(), 8_191);
        let bytes: Vec<u8> = rows.as_slice().iter().flat_map(|row| row.raw().to_le_bytes()).collect();
        assert_eq!(rows.as_slice()[..4].iter().map(|row| row.ids()).collect::<Vec<_>>(), first);
        assert_eq!(siphash24(&[0; 16], &bytes), digest, "{:?}", pool.members);
    }
}

#[test]
fn rows_are_the_greatest_prime_that_fits() {
    for (rows, prime) in [(4_096, 4_093), (8_192, 8_191), (65_536, 65_521), (1 << 20, 1_048_573)] {
        assert_eq!(prime_below(rows), prime);
    }
    assert_eq!(Algorithm::Maglev.row_count(100), 65_521);
    assert_eq!(Algorithm::BoundedRendezvous.row_count(100), 65_536);
}

/// Nobody gets a whole row less than its weight says, and so nobody much more, at any scale of the weights.
#[test]
fn shares_are_what_weights_say() {
    for weights in [vec![1; 7], vec![1, 10], vec![3, 1, 7, 250], (1..=30).collect(), vec![u32::MAX, 1]] {
        let pool = maglev(u16::try_from(weights.len()).unwrap(), 32).with(|members| {
            members.iter_mut().zip(&weights).for_each(|(member, weight)| member.weight = *weight);
        });
        let rows = pool.rows();
        for share in rows.shares() {
            let over = f64::from(share.rows) - share.fair;
            let most = share.fair / f64::from(prime_below(16_384)) * weights.len() as f64;
            assert!((-1.0..=most).contains(&over), "{weights:?}: {share:?}");
        }
        let scaled =
            pool.with(|members| members.iter_mut().for_each(|m| m.weight = m.weight.min(99) * 1_000));
        let small = pool.with(|members| members.iter_mut().for_each(|m| m.weight = m.weight.min(99)));
        assert_eq!(scaled.rows(), small.rows(), "only proportions matter");
    }
}

#[test]
fn a_cap_takes_its_part_and_a_cap_of_zero_everything() {
    let pool = maglev(5, 8).with(|members| {
        members[1].cap_permille = 500;
        members[2].cap_permille = 0;
    });
    let rows = pool.rows();
    let shares: Vec<_> = rows.shares().iter().map(|share| share.rows).collect();
    assert_eq!(shares[2], 0);
    assert!(shares[1].abs_diff(shares[0] / 2) <= 1, "{shares:?}");
    rows_are_sound(&pool, &rows).unwrap();
}

/// A drained owner stays second, so that a flow without an entry has one forward to go.
#[test]
fn the_owner_before_a_drain_comes_second() {
    let pool = maglev(6, 8);
    let before = pool.rows();
    let after = pool.with(|members| members[2].state = Draining).rows();
    let mut seen = 0;
    for (old, new) in before.as_slice().iter().zip(after.as_slice()) {
        if old.candidate(0) == 3 {
            assert_eq!(new.candidate(1), 3, "{old:?} became {new:?}");
            seen += 1;
        }
    }
    assert!(seen > 600, "{seen} rows");
    assert_eq!(before.change(&after).owners_lost, 0, "the first head is always carried");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn tables_are_sound_in_any_state(
        members in prop::collection::vec((1_u32..500, 0_u16..=1_000, 0_usize..5), 0..9)
    ) {
        let states = [Usable, Usable, Draining, Failed, Disabled];
        let members = (1..).zip(&members).map(|(id, &(weight, cap_permille, state))| Member {
            weight,
            cap_permille,
            state: states[state],
            ..member(id)
        });
        let pool = Pool { members: members.collect(), ..maglev(0, 8) };
        rows_are_sound(&pool, &pool.rows()).map_err(TestCaseError::fail)?;
    }
}

/// Both algorithms when one or several of many leave at once: figures as printed by the bench `rows`.
#[test]
fn removals_cost_maglev_some_owners_and_rendezvous_none() {
    for (backends, max_backends, removed) in [(10, 16, 1), (100, 100, 1), (100, 100, 5), (1_000, 1_000, 50)] {
        let figures = |algorithm| {
            let pool = Pool { algorithm, ..Pool::equal(backends, max_backends) };
            let before = pool.rows();
            let change = before.change(&pool.with(|m| drop(m.drain(3..3 + removed))).rows());
            let part = |rows: u32| f64::from(rows) / f64::from(change.rows);
            let ratio = |share: &Share| f64::from(share.rows) / share.fair;
            let heaviest = before.shares().iter().map(ratio).fold(0.0, f64::max);
            (heaviest, part(change.moved - change.moved_forced), part(change.owners_lost))
        };
        let (heaviest, beyond, lost) = figures(Algorithm::BoundedRendezvous);
        let case = format!("{removed} of {backends}");
        assert!(heaviest <= 1.025 && beyond <= 0.008, "{case}: {heaviest} {beyond}");
        assert_eq!(lost, 0.0, "{case}: who is among a row's first three stays there when others leave");
        let (heaviest, beyond, lost) = figures(Algorithm::Maglev);
        assert!(heaviest <= 1.004, "{case}: {heaviest}");
        assert!(beyond > 0.0 && beyond <= 0.06, "{case}: {beyond}");
        assert!(lost > 0.0 && lost <= 0.02, "{case}: {lost}");
    }
}
