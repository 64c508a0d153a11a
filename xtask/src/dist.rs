// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a package holds beside the binary and files of the tree: manual pages and completions, which the binary writes itself,
//! and the notices of the libraries inside it.
//!
//! Written to `target/dist`, from where `[package.metadata.deb]` takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cargo, run};

/// File names, upper case, that hold a licence or a notice when they begin so.
const NOTICES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// The root of our dependency tree.
const PROGRAM: &str = "weir-appliance";

/// Where the assets are gathered.
pub(crate) fn folder() -> PathBuf {
    run::root().join("target/dist")
}

/// Builds the program by the profile that `profile` names and fills the folder anew by it.
pub(crate) fn build_and_dist(profile: &[&str]) -> Result<()> {
    let build = [&["build", "--locked", "-p", "weir-appliance", "--bin", "weir"], profile].concat();
    let built = cargo::build(&build)?;
    let program = built.iter().find(|built| built.name == "weir").context("the build made no `weir`")?;
    dist(&program.path, &folder())?;
    eprintln!("xtask: {}", folder().display());
    Ok(())
}

/// Fills the folder anew. `program` is the binary that is packed.
fn dist(program: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    run::run(Command::new(program).arg("generate").arg(folder))?;
    let notices = folder.join("third-party.txt");
    std::fs::write(&notices, third_party(&all_metadata()?)?)?;
    // Without name and time in it, so that two runs give the same bytes.
    run::run(Command::new("gzip").arg("-9n").arg(&notices))
}

/// Metadata of every package for the machine we build for.
fn all_metadata() -> Result<Value> {
    let host = run::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let arguments =
        ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host.trim()];
    serde_json::from_str(&run::output(&mut run::cargo(&arguments))?).context("read cargo's metadata")
}

/// The notices of all libraries inside the program: a list, then each text once with the libraries it is of.
fn third_party(metadata: &Value) -> Result<String> {
    let inside = linked(metadata)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let mut list = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages.iter().filter(|package| inside.contains(text(&package["id"]))) {
        // Ours have no source: they are under the licence of the package itself.
        if package["source"].is_null() {
            continue;
        }
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        list.push_str(&format!("{name}: {}\n", text(&package["license"])));
        let folder =
            Path::new(text(&package["manifest_path"])).parent().context("a manifest lies in a folder")?;
        for notice in notices(folder)? {
            texts.entry(notice).or_default().insert(name.clone());
        }
    }
    if list.is_empty() {
        bail!("the program has no libraries, which cannot be");
    }
    let mut all = format!("Libraries inside the program weir, and their licences.\n\n{list}");
    for (notice, of) in &texts {
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        all.push_str(&format!("\n{}\n{}\n\n{}\n", "-".repeat(72), of.join(", "), notice.trim_end()));
    }
    Ok(all)
}

/// Ids of the packages that the program is linked from: normal dependencies of normal dependencies.
fn linked(metadata: &Value) -> Result<BTreeSet<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("resolve.nodes")?;
    let by_id: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let packages = metadata["packages"].as_array().context("packages")?;
    let start = packages.iter().find(|package| package["name"] == PROGRAM).context("the program")?;
    let mut found = BTreeSet::new();
    let mut open = vec![text(&start["id"])];
    while let Some(id) = open.pop() {
        if !found.insert(id.to_owned()) {
            continue;
        }
        for dependency in by_id.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array().context("dep_kinds")?;
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    Ok(found)
}

/// Texts of the licence and notice files in the folder of a library.
fn notices(folder: &Path) -> Result<Vec<String>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NOTICES.iter().any(|notice| name.starts_with(notice)) {
            paths.push(path);
        }
    }
    paths.sort();
    let read = paths.iter().map(|path| {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    });
    read.collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_counts() {
        let normal = serde_json::json!([{ "kind": null }]);
        let metadata = serde_json::json!({
            "packages": [{ "name": PROGRAM, "id": "weir" }],
            "resolve": { "nodes": [
                { "id": "weir", "deps": [
                    { "pkg": "a", "dep_kinds": normal },
                    { "pkg": "builder", "dep_kinds": [{ "kind": "build" }] },
                    { "pkg": "tester", "dep_kinds": [{ "kind": "dev" }] },
                ]},
                { "id": "a", "deps": [{ "pkg": "b", "dep_kinds": normal }, { "pkg": "weir", "dep_kinds": normal }] },
                { "id": "builder", "deps": [{ "pkg": "c", "dep_kinds": normal }] },
            ]},
        });
        let found = linked(&metadata).expect("well-formed");
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "weir"]);
    }

    #[test]
    fn notices_are_found_by_name() {
        let folder = std::env::temp_dir().join(format!("weir-xtask-notices-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, content) in [("LICENSE-MIT", "one\r\n"), ("copying.txt", "two"), ("lib.rs", "three")] {
            std::fs::write(folder.join(name), content).expect("a file");
        }
        let found = notices(&folder).expect("readable");
        std::fs::remove_dir_all(&folder).expect("it goes");
        assert_eq!(found, ["one\n", "two"]);
    }
}
