// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last accepted document as a file, and the list of those before it. Pure but for [`Accepted::open`].
//!
//! `document.toml` is the text as it was accepted under one line of ours, so that it can be read, compared and copied:
//!
//! ```text
//! # weir {"accepted_ms":…,"file":"/etc/weir/weir.toml","format":1,"generation":7,"hash":"…","sha256":"…"}
//! [bootstrap]
//! …
//! ```
//!
//! The SHA-256 is over everything below that line. `history.json` is a list of numbers and hashes: should the document be
//! spoiled with the one before it, generations still do not count backwards.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir::{StateDir, peek};
use super::envelope::{FileError, hex, seal, unseal};
use super::moment::Moment;
use crate::model::{DocumentHash, Generation};

/// File of the document.
pub(crate) const DOCUMENT: &str = "document.toml";
/// File of the list.
pub(crate) const HISTORY: &str = "history.json";
/// Accepted documents that are listed.
pub const HISTORY_MAX: usize = 50;
/// Version of the first line.
const FORMAT: u64 = 1;
/// What the first line begins with.
const MARK: &str = "# weir ";

/// A document that was accepted, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDocument {
    /// Its number.
    pub generation: Generation,
    /// Hash of its canonical form, 64 hex digits.
    pub hash: String,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// The file that it came from, absolute.
    pub file: PathBuf,
    /// The text of that file.
    pub text: String,
}

/// One accepted document of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub generation: Generation,
    /// Hash of its canonical form, 64 hex digits.
    pub hash: String,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// Size of its text in bytes.
    pub bytes: u64,
}

/// The list, oldest first, at most [`HISTORY_MAX`].
pub type History = VecDeque<Past>;

#[derive(Serialize, Deserialize)]
struct Head {
    accepted_ms: Moment,
    file: PathBuf,
    format: u64,
    generation: u64,
    hash: String,
    sha256: String,
}

impl KeptDocument {
    /// The last accepted document of a directory that another process may be using.
    pub fn peek(dir: &Path) -> Option<Self> {
        peek(dir, DOCUMENT, Self::parse)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            accepted_ms: self.accepted.into(),
            file: self.file.clone(),
            format: FORMAT,
            generation: self.generation.0,
            hash: self.hash.clone(),
            sha256: checksum(&self.text),
        };
        // A path that is not UTF-8 has no JSON form; the document is kept without it.
        let head = serde_json::to_string(&head)
            .or_else(|_| serde_json::to_string(&Head { file: PathBuf::new(), ..head }))
            .expect("strings and numbers have a JSON form");
        format!("{MARK}{head}\n{}", self.text).into_bytes()
    }

    /// From a file, if it is whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| FileError::Torn)?;
        let (head, text) = text.split_once('\n').ok_or(FileError::Torn)?;
        let head = head.strip_prefix(MARK).ok_or(FileError::Torn)?;
        let head: Head = serde_json::from_str(head).map_err(|_| FileError::Torn)?;
        if head.format != FORMAT {
            return Err(FileError::Format { found: head.format });
        }
        if head.sha256 != checksum(text) {
            return Err(FileError::Checksum);
        }
        let accepted = head.accepted_ms.time().ok_or_else(|| FileError::Content("the time".to_owned()))?;
        let generation = Generation(head.generation);
        Ok(Self { generation, hash: head.hash, accepted, file: head.file, text: text.to_owned() })
    }
}

fn checksum(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// What is kept of accepted documents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// The last one.
    pub last: Option<KeptDocument>,
    /// The list.
    pub history: History,
}

impl Accepted {
    /// What a state directory holds.
    pub fn open(state: &StateDir) -> Self {
        let last = state.load(DOCUMENT, KeptDocument::parse);
        let history = state.load(HISTORY, read_history).unwrap_or_default();
        Self { last, history }
    }

    /// Number of a document with this hash: that of the last one if it is the same, else the next.
    pub fn number(&self, hash: DocumentHash) -> Generation {
        let hash = hash.to_string();
        let last = self.last.as_ref().map(|last| (last.generation, &last.hash));
        let listed = self.history.back().map(|past| (past.generation, &past.hash));
        match last.max(listed) {
            Some((generation, last)) if *last == hash => generation,
            Some((generation, _)) => generation.next(),
            None => Generation(1),
        }
    }

    /// Makes `document` the last one; it is listed if it is not yet.
    pub fn push(&mut self, document: KeptDocument) {
        if self.history.back().is_none_or(|past| past.generation < document.generation) {
            self.history.push_back(Past {
                generation: document.generation,
                hash: document.hash.clone(),
                accepted: document.accepted,
                bytes: u64::try_from(document.text.len()).unwrap_or(u64::MAX),
            });
        }
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        self.last = Some(document);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    generation: u64,
    hash: String,
    accepted_ms: Moment,
    bytes: u64,
}

/// The file of the list.
pub(crate) fn write_history(history: &History) -> Vec<u8> {
    let lines = history.iter().map(|past| Line {
        generation: past.generation.0,
        hash: past.hash.clone(),
        accepted_ms: past.accepted.into(),
        bytes: past.bytes,
    });
    seal(&lines.collect::<Vec<_>>())
}

fn read_history(bytes: &[u8]) -> Result<History, FileError> {
    let lines: Vec<Line> = unseal(bytes)?;
    let past = |line: Line| {
        let accepted = line.accepted_ms.time().ok_or_else(|| FileError::Content("a time".to_owned()))?;
        Ok(Past { generation: Generation(line.generation), hash: line.hash, accepted, bytes: line.bytes })
    };
    lines.into_iter().map(past).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept(generation: u64, text: &str) -> KeptDocument {
        KeptDocument {
            generation: Generation(generation),
            hash: format!("{generation:064}"),
            accepted: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123),
            file: "/etc/a \"b\"\nc.toml".into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_kept_document_is_its_text_under_one_line() {
        for text in ["", "\n", "[bootstrap]\n# weir {}\n", "ä"] {
            let document = kept(7, text);
            let bytes = document.to_bytes();
            assert_eq!(KeptDocument::parse(&bytes).unwrap(), document);
            let file = String::from_utf8(bytes).unwrap();
            assert_eq!(file.split_once('\n').unwrap().1, text);
        }
    }

    #[test]
    fn a_torn_or_foreign_one_is_refused() {
        let bytes = kept(7, "[bootstrap]\n").to_bytes();
        for cut in 0..bytes.len() {
            assert!(KeptDocument::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(KeptDocument::parse(b"[bootstrap]\n").is_err());
        assert!(KeptDocument::parse(b"# weir {\"format\":2}\n").is_err());
        let mut longer = bytes;
        longer.push(b'#');
        assert!(matches!(KeptDocument::parse(&longer), Err(FileError::Checksum)));
    }

    #[test]
    fn a_generation_lasts_as_long_as_its_document() {
        let (a, b) = (DocumentHash([1; 32]), DocumentHash([2; 32]));
        let mut accepted = Accepted::default();
        let mut accept = |hash: DocumentHash| {
            let generation = accepted.number(hash);
            accepted.push(KeptDocument { generation, hash: hash.to_string(), ..kept(0, "") });
            generation.0
        };
        assert_eq!([accept(a), accept(a), accept(b), accept(a)], [1, 1, 2, 3]);
        assert_eq!(accepted.history.iter().map(|past| past.generation.0).collect::<Vec<_>>(), [1, 2, 3]);
        // Either file is enough to go on counting.
        let without_list = Accepted { history: History::new(), ..accepted.clone() };
        let without_document = Accepted { last: None, ..accepted };
        for left in [without_list, without_document] {
            assert_eq!((left.number(a).0, left.number(b).0), (3, 4));
        }
    }

    #[test]
    fn the_list_is_bounded_and_read_as_written() {
        let mut accepted = Accepted::default();
        (1..=60).for_each(|generation| accepted.push(kept(generation, "text")));
        let history = accepted.history;
        assert_eq!((history.len(), history[0].generation.0, history[0].bytes), (HISTORY_MAX, 11, 4));
        assert_eq!(read_history(&write_history(&history)).unwrap(), history);
    }
}
