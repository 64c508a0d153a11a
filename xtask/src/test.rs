// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test`: every test of the workspace, and one line at the end that counts them all.
//!
//! ```text
//! build (cargo test --no-run) -> each test binary          unit, property, fixtures on the host
//!                             -> documentation tests
//!                             -> those that need root       inside scripts/isolated.sh
//!                             -> those that measure         the same, with `--measures`, and with their figures
//!                             -> `N passed, N failed`
//! ```
//! Tests ignored because they need root (the reason begins so) run one after the other, because they share the two cores
//! with the daemons that they start. Those that measure take minutes, and are run by `make test-all`. Those ignored for another
//! reason are somebody else's to run. A binary that ends without a result line, or takes too long, counts as one failure.

#![expect(clippy::print_stdout, reason = "the runners' lines and the count are the output")]

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cargo::{self, Executable};
use crate::run;

/// A binary that takes longer hangs: the whole run should take ten minutes.
const BINARY_TIME_MAX: Duration = Duration::from_secs(12 * 60);

/// The same for all measurements of one binary.
const MEASURES_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// What to run; empty means everything but what measures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    packages: Vec<String>,
    filter: Option<String>,
    has_measures: bool,
}

impl Options {
    /// Reads `[-p PACKAGE]... [--filter NAME] [--measures]`; `None` for anything else.
    pub(crate) fn parse(words: &[&str]) -> Option<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "-p" => options.packages.push((*words.next()?).to_owned()),
                "--measures" => options.has_measures = true,
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
    let mut ignored = Vec::new();
    for executable in &built {
        let mut command = Command::new(&executable.path);
        command.current_dir(&executable.package_dir).args(&options.filter);
        ignored.push((executable, tally.add_run(&executable.name, &mut command, BINARY_TIME_MAX)?));
    }
    if options.filter.is_none() {
        let mut arguments = vec!["test", "--doc", "--locked"];
        arguments.extend(options.scope());
        tally.add_documentation(&mut run::cargo(&arguments))?;
    }
    for (executable, ignored) in &ignored {
        let name = format!("{} (isolated)", executable.name);
        tally.add_isolated(&name, executable, &ignored.need_root, &[], BINARY_TIME_MAX)?;
    }
    // Last, when nothing else runs any more.
    for (executable, ignored) in ignored.iter().filter(|_| options.has_measures) {
        let name = format!("{} (measures)", executable.name);
        tally.add_isolated(&name, executable, &ignored.measure, &["--nocapture"], MEASURES_TIME_MAX)?;
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

/// Names of a binary's tests that were ignored, by the reason.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ignored {
    need_root: Vec<String>,
    measure: Vec<String>,
}

impl Tally {
    /// Runs these tests of a binary inside a set of namespaces, one after the other.
    fn add_isolated(
        &mut self,
        name: &str,
        executable: &Executable,
        tests: &[String],
        options: &[&str],
        time_max: Duration,
    ) -> Result<()> {
        if tests.is_empty() {
            return Ok(());
        }
        let mut command = Command::new(run::root().join("scripts/isolated.sh"));
        command.arg(&executable.path).args(["--ignored", "--test-threads=1", "--exact"]);
        command.args(options).args(tests).current_dir(&executable.package_dir);
        self.add_run(name, &mut command, time_max)?;
        Ok(())
    }

    /// Runs one test binary and adds what it says; silence or a bad end is a failure of its own. Gives the names of its tests
    /// that were ignored.
    fn add_run(&mut self, name: &str, command: &mut Command, time_max: Duration) -> Result<Ignored> {
        // Errors in tests carry their reasons; where each was made is noise.
        command.env("RUST_LIB_BACKTRACE", "0");
        let before = (self.passed, self.failed);
        let mut results = 0;
        let mut ignored = Ignored::default();
        let status = run::stream(command, time_max, |line| {
            println!("{line}");
            ignored.need_root.extend(ignored_for(line, "needs root").map(str::to_owned));
            ignored.measure.extend(ignored_for(line, "measures").map(str::to_owned));
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
        Ok(ignored)
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

/// Names of a binary's tests that are ignored for a reason that begins with `why`. Runs none of them.
pub(crate) fn ignored_because(executable: &Executable, why: &str) -> Result<Vec<String>> {
    let listed = run::output(Command::new(&executable.path).args(["--ignored", "--list", "--format=terse"]))?;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Asked for by name but not by `--ignored`, each is passed over with its reason.
    let mut command = Command::new(&executable.path);
    let told = run::output(command.arg("--exact").args(names).current_dir(&executable.package_dir))?;
    Ok(told.lines().filter_map(|line| ignored_for(line, why)).map(str::to_owned).collect())
}

/// Passed and failed of a runner's `test result: ok. 5 passed; 0 failed; ...`.
pub(crate) fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let count = |word: &str| {
        let (before, _) = rest.split_once(word)?;
        before.trim_end().rsplit([' ', '.', ';']).next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

/// Name of a test that the runner ignored for a reason that begins so.
fn ignored_for<'l>(line: &'l str, why: &str) -> Option<&'l str> {
    let (name, reason) = line.strip_prefix("test ")?.split_once(" ... ignored, ")?;
    reason.starts_with(why).then_some(name)
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
    fn ignored_tests_are_found_by_their_reason() {
        let script = "echo 'test a::b ... ignored, needs root and netns'; echo 'test c ... ignored, measures: a minute'; \
                      echo 'test d ... ignored'; echo 'test e ... ignored, slow, measures nothing'; echo 'test f ... ok'";
        let mut command = Command::new("sh");
        let ignored = Tally::default().add_run("x", command.args(["-c", script]), BINARY_TIME_MAX);
        let expected = Ignored { need_root: vec!["a::b".to_owned()], measure: vec!["c".to_owned()] };
        assert_eq!(ignored.expect("sh starts"), expected);
    }

    fn tally_of(script: &str) -> Tally {
        let mut tally = Tally::default();
        tally.add_run("x", Command::new("sh").args(["-c", script]), BINARY_TIME_MAX).expect("sh starts");
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
        assert!(!read.has_measures && Options::parse(&["--measures"]).is_some_and(|read| read.has_measures));
        assert_eq!(Options::parse(&["-p"]), None);
        assert_eq!(Options::parse(&["what"]), None);
    }
}
