// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which document a process starts with: the file's, or the last accepted one when the file is bad.
//!
//! The last accepted document stands in only for the file that it came from: a mistyped path must not start something
//! else. Reads only; the state directory is locked later, once the document has told the instance.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{self, DownLinks, LoadErrors};
use crate::model::Document;
use crate::state::KeptDocument;

/// The first document of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What is wanted.
    pub document: Document,
    /// Its text.
    pub text: String,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// Why this is the last accepted document and not the file's.
    pub refused: Option<LoadErrors>,
}

/// Why there is no document to start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// What is wrong with the file.
    pub file: LoadErrors,
    /// Why nothing stands in for it.
    pub instead: NoLastGood,
}

/// Why no accepted document stands in for a bad file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLastGood {
    /// None is kept.
    #[error("no accepted document is kept in {}", dir.display())]
    None {
        /// The state directory.
        dir: PathBuf,
    },
    /// It came from another file.
    #[error("the document kept in {} was accepted from {}", dir.display(), file.display())]
    OtherFile {
        /// The state directory.
        dir: PathBuf,
        /// Where it came from.
        file: PathBuf,
    },
    /// It is not valid any more, or does not fit this host any more.
    #[error("the last accepted document does not stand in for it:\n{0}")]
    Invalid(LoadErrors),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.file, self.instead)
    }
}

impl std::error::Error for StartError {}

impl Start {
    /// The document of `file`, or the last accepted one. State is kept in `state_dir`, or where the document says.
    pub fn find(file: &Path, state_dir: Option<&Path>) -> Result<Self, StartError> {
        let text = config::read_text(file);
        let said = text.as_ref().map_or_else(|_| config::STATE_DIR.into(), |text| config::state_dir(text));
        let state_dir = state_dir.map_or(said, Path::to_path_buf);
        let name = file.display().to_string();
        let read = text.and_then(|text| {
            let document = config::parse_on_host(&name, &text, DownLinks::Accept)?;
            Ok((document, text))
        });
        match read {
            Ok((document, text)) => Ok(Self { document, text, state_dir, refused: None }),
            Err(errors) => match last_good(file, &state_dir) {
                Ok((document, text)) => Ok(Self { document, text, state_dir, refused: Some(errors) }),
                Err(instead) => Err(StartError { file: errors, instead }),
            },
        }
    }
}

fn last_good(file: &Path, dir: &Path) -> Result<(Document, String), NoLastGood> {
    let kept = KeptDocument::peek(dir).ok_or_else(|| NoLastGood::None { dir: dir.to_path_buf() })?;
    if kept.file != identity(file) {
        return Err(NoLastGood::OtherFile { dir: dir.to_path_buf(), file: kept.file });
    }
    let name = format!("generation {}", kept.generation);
    let document =
        config::parse_on_host(&name, &kept.text, DownLinks::Accept).map_err(NoLastGood::Invalid)?;
    Ok((document, kept.text))
}

/// The file, wherever the process was started.
pub(super) fn identity(file: &Path) -> PathBuf {
    // An error means an empty path or no current folder; then it is as it was given.
    std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf())
}
