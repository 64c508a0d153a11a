// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test-vm`: the tests of the kernel programs, and scenarios with VLANs and bonds, on Debian's 6.1 and 6.12 kernels,
//! in emulated machines.
//!
//! ```text
//! build the test binaries ─► guest::tree (programs, workspace, binaries) ─┬─► initrd of 6.1  ─► qemu ─► log, counts
//! kernel::kernel (fetched by package, cached) ────────────────────────────┴─► initrd of 6.12 ─► qemu ─► log, counts
//! ```
//! Emulation (no KVM is asked for) is an order of magnitude slower than the metal, so time-outs are generous, tests run one after
//! the other, and those that measure stay at home. The guests run side by side. A guest speaks on its second serial line (`tests/vm/init` says how); a guest that
//! falls silent, panics, or ends before `vm: done` is a failure of its own. Logs: `target/vm/<line>.log` and `<line>.console`.

#![expect(clippy::print_stdout, reason = "the guests' lines and the table are the output")]

mod cpio;
mod guest;
mod kernel;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::cargo::{self, Executable};
use crate::run;
use crate::test::{ignored_because, result_line};
use cpio::Tree;
use guest::Run;
use kernel::Kernel;

/// Tests that run in the guests.
struct Suite {
    package: &'static str,
    /// What cargo is told to build of it.
    targets: &'static [&'static str],
    /// Names of the test binaries, in the order in which they run.
    binaries: &'static [&'static str],
    /// How the reason begins for which the tests are ignored otherwise.
    why: &'static str,
}

const SUITES: [Suite; 3] = [
    Suite {
        package: "weir-appliance",
        targets: &["--test", "scenarios"],
        binaries: &["scenarios"],
        why: "needs a kernel",
    },
    Suite { package: "weir-agent", targets: &["--test", "agent"], binaries: &["agent"], why: "needs root" },
    Suite {
        package: "weir-dataplane",
        targets: &["--lib", "--test", "program"],
        binaries: &["weir_dataplane", "program"],
        why: "needs root",
    },
];

/// One module's tests. The slowest takes about two minutes of a quiet core.
const RUN_TIME_MAX: Duration = Duration::from_secs(15 * 60);

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
                "-p" if SUITES.iter().any(|suite| suite.package == value) => options.packages.push(value),
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
    // Tests run one after the other, so a guest keeps little more than one core busy.
    let outcomes = std::thread::scope(|scope| {
        let guests: Vec<_> =
            kernels.iter().map(|kernel| scope.spawn(|| try_on(kernel, &tree, &runs, &scratch))).collect();
        let ended =
            guests.into_iter().map(|guest| guest.join().map_err(|_| anyhow!("a guest's thread panicked"))?);
        ended.collect::<Result<Vec<_>>>()
    })?
    .concat();
    print!("{}", table(&outcomes));
    let failed: u64 = outcomes.iter().map(|outcome| outcome.failed).sum();
    let passed: u64 = outcomes.iter().map(|outcome| outcome.passed).sum();
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 || outcomes.iter().any(|outcome| outcome.trouble.is_some()) {
        bail!("tests failed in the guests, or none ran: see {}", scratch.display());
    }
    Ok(())
}

/// Makes one kernel's guest, and boots it.
fn try_on(kernel: &Kernel, tree: &Tree, runs: &[Run], scratch: &Path) -> Result<Vec<Outcome>> {
    let image = guest::image(tree, kernel, scratch)?;
    let outcomes = boot(kernel, &image, runs, scratch)?;
    std::fs::remove_file(&image)?;
    Ok(outcomes)
}

/// The chosen tests of the chosen binaries.
fn runs(options: &Options) -> Result<Vec<Run>> {
    let chosen = |suite: &&Suite| {
        options.packages.is_empty() || options.packages.iter().any(|wanted| wanted == suite.package)
    };
    let mut runs = Vec::new();
    for suite in SUITES.iter().filter(chosen) {
        let mut arguments = vec!["test", "--no-run", "--locked", "-p", suite.package];
        arguments.extend(suite.targets);
        let built = cargo::build(&arguments)?;
        // Scenarios start the program itself.
        let beside: Vec<_> =
            built.iter().filter(|made| !made.is_test).map(|made| made.path.clone()).collect();
        for binary in suite.binaries {
            let of_target = |made: &&Executable| made.is_test && made.name == *binary;
            let made = built.iter().find(of_target).with_context(|| format!("no test binary {binary}"))?;
            let mut tests = ignored_because(made, suite.why)?;
            tests.retain(|test| options.takes(test));
            for (module, tests) in by_module(tests) {
                runs.push(Run {
                    name: format!("{binary} {module}").trim_end().to_owned(),
                    program: made.path.clone(),
                    beside: beside.clone(),
                    folder: made.package_dir.clone(),
                    tests,
                    environment: ENVIRONMENT.to_owned(),
                    seconds: RUN_TIME_MAX.as_secs(),
                });
            }
        }
    }
    ensure!(!runs.is_empty(), "no test is left to run");
    Ok(runs)
}

/// Names of tests by the module that they are in, without the binary's own: each is a run, with a time and a result of its own.
fn by_module(tests: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut modules = BTreeMap::<String, Vec<String>>::new();
    for test in tests {
        let path = test.rsplit_once("::").map_or("", |(path, _)| path);
        modules.entry(path.trim_start_matches("program::").to_owned()).or_default().push(test);
    }
    modules
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
            let mut words = rest.rsplitn(3, ' ');
            last.seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let code = words.next().unwrap_or("?");
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
    let mut text = format!("{:<8}{:<48}{:>7}{:>7}{:>9}\n", "kernel", "tests", "passed", "failed", "seconds");
    for outcome in outcomes {
        let Outcome { kernel, name, passed, failed, seconds, trouble } = outcome;
        let trouble = trouble.as_ref().map(|trouble| format!("  {trouble}")).unwrap_or_default();
        text += &format!("{kernel:<8}{name:<48}{passed:>7}{failed:>7}{seconds:>9}{trouble}\n");
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
            beside: Vec::new(),
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
    fn tests_run_by_module() {
        let tests = ["program::rows::a", "program::size::b", "program::rows::c", "top"].map(str::to_owned);
        let modules: Vec<_> = by_module(tests.to_vec()).into_iter().collect();
        assert_eq!(modules[0], (String::new(), vec!["top".to_owned()]));
        assert_eq!(
            modules[1],
            ("rows".to_owned(), vec!["program::rows::a".to_owned(), "program::rows::c".to_owned()])
        );
        let lines = ["vm: begin a b", "test result: ok. 3 passed; 0 failed;", "vm: end a b 0 12", "vm: done"];
        assert_eq!(outcomes(&lines, &["a b"]), [(3, 0, None)]);
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
