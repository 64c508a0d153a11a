// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a run of `scripts/isolated.sh` that has made namespaces, pins and a daemon that detached from it,
//! When it is interrupted, terminated, or killed outright,
//! Then on the outside there is no such process, no namespace, no pin and no mount left.

use std::path::{Path, PathBuf};
use std::process::Command;

use weir_lab::{LogDir, Process, wait_until};

use crate::PATIENCE;

/// Makes what a lab makes, and then ignores polite signals.
const LAB: &str = "ip netns add inner && mkdir /sys/fs/bpf/inner && touch /run/tmp/inner \
                   && (setsid sleep 424242 &) && trap '' INT TERM && echo made && sleep 424243";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/isolated.sh")
}

/// Sleepers of the lab among the processes seen from here, a set inside included.
fn sleepers() -> usize {
    let entries = std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(b"sleep\x0042424")).count()
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mounts").expect("mounts")
}

fn left_after(signal: i32) -> Option<i32> {
    let logs = LogDir::create(None).expect("a folder");
    let before = mounts();
    // Who runs the tests in the background of a shell hands down an ignored SIGINT, which no script can take back.
    let mut set = Command::new("env");
    set.arg("--default-signal=INT").arg(script()).args(["sh", "-c", LAB]);
    let mut set = Process::spawn("an isolated set", &mut set, &logs.file("set.log")).expect("it starts");
    wait_until("the set to be made", PATIENCE, || {
        set.check_running()?;
        anyhow::ensure!(set.log().contains("made"), "not yet");
        anyhow::ensure!(sleepers() == 2, "{} sleepers", sleepers());
        Ok(())
    })
    .expect("made");
    set.signal(signal).expect("a signal");
    let status = set.wait(PATIENCE).expect("it ends");
    wait_until("its processes to be gone", PATIENCE, || {
        anyhow::ensure!(sleepers() == 0, "{} sleepers", sleepers());
        Ok(())
    })
    .expect("gone");
    assert!(!Path::new("/run/netns/inner").exists());
    assert!(!Path::new("/sys/fs/bpf/inner").exists());
    assert!(!Path::new("/run/tmp/inner").exists());
    assert_eq!(mounts(), before);
    status.code()
}

#[test]
#[ignore = "needs root and netns"]
fn signals_end_everything_inside() {
    assert_eq!(left_after(libc::SIGINT), Some(130));
    assert_eq!(left_after(libc::SIGTERM), Some(143));
    assert_eq!(left_after(libc::SIGKILL), None);
}

#[test]
#[ignore = "needs root and netns"]
fn the_exit_code_is_the_commands() {
    let status = Command::new(script()).args(["sh", "-c", "exit 7"]).status().expect("it runs");
    assert_eq!(status.code(), Some(7));
}
