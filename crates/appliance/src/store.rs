// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accepted document: the only writer of which document is wanted.
//!
//! Every accepted document has a generation. The number and the hash are kept in the state directory, so that a restart
//! with the same document keeps its generation and another document gets the next one. A document that is refused
//! changes nothing but [`Store::rejection`].

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::config::{self, DownLinks, LoadErrors};
use crate::model::{Document, DocumentHash, Generation};

/// File in the state directory that holds the last generation and its hash.
const GENERATION_FILE: &str = "generation";

/// A document that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What is wanted.
    pub document: Document,
    /// Its number.
    pub generation: Generation,
    /// When it was accepted.
    pub at: SystemTime,
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// When.
    pub at: SystemTime,
    /// Why, one line an error.
    pub errors: Vec<String>,
}

/// A document that may become the accepted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate(Document);

impl Candidate {
    /// What it wants.
    pub fn document(&self) -> &Document {
        &self.0
    }
}

/// Why a document was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is not valid, or does not fit this host.
    #[error("{0}")]
    Invalid(LoadErrors),
    /// Parts changed that this process cannot change while it runs.
    #[error("a change of `{}` needs a restart", sections.join("`, `"))]
    NeedsRestart {
        /// The parts of the document.
        sections: Vec<&'static str>,
    },
    /// Its generation could not be kept.
    #[error(transparent)]
    Persist(#[from] PersistError),
}

/// The generation could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("keep the generation in {}", path.display())]
pub struct PersistError {
    path: PathBuf,
    source: io::Error,
}

/// Owner of the accepted document.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    state_dir: PathBuf,
    accepted: watch::Sender<Arc<Accepted>>,
    rejected: watch::Sender<Option<Arc<Rejected>>>,
}

impl Store {
    /// Accepts `document`, which was read from `file`, as the first of this process.
    pub fn open(file: PathBuf, document: Document) -> Result<Self, PersistError> {
        let state_dir = document.bootstrap.state_dir.clone();
        let generation = number(&state_dir, document.hash)?;
        let accepted = Accepted { document, generation, at: SystemTime::now() };
        let (accepted, rejected) = (watch::Sender::new(Arc::new(accepted)), watch::Sender::new(None));
        Ok(Self { file, state_dir, accepted, rejected })
    }

    /// The accepted document, the latest.
    pub fn accepted(&self) -> watch::Receiver<Arc<Accepted>> {
        self.accepted.subscribe()
    }

    /// The last refusal, `None` once a document was accepted after it.
    pub fn rejection(&self) -> watch::Receiver<Option<Arc<Rejected>>> {
        self.rejected.subscribe()
    }

    /// Reads the file again. What is refused stays on record until the next attempt; nothing else changes.
    pub fn load(&self) -> Result<Candidate, ReloadError> {
        let loaded = config::load_on_host(&self.file, DownLinks::Accept).map_err(ReloadError::Invalid);
        let checked = loaded.and_then(|document| {
            let sections = fixed_sections_changed(&self.accepted.borrow().document, &document);
            if sections.is_empty() {
                Ok(Candidate(document))
            } else {
                Err(ReloadError::NeedsRestart { sections })
            }
        });
        self.record(checked.as_ref().err());
        checked
    }

    /// Makes the candidate the accepted document. One that equals the accepted document keeps its generation.
    pub fn accept(&self, candidate: Candidate) -> Result<Generation, ReloadError> {
        let Candidate(document) = candidate;
        let current = Arc::clone(&self.accepted.borrow());
        if document.hash == current.document.hash {
            return Ok(current.generation);
        }
        match number(&self.state_dir, document.hash) {
            Ok(generation) => {
                self.accepted.send_replace(Arc::new(Accepted {
                    document,
                    generation,
                    at: SystemTime::now(),
                }));
                Ok(generation)
            }
            Err(error) => {
                let error = ReloadError::Persist(error);
                self.record(Some(&error));
                Err(error)
            }
        }
    }

    fn record(&self, error: Option<&ReloadError>) {
        self.rejected.send_replace(error.map(|error| {
            let errors = error.to_string().lines().map(str::to_owned).collect();
            Arc::new(Rejected { at: SystemTime::now(), errors })
        }));
    }
}

/// The parts that differ and are fixed for the life of the process.
fn fixed_sections_changed(old: &Document, new: &Document) -> Vec<&'static str> {
    let differs = [
        ("bootstrap", old.bootstrap != new.bootstrap),
        ("appliance", old.appliance != new.appliance),
        ("uplinks", old.uplinks != new.uplinks),
        ("bgp", old.bgp != new.bgp),
        ("peers", old.peers != new.peers),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

/// The generation of the document with this hash: the kept one if it is the same document, else the next, kept.
fn number(state_dir: &Path, hash: DocumentHash) -> Result<Generation, PersistError> {
    let path = state_dir.join(GENERATION_FILE);
    let failed = |source| PersistError { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o750).create(state_dir).map_err(failed)?;
    let kept = match fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| failed(io::Error::other("found something else there")))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Generation(0), String::new()),
        Err(error) => return Err(failed(error)),
    };
    if kept.1 == hash.to_string() {
        return Ok(kept.0);
    }
    let generation = kept.0.next();
    replace(&path, &format!("{generation} {hash}\n")).map_err(failed)?;
    Ok(generation)
}

fn parse(text: &str) -> Option<(Generation, String)> {
    let (number, hash) = text.trim_ascii().split_once(' ')?;
    Some((Generation(number.parse().ok()?), hash.to_owned()))
}

/// Replaces a file as a whole: a crash leaves the old or the new one.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = fs::File::create(&staged)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_generation_lasts_as_long_as_its_document() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (a, b) = (DocumentHash([1; 32]), DocumentHash([2; 32]));
        assert_eq!(number(&state, a).unwrap(), Generation(1));
        assert_eq!(number(&state, a).unwrap(), Generation(1));
        assert_eq!(number(&state, b).unwrap(), Generation(2));
        assert_eq!(number(&state, a).unwrap(), Generation(3));
    }

    #[test]
    fn every_part_that_needs_a_restart_is_named() {
        let text = include_str!("../tests/check/good/least.toml");
        let old = config::parse("weir.toml", text).unwrap();
        assert_eq!(fixed_sections_changed(&old, &old), [""; 0]);
        let mut new = old.clone();
        new.appliance.drain_wait += Duration::from_secs(1);
        new.peers.clear();
        new.vips.clear();
        let sections = fixed_sections_changed(&old, &new);
        let error = ReloadError::NeedsRestart { sections };
        assert_eq!(error.to_string(), "a change of `appliance`, `peers` needs a restart");
    }

    #[test]
    fn a_spoiled_generation_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(GENERATION_FILE), "seven").unwrap();
        let error = number(folder.path(), DocumentHash([1; 32])).unwrap_err();
        assert!(error.to_string().starts_with("keep the generation in "), "{error}");
    }
}
