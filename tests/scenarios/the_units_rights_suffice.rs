// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given daemons that run as a user of their own with the capabilities of the packaged units and nothing more,
//! When they start, carry traffic, are killed and started again, and are stopped,
//! Then everything works as it does for root: programs, tables and links are made, adopted and removed, checks find their
//! way, port 179 can be had, and BFD's thread comes before the others.

use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;

use weir_lab::{Fabric, Layout, document, requests, wait_until};

use crate::{PATIENCE, weir};

/// User and group of the daemons; no account has this number.
const USER: u32 = 64_123;
/// Folders below a folder of the lab.
const DEPTH_MAX: usize = 4;

/// The command that makes a process what `unit` makes it.
fn rights(unit: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(unit);
    let text = std::fs::read_to_string(path).expect("the unit is there");
    let line = text.lines().find_map(|line| line.strip_prefix("AmbientCapabilities=")).expect("it has some");
    assert!(text.contains("NoNewPrivileges=yes"));
    let capabilities: String = line
        .split(' ')
        .map(|name| format!(",+{}", name.strip_prefix("CAP_").expect("a capability").to_lowercase()))
        .collect();
    let sets = ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}=-all{capabilities}"));
    // Soft and hard; a unit that names none has the usual one, which is none.
    let priority = text.lines().find_map(|line| line.strip_prefix("LimitRTPRIO=")).unwrap_or("0");
    assert!(priority == "0" || !text.contains("RestrictRealtime=yes"), "one takes what the other gives");
    let limits =
        if may_raise_limits() { format!("prlimit --rtprio={priority}:{priority} ") } else { String::new() };
    format!("{limits}setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs {}", sets.join(" "))
}

/// Whether we may do what the service manager does: in some containers root may not raise a limit.
fn may_raise_limits() -> bool {
    let status = std::process::Command::new("prlimit").args(["--rtprio=10:10", "true"]).status();
    status.is_ok_and(|status| status.success())
}

/// A program that is `weir` with the rights of the unit that its first argument asks for.
fn restricted(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("weir");
    std::fs::copy(weir(), &program).expect("a copy that everybody may run");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nrun) exec {} {program} \"$@\" ;;\nagent) exec {} {program} \"$@\" ;;\nesac\nexit 2\n",
        rights("weir.service"),
        rights("weir-agent.service"),
        program = program.display(),
    );
    let wrapper = folder.join("restricted");
    std::fs::write(&wrapper, script).expect("written");
    for path in [folder, &program, &wrapper] {
        open_to_all(path, 0o755);
    }
    wrapper
}

fn open_to_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
}

/// Gives the user a folder and all in it.
fn give(path: &Path, depth: usize) {
    lchown(path, Some(USER), Some(USER)).expect("our own file");
    if path.is_dir() && depth < DEPTH_MAX {
        for entry in std::fs::read_dir(path).expect("readable") {
            give(&entry.expect("an entry").path(), depth + 1);
        }
    }
}

#[test]
#[ignore = "needs root and netns"]
fn what_the_units_allow_is_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fabric = Fabric::build(&Layout::small(restricted(folder.path()))).expect("the fabric is built");
    // What weir.tmpfile does on a real host, in the places of the lab.
    open_to_all(Path::new("/sys/fs/bpf"), 0o711);
    open_to_all(fabric.logs.path(), 0o711);
    give(fabric.appliances[0].pin_dir().parent().expect("below the folder of pins"), 0);
    give(fabric.appliances[0].dir(), 0);
    // Nobody answers; what is asked is only what its thread may.
    let edited = fabric.appliances[0].edit_document("[peers.tor-v4]", "[peers.tor-v4]\nbfd = true");
    edited.expect("the document takes it");
    fabric.start_agents().expect("the agents start");
    fabric.appliances[0].start().expect("the appliance starts");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    fabric.wait_usable(PATIENCE).expect("the checks find the backends well");

    let status = fabric.appliances[0].status().expect("status");
    let tally = requests(&fabric.client, &document::targets(), 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}: {status:#}", tally.reasons);

    wait_until("BFD's thread to say what it is", PATIENCE, || {
        let log = fabric.appliances[0].log();
        let expected = if may_raise_limits() { ":\"real-time, priority 10" } else { ":\"not real-time" };
        anyhow::ensure!(log.contains(expected), "{log}");
        Ok(())
    })
    .expect("real-time, where the limit could be given");

    fabric.appliances[0].kill().expect("it dies");
    fabric.appliances[0].start().expect("what is pinned is adopted");
    fabric.wait_routes(&[1], PATIENCE).expect("announced again");
    fabric.backends[0].stop_agent().expect("the program goes with the agent");
    let ended = fabric.appliances[0].stop().expect("it stops");
    assert!(ended.success(), "{ended}: {}", fabric.appliances[0].log());
    assert_eq!(fabric.appliances[0].xdp_program().expect("ip link"), None);
    assert!(!fabric.appliances[0].pin_dir().exists());
}
