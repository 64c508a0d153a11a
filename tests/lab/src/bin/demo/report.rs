// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the demo saw: a timeline for people, the same figures as JSON for comparison from one version to the next.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// One step of the story.
#[derive(Debug)]
struct Step {
    name: &'static str,
    held: bool,
    detail: String,
}

/// Steps and figures.
#[derive(Debug)]
pub(crate) struct Report {
    start: Instant,
    steps: Vec<Step>,
    figures: Map<String, Value>,
}

/// Figures that later versions fill; present from the first report, so that a reader need not guess.
const LATER: [&str; 3] = ["drain_failed", "backend_detection_ms", "backend_rows_changed_ms"];

impl Report {
    /// An empty report; times count from here.
    pub(crate) fn begin() -> Report {
        let figures = LATER.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        Report { start: Instant::now(), steps: Vec::new(), figures }
    }

    /// Runs a step: it holds if it gives a detail, it does not if it gives an error, which also ends the story.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Self) -> Result<String>,
    ) -> Result<()> {
        let outcome = run(self);
        let (held, detail) = match &outcome {
            Ok(detail) => (true, detail.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        let mark = if held { "ok  " } else { "FAIL" };
        println!("{:>7.2} s  {mark}  {name:<12}  {detail}", self.start.elapsed().as_secs_f64());
        self.steps.push(Step { name, held, detail });
        outcome.map(drop).with_context(|| format!("step `{name}`"))
    }

    /// Notes a figure.
    pub(crate) fn figure(&mut self, key: &str, value: impl Into<Value>) {
        self.figures.insert(key.to_owned(), value.into());
    }

    /// Notes a time in milliseconds, to a tenth.
    pub(crate) fn milliseconds(&mut self, key: &str, time: Duration) {
        self.figure(key, (time.as_secs_f64() * 10_000.0).round() / 10.0);
    }

    /// Whether there were steps and all held.
    pub(crate) fn all_held(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| step.held)
    }

    /// Writes the JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({"name": step.name, "held": step.held, "detail": step.detail}))
            .collect();
        let mut all = self.figures.clone();
        all.insert("steps".into(), steps.into());
        let text = serde_json::to_string_pretty(&Value::Object(all))?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }

    /// The last lines for people.
    pub(crate) fn summary(&self) -> String {
        let held = self.steps.iter().filter(|step| step.held).count();
        let figures: Vec<String> = self
            .figures
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("  {key:<24} {value}"))
            .collect();
        format!("{}\n{held} of {} steps held", figures.join("\n"), self.steps.len())
    }
}
