// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test`: every test of the workspace, and one line at the end that counts them all.
//!
//! ```text
//! build (cargo test --no-run) -> each test binary          unit, property, fixtures on the host
//!                             -> documentation tests
//!                             -> those that need root       inside scripts/isolated.sh
//!                             -> `N passed, N failed`
//! ```
//! Tests ignored because they need root (the reason begins so) run one after the other, because they share the two cores
//! with the daemons that they start. Those ignored for another reason are somebody else's to run. A binary that ends without a result line, or takes too long, counts as one failure.

#![expect(clippy::print_stdout, reason = "the runners' lines and the count are the output")]

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cargo::{self, Executable};
use crate::run;

/// A binary that takes longer hangs: the whole run should take ten minutes.
const BINARY_TIME_MAX: Duration = Duration::from_secs(6 * 60);

/// What to run; empty means everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    packages: Vec<String>,
    filter: Option<String>,
}

impl Options {
    /// Reads `[-p PACKAGE]... [--filter NAME]`; `None` for anything else.
    pub(crate) fn parse(words: &[&str]) -> Option<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "-p" => options.packages.push((*words.next()?).to_owned()),
                "--filter" => options.filter = Some((*words.next()?).to_owned()),
                _ => return None,
            }
        }
        Some(options)
    }

    fn scope(&self) -> Vec<&str> {
        if self.packages.is_empty() {
            return vec!["--workspace"];
        }
        self.packages.iter().flat_map(|package| ["-p", package.as_str()]).collect()
    }
}

/// Passed and failed over every runner.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    broken: Vec<String>,
}

/// Builds and runs; an error if any test failed or none ran. The last line of standard output is the count.
pub(crate) fn test(options: &Options) -> Result<()> {
    let mut arguments = vec!["test", "--no-run", "--locked"];
    arguments.extend(options.scope());
    let built: Vec<Executable> = cargo::build(&arguments)?.into_iter().filter(|made| made.is_test).collect();
    let mut tally = Tally::default();
    let mut need_root = Vec::new();
    for executable in &built {
        let mut command = Command::new(&executable.path);
        command.current_dir(&executable.package_dir).args(&options.filter);
        let names = tally.add_run(&executable.name, &mut command)?;
        if !names.is_empty() {
            need_root.push((executable, names));
        }
    }
    if options.filter.is_none() {
        let mut arguments = vec!["test", "--doc", "--locked"];
        arguments.extend(options.scope());
        tally.add_documentation(&mut run::cargo(&arguments))?;
    }
    for (executable, names) in need_root {
        let mut command = Command::new(run::root().join("scripts/isolated.sh"));
        command.arg(&executable.path).args(["--ignored", "--test-threads=1", "--exact"]).args(names);
        command.current_dir(&executable.package_dir);
        tally.add_run(&format!("{} (isolated)", executable.name), &mut command)?;
    }
    for name in &tally.broken {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 || tally.passed == 0 {
        bail!("tests failed, or none ran");
    }
    Ok(())
}

impl Tally {
    /// Runs one test binary and adds what it says; silence or a bad end is a failure of its own. Gives the names of its tests
    /// that were ignored because they need root.
    fn add_run(&mut self, name: &str, command: &mut Command) -> Result<Vec<String>> {
        // Errors in tests carry their reasons; where each was made is noise.
        command.env("RUST_LIB_BACKTRACE", "0");
        let before = (self.passed, self.failed);
        let mut results = 0;
        let mut need_root = Vec::new();
        let status = run::stream(command, BINARY_TIME_MAX, |line| {
            println!("{line}");
            need_root.extend(needs_root(line).map(str::to_owned));
            if let Some((passed, failed)) = result_line(line) {
                results += 1;
                self.passed += passed;
                self.failed += failed;
            }
        })?;
        let ended_well = status.is_some_and(|status| status.success());
        if results == 0 || (!ended_well && self.failed == before.1) {
            self.failed += 1;
        }
        if self.failed > before.1 {
            let how = if status.is_none() { ", took too long" } else { "" };
            self.broken.push(format!("{name}{how}"));
        }
        Ok(need_root)
    }

    /// Like a binary, but a workspace without documentation tests says nothing and is fine.
    fn add_documentation(&mut self, command: &mut Command) -> Result<()> {
        let before = self.failed;
        let status = run::stream(command, BINARY_TIME_MAX, |line| {
            println!("{line}");
            if let Some((passed, failed)) = result_line(line) {
                self.passed += passed;
                self.failed += failed;
            }
        })?;
        if !status.is_some_and(|status| status.success()) {
            self.failed += u64::from(self.failed == before);
            self.broken.push("documentation tests".into());
        }
        Ok(())
    }
}

/// Passed and failed of a runner's `test result: ok. 5 passed; 0 failed; ...`.
fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let count = |word: &str| {
        let (before, _) = rest.split_once(word)?;
        before.trim_end().rsplit([' ', '.', ';']).next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

/// Name of a test that the runner ignored because it needs root.
fn needs_root(line: &str) -> Option<&str> {
    let (name, reason) = line.strip_prefix("test ")?.split_once(" ... ignored, ")?;
    reason.starts_with("needs root").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.1s";
        assert_eq!(result_line(ok), Some((12, 0)));
        assert_eq!(result_line("test result: FAILED. 1 passed; 2 failed; 0 ignored"), Some((1, 2)));
        assert_eq!(result_line("test a_result: ok"), None);
        assert_eq!(result_line("test result: nonsense"), None);
    }

    #[test]
    fn tests_that_need_root_are_found_by_their_reason() {
        assert_eq!(needs_root("test a::b ... ignored, needs root and netns"), Some("a::b"));
        assert_eq!(needs_root("test a::b ... ignored, measures, needs a quiet machine"), None);
        assert_eq!(needs_root("test a::b ... ignored"), None);
        assert_eq!(needs_root("test a::b ... ok"), None);
    }

    fn tally_of(script: &str) -> Tally {
        let mut tally = Tally::default();
        tally.add_run("x", Command::new("sh").args(["-c", script])).expect("sh starts");
        tally
    }

    #[test]
    fn a_binary_that_dies_silently_is_a_failure() {
        assert_eq!(tally_of("exit 0").failed, 1);
        assert_eq!(tally_of("kill -KILL $$").failed, 1);
        assert_eq!(tally_of("echo 'test result: ok. 2 passed; 0 failed;'; exit 3").failed, 1);
    }

    #[test]
    fn a_good_run_and_a_bad_run_are_counted_once() {
        let good = tally_of("echo 'test result: ok. 2 passed; 0 failed;'");
        assert_eq!((good.passed, good.failed, good.broken.len()), (2, 0, 0));
        let bad = tally_of("echo 'test result: FAILED. 2 passed; 3 failed;'; exit 101");
        assert_eq!((bad.passed, bad.failed, bad.broken), (2, 3, vec!["x".to_owned()]));
    }

    #[test]
    fn options_are_read() {
        let read = Options::parse(&["-p", "weir-bgp", "--filter", "hold"]).expect("a good line");
        assert_eq!(read.scope(), ["-p", "weir-bgp"]);
        assert_eq!(read.filter.as_deref(), Some("hold"));
        assert_eq!(Options::parse(&["-p"]), None);
        assert_eq!(Options::parse(&["what"]), None);
    }
}
