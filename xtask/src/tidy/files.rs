// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each file must look like: licence line and head, a length one can read, no path of somebody's machine.

use super::Report;

/// From here a file probably holds a second idea.
const LINES_LONG: usize = 700;

/// From here it certainly does.
const LINES_MAX: usize = 1000;

const LICENCE: &str = "SPDX-License-Identifier: Apache-2.0 OR MIT";

/// Folders that exist on one machine only. Written in pieces, so that this file passes its own rule.
const PRIVATE_FOLDERS: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// Adds what is wrong with one file, given by its path below the root and its text.
pub(super) fn check(path: &str, text: &str, report: &mut Report) {
    let lines = text.lines().count();
    let name = path.rsplit('/').next().unwrap_or(path);
    if path.ends_with(".rs") {
        head(path, text, report);
        if lines > LINES_MAX {
            report.errors.push(format!("{path}: {lines} lines, at most {LINES_MAX}"));
        } else if lines > LINES_LONG {
            report.warnings.push(format!("{path}: {lines} lines, look for the second idea"));
        }
    }
    let wants_licence = name == "Cargo.toml" || name == "Makefile" || path.ends_with(".sh");
    if wants_licence && !text.lines().take(2).any(|line| line.contains(LICENCE)) {
        report.errors.push(format!("{path}: no licence line"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(folder) = PRIVATE_FOLDERS.iter().find(|folder| names_folder(line, folder)) {
            report.errors.push(format!("{path}:{}: names {folder}, a folder of one machine", number + 1));
        }
    }
}

fn head(path: &str, text: &str, report: &mut Report) {
    let mut lines = text.lines();
    if lines.next() != Some(&format!("// {LICENCE}")) {
        report.errors.push(format!("{path}:1: the first line is not the licence line"));
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        report.errors.push(format!("{path}:2: no head comment that says what the file owns"));
    }
}

/// Whether the folder appears as the start of an absolute path, not inside a longer one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '/' | '*' | '~')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(path: &str, text: &str) -> Report {
        let mut report = Report::default();
        check(path, text, &mut report);
        report
    }

    const HEAD: &str = "// SPDX-License-Identifier: Apache-2.0 OR MIT\n//! Owns something.\n";

    #[test]
    fn a_file_with_its_head_is_fine() {
        assert_eq!(checked("a/b.rs", HEAD), Report::default());
        assert_eq!(checked("notes.md", "anything"), Report::default());
    }

    #[test]
    fn a_file_without_licence_or_head_is_not() {
        assert_eq!(checked("b.rs", "fn main() {}\n").errors.len(), 2);
        assert_eq!(checked("x/Cargo.toml", "[package]\n").errors, ["x/Cargo.toml: no licence line"]);
        assert_eq!(
            checked("x.sh", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0 OR MIT\n").errors.len(),
            0
        );
    }

    #[test]
    fn long_files_warn_and_very_long_ones_fail() {
        let long = format!("{HEAD}{}", "// x\n".repeat(LINES_LONG));
        assert_eq!((checked("b.rs", &long).errors.len(), checked("b.rs", &long).warnings.len()), (0, 1));
        let longer = format!("{HEAD}{}", "// x\n".repeat(LINES_MAX));
        assert_eq!(checked("b.rs", &longer).errors.len(), 1);
    }

    #[test]
    fn private_folders_are_found_where_a_path_begins() {
        let home = PRIVATE_FOLDERS[0];
        assert_eq!(checked("a.md", &format!("see `{home}me/x`\n")).errors.len(), 1);
        assert_eq!(checked("a.md", &format!("/var{home}x and https://x.org{home}y\n")).errors.len(), 0);
    }
}
