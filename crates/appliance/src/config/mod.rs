// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a file to a valid [`Document`], or to everything that is wrong with it.
//!
//! ```text
//! file ─ text ─ toml tree ──► read ──► Draft ──► validate ──► finish ──► Document ──► host ──► run
//!         │         │          │                   │                                   │
//!         └─────────┴──────────┴──── problems with path, line, column, help ───────────┘
//! ```
//!
//! A syntax error ends the pass, since what follows it would be guessed; all else is found in one pass. Everything up to
//! `host` is pure, so `weir check` says on a laptop what `weir run` will say on the appliance; `host` compares the
//! document with the machine it is for.

mod advice;
mod canonical;
mod error;
mod host;
mod limits;
mod nearest;
mod read;
mod report;
mod section;
mod seed;
#[cfg(test)]
mod tests;
mod validate;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

pub use self::advice::CheckLoad;
pub use self::canonical::to_json;
pub use self::error::{LoadErrors, PROBLEMS_MAX, Position, Problem, Warning};
pub use self::host::DownLinks;
use self::report::Report;
pub use self::seed::{HashSeed, SeedError, read_hash_seed};
use crate::model::{Document, DocumentHash};

/// A good document and what an operator should know of it.
#[derive(Debug)]
pub struct Examined {
    /// The document.
    pub document: Document,
    /// What its checks cost.
    pub load: CheckLoad,
    /// What in it is probably not meant, in order of the text.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a document as [`load`] does, or as [`load_on_host`] when `host` says how, and looks at what it costs.
pub fn examine(path: &Path, host: Option<DownLinks>) -> Result<Examined, LoadErrors> {
    let (document, mut report) = parse_file(path)?;
    if let Some(down_links) = host {
        compare(&mut report, &document, down_links);
    }
    let warnings = advice::warnings(&report, &document);
    report.into_result()?;
    Ok(Examined { load: CheckLoad::of(&document), warnings, document })
}

/// Reads a document and checks all that does not depend on the host.
pub fn load(path: &Path) -> Result<Document, LoadErrors> {
    let (document, report) = parse_file(path)?;
    report.into_result().map(|()| document)
}

/// Reads a document and checks it, also against the host: interfaces, addresses, the hash seed file.
///
/// Needs no privilege but that of reading the seed file.
pub fn load_on_host(path: &Path, down_links: DownLinks) -> Result<Document, LoadErrors> {
    let (document, mut report) = parse_file(path)?;
    compare(&mut report, &document, down_links);
    report.into_result().map(|()| document)
}

fn compare(report: &mut Report, document: &Document, down_links: DownLinks) {
    match host::Host::observe() {
        Ok(observed) => host::check(report, document, &observed, down_links),
        Err(error) => {
            report.at("", format!("cannot list the interfaces of this host: {error}"), "run it again")
        }
    }
}

/// A document from text; `file` is what errors call it.
pub fn parse(file: &str, text: &str) -> Result<Document, LoadErrors> {
    let (document, report) = parse_text(file, text)?;
    report.into_result().map(|()| document)
}

/// A valid document and the report that still knows where everything stands.
fn parse_file(path: &Path) -> Result<(Document, Report), LoadErrors> {
    let file = path.display().to_string();
    let unreadable = |message: String, help: &str| LoadErrors {
        file: file.clone(),
        problems: vec![Problem { path: String::new(), position: None, message, help: help.to_owned() }],
        more: 0,
    };
    let bytes = read_bounded(path).map_err(|error| {
        unreadable(format!("cannot read the file: {error}"), "check its name and its mode")
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > limits::DOCUMENT_BYTES_MAX) {
        let message = format!("found more than {} bytes, the most that is read", limits::DOCUMENT_BYTES_MAX);
        return Err(unreadable(message, "check that this is the document"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse_text(&file, text),
        Err(error) => {
            // Up to the bad byte all is well, so its place can be shown.
            let (good, _) = bytes.split_at(error.valid_up_to());
            let mut report = Report::new(&file, &String::from_utf8_lossy(good));
            let help = "save the file as UTF-8 text";
            report.at_offset("", error.valid_up_to(), "syntax: found a byte that is not UTF-8", help);
            Err(refused(report, &file))
        }
    }
}

fn parse_text(file: &str, text: &str) -> Result<(Document, Report), LoadErrors> {
    let mut report = Report::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        report.at_offset(
            "",
            offset,
            format!("syntax: {}", error.message()),
            "see https://toml.io for the syntax",
        );
    }
    if !report.is_clean() {
        return Err(refused(report, file));
    }
    let draft = read::read(&mut report, table.get_ref());
    validate::validate(&mut report, &draft);
    if !report.is_clean() {
        return Err(refused(report, file));
    }
    let mut document = draft
        .finish(DocumentHash([0; 32]))
        .expect("a field is refused only together with a problem, and there is none");
    document.hash = canonical::hash(&document);
    Ok((document, report))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The errors of a report that has some.
fn refused(report: Report, file: &str) -> LoadErrors {
    match report.into_result() {
        Err(errors) => errors,
        Ok(()) => LoadErrors { file: file.to_owned(), problems: Vec::new(), more: 0 },
    }
}
