// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running other programs: printed first, failures named, output passed through or collected.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines read ahead from a child; when full the reader waits, and so does the child.
const LINES_AHEAD: usize = 256;

/// How long a child may take to end after its polite signal before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The workspace's root: the parent of this package's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The cargo that runs this task, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Prints the command and runs it; an error names it when it cannot start or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Standard output of a command that must succeed; its errors go to ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {}", shown(command)))
}

/// Runs a command line by line: each line of its output is given to `on_line`. Ended when it takes longer than `limit`.
pub(crate) fn stream(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<Option<ExitStatus>> {
    announce(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {}", shown(command)))?;
    let pipe = child.stdout.take().context("the child's output is a pipe")?;
    let (sender, lines) = mpsc::sync_channel::<String>(LINES_AHEAD);
    // Not joined: a grandchild that keeps the pipe open must not keep us.
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(child.wait()?)),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    // The isolated set removes itself on a polite signal; a plain test binary dies of it.
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
    let grace = Instant::now() + GRACE;
    while child.try_wait()?.is_none() {
        if Instant::now() > grace {
            child.kill()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait()?;
    Ok(None)
}

fn announce(command: &Command) {
    eprintln!("+ {}", shown(command));
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let name = Path::new(&program).file_name().map_or(program.clone(), |n| n.to_string_lossy().into_owned());
    std::iter::once(name)
        .chain(command.get_args().map(|argument| argument.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_the_end_are_given() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo a; echo b; exit 3"]);
        let status = stream(&mut command, Duration::from_secs(10), |line| lines.push(line.to_owned()));
        assert_eq!(status.expect("it starts").and_then(|status| status.code()), Some(3));
        assert_eq!(lines, ["a", "b"]);
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let begun = Instant::now();
        let status = stream(Command::new("sleep").arg("600"), Duration::from_millis(50), |_| {});
        assert_eq!(status.expect("it starts"), None);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
