// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Medians over the rounds, the goals they are held to, a table for people and a file for machines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::subject::Kind;

/// Rows of the table: key in the file, what it is.
const ROWS: [(&str, &str); 12] = [
    ("announce_100k_s", "100,000 prefixes on the wire, s"),
    ("announce_100k_4_peers_s", "the same to 4 peers, s"),
    ("announce_10k_s", "10,000 prefixes to 4 peers, s"),
    ("first_update_ms", "first UPDATE of these, ms"),
    ("withdraw_p50_us", "withdraw with 10,000 VIPs, 4 peers: arrived, median, us"),
    ("withdraw_p99_us", "  99th percentile, us"),
    ("handed_over_p50_us", "  octets handed to the sockets, median, us"),
    ("handed_over_p99_us", "  99th percentile, us"),
    ("rss_mib_100k", "memory with 100,000 prefixes to 4 peers, MiB"),
    ("bfd_freeze_gone_ms", "frozen, BFD 3 x 100 ms: gone from the ToR's kernel, ms"),
    ("kill_gone_ms", "killed: gone from the ToR's kernel, ms"),
    ("bfd_kill_gone_ms", "killed, BFD 3 x 100 ms: gone from the ToR's kernel, ms"),
];

/// What Weir is held to, in the key's unit.
const GOALS: [(&str, f64); 7] = [
    ("announce_100k_s", 0.2),
    ("first_update_ms", 5.0),
    ("handed_over_p99_us", 1000.0),
    ("rss_mib_100k", 40.0),
    ("bfd_freeze_gone_ms", 400.0),
    ("kill_gone_ms", 400.0),
    ("bfd_kill_gone_ms", 400.0),
];

/// All figures of all rounds.
#[derive(Debug, Default)]
pub struct Samples {
    figures: BTreeMap<(Kind, &'static str), Vec<f64>>,
    withdraws: BTreeMap<Kind, Vec<f64>>,
    handed_over: BTreeMap<Kind, Vec<f64>>,
}

/// One figure for each speaker and key.
#[derive(Debug)]
pub struct Report(BTreeMap<(Kind, &'static str), f64>);

impl Samples {
    /// A figure of one round.
    pub fn add(&mut self, kind: Kind, key: &'static str, figure: f64) {
        self.figures.entry((kind, key)).or_default().push(figure);
    }

    /// One withdraw, from the decision to the last peer.
    pub fn add_withdraw(&mut self, kind: Kind, took: Duration) {
        self.withdraws.entry(kind).or_default().push(took.as_secs_f64() * 1e6);
    }

    /// One withdraw, from the decision to the sockets.
    pub fn add_handed_over(&mut self, kind: Kind, took: Duration) {
        self.handed_over.entry(kind).or_default().push(took.as_secs_f64() * 1e6);
    }

    /// Medians of the rounds, percentiles of all withdraws.
    pub fn report(mut self) -> Report {
        let mut figures = BTreeMap::new();
        for (key, values) in &mut self.figures {
            figures.insert(*key, percentile(values, 50));
        }
        for (of, p50, p99) in [
            (&mut self.withdraws, "withdraw_p50_us", "withdraw_p99_us"),
            (&mut self.handed_over, "handed_over_p50_us", "handed_over_p99_us"),
        ] {
            for (kind, values) in of {
                figures.insert((*kind, p50), percentile(values, 50));
                figures.insert((*kind, p99), percentile(values, 99));
            }
        }
        Report(figures)
    }
}

/// The value below or at which so many of a hundred lie; sorts.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// The table.
    pub fn print(&self) {
        println!("\n{:<60}{:>12}{:>12}{:>12}{:>10}", "", "weir", "bird", "gobgp", "goal");
        for (key, what) in ROWS {
            let cells: Vec<String> = Kind::ALL.iter().map(|kind| self.cell(*kind, key)).collect();
            let goal = GOALS.iter().find(|(of, _)| *of == key);
            let goal = goal.map_or(String::new(), |(_, most)| format!("< {most}"));
            println!("{what:<60}{:>12}{:>12}{:>12}{goal:>10}", cells[0], cells[1], cells[2]);
        }
    }

    fn cell(&self, kind: Kind, key: &'static str) -> String {
        self.0.get(&(kind, key)).map_or("-".to_owned(), |figure| match figure {
            small if *small < 10.0 => format!("{small:.3}"),
            large => format!("{large:.1}"),
        })
    }

    /// Goals that Weir missed, in words.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (key, most) in GOALS {
            if let Some(figure) = self.0.get(&(Kind::Weir, key))
                && *figure >= most
            {
                missed.push(format!("{key} {figure:.3} is not below {most}"));
            }
        }
        let announce = |kind| self.0.get(&(kind, "announce_100k_s"));
        if let (Some(ours), Some(theirs)) = (announce(Kind::Weir), announce(Kind::GoBgp))
            && ours >= theirs
        {
            missed.push(format!("announce_100k_s {ours:.3} is not below gobgpd's {theirs:.3}"));
        }
        missed
    }

    /// Writes `target/bench/bgp.json`.
    pub fn write(&self) -> Result<()> {
        let mut speakers = Map::new();
        for kind in Kind::ALL {
            let of = self.0.iter().filter(|((of, _), _)| *of == kind);
            let figures: Map<String, Value> =
                of.map(|((_, key), figure)| ((*key).to_owned(), json!(figure))).collect();
            speakers.insert(kind.name().to_owned(), Value::Object(figures));
        }
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/bgp.json");
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        let text = serde_json::to_string_pretty(&json!({ "speakers": speakers }))?;
        std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}
