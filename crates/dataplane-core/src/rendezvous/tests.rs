// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Published vectors, the logarithm against its definition, and what weights mean.

use super::*;
use core::array::from_fn;
use proptest::prelude::*;
use std::vec::Vec;

fn seed() -> PoolSeed {
    PoolSeed::from_bytes(from_fn(|i| u8::try_from(i).unwrap()))
}

/// Published vectors for the seed 00 01 .. 0f: name, weight, row, draw, score. Another implementation that gives these
/// builds the same rows. Made by a separate program with exact decimal logarithms.
const VECTORS: [(&str, u32, u32, u64, u128); 8] = [
    ("b1", 1, 0, 0xdc2c_f176_6a3b_7972, 0x006f_5ace_7378_f870_ff90_a531_8c87_078f),
    ("b1", 100, 0, 0xdc2c_f176_6a3b_7972, 0x0001_1d11_6cac_bacd_ee02_a9ca_7ce2_679c),
    ("b1", 1, 1, 0x0dab_42b5_e236_7247, 0x0874_4f11_c92c_21a7_f78b_b0ee_36d3_de58),
    ("b2", 1, 0, 0x891d_b312_00a6_73bc, 0x01cd_2ec1_30aa_124f_fe32_d13e_cf55_edb0),
    ("b2", 7, 65_535, 0xb305_17e0_e859_3f0f, 0x0025_be53_f0ae_a574_ffb4_8358_1ea2_b516),
    ("", 1, 0, 0x352e_d005_8423_2652, 0x0488_c2b7_5274_418c_fb77_3d48_ad8b_be73),
    (
        "backend-with-a-long-name.example",
        u32::MAX,
        1_048_575,
        0xb2b2_2baf_ef28_4f70,
        0x0000_0000_0109_8ac5_d570_72fa_d466_e835,
    ),
    ("ä", 3, 4_096, 0x2fab_65ad_f4f8_3c71, 0x019d_de16_6248_f46a_a90c_cc94_4861_b640),
];

#[test]
fn published_scores_hold() {
    for (name, weight, row, draw, score) in VECTORS {
        let (row_key, backend) = (RowKey::new(&seed(), row), BackendKey::new(&seed(), name, weight));
        assert_eq!(row_key.draw(&backend), draw, "draw of {name:?} in row {row}");
        assert_eq!(row_key.score(&backend).raw(), score, "score of {name:?}, weight {weight}, in row {row}");
    }
}

/// Published orders: backends b1 to b8 with weights 1 to 8, best first, in rows 0 to 7.
#[test]
fn published_orders_hold() {
    let expected = [
        [7, 8, 4, 6, 1, 3, 2, 5],
        [6, 4, 3, 7, 5, 2, 8, 1],
        [7, 3, 6, 8, 1, 2, 5, 4],
        [4, 6, 8, 7, 5, 2, 3, 1],
        [4, 6, 8, 7, 5, 3, 2, 1],
        [8, 6, 5, 4, 1, 2, 3, 7],
        [6, 5, 3, 7, 8, 4, 1, 2],
        [2, 6, 7, 1, 3, 8, 5, 4],
    ];
    for (row, expected) in (0_u32..).zip(expected) {
        let key = RowKey::new(&seed(), row);
        let mut order: [u32; 8] = from_fn(|i| u32::try_from(i).unwrap() + 1);
        order.sort_by_key(|i| key.score(&BackendKey::new(&seed(), &std::format!("b{i}"), *i)));
        assert_eq!(order, expected, "row {row}");
    }
}

#[test]
fn published_logarithms_hold() {
    for (x, log) in [
        (0, 0x8000_0000_0000_0000),
        (1, 0x8000_0000_0000_0000),
        (2, 0x7e00_0000_0000_0000),
        (3, 0x7cd4_7fcb_8c08_52f1),
        (1 << 63, 0x0200_0000_0000_0000),
        ((1 << 63) - 1, 0x0200_0000_0000_0001),
        (u64::MAX, 1),
        (u64::MAX - 1, 1),
        (0x0123_4567_89ab_cdef, 0x0fa0_a7ff_596b_9cb2),
        (0xb504_f333_f9de_6484, 0x0100_0003_4abd_06ac),
        (1 << 32, 0x4000_0000_0000_0000),
    ] {
        assert_eq!(neg_log2(x), log, "x = {x:#x}");
    }
}

#[test]
fn published_pool_seed_holds() {
    let fleet: [u8; 32] = from_fn(|i| u8::try_from(i).unwrap());
    let expected = 0xc427_7528_860e_83e3_63f6_b5b1_63fc_52e8_u128.to_be_bytes();
    assert_eq!(PoolSeed::derive(&fleet, "web"), PoolSeed::from_bytes(expected));
    assert_ne!(PoolSeed::derive(&fleet, "web"), PoolSeed::derive(&fleet, "web2"));
}

#[test]
fn a_seed_is_not_printed() {
    assert_eq!(std::format!("{:?}", seed()), "PoolSeed(..)");
}

#[test]
fn ends_of_all_segments_are_exact_and_the_log_is_monotone_there() {
    for segment in 0..1_u64 << SEGMENT_BITS {
        let x = (1 << 63) + (segment << OFFSET_BITS);
        assert!(neg_log2(x - 1) >= neg_log2(x), "segment {segment}");
        let exact = 1.0 - (1.0 + segment as f64 / 512.0).log2();
        let ours = neg_log2(x) as f64 / (1_u64 << FRACTION_BITS) as f64;
        assert!((ours - exact).abs() < 1e-15, "segment {segment}: {ours} and {exact}");
    }
}

/// Of backends with weights 1 to 4, each is best in its share of the rows: 100,000 rows, five standard deviations.
#[test]
fn shares_of_first_places_follow_the_weights() {
    const ROWS: u32 = 100_000;
    let backends: Vec<_> = (1..=4).map(|w| BackendKey::new(&seed(), &std::format!("w{w}"), w)).collect();
    let mut wins = [0_u32; 4];
    for row in 0..ROWS {
        let key = RowKey::new(&seed(), row);
        let best = (0..4).min_by_key(|i| key.score(&backends[*i])).unwrap();
        wins[best] += 1;
    }
    for (weight, won) in (1_u32..).zip(wins) {
        let share = f64::from(weight) / 10.0;
        let expected = f64::from(ROWS) * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!(
            (f64::from(won) - expected).abs() < 5.0 * deviation,
            "weight {weight} won {won}, not {expected}"
        );
    }
}

proptest! {
    #[test]
    fn the_log_is_close_from_above_and_monotone(x: u64, step in 0_u64..1 << 56) {
        let unit = (1_u64 << FRACTION_BITS) as f64;
        let exact = 64.0 - (x.max(1) as f64).log2();
        let ours = neg_log2(x) as f64 / unit;
        prop_assert!(ours >= exact - 1e-13);
        // The chord of the last segment, 2^-10 wide, is off by half its width at most where the log goes to 0.
        prop_assert!(ours - exact <= exact / 2048.0 + 1e-13, "{} and {}", ours, exact);
        prop_assert!(neg_log2(x.saturating_add(step)) <= neg_log2(x));
    }

    #[test]
    fn the_bound_is_below_the_log(x: u64, zeros in 0_u32..64) {
        // Also close to 1, where both are small.
        for x in [x, x >> zeros, !(x >> zeros)] {
            prop_assert!(neg_log2_at_least(x) <= neg_log2(x), "x = {:#x}", x);
        }
    }

    #[test]
    fn a_refused_score_is_not_below_the_limit(
        row: u32, name in "[a-z0-9.-]{0,12}", weight in 1_u32.., limit_row: u32, limit_weight in 1_u32..,
    ) {
        let backend = BackendKey::new(&seed(), &name, weight);
        let limit = RowKey::new(&seed(), limit_row).score(&BackendKey::new(&seed(), "limit", limit_weight));
        let key = RowKey::new(&seed(), row);
        let score = key.score(&backend);
        prop_assert_eq!(key.score_below(&backend, limit), (score < limit).then_some(score));
        prop_assert_eq!(key.score_below(&backend, Score::WORST), Some(score));
        prop_assert_eq!(key.score_below(&backend, score), None);
    }

    #[test]
    fn more_weight_never_worsens_a_score(row: u32, weight in 1_u32..u32::MAX, more in 1_u32..) {
        let key = RowKey::new(&seed(), row);
        let score = |weight| key.score(&BackendKey::new(&seed(), "b", weight));
        prop_assert!(score(weight.saturating_add(more)) <= score(weight));
        prop_assert_eq!(score(1), key.score(&BackendKey::new(&seed(), "b", 0)), "0 counts as 1");
    }
}
