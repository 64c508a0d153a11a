// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bounded rendezvous and Maglev side by side: shares, and what removing some backends at once does.
//!
//! ```text
//! max, min, sd   heaviest and lightest share, and standard deviation, in fair shares; before the removal
//! moved          rows whose new flows go elsewhere, of all rows; the part beyond those of the removed in brackets
//! carried        of the rows whose owner was not removed: those that still carry it
//! ```

use std::error::Error;

use serde_json::{Value, json};
use weir_dataplane::rows::{Algorithm, Rows};

use super::pool::Pool;

/// Backends, and the `max_backends` that give two sizes of table.
const POOLS: [(usize, [u32; 2]); 3] = [(10, [16, 128]), (100, [100, 1_000]), (1_000, [1_000, 2_048])];

/// Prints the table, gives its lines.
pub fn compare() -> Result<Vec<Value>, Box<dyn Error>> {
    println!();
    println!(
        "| backends | rows | removed | rendezvous: max, min, sd | moved (beyond) | carried \
         | maglev: max, min, sd | moved (beyond) | carried |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut lines = Vec::new();
    for (backends, sizes) in POOLS {
        for max_backends in sizes {
            // One, 1 % and 5 %, where that is different.
            let mut removals = vec![1, backends.div_ceil(100), backends.div_ceil(20)];
            removals.dedup();
            let rendezvous = Beside::new(Algorithm::BoundedRendezvous, backends, max_backends)?;
            let maglev = Beside::new(Algorithm::Maglev, backends, max_backends)?;
            for removed in removals {
                let [left, right] = [rendezvous.removing(removed)?, maglev.removing(removed)?];
                println!(
                    "| {backends} | {} / {} | {removed} | {} | {} |",
                    rendezvous.pool.row_count(),
                    maglev.pool.row_count(),
                    left.0,
                    right.0
                );
                lines.extend([left.1, right.1]);
            }
        }
    }
    Ok(lines)
}

struct Beside {
    pool: Pool,
    rows: Rows,
    build_ms: f64,
}

impl Beside {
    fn new(algorithm: Algorithm, backends: usize, max_backends: u32) -> Result<Self, Box<dyn Error>> {
        let pool = Pool::new(algorithm, backends, max_backends);
        let started = std::time::Instant::now();
        let rows = pool.ranking()?.assign(&pool.members())?;
        Ok(Self { pool, rows, build_ms: started.elapsed().as_secs_f64() * 1e3 })
    }

    /// What is to be printed, and the line of the report.
    fn removing(&self, removed: usize) -> Result<(String, Value), Box<dyn Error>> {
        let mut pool = self.pool.clone();
        let step = pool.members.len() / removed;
        let mut place = 0..;
        pool.members
            .retain(|_| place.next().is_some_and(|place| place % step != 0 || place / step >= removed));
        assert_eq!(pool.members.len() + removed, self.pool.members.len());
        let rows = pool.ranking()?.assign(&pool.members())?;
        let change = self.rows.change(&rows);
        let shares: Vec<f64> =
            self.rows.shares().iter().map(|share| f64::from(share.rows) / share.fair).collect();
        let max = shares.iter().copied().fold(0.0, f64::max);
        let min = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let variance = shares.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / shares.len() as f64;
        let part = |rows: u32| f64::from(rows) / f64::from(change.rows);
        let (moved, forced) = (part(change.moved), part(change.moved_forced));
        let staying = change.rows - change.moved_forced;
        let carried = 1.0 - f64::from(change.owners_lost) / f64::from(staying);
        let sd = variance.sqrt();
        let text = format!(
            "{max:.4}, {min:.4}, {sd:.4} | {:.2} % ({:.2}) | {:.3} %",
            moved * 100.0,
            (moved - forced) * 100.0,
            carried * 100.0
        );
        let line = json!({
            "case": "side by side",
            "algorithm": pool.algorithm.name(),
            "rows": change.rows,
            "backends": self.pool.members.len(),
            "max_over_fair": max,
            "min_over_fair": min,
            "standard_deviation": sd,
            "removed": removed,
            "moved": moved,
            "moved_minimum": forced,
            "owners_lost": change.owners_lost,
            "carried": carried,
            "build_ms": self.build_ms,
            "live_ms": Value::Null,
        });
        Ok((text, line))
    }
}
