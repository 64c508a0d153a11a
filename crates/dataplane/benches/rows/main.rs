// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the rows do: shares, what each kind of change moves, whether old owners stay carried, and what building costs.
//!
//! Prints a table and writes `target/bench/rows.json`. One line a case; the figures of a change are the worst of several
//! backends chosen for it, building times of one run.
//!
//! ```text
//! over, under   heaviest and lightest usable backend in fair shares, after the change
//! moved         rows whose new flows go elsewhere than before, of all rows
//! minimum       what any scheme has to move: rows of owners that left, or the fair share that arrived
//! lost          rows whose old owner is still a member and no longer among the four candidates
//! build         everything from names, before the change
//! change        from what is kept of the rows before to the rows after; median over the trials
//! ```
//!
//! Then both algorithms side by side ([`compare`]), and the largest pool that is allowed.

#![expect(unreachable_pub, reason = "modules of one binary")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod compare;
mod pool;

use pool::Pool;
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use weir_dataplane::forwarding::BackendState;
use weir_dataplane::rows::{Algorithm, Ranking, Rows, RowsError, SCORES_MAX};

/// Backends tried for one kind of change.
const TRIALS: usize = 8;

/// The worst figures of one case.
#[derive(Default)]
struct Figures {
    over: f64,
    under: f64,
    moved: u32,
    minimum: f64,
    lost: u32,
    change_ms: Vec<f64>,
}

impl Figures {
    fn new() -> Self {
        Self { under: f64::INFINITY, ..Self::default() }
    }

    /// Rows after a change, from what was kept of the pool before; timed.
    fn changed(&mut self, ranking: &mut Ranking, pool: &Pool) -> Result<Rows, RowsError> {
        let members = pool.members();
        let started = Instant::now();
        ranking.update(&members)?;
        let rows = ranking.assign(&members)?;
        self.change_ms.push(started.elapsed().as_secs_f64() * 1e3);
        Ok(rows)
    }

    /// Takes in a change; `arrived` is the fair share in rows that one backend gained by it.
    fn take(&mut self, old: &Rows, new: &Rows, arrived: f64) {
        let change = old.change(new);
        for share in new.shares().iter().filter(|s| s.fair > 0.0) {
            let ratio = f64::from(share.rows) / share.fair;
            self.over = self.over.max(ratio);
            self.under = self.under.min(ratio);
        }
        if change.moved >= self.moved {
            self.moved = change.moved;
            self.minimum = f64::from(change.moved_forced).max(arrived);
        }
        self.lost = self.lost.max(change.owners_lost);
    }
}

struct Report {
    lines: Vec<Value>,
}

impl Report {
    /// Runs one case: `change` is called once per trial with a fresh pool and the trial's number.
    fn case(
        &mut self,
        name: &str,
        pool: &Pool,
        removed: usize,
        trials: usize,
        change: impl Fn(&mut Pool, usize) -> f64,
    ) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        let ranking = pool.ranking()?;
        let old = ranking.assign(&pool.members())?;
        let build_ms = started.elapsed().as_secs_f64() * 1e3;
        let mut figures = Figures::new();
        for trial in 0..trials {
            let mut changed = pool.clone();
            let arrived = change(&mut changed, trial);
            let new = figures.changed(&mut ranking.clone(), &changed)?;
            figures.take(&old, &new, arrived);
        }
        self.line(name, pool, removed, figures, build_ms)
    }

    fn line(
        &mut self,
        case: &str,
        pool: &Pool,
        removed: usize,
        mut figures: Figures,
        build_ms: f64,
    ) -> Result<(), Box<dyn Error>> {
        let rows = pool.row_count();
        let share = |n: f64| n / f64::from(rows);
        figures.change_ms.sort_by(f64::total_cmp);
        let change_ms = figures.change_ms[figures.change_ms.len() / 2];
        println!(
            "{case:<34} {:>5} {rows:>7} {:>7.4} {:>7.4} {:>8.3} {:>8.3} {:>6} {build_ms:>8.1} {change_ms:>9.1}",
            pool.members.len(),
            figures.over,
            figures.under,
            share(figures.moved.into()) * 100.0,
            share(figures.minimum) * 100.0,
            figures.lost,
        );
        self.lines.push(json!({
            "case": case,
            "algorithm": pool.input().algorithm.name(),
            "rows": rows,
            "backends": pool.members.len(),
            "max_over_fair": figures.over,
            "min_over_fair": figures.under,
            "removed": removed,
            "moved": share(figures.moved.into()),
            "moved_minimum": share(figures.minimum),
            "owners_lost": figures.lost,
            "build_ms": build_ms,
            "change_ms": change_ms,
            "live_ms": Value::Null,
        }));
        Ok(())
    }
}

/// The `trial`-th of some backends spread over the pool.
fn pick(pool: &Pool, trial: usize) -> usize {
    trial * pool.members.len() / TRIALS.min(pool.members.len()) % pool.members.len()
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    println!(
        "{:<34} {:>5} {:>7} {:>7} {:>7} {:>8} {:>8} {:>6} {:>8} {:>9}",
        "case", "N", "rows", "over", "under", "moved %", "minimum %", "lost", "build ms", "change ms"
    );
    let mut report = Report { lines: Vec::new() };
    for (backends, max_backends) in [(4, 64), (10, 64), (100, 128), (1_000, 1_024)] {
        singles(&mut report, backends, max_backends)?;
    }
    let hundred = Pool::new(Algorithm::BoundedRendezvous, 100, 128);
    for permille in [50, 300, 500] {
        many_failed(&mut report, &hundred, permille)?;
    }
    growth(&mut report, 64)?;
    mixed_weights(&mut report)?;
    largest(&mut report)?;
    report.lines.extend(compare::compare()?);

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/rows.json");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, serde_json::to_vec_pretty(&report.lines)?)?;
    Ok(())
}

/// Every kind of single change to a pool of equal backends.
fn singles(report: &mut Report, backends: usize, max_backends: u32) -> Result<(), Box<dyn Error>> {
    let pool = Pool::new(Algorithm::BoundedRendezvous, backends, max_backends);
    let rows = f64::from(pool.row_count());
    let trials = if backends >= 1_000 { 2 } else { TRIALS.min(backends) };
    report.case("steady", &pool, 0, 1, |_, _| 0.0)?;
    report.case("one removed", &pool, 1, trials, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members.remove(victim);
        0.0
    })?;
    report.case("one added", &pool, 0, 1, |pool, _| {
        pool.add();
        rows / pool.members.len() as f64
    })?;
    for (name, state) in [("one drains", BackendState::Draining), ("one fails", BackendState::Failed)] {
        report.case(name, &pool, 0, trials, |pool, trial| {
            let victim = pick(pool, trial);
            pool.members[victim].state = state;
            0.0
        })?;
    }
    let mut drained = pool.clone();
    drained.members[1].state = BackendState::Draining;
    report.case("a drained one removed", &drained, 1, 1, |pool, _| {
        pool.members.remove(1);
        0.0
    })?;
    report.case("another drains", &drained, 0, 1, |pool, _| {
        pool.members[2].state = BackendState::Draining;
        0.0
    })?;
    report.case("it is back", &drained, 0, 1, |pool, _| {
        pool.members[1].state = BackendState::Usable;
        rows / pool.members.len() as f64
    })?;
    report.case("one cap halved", &pool, 0, trials, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members[victim].cap_permille = 500;
        rows / pool.members.len() as f64 / 2.0
    })?;
    report.case("half of the caps halved", &pool, 0, 1, |pool, _| {
        let half = pool.members.len() / 2;
        pool.members[..half].iter_mut().for_each(|m| m.cap_permille = 500);
        rows / 6.0
    })?;
    report.case("one weight doubled", &pool, 0, trials, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members[victim].weight *= 2;
        let n = pool.members.len() as f64;
        rows * (2.0 / (n + 1.0) - 1.0 / n)
    })?;
    report.case("one weight halved (not promised)", &pool, 0, trials, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members[victim].weight /= 2;
        let n = pool.members.len() as f64;
        rows * (1.0 / n - 0.5 / (n - 0.5))
    })
}

/// A share of the pool fails at once, one more fails, one comes back.
fn many_failed(report: &mut Report, pool: &Pool, permille: usize) -> Result<(), Box<dyn Error>> {
    let failed = pool.members.len() * permille / 1_000;
    let mut down = pool.clone();
    down.members[..failed].iter_mut().for_each(|m| m.state = BackendState::Failed);
    let percent = permille / 10;
    report.case(&format!("{percent} % fail at once"), pool, 0, 1, |pool, _| {
        pool.clone_from(&down);
        0.0
    })?;
    report.case(&format!("{percent} % failed, one more fails"), &down, 0, TRIALS, |pool, trial| {
        let up = pool.members.len() - failed;
        pool.members[failed + trial * up / TRIALS].state = BackendState::Failed;
        0.0
    })?;
    let rows = f64::from(pool.row_count());
    report.case(
        &format!("{percent} % failed, one is back"),
        &down,
        0,
        TRIALS.min(failed),
        |pool, trial| {
            pool.members[trial].state = BackendState::Usable;
            rows / (pool.members.len() - failed + 1) as f64
        },
    )?;
    report.case(&format!("{percent} % failed, a live one removed"), &down, 1, TRIALS, |pool, trial| {
        let up = pool.members.len() - failed;
        pool.members.remove(failed + trial * up / TRIALS);
        0.0
    })
}

/// From one backend to as many as the pool declares, one at a time; the worst step.
fn growth(report: &mut Report, max_backends: u32) -> Result<(), Box<dyn Error>> {
    let mut pool = Pool::new(Algorithm::BoundedRendezvous, 1, max_backends);
    let started = Instant::now();
    let mut ranking = pool.ranking()?;
    let mut old = ranking.assign(&pool.members())?;
    let build_ms = started.elapsed().as_secs_f64() * 1e3;
    let (mut figures, mut extra) = (Figures::new(), f64::NEG_INFINITY);
    while pool.members.len() < max_backends as usize {
        pool.add();
        let new = figures.changed(&mut ranking, &pool)?;
        let arrived = f64::from(pool.row_count()) / pool.members.len() as f64;
        let mut step = Figures::new();
        step.take(&old, &new, arrived);
        figures.over = figures.over.max(step.over);
        figures.under = figures.under.min(step.under);
        figures.lost = figures.lost.max(step.lost);
        // The step that moves most beyond what it has to.
        if f64::from(step.moved) - step.minimum >= extra {
            extra = f64::from(step.moved) - step.minimum;
            (figures.moved, figures.minimum) = (step.moved, step.minimum);
        }
        old = new;
    }
    report.line("grown from 1, worst step", &pool, 0, figures, build_ms)
}

/// Weights 1 to 10.
fn mixed_weights(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut pool = Pool::new(Algorithm::BoundedRendezvous, 100, 128);
    for (i, member) in pool.members.iter_mut().enumerate() {
        member.weight = u32::try_from(i % 10)? + 1;
    }
    report.case("weights 1 to 10", &pool, 0, 1, |_, _| 0.0)?;
    report.case("weights 1 to 10, one removed", &pool, 1, TRIALS, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members.remove(victim);
        0.0
    })?;
    report.case("weights 1 to 10, one drains", &pool, 0, TRIALS, |pool, trial| {
        let victim = pick(pool, trial);
        pool.members[victim].state = BackendState::Draining;
        0.0
    })
}

/// The dearest pool that is not refused.
fn largest(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let backends = 2_048;
    let pool = Pool::new(Algorithm::BoundedRendezvous, backends, 2_048);
    assert_eq!(u64::from(pool.row_count()) * backends as u64, SCORES_MAX, "no pool may have more");
    report.case("the largest: one removed", &pool, 1, 1, |pool, _| {
        pool.members.remove(1_000);
        0.0
    })
}
