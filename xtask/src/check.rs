// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask check`: what a change must pass before its tests are worth running. Every step runs, so that one run
//! shows everything; the failed ones are named at the end.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{self, run};
use crate::tidy;

/// A step and what it is called in the summary.
type Step = (&'static str, fn() -> Result<()>);

/// Where the rules for Prometheus lie.
const RULES: &str = "packaging/prometheus";

/// fmt, clippy as errors, licences, bans and sources, house rules, alert rules, the description of the API.
pub(crate) fn check() -> Result<()> {
    let steps: [Step; 6] = [
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
        ("openapi", openapi),
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

/// The description of the API keeps to OpenAPI 3.1. That it is that of the routes is a test of `weir-api`.
fn openapi() -> Result<()> {
    run(Command::new(validator()).arg("docs/reference/openapi.json").current_dir(run::root()))
}

/// The validator of the set-up where it is on no path of ours, else the one that is.
fn validator() -> PathBuf {
    const NAME: &str = "openapi-spec-validator";
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let of_set_up = cache.map(|cache| cache.join("weir").join(NAME).join("bin").join(NAME));
    of_set_up.filter(|program| program.is_file()).unwrap_or_else(|| NAME.into())
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
