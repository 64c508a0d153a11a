// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our codec against another one, `netgauze-bgp-pkt`: what we write it reads to the same meaning, and of mutated
//! recordings both make the same or differ in a class that is listed with its reason.
//!
//! ```text
//!   random paths, OPENs, … ──► our encoder ──► octets ──► their decoder ──► the same meaning
//!   recordings ──mutated──► octets ─┬─► our decoder ───► meaning, findings or refusal ─┐
//!                                   └─► their decoder ─► meaning or refusal ───────────┴─► agreed, or a listed class
//! ```
//!
//! `WEIR_BGP_DIFF_CASES` is the number of mutated inputs; a long run has many millions.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

#[path = "../support/mod.rs"]
mod support;

mod classes;
mod meaning;
mod mutate;
mod written;

use std::collections::BTreeMap;

use classes::{CLASSES, class_of};
use support::{Random, corpus, index, load};

/// Inputs of the short form.
const CASES: u64 = 60_000;

#[test]
fn mutated_recordings_mean_the_same_or_differ_for_a_listed_reason() {
    let cases = std::env::var("WEIR_BGP_DIFF_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let (corpus, mut random) = (corpus(), Random(7));
    let whole = |file: &str| file.starts_with("update/").then(|| load(file));
    let updates: Vec<_> = index().iter().filter_map(|e| whole(e["file"].as_str().unwrap())).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..cases {
        let octets = mutate::near(&mut random, &corpus, &updates);
        let four_octet_as = random.below(4) != 0;
        match class_of(&octets, four_octet_as) {
            Ok(class) => *counts.entry(class).or_default() += 1,
            Err(difference) => panic!("no class for {octets:02x?}\n{difference}"),
        }
    }
    for (class, count) in &counts {
        assert!(CLASSES.iter().any(|(name, _)| name == class), "{class} is not listed");
        println!("{count:>9} {class}");
    }
    // Otherwise the run has not shown what it is for.
    for class in ["the same meaning", "refused by both", "a mistake we forgive"] {
        assert!(counts.get(class).is_some_and(|n| *n >= cases / 50), "{class}: {counts:?}");
    }
}

#[test]
fn recordings_themselves_mean_the_same() {
    for entry in index() {
        let file = entry["file"].as_str().unwrap();
        if entry.get("expect").is_none() {
            continue;
        }
        let class = class_of(&load(file), true).unwrap_or_else(|e| panic!("{file}: {e}"));
        let expected = match file {
            "open/rfc9072-extended-optlen.hex" => "OPEN with long parameters",
            _ => "the same meaning",
        };
        assert_eq!(class, expected, "{file}");
    }
}
