// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test-vm`: the tests of the kernel programs on Debian's 6.1 and 6.12 kernels, in emulated machines.
//!
//! ```text
//! build the test binaries ─► guest::tree (programs, workspace, binaries) ─┬─► initrd of 6.1  ─► qemu ─► log, counts
//! kernel::kernel (fetched by package, cached) ────────────────────────────┴─► initrd of 6.12 ─► qemu ─► log, counts
//! ```
//! Emulation (no KVM is asked for) is an order of magnitude slower than the metal, so time-outs are generous, tests run one after
//! the other, and those that measure stay at home. A guest speaks on its second serial line (`tests/vm/init` says how); a guest that
//! falls silent, panics, or ends before `vm: done` is a failure of its own. Logs: `target/vm/<line>.log` and `<line>.console`.

#![expect(clippy::print_stdout, reason = "the guests' lines and the table are the output")]

mod cpio;
mod guest;
mod kernel;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{self, Executable};
use crate::run;
use crate::test::{needing_root, result_line};
use guest::Run;
use kernel::Kernel;

/// Packages whose tests run in the guests, with the targets that are taken.
const SUITES: [(&str, &[&str]); 2] =
    [("weir-dataplane", &["weir_dataplane", "program"]), ("weir-agent", &["agent"])];

/// One binary's tests; five times what they need on the metal.
const RUN_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// From the start of the emulator to its end.
const GUEST_TIME_MAX: Duration = Duration::from_secs(75 * 60);

/// Packets of the differential tests: a look, not a campaign, yet enough to meet rare verdicts. Limits of time are wider, where
/// tests know of them.
const ENVIRONMENT: &str = "WEIR_DIFF_PACKETS=100000 WEIR_SLOWNESS=10 RUST_BACKTRACE=0 RUST_LIB_BACKTRACE=0";

/// Memory of a guest in MiB: half of it may be files.
const MEMORY_MIB: u32 = 3072;

/// What to run; empty means everything on all kernels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    kernels: Vec<String>,
    packages: Vec<String>,
    filters: Vec<String>,
}

impl Options {
    /// Reads `[--kernel LINE]... [-p PACKAGE]... [--filter NAME]...`; `None` for anything else. A test runs whose name has one
    /// of the filters in it.
    pub(crate) fn parse(words: &[&str]) -> Option<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = (*words.next()?).to_owned();
            match *word {
                "--kernel" if kernel::LINES.contains(&value.as_str()) => options.kernels.push(value),
                "-p" if SUITES.iter().any(|(package, _)| *package == value) => options.packages.push(value),
                "--filter" => options.filters.push(value),
                _ => return None,
            }
        }
        Some(options)
    }

    fn takes(&self, test: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| test.contains(filter.as_str()))
    }
}

/// How one binary fared in one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    kernel: String,
    name: String,
    passed: u64,
    failed: u64,
    seconds: u64,
    /// What is wrong beyond failed tests.
    trouble: Option<String>,
}

/// Builds, boots each kernel, prints the table; an error if anything failed.
pub(crate) fn test(options: &Options) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the guests are x86-64 machines, and so must this one be");
    let scratch = run::root().join("target/vm");
    std::fs::create_dir_all(&scratch)?;
    let lines: Vec<&str> = kernel::LINES
        .into_iter()
        .filter(|line| options.kernels.is_empty() || options.kernels.iter().any(|wanted| wanted == line))
        .collect();
    let kernels = lines.iter().map(|line| kernel::kernel(line)).collect::<Result<Vec<Kernel>>>()?;
    let runs = runs(options)?;
    let tree = guest::tree(&runs, &scratch)?;
    let mut outcomes = Vec::new();
    for kernel in &kernels {
        let image = guest::image(&tree, kernel, &scratch)?;
        outcomes.extend(boot(kernel, &image, &runs, &scratch)?);
        std::fs::remove_file(&image)?;
    }
    print!("{}", table(&outcomes));
    let failed: u64 = outcomes.iter().map(|outcome| outcome.failed).sum();
    let passed: u64 = outcomes.iter().map(|outcome| outcome.passed).sum();
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 || outcomes.iter().any(|outcome| outcome.trouble.is_some()) {
        bail!("tests failed in the guests, or none ran: see {}", scratch.display());
    }
    Ok(())
}

/// The tests that need root of the chosen binaries.
fn runs(options: &Options) -> Result<Vec<Run>> {
    let suites = SUITES.iter().filter(|(package, _)| {
        options.packages.is_empty() || options.packages.iter().any(|wanted| wanted == package)
    });
    let suites: Vec<_> = suites.collect();
    let mut arguments = vec!["test", "--no-run", "--locked", "--tests"];
    arguments.extend(suites.iter().flat_map(|(package, _)| ["-p", package]));
    let built = cargo::build(&arguments)?;
    let mut runs = Vec::new();
    for (_, targets) in suites {
        for target in *targets {
            let of_target = |made: &&Executable| made.is_test && made.name == *target;
            let made = built.iter().find(of_target).with_context(|| format!("no test binary {target}"))?;
            let mut tests = needing_root(made)?;
            tests.retain(|test| options.takes(test));
            if tests.is_empty() {
                continue;
            }
            runs.push(Run {
                name: (*target).to_owned(),
                program: made.path.clone(),
                folder: made.package_dir.clone(),
                tests,
                environment: ENVIRONMENT.to_owned(),
                seconds: RUN_TIME_MAX.as_secs(),
            });
        }
    }
    ensure!(!runs.is_empty(), "no test is left to run");
    Ok(runs)
}

/// Boots one guest, follows what it says, and counts.
fn boot(kernel: &Kernel, image: &Path, runs: &[Run], scratch: &Path) -> Result<Vec<Outcome>> {
    let console = scratch.join(format!("{}.console", kernel.line));
    let log_path = scratch.join(format!("{}.log", kernel.line));
    let mut log = std::fs::File::create(&log_path)?;
    let mut report = Report::new(&kernel.line);
    let begun = Instant::now();
    let mut command = qemu(kernel, image, &console);
    let mut written = Ok(());
    let status = run::stream(&mut command, GUEST_TIME_MAX, |line| {
        let line = line.trim_end();
        let seconds = begun.elapsed().as_secs();
        println!("{:<5}{seconds:>5}| {line}", kernel.line);
        if written.is_ok() {
            written = writeln!(log, "{seconds:>5} {line}");
        }
        report.read(line);
    })?;
    written.with_context(|| format!("write {}", log_path.display()))?;
    println!("{}| {} in {:.0} s", kernel.line, kernel.release, begun.elapsed().as_secs_f64());
    let outcomes = report.finish(runs, status.is_none());
    Ok(outcomes)
}

fn qemu(kernel: &Kernel, image: &Path, console: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "5", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
    command.args(["-smp", "2", "-m", &MEMORY_MIB.to_string()]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    command.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]);
    command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
    command.stdin(std::process::Stdio::null());
    command
}

/// Reads a guest's lines.
#[derive(Debug)]
struct Report {
    kernel: String,
    outcomes: Vec<Outcome>,
    is_done: bool,
}

impl Report {
    fn new(kernel: &str) -> Self {
        Self { kernel: kernel.to_owned(), outcomes: Vec::new(), is_done: false }
    }

    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("vm: begin ") {
            self.outcomes.push(Outcome {
                kernel: self.kernel.clone(),
                name: name.to_owned(),
                passed: 0,
                failed: 0,
                seconds: 0,
                trouble: Some("did not end".to_owned()),
            });
        }
        self.is_done |= line == "vm: done";
        let Some(last) = self.outcomes.last_mut() else { return };
        if let Some((passed, failed)) = result_line(line) {
            last.passed += passed;
            last.failed += failed;
        }
        if let Some(rest) = line.strip_prefix("vm: end ") {
            let mut words = rest.split(' ').skip(1);
            let code = words.next().unwrap_or("?");
            last.seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            last.trouble = match (code, last.passed + last.failed) {
                ("124" | "137", _) => Some("took too long".to_owned()),
                (_, 0) => Some(format!("gave no result, exit code {code}")),
                ("0", _) => None,
                (_, _) if last.failed > 0 => None,
                (code, _) => Some(format!("exit code {code}")),
            };
        }
    }

    /// What came out, with an entry for each run that never began.
    fn finish(mut self, runs: &[Run], took_too_long: bool) -> Vec<Outcome> {
        for run in runs.iter().skip(self.outcomes.len()) {
            let why = if took_too_long { "the guest took too long" } else { "the guest ended before" };
            self.outcomes.push(Outcome {
                kernel: self.kernel.clone(),
                name: run.name.clone(),
                passed: 0,
                failed: 0,
                seconds: 0,
                trouble: Some(why.to_owned()),
            });
        }
        if let (false, Some(last)) = (self.is_done, self.outcomes.last_mut()) {
            last.trouble.get_or_insert_with(|| "the guest did not end by itself".to_owned());
        }
        self.outcomes
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:<8}{:<18}{:>7}{:>7}{:>9}\n", "kernel", "tests", "passed", "failed", "seconds");
    for outcome in outcomes {
        let Outcome { kernel, name, passed, failed, seconds, trouble } = outcome;
        let trouble = trouble.as_ref().map(|trouble| format!("  {trouble}")).unwrap_or_default();
        text += &format!("{kernel:<8}{name:<18}{passed:>7}{failed:>7}{seconds:>9}{trouble}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn a_run(name: &str) -> Run {
        Run {
            name: name.to_owned(),
            program: PathBuf::new(),
            folder: PathBuf::new(),
            tests: Vec::new(),
            environment: String::new(),
            seconds: 1,
        }
    }

    fn outcomes(lines: &[&str], runs: &[&str]) -> Vec<(u64, u64, Option<String>)> {
        let mut report = Report::new("6.1");
        for line in lines {
            report.read(line);
        }
        let runs: Vec<Run> = runs.iter().map(|name| a_run(name)).collect();
        let outcomes = report.finish(&runs, false);
        outcomes.into_iter().map(|outcome| (outcome.passed, outcome.failed, outcome.trouble)).collect()
    }

    #[test]
    fn a_good_guest_is_counted() {
        let lines =
            ["vm: begin a", "test result: ok. 3 passed; 0 failed; 0 ignored", "vm: end a 0 12", "vm: done"];
        assert_eq!(outcomes(&lines, &["a"]), [(3, 0, None)]);
    }

    #[test]
    fn silence_is_a_failure() {
        let end = "vm: end a 101 12";
        let ok = "test result: ok. 3 passed; 0 failed; 0 ignored";
        let trouble = |lines: &[&str], runs: &[&str]| -> Vec<bool> {
            outcomes(lines, runs).into_iter().map(|(_, _, trouble)| trouble.is_some()).collect()
        };
        assert_eq!(trouble(&["vm: begin a", end, "vm: done"], &["a"]), [true], "no result");
        assert_eq!(trouble(&["vm: begin a", ok, end, "vm: done"], &["a"]), [true], "a bad exit");
        assert_eq!(trouble(&["vm: begin a", ok, "vm: end a 0 1"], &["a"]), [true], "no end of the guest");
        assert_eq!(
            trouble(&["vm: begin a", ok, "vm: end a 0 1"], &["a", "b"]),
            [false, true],
            "a run is missing"
        );
        assert_eq!(trouble(&["vm: begin a", ok], &["a"]), [true], "it stopped within");
        assert_eq!(trouble(&[], &["a"]), [true]);
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--kernel", "6.1", "-p", "weir-agent", "--filter", "decap"]).unwrap();
        assert_eq!(options.kernels, ["6.1"]);
        assert_eq!(options.packages, ["weir-agent"]);
        assert!(options.takes("agent::decap_all") && !options.takes("agent::mss"));
        assert_eq!(Options::parse(&["--kernel", "5.10"]), None);
        assert_eq!(Options::parse(&["-p"]), None);
    }
}
