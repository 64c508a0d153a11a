// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A child process that cannot outlive its value, with its output in a log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::{Ended, wait_until};

/// A running daemon. Killed by its process number when dropped, and waited for.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the command with both outputs appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Process { name: name.to_owned(), child, log: log.to_path_buf(), status: None })
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it printed so far, and earlier processes with the same log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// An error with the end of its log if it is not running any more.
    pub fn check_running(&mut self) -> Result<()> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        match self.status {
            None => Ok(()),
            Some(status) => Err(Ended(format!("{} ended: {status}\n{}", self.name, self.log_tail())).into()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("process number")?;
        if self.status.is_some() {
            bail!("{} has ended", self.name);
        }
        // SAFETY: `kill` takes two integers. The child is ours and not waited for yet, so its number is not reused.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(std::io::Error::last_os_error()).with_context(|| format!("signal {}", self.name));
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let status = wait_until(&what, limit, || {
            if self.status.is_none() {
                self.status = self.child.try_wait()?;
            }
            self.status.context("still running")
        });
        status.with_context(|| self.log_tail())
    }

    /// Kills it outright and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        if self.status.is_none() {
            self.child.kill().with_context(|| format!("kill {}", self.name))?;
            self.status = Some(self.child.wait()?);
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("lab: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("x.log");
        let mut process = Process::spawn("sleep", Command::new("sleep").arg("1000"), &log).expect("starts");
        process.check_running().expect("runs");
        let stat = format!("/proc/{}/stat", process.pid());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    fn the_end_and_the_output_are_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("x.log");
        let mut sh = Command::new("sh");
        let mut process = Process::spawn("sh", sh.args(["-c", "echo why; exit 3"]), &log).expect("starts");
        assert_eq!(process.wait(Duration::from_secs(5)).expect("ends").code(), Some(3));
        let error = process.check_running().expect_err("it ended");
        assert!(error.to_string().contains("why"), "{error}");
    }
}
