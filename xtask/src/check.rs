// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask check`: what a change must pass before its tests are worth running. Every step runs, so that one run
//! shows everything; the failed ones are named at the end.

use anyhow::{Result, bail};

use crate::run::{self, run};
use crate::tidy;

/// A step and what it is called in the summary.
type Step = (&'static str, fn() -> Result<()>);

/// fmt, clippy as errors, licences, bans and sources, house rules.
pub(crate) fn check() -> Result<()> {
    let steps: [Step; 4] = [
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
