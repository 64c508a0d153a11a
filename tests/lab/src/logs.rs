// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the daemons of a lab write, and what is shown of it when a scenario fails.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lines shown of each log after a failure.
const TAIL_LINES: usize = 40;

/// A folder for documents, sockets and logs of one lab; removed with it. If the thread that drops it is panicking, the
/// ends of all logs are printed first.
#[derive(Debug)]
pub struct LogDir {
    dir: tempfile::TempDir,
    copy_to: Option<PathBuf>,
}

impl LogDir {
    /// Makes the folder; with `copy_to`, the logs are copied there in the end.
    pub fn create(copy_to: Option<PathBuf>) -> Result<LogDir> {
        let dir =
            tempfile::Builder::new().prefix("weir-lab-").tempdir().context("make a folder for the lab")?;
        Ok(LogDir { dir, copy_to })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a folder in it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).into_iter().flatten().filter_map(Result::ok);
        let mut logs: Vec<PathBuf> =
            entries.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        logs.sort();
        logs
    }

    /// Prints the last lines of each log.
    pub fn show(&self) {
        for path in self.logs() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL_LINES);
            if !lines.is_empty() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                eprintln!("--- {name} ({} lines)\n{}", lines.len(), lines[from..].join("\n"));
            }
        }
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        let Some(target) = &self.copy_to else { return };
        for log in self.logs() {
            let name = log.file_name().unwrap_or_default();
            if let Err(error) = std::fs::copy(&log, target.join(name)) {
                eprintln!("lab: keep {}: {error}", name.to_string_lossy());
            }
        }
    }
}
