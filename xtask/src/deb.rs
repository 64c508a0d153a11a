// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Debian package: built, and looked at from all sides without installing it.
//!
//! ```text
//! deb        release build ► dist assets ► cargo deb ► target/debian/weir_VERSION_ARCH.deb
//! test-deb   deb ► built a second time: same bytes ► lintian ► unpacked: contents, `weir check` of the sample, units
//!            ► tests/package/lifecycle.sh: installed, upgraded, removed, purged in a throw-away copy of this machine
//! ```
//! File times follow `SOURCE_DATE_EPOCH`, by default the time of the last commit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::dist;
use crate::run::{self, run};

/// Exposure of a unit by `systemd-analyze security`, times ten, above which it fails. The appliance has 2.3, the agent 2.1.
const EXPOSURE_MAX: &str = "25";

/// What must be in the package, by path below its root.
const CONTENTS: &[&str] = &[
    "usr/bin/weir",
    "usr/lib/systemd/system/weir.service",
    "usr/lib/systemd/system/weir-agent.service",
    "usr/lib/sysusers.d/weir.conf",
    "usr/lib/tmpfiles.d/weir.conf",
    "usr/lib/sysctl.d/60-weir.conf",
    "etc/needrestart/conf.d/weir.conf",
    "usr/share/bash-completion/completions/weir",
    "usr/share/doc/weir/copyright",
    "usr/share/doc/weir/grafana/weir-overview.json",
    "usr/share/doc/weir/prometheus/weir.rules.yml",
    "usr/share/doc/weir/third-party.txt.gz",
    "usr/share/doc/weir/examples/weir.toml",
    "usr/share/doc/weir/examples/agent.toml",
    "usr/share/man/man5/weir.toml.5.gz",
    "usr/share/man/man8/weir.8.gz",
];

/// What must not: the operator writes these, and nothing that is installed may stand for them.
const NOT_CONTENTS: &[&str] = &["etc/weir", "var/lib/weir", "usr/local"];

const UNITS: [&str; 2] = ["weir.service", "weir-agent.service"];

/// Builds the package and prints where it is.
pub(crate) fn deb() -> Result<PathBuf> {
    dist::build_and_dist(&["--release"])?;
    let package = pack()?;
    eprintln!("xtask: {}", package.display());
    Ok(package)
}

/// Builds the package and examines it.
pub(crate) fn test() -> Result<()> {
    let package = deb()?;
    let first = std::fs::read(&package)?;
    ensure!(pack()? == package, "the second build has another name");
    ensure!(std::fs::read(&package)? == first, "two builds of the same tree differ");
    run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning", "--info"])
        .arg(&package))?;
    let root = run::root().join("target/debian/unpacked");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    run(Command::new("dpkg-deb").arg("-x").args([&package, &root]))?;
    contents(&root)?;
    let weir = root.join("usr/bin/weir");
    run(Command::new(&weir).arg("check").arg(root.join("usr/share/doc/weir/examples/weir.toml")))?;
    let host = units_among_others(&root)?;
    for unit in UNITS {
        run(analyze(&host, "verify").args(["--man=no", unit]))?;
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        // The table of all settings goes to standard output, where the exposure is its last line.
        let table = run::output(analyze(&root, "security").args(["--offline=true", &threshold, unit]))?;
        eprintln!("xtask: {}", table.lines().last().unwrap_or_default());
    }
    let mut lifecycle = Command::new("scripts/isolated.sh");
    run(lifecycle.arg("tests/package/lifecycle.sh").arg(&package).current_dir(run::root()))?;
    eprintln!("xtask: the package is sound");
    Ok(())
}

/// Packs what is built. Everything that could change between two runs is fixed.
fn pack() -> Result<PathBuf> {
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch,
        Err(_) => {
            let mut log = Command::new("git");
            log.args(["log", "-1", "--format=%ct"]).current_dir(run::root());
            run::output(&mut log)?.trim().to_owned()
        }
    };
    let mut command = run::cargo(&["deb", "--quiet", "--no-build", "--locked", "-p", "weir-appliance"]);
    command.env("SOURCE_DATE_EPOCH", epoch);
    eprintln!("+ cargo deb --no-build -p weir-appliance");
    let output = run::output(&mut command)?;
    let path = output.lines().last().context("cargo deb named no package")?;
    Ok(PathBuf::from(path))
}

fn contents(root: &Path) -> Result<()> {
    let missing: Vec<_> = CONTENTS.iter().filter(|path| !root.join(path).exists()).collect();
    let unwanted: Vec<_> = NOT_CONTENTS.iter().filter(|path| root.join(path).exists()).collect();
    if !missing.is_empty() || !unwanted.is_empty() {
        bail!("the package lacks {missing:?} and must not hold {unwanted:?}");
    }
    Ok(())
}

/// A copy of the unpacked tree with the targets and slices of this machine beside our units, which refer to them.
fn units_among_others(root: &Path) -> Result<PathBuf> {
    let host = root.with_file_name("among-others");
    if host.exists() {
        std::fs::remove_dir_all(&host)?;
    }
    run(Command::new("cp").arg("-a").args([root, &host]))?;
    let mut copied = 0;
    for entry in std::fs::read_dir("/usr/lib/systemd/system").context("list the units of this machine")? {
        let path = entry?.path();
        let is_kind = |kind| path.extension().is_some_and(|extension| extension == kind);
        if ["target", "slice", "socket", "mount"].into_iter().any(is_kind) && path.is_file() {
            let name = path.file_name().context("a file has a name")?;
            std::fs::copy(&path, host.join("usr/lib/systemd/system").join(name))?;
            copied += 1;
        }
    }
    ensure!(copied > 0, "this machine has no units");
    Ok(host)
}

fn analyze(root: &Path, verb: &str) -> Command {
    let mut command = Command::new("systemd-analyze");
    command.arg(format!("--root={}", root.display())).arg("--no-pager").arg(verb);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packaging(path: &str) -> String {
        std::fs::read_to_string(run::root().join("packaging").join(path)).expect("the file is there")
    }

    #[test]
    fn the_changelog_is_of_this_version() {
        let metadata = crate::cargo::metadata().expect("cargo knows the workspace");
        let packages = metadata["packages"].as_array().expect("a list");
        let weir = packages.iter().find(|package| package["name"] == "weir-appliance").expect("it is ours");
        let version = weir["version"].as_str().expect("a version");
        let first = packaging("debian/changelog");
        assert!(first.starts_with(&format!("weir ({version}-1) ")), "{first}");
    }

    #[test]
    fn the_units_differ_in_what_they_may() {
        let capabilities = |unit: &str| {
            let text = packaging(&format!("systemd/{unit}"));
            let line = |key: &str| {
                let found = text.lines().find_map(|line| line.strip_prefix(key));
                found.unwrap_or_default().split(' ').map(str::to_owned).collect::<Vec<_>>()
            };
            let bounding = line("CapabilityBoundingSet=");
            assert_eq!(bounding, line("AmbientCapabilities="), "{unit}");
            bounding
        };
        let (appliance, agent) = (capabilities(UNITS[0]), capabilities(UNITS[1]));
        assert_eq!((appliance.len(), agent.len()), (5, 3));
        assert!(agent.iter().all(|capability| appliance.contains(capability)));
        assert!(!appliance.contains(&"CAP_SYS_ADMIN".to_owned()));
    }

    #[test]
    fn scripts_carry_the_marker_and_stop_at_errors() {
        for script in ["postinst", "prerm", "postrm"] {
            let text = packaging(&format!("debian/{script}"));
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
            assert_eq!(text.matches("\n#DEBHELPER#\n").count(), 1, "{script}");
        }
    }
}
