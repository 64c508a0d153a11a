// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask check`: what a change must pass before its tests are worth running. Every step runs, so that one run
//! shows everything; the failed ones are named at the end.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{self, run};
use crate::tidy;

/// A step and what it is called in the summary.
type Step = (&'static str, fn() -> Result<()>);

/// Where the rules for Prometheus lie.
const RULES: &str = "packaging/prometheus";

/// fmt, clippy as errors, licences, bans and sources, house rules, alert rules.
pub(crate) fn check() -> Result<()> {
    let steps: [Step; 5] = [
        ("fmt", || run(&mut run::cargo(&["fmt", "--all", "--check"]))),
        ("clippy", || {
            run(&mut run::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ]))
        }),
        ("deny", || run(&mut run::cargo(&["deny", "--locked", "check", "licenses", "bans", "sources"]))),
        ("tidy", tidy),
        ("promtool", promtool),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        if let Err(error) = step() {
            eprintln!("xtask: {name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join(", "));
    }
    eprintln!("xtask: check passed");
    Ok(())
}

/// The rules are well-formed, and each alert fires and stays quiet as its test says. That they name only metrics that exist
/// is a test of `weir-api`.
fn promtool() -> Result<()> {
    let promtool = |arguments: &[&str]| {
        run(Command::new("promtool").args(arguments).current_dir(run::root().join(RULES)))
    };
    promtool(&["check", "rules", "weir.rules.yml"])?;
    promtool(&["test", "rules", "weir.rules_test.yml"])
}

/// The house rules alone.
pub(crate) fn tidy() -> Result<()> {
    let report = tidy::tidy()?;
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    for error in &report.errors {
        eprintln!("error: {error}");
    }
    if !report.errors.is_empty() {
        bail!("{} house rules broken", report.errors.len());
    }
    Ok(())
}
