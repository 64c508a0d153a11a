// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accepted document: the only writer of which document is wanted.
//!
//! Every accepted document has a generation. Its text and number are kept in the state directory, so that a restart with
//! the same document keeps its generation and another document gets the next one, and so that a file that was spoiled
//! meanwhile does not keep the appliance down: it starts with the last accepted document ([`Start`]). A document that is
//! refused changes nothing but [`Store::rejection`] and a condition.

mod start;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

pub use self::start::{NoLastGood, Start, StartError};
use crate::config::{self, DownLinks, LoadErrors};
use crate::model::{Document, DocumentHash, Generation};
use crate::state::{
    self, DOCUMENT_FILE_BAD, HISTORY_FILE, History, KEPT_DOCUMENT_FILE, KeptDocument, Severity, StateDir,
};

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
pub struct Candidate {
    document: Document,
    text: String,
}

impl Candidate {
    /// What it wants.
    pub fn document(&self) -> &Document {
        &self.document
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
}

/// Owner of the accepted document.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    state: StateDir,
    accepted: watch::Sender<Arc<Accepted>>,
    rejected: watch::Sender<Option<Arc<Rejected>>>,
    kept: Arc<Mutex<state::Accepted>>,
}

impl Store {
    /// Accepts the first document of this process; `file` is where the next one is read from.
    pub fn open(file: PathBuf, start: Start, state: &StateDir) -> Self {
        let Start { document, text, refused, .. } = start;
        let mut kept = state::Accepted::open(state);
        let generation = kept.number(document.hash);
        let at = SystemTime::now();
        let rejected = watch::Sender::new(None);
        let accepted = watch::Sender::new(Arc::new(Accepted { document, generation, at }));
        let hash = accepted.borrow().document.hash;
        if kept.last.as_ref().is_none_or(|last| (last.generation, &last.text) != (generation, &text)) {
            kept.push(kept_document(&file, text, generation, hash, at));
            // What is not kept is said by a condition, and is no reason not to start.
            state.replace(KEPT_DOCUMENT_FILE, || document_bytes(&kept)).ok();
            state.replace(HISTORY_FILE, || state::write_history(&kept.history)).ok();
        }
        let kept = Arc::new(Mutex::new(kept));
        let store = Self { file, state: state.clone(), accepted, rejected, kept };
        if let Some(errors) = refused {
            store.record(Some(&ReloadError::Invalid(errors)));
        }
        store
    }

    /// The accepted document, the latest.
    pub fn accepted(&self) -> watch::Receiver<Arc<Accepted>> {
        self.accepted.subscribe()
    }

    /// The last refusal, `None` once a document was accepted after it.
    pub fn rejection(&self) -> watch::Receiver<Option<Arc<Rejected>>> {
        self.rejected.subscribe()
    }

    /// The last accepted documents, oldest first.
    pub fn history(&self) -> History {
        locked(&self.kept).history.clone()
    }

    /// Reads the file again. What is refused stays on record until the next attempt; nothing else changes.
    pub fn load(&self) -> Result<Candidate, ReloadError> {
        let checked = self.read();
        self.record(checked.as_ref().err());
        checked
    }

    fn read(&self) -> Result<Candidate, ReloadError> {
        let text = config::read_text(&self.file).map_err(ReloadError::Invalid)?;
        let file = self.file.display().to_string();
        let document =
            config::parse_on_host(&file, &text, DownLinks::Accept).map_err(ReloadError::Invalid)?;
        let sections = fixed_sections_changed(&self.accepted.borrow().document, &document);
        if sections.is_empty() {
            Ok(Candidate { document, text })
        } else {
            Err(ReloadError::NeedsRestart { sections })
        }
    }

    /// Makes the candidate the accepted document, and keeps it. One that equals the accepted document keeps its
    /// generation. What cannot be kept is said by a condition, and accepted all the same.
    pub async fn accept(&self, candidate: Candidate) -> Generation {
        let Candidate { document, text } = candidate;
        let (hash, at) = (document.hash, SystemTime::now());
        let generation = {
            let mut kept = locked(&self.kept);
            let generation = kept.number(hash);
            if kept.last.as_ref().is_some_and(|last| (last.generation, &last.text) == (generation, &text)) {
                return generation;
            }
            kept.push(kept_document(&self.file, text, generation, hash, at));
            generation
        };
        // The same document under another look is kept as it looks now, and nobody need hear of it.
        if generation != self.accepted.borrow().generation {
            self.accepted.send_replace(Arc::new(Accepted { document, generation, at }));
        }
        let (kept, list) = (Arc::clone(&self.kept), Arc::clone(&self.kept));
        tokio::join!(
            self.state.keep(KEPT_DOCUMENT_FILE, move || document_bytes(&locked(&kept))),
            self.state.keep(HISTORY_FILE, move || state::write_history(&locked(&list).history)),
        );
        generation
    }

    fn record(&self, error: Option<&ReloadError>) {
        self.rejected.send_replace(error.map(|error| {
            let errors = match error {
                ReloadError::Invalid(errors) => errors.lines(),
                ReloadError::NeedsRestart { .. } => vec![error.to_string()],
            };
            Arc::new(Rejected { at: SystemTime::now(), errors })
        }));
        match error {
            Some(ReloadError::Invalid(errors)) => {
                let generation = self.accepted.borrow().generation;
                let message = format!("{}; generation {generation} is in force instead", in_one_line(errors));
                self.state.conditions().raise(DOCUMENT_FILE_BAD, Severity::Error, message);
            }
            Some(ReloadError::NeedsRestart { .. }) | None => self.state.conditions().clear(DOCUMENT_FILE_BAD),
        }
    }
}

/// All problems, without the remedies that the file's reader gives.
fn in_one_line(errors: &LoadErrors) -> String {
    let problems = errors.problems.iter().map(|problem| {
        let place = problem.position.map(|at| format!("{}:{}: ", at.line, at.column)).unwrap_or_default();
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        format!("{place}{path}{}", problem.message)
    });
    let mut line = format!("`{}` is refused: {}", errors.file, problems.collect::<Vec<_>>().join("; "));
    if errors.more > 0 {
        line.push_str(&format!("; {} more", errors.more));
    }
    line
}

fn kept_document(
    file: &Path,
    text: String,
    generation: Generation,
    hash: DocumentHash,
    accepted: SystemTime,
) -> KeptDocument {
    KeptDocument { generation, hash: hash.to_string(), accepted, file: start::identity(file), text }
}

fn document_bytes(kept: &state::Accepted) -> Vec<u8> {
    kept.last.as_ref().map(KeptDocument::to_bytes).unwrap_or_default()
}

fn locked(kept: &Mutex<state::Accepted>) -> MutexGuard<'_, state::Accepted> {
    // A panic aborts the process, so nobody can have left it half changed.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts that differ and are fixed for the life of the process.
pub(crate) fn fixed_sections_changed(old: &Document, new: &Document) -> Vec<&'static str> {
    let differs = [
        ("bootstrap", old.bootstrap != new.bootstrap),
        ("appliance", old.appliance != new.appliance),
        ("uplinks", old.uplinks != new.uplinks),
        ("bgp", old.bgp != new.bgp),
        ("peers", old.peers != new.peers),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}
