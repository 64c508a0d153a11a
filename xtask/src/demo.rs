// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask demo`: builds the appliance and the demo outside, runs the story inside the throw-away set.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, run};

/// Builds, then runs; `keep` leaves the lab up until the demo is interrupted.
pub(crate) fn demo(keep: bool) -> Result<()> {
    let built = cargo::build(&["build", "--locked", "-p", "weir-appliance", "-p", "weir-lab", "--bins"])?;
    let find = |name: &str| {
        let found = built.iter().find(|executable| executable.name == name && !executable.is_test);
        found.map(|executable| executable.path.clone()).with_context(|| format!("the build made no `{name}`"))
    };
    let (weir, story) = (find("weir")?, find("weir-demo")?);
    let out = run::root().join("target/demo");
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let mut command = Command::new(run::root().join("scripts/isolated.sh"));
    command.arg(story).arg("--weir").arg(weir).arg("--out").arg(out);
    if keep {
        command.arg("--keep");
    }
    run::run(&mut command)
}
