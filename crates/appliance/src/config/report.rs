// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The text under examination and what was found wrong with it so far.
//!
//! A [`Report`] remembers where each path of the document stands in the text, so that a rule about two objects, checked
//! long after parsing, can still point at a line. A path that is not in the text (a missing key) is shown at the nearest
//! section around it.

use std::collections::BTreeMap;

use super::error::{LoadErrors, PROBLEMS_MAX, Position, Problem};

/// One text, its places and its problems.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    text: String,
    line_starts: Vec<usize>,
    places: BTreeMap<String, usize>,
    found: Vec<(usize, Problem)>,
    more: usize,
}

impl Report {
    /// Nothing wrong yet with `text`, which the user calls `file`.
    pub(super) fn new(file: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            line_starts,
            places: BTreeMap::new(),
            found: Vec::new(),
            more: 0,
        }
    }

    /// Remembers that `path` stands at byte `offset`.
    pub(super) fn place(&mut self, path: &str, offset: usize) {
        self.places.insert(path.to_owned(), offset);
    }

    /// A problem with what stands at `path`, or would stand there.
    pub(super) fn at(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let offset = self.offset_of(path);
        self.at_offset(path, offset, message, help);
    }

    /// A problem at a byte of the text.
    pub(super) fn at_offset(
        &mut self,
        path: &str,
        offset: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.found.len() >= PROBLEMS_MAX {
            self.more = self.more.saturating_add(1);
            return;
        }
        let position = Some(self.position(offset));
        let problem = Problem { path: path.to_owned(), position, message: message.into(), help: help.into() };
        self.found.push((offset, problem));
    }

    /// A remark on what stands at `path`, which is not counted as something wrong.
    pub(super) fn problem_at(&self, path: &str, message: String, help: &str) -> Problem {
        let position = Some(self.position(self.offset_of(path)));
        Problem { path: path.to_owned(), position, message, help: help.to_owned() }
    }

    /// Line of what stands at `path`.
    pub(super) fn line_of(&self, path: &str) -> usize {
        self.position(self.offset_of(path)).line
    }

    /// Reports every path whose key an earlier place of the text has too, with that earlier path.
    pub(super) fn repeated<K: Ord>(
        &mut self,
        items: impl IntoIterator<Item = (K, String)>,
        mut problem: impl FnMut(&K, &str) -> (String, String),
    ) {
        let mut groups: BTreeMap<K, Vec<(usize, String)>> = BTreeMap::new();
        for (key, path) in items {
            let offset = self.offset_of(&path);
            groups.entry(key).or_default().push((offset, path));
        }
        for (key, mut places) in groups {
            places.sort();
            let Some(((_, first), others)) = places.split_first() else { continue };
            let line = self.line_of(first);
            for (offset, path) in others {
                let (message, help) = problem(&key, first);
                self.at_offset(path, *offset, format!("{message} (line {line})"), help);
            }
        }
    }

    /// Whether nothing was found wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// The verdict: `Ok` when clean, else everything that is wrong in the order of the text.
    pub(super) fn into_result(mut self) -> Result<(), LoadErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by(|(a, p), (b, q)| (a, &p.path).cmp(&(b, &q.path)));
        let problems = self.found.into_iter().map(|(_, problem)| problem).collect();
        Err(LoadErrors { file: self.file, problems, more: self.more })
    }

    /// Byte at which `path`, or the nearest section around it, stands.
    fn offset_of(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(offset) = self.places.get(path) {
                return *offset;
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return 0,
            }
        }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Position { line, column }
    }
}
