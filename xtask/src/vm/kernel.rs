// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debian's kernels: found by their package, fetched once, kept unpacked in the user's cache.
//!
//! ```text
//! <cache>/weir/vm/<package>_<version>/boot/vmlinuz-*  lib/modules/<release>/
//! ```
//! The newest build of a line is taken (`6.1`: the kernel of Debian 12; `6.12`: that of Debian 13, which Debian 12 has too). A
//! machine that cannot ask for packages uses what lies in the cache.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run;

/// The lines that Weir is held to, oldest first; the first is the floor.
pub(crate) const LINES: [&str; 2] = ["6.1", "6.12"];

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// `6.1` or `6.12`.
    pub(crate) line: String,
    /// What `uname -r` will say.
    pub(crate) release: String,
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// Its modules: `lib/modules/<release>`.
    pub(crate) modules: PathBuf,
}

/// The kernel of `line`, fetched if need be.
pub(crate) fn kernel(line: &str) -> Result<Kernel> {
    let cache = cache()?;
    std::fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    let folder = match candidate(line)? {
        Some((package, version)) => {
            let folder = cache.join(format!("{package}_{version}"));
            if !folder.exists() {
                fetch(&format!("{package}={version}"), &folder)?;
            }
            folder
        }
        None => newest_cached(&cache, line)?.with_context(|| {
            format!("no package `linux-image-{line}*-cloud-amd64` here, and none in {}: run `apt-get update` on Debian 12", cache.display())
        })?,
    };
    unpacked(line, &folder)
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("weir/vm"))
}

/// Package and version of the newest kernel of `line` that the machine's sources offer.
fn candidate(line: &str) -> Result<Option<(String, String)>> {
    let names = run::output(Command::new("apt-cache").args(["pkgnames", &format!("linux-image-{line}.")]))?;
    let mut packages: Vec<&str> = names.lines().filter(|name| is_of(line, name)).collect();
    packages.sort_by(|a, b| by_numbers(b, a));
    for package in packages {
        let text = run::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
        if let Some(version) = text.lines().find_map(|line| line.strip_prefix("Version: ")) {
            return Ok(Some((package.to_owned(), version.to_owned())));
        }
    }
    Ok(None)
}

/// Whether `package` is a signed cloud kernel of `line`, and not its debug symbols.
fn is_of(line: &str, package: &str) -> bool {
    let rest = package.strip_prefix("linux-image-").and_then(|rest| rest.strip_prefix(line));
    rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with("-cloud-amd64"))
}

/// Order of names that hold numbers: `6.1.0-9` before `6.1.0-10`.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

fn newest_cached(cache: &Path, line: &str) -> Result<Option<PathBuf>> {
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(cache)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.split_once('_').is_some_and(|(package, _)| is_of(line, package)) {
            found.push(name);
        }
    }
    found.sort_by(|a, b| by_numbers(a, b));
    Ok(found.pop().map(|name| cache.join(name)))
}

/// Downloads a package and unpacks it; the folder appears only when it is whole.
fn fetch(package: &str, folder: &Path) -> Result<()> {
    let partial = folder.with_file_name(format!("{}.part", std::process::id()));
    std::fs::create_dir_all(&partial)?;
    // Without its sandbox user, which may not write into a cache below the user's home.
    run::run(
        Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&partial),
    )?;
    let package = std::fs::read_dir(&partial)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    run::run(Command::new("dpkg-deb").arg("-x").args([&package, &partial]))?;
    std::fs::remove_file(&package)?;
    match std::fs::rename(&partial, folder) {
        // Another run was faster.
        Err(_) if folder.exists() => std::fs::remove_dir_all(&partial)?,
        renamed => renamed?,
    }
    Ok(())
}

fn unpacked(line: &str, folder: &Path) -> Result<Kernel> {
    let only = |folder: PathBuf, prefix: &str| -> Result<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
        }
        ensure!(found.len() == 1, "{} holds {} of `{prefix}*`", folder.display(), found.len());
        Ok(found.remove(0))
    };
    let image = only(folder.join("boot"), "vmlinuz-")?;
    // Debian 13 packages have no `/lib` of their own.
    let library = if folder.join("usr/lib/modules").exists() { "usr/lib/modules" } else { "lib/modules" };
    let modules = only(folder.join(library), line)?;
    let release = modules.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
    Ok(Kernel { line: line.to_owned(), release, image, modules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_line_are_told_from_others() {
        assert!(is_of("6.1", "linux-image-6.1.0-50-cloud-amd64"));
        assert!(is_of("6.12", "linux-image-6.12.117+deb12-cloud-amd64"));
        assert!(!is_of("6.1", "linux-image-6.12.117+deb12-cloud-amd64"));
        assert!(!is_of("6.1", "linux-image-6.1.0-50-cloud-amd64-dbg"));
        assert!(!is_of("6.1", "linux-image-6.1.0-50-amd64"));
    }

    #[test]
    fn builds_are_ordered_by_number() {
        let mut names = vec!["linux-image-6.1.0-10-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"];
        names.sort_by(|a, b| by_numbers(a, b));
        assert_eq!(names, ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-10-cloud-amd64"]);
    }
}
