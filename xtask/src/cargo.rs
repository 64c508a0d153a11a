// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds by cargo, and where the executables are that came out: read from its JSON messages, so that a moved target
//! folder does not matter.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// One executable of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// Name of the target: the library, binary or test file.
    pub(crate) name: String,
    /// Folder of its package; test binaries run there, as under `cargo test`.
    pub(crate) package_dir: PathBuf,
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it is a test harness rather than the program itself.
    pub(crate) is_test: bool,
}

/// Runs `cargo ARGUMENTS` with JSON messages and gives the executables that it made or found fresh.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Executable>> {
    let mut command = run::cargo(arguments);
    command.arg("--message-format=json-render-diagnostics");
    eprintln!("+ cargo {}", arguments.join(" "));
    Ok(executables(&run::output(&mut command)?))
}

/// The metadata of the workspace's own packages.
pub(crate) fn metadata() -> Result<Value> {
    let text = run::output(&mut run::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("read cargo's metadata")
}

fn executables(messages: &str) -> Vec<Executable> {
    messages.lines().filter_map(|line| executable(&serde_json::from_str(line).ok()?)).collect()
}

fn executable(message: &Value) -> Option<Executable> {
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let target = message.get("target")?;
    if target.get("kind")?.as_array()?.iter().any(|kind| kind == "custom-build") {
        return None;
    }
    Some(Executable {
        name: target.get("name")?.as_str()?.to_owned(),
        package_dir: Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_path_buf(),
        path: PathBuf::from(message.get("executable")?.as_str()?),
        is_test: message.get("profile")?.get("test")?.as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_an_executable_count() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a","kind":["lib"]},"profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a","kind":["lib"]},"profile":{"test":true},"executable":"/t/a-1"}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let want =
            Executable { name: "a".into(), package_dir: "/w/a".into(), path: "/t/a-1".into(), is_test: true };
        assert_eq!(executables(messages), [want]);
    }
}
