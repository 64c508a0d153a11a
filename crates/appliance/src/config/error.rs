// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wrong with a document, all of it: a list of [`Problem`]s that reads like a compiler's.
//!
//! ```text
//! weir.toml:12:11: pools.web.backends.b3.address: found `10.1.0`, expected an IPv4 or IPv6 address
//!   help: write it like `192.0.2.10` or `2001:db8::10`, without prefix length
//! ```

use std::fmt;

use serde_json::{Value, json};

/// Problems that are listed; more are only counted, so that no input makes an endless answer.
pub const PROBLEMS_MAX: usize = 100;

/// A place in the text, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
}

/// One thing to change in the document or on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document's tree, `pools.web.backends.b3.address`; empty for the text as a whole.
    pub path: String,
    /// Where in the text; `None` when the text could not be read.
    pub position: Option<Position>,
    /// What was found and what is allowed.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Why a document was refused; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors {
    /// The file as the caller named it.
    pub file: String,
    /// In order of the text, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub more: usize,
}

impl Problem {
    /// The same for machines: `{path, line, column, message, hint}`.
    pub fn to_json(&self) -> Value {
        json!({
            "path": self.path,
            "line": self.position.map(|p| p.line),
            "column": self.position.map(|p| p.column),
            "message": self.message,
            "hint": self.help,
        })
    }

    /// As a compiler would say it: place, path, what is to be known, what to do.
    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str, kind: &str) -> fmt::Result {
        self.write_line(f, file, kind)?;
        write!(f, "\n  help: {}", self.help)
    }

    /// The first line of it.
    fn write_line(&self, f: &mut impl fmt::Write, file: &str, kind: &str) -> fmt::Result {
        write!(f, "{file}:")?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, "{kind}")?;
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// One remark on an accepted document, to be shown to people.
#[derive(Debug)]
pub struct Warning<'a> {
    /// The file as the caller named it.
    pub file: &'a str,
    /// What is remarked.
    pub problem: &'a Problem,
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.write(f, self.file, " warning:")
    }
}

impl LoadErrors {
    /// One line a problem, with its place and without its remedy.
    pub fn lines(&self) -> Vec<String> {
        let line = |problem: &Problem| {
            let mut line = String::new();
            // Writing to a string cannot fail.
            problem.write_line(&mut line, &self.file, "").ok();
            line
        };
        let more = (self.more > 0).then(|| format!("{}: {} more", self.file, self.more));
        self.problems.iter().map(line).chain(more).collect()
    }

    /// All problems there are, listed or only counted.
    pub fn count(&self) -> usize {
        self.problems.len().saturating_add(self.more)
    }

    /// The same for machines: `{file, ok, errors: [{path, line, column, message, hint}], more}`.
    pub fn to_json(&self) -> Value {
        let errors: Vec<Value> = self.problems.iter().map(Problem::to_json).collect();
        json!({ "file": self.file, "ok": false, "errors": errors, "more": self.more })
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            problem.write(f, &self.file, "")?;
            writeln!(f)?;
        }
        if self.more > 0 {
            writeln!(f, "{}: {} more", self.file, self.more)?;
        }
        match self.count() {
            1 => write!(f, "{}: refused, 1 error", self.file),
            n => write!(f, "{}: refused, {n} errors", self.file),
        }
    }
}

impl std::error::Error for LoadErrors {}
