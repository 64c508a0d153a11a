// SPDX-License-Identifier: Apache-2.0 OR MIT
//! House rules that a machine can check: who may depend on whom, how a file begins, how long it gets, and that no path
//! of the machine it was written on got into it.
//!
//! Pure functions over the workspace's metadata and file texts; `tidy` reads both and gives a report.

mod edges;
mod files;

use anyhow::{Context, Result};

use crate::{cargo, run};

/// What was found. Errors break a rule; warnings want a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Broken rules, one line each.
    pub(crate) errors: Vec<String>,
    /// Things that get close to a rule.
    pub(crate) warnings: Vec<String>,
}

/// Checks the whole workspace, files that git does not know yet included.
pub(crate) fn tidy() -> Result<Report> {
    let mut report = Report::default();
    edges::check(&cargo::metadata()?, &mut report);
    let mut list = std::process::Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(run::root());
    let listed = run::output(&mut list)?;
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let file = run::root().join(path);
        // Deleted but not committed yet, a link to nowhere, or not text: nothing to say about those.
        if !file.is_file() {
            continue;
        }
        let bytes = std::fs::read(&file).with_context(|| format!("read {path}"))?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            files::check(path, text, &mut report);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_keeps_its_house_rules() {
        let report = super::tidy().expect("the workspace can be read");
        assert!(report.errors.is_empty(), "{}", report.errors.join("\n"));
    }
}
