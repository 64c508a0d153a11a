// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every report of `make bench` is made of: least, middle and most of some samples, goals, and JSON files under `target/bench`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// One measure over the rounds, in the unit of the samples.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Middle.
    pub median: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of one sample or more.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { min: sorted[0], median: sorted[sorted.len() / 2], max: sorted[sorted.len() - 1] }
    }

    /// Rounded to tenths.
    pub fn json(self) -> Value {
        json!({"min": tenths(self.min), "median": tenths(self.median), "max": tenths(self.max)})
    }
}

/// The median over the rounds of `above` / `below`.
pub fn paired(above: &[f64], below: &[f64]) -> f64 {
    let ratios: Vec<f64> = above.iter().zip(below).map(|(above, below)| above / below).collect();
    Spread::of(&ratios).median
}

/// A goal of the project and what was measured.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Its number in the list of goals.
    pub number: String,
    /// What is measured, in words.
    pub measure: String,
    /// What came out; less is better.
    pub value: f64,
    /// Of a ratio of least times: the median of the rounds' ratios, which tells how steady it is.
    pub paired: Option<f64>,
    /// Must, target, stretch.
    pub limits: [f64; 3],
    /// Whether the bench fails when it is missed.
    pub gates: bool,
}

impl Goal {
    /// A goal that is told and does not fail the bench.
    pub fn told(number: &str, measure: &str, value: f64, limits: [f64; 3]) -> Self {
        let (number, measure) = (number.to_owned(), measure.to_owned());
        Self { number, measure, value, paired: None, limits, gates: false }
    }

    /// With the median of the rounds' ratios beside it.
    pub fn beside(self, paired: f64) -> Self {
        Self { paired: Some(paired), ..self }
    }

    /// A goal that fails the bench when it is missed.
    pub fn gate(number: &str, measure: &str, value: f64, limits: [f64; 3]) -> Self {
        Self { gates: true, ..Self::told(number, measure, value, limits) }
    }

    /// Whether the measure is within what it must be.
    pub fn held(&self) -> bool {
        self.value <= self.limits[0]
    }

    /// As it stands in a report.
    pub fn json(&self) -> Value {
        let [must, target, stretch] = self.limits;
        json!({"number": self.number, "measure": self.measure, "value": hundredths(self.value),
            "paired_median": self.paired.map(hundredths), "must": must, "target": target, "stretch": stretch,
            "held": self.held()})
    }

    /// From a report.
    fn of_json(goal: &Value) -> Option<Self> {
        let limit = |key: &str| goal[key].as_f64();
        let limits = [limit("must")?, limit("target")?, limit("stretch")?];
        let read =
            Self::told(goal["number"].as_str()?, goal["measure"].as_str()?, goal["value"].as_f64()?, limits);
        Some(Self { paired: goal["paired_median"].as_f64(), ..read })
    }

    fn word(&self) -> &'static str {
        let [must, target, stretch] = self.limits;
        match self.value {
            value if value <= stretch => "stretch",
            value if value <= target => "target",
            value if value <= must => "held",
            _ => "MISSED",
        }
    }
}

/// The table of goals.
pub fn print_goals<'g>(goals: impl IntoIterator<Item = &'g Goal>) {
    println!(
        "{:<4} {:<58} {:>9} {:>9} {:>9} {:>9} {:>9}  result",
        "goal", "measure", "value", "paired", "must", "target", "stretch"
    );
    for goal in goals {
        let [must, target, stretch] = goal.limits;
        let gate = if goal.gates { " (gate)" } else { "" };
        let digits = if must > 1000.0 { 0 } else { 2 };
        let paired = goal.paired.map_or_else(String::new, |paired| format!("{paired:.2}"));
        println!(
            "{:<4} {:<58} {:>9.digits$} {paired:>9} {must:>9.digits$} {target:>9.digits$} {stretch:>9.digits$}  {}{gate}",
            goal.number,
            goal.measure,
            goal.value,
            goal.word()
        );
    }
}

/// Writes `target/bench/NAME`.
pub fn write(name: &str, report: &Value) -> Result<()> {
    let path = path(name);
    let folder = path.parent().context("the report's folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// What another bench wrote to `target/bench/NAME`, if it has run.
pub fn read(name: &str) -> Result<Option<Value>> {
    match std::fs::read(path(name)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| format!("target/bench/{name}"))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("target/bench/{name}")),
    }
}

/// Goals in what another bench wrote.
pub fn goals_in(name: &str) -> Result<Vec<Goal>> {
    let report = read(name)?.unwrap_or_default();
    Ok(report["goals"].as_array().into_iter().flatten().filter_map(Goal::of_json).collect())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench").join(name)
}

/// Rounded to tenths.
pub fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Rounded to hundredths.
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
