// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir service-stop`: the stop hook of the unit, which tells the daemon whether another one follows.
//!
//! A service manager ends a process with the same signal whether it stops or restarts its unit, and only it knows which. So
//! its hook asks: the job of the unit is `stop` or `restart`. A restart is passed on as SIGUSR2, if the next process would
//! take over what is pinned; anything else, and any doubt, is a clean stop. Then it waits for the end: what outlives the
//! hook gets the unit's signals at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Exit, dataplane};

/// How long the service manager may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at a process. The unit's own time limit ends the wait.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Arguments of `weir service-stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The unit that ends
    #[arg(long, value_name = "UNIT", default_value = "weir.service")]
    unit: String,
    /// The document that the next process would start with
    #[arg(long, value_name = "PATH", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    /// The daemon; without one there is nothing to do
    #[arg(long, value_name = "PID", env = "MAINPID", value_parser = clap::value_parser!(i32).range(2..))]
    pid: Option<i32>,
}

/// Runs `weir service-stop`.
pub(super) fn main(args: &Args) -> Result<Exit> {
    let Some(pid) = args.pid.map(Pid::from_raw) else { return Ok(Exit::Ok) };
    let signal = signal(&jobs(), args);
    match kill(pid, signal) {
        Ok(()) => {}
        Err(Errno::ESRCH) => return Ok(Exit::Ok),
        Err(error) => return Err(error).with_context(|| format!("signal process {pid}")),
    }
    while kill(pid, None).is_ok() {
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Exit::Ok)
}

fn signal(jobs: &str, args: &Args) -> Signal {
    match job(jobs, &args.unit) {
        Some("restart" | "try-restart") if is_followed(&args.config) => Signal::SIGUSR2,
        Some(_) | None => Signal::SIGTERM,
    }
}

/// Whether the next process would go on with what is pinned. Other sizes need a clean stop before them.
fn is_followed(config: &Path) -> bool {
    let is_followed = dataplane::would_adopt(config);
    if !is_followed {
        eprintln!("weir: the next start would not take over what is pinned: stopping cleanly");
    }
    is_followed
}

/// The kind of the job that runs for a unit, from the list of all: id, unit, kind, state.
fn job<'l>(list: &'l str, unit: &str) -> Option<&'l str> {
    let of_unit = |line: &'l str| {
        let mut words = line.split_whitespace();
        let (_, name, kind) = (words.next()?, words.next()?, words.next()?);
        (name == unit).then_some(kind)
    };
    list.lines().find_map(of_unit)
}

/// What the service manager does just now; empty when it cannot be asked.
fn jobs() -> String {
    let mut command = Command::new("systemctl");
    command.args(["list-jobs", "--plain", "--no-legend", "--full", "--no-pager"]);
    match answer(&mut command) {
        Ok(list) => list,
        Err(error) => {
            eprintln!("weir: stopping cleanly, since the service manager does not say more: {error:#}");
            String::new()
        }
    }
}

/// Standard output of a command that ends well and in time. What it writes must fit a pipe.
fn answer(command: &mut Command) -> Result<String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.context("run systemctl")?;
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("wait for systemctl")? {
            anyhow::ensure!(status.success(), "systemctl: {status}");
            let output = child.wait_with_output().context("read what systemctl says")?;
            return String::from_utf8(output.stdout).context("read what systemctl says");
        }
        if asked.elapsed() > ANSWER_MAX {
            // It is ours, and nobody waits for it any more.
            child.kill().ok();
            child.wait().ok();
            anyhow::bail!("systemctl does not answer");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "1503 weir-agent.service stop    running\n\
                        1498 weir.service       restart running\n\
                        \n1504 shutdown.target start waiting\n";

    #[test]
    fn the_job_of_the_unit_is_found() {
        assert_eq!(job(LIST, "weir.service"), Some("restart"));
        assert_eq!(job(LIST, "weir-agent.service"), Some("stop"));
        assert_eq!(job(LIST, "eir.service"), None);
        assert_eq!(job("", "weir.service"), None);
        assert_eq!(job("No jobs running.\n", "weir.service"), None);
    }

    #[test]
    fn doubt_means_a_clean_stop() {
        let args = |unit: &str| Args { unit: unit.into(), config: "/nonexistent".into(), pid: None };
        for (list, unit) in [(LIST, "weir-agent.service"), (LIST, "weir.service"), ("", "weir.service")] {
            assert_eq!(signal(list, &args(unit)), Signal::SIGTERM, "{unit}");
        }
    }

    #[test]
    fn an_answer_is_read_and_a_failure_told() {
        assert_eq!(answer(Command::new("echo").arg("one")).unwrap(), "one\n");
        assert!(answer(&mut Command::new("false")).is_err());
        assert!(answer(&mut Command::new("/nonexistent")).is_err());
    }
}
