// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a file to a valid [`Document`], or to everything that is wrong with it.
//!
//! ```text
//! file ─ text ─ toml tree ──► read ──► Draft ──► validate ──► finish ──► Document ──► host ──► run
//!         │         │          │                   │                                   │
//!         └─────────┴──────────┴──── problems with path, line, column, help ───────────┘
//! ```
//!
//! The keys of each section, with their meaning, are a `Shape`: the reader refuses by it and [`reference()`] writes by it.
//! A syntax error ends the pass, since what follows it would be guessed; all else is found in one pass. Everything up to
//! `host` is pure, so `weir check` says on a laptop what `weir run` will say on the appliance; `host` compares the
//! document with the machine it is for.

mod advice;
mod canonical;
mod error;
mod host;
mod limits;
mod md5;
mod nearest;
mod read;
mod reference;
mod report;
mod section;
mod seed;
mod shape;
mod stand_in;
#[cfg(test)]
mod tests;
mod validate;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::advice::CheckLoad;
pub use self::canonical::to_json;
pub use self::error::{LoadErrors, PROBLEMS_MAX, Position, Problem, Warning};
pub use self::host::DownLinks;
pub use self::md5::{KeyError, PeerKeyError, read_md5_keys};
pub use self::reference::reference;
use self::report::Report;
pub use self::seed::{HashSeed, SeedError, decode_hash_seed, read_hash_seed};
pub use self::stand_in::{load_for_forwarding, parse_for_forwarding};
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
    let (document, mut report) = parse_text(&path.display().to_string(), &read_text(path)?)?;
    let observed = host.and_then(|down_links| compare(&mut report, &document, down_links));
    let warnings = advice::warnings(&report, &document, observed.as_ref());
    report.into_result()?;
    Ok(Examined { load: CheckLoad::of(&document), warnings, document })
}

/// Where state is kept unless the document says otherwise.
pub const STATE_DIR: &str = "/var/lib/weir";

/// Reads a document and checks all that does not depend on the host.
pub fn load(path: &Path) -> Result<Document, LoadErrors> {
    parse(&path.display().to_string(), &read_text(path)?)
}

/// Reads a document and checks it, also against the host: interfaces, addresses, the hash seed file.
///
/// Needs no privilege but that of reading the seed file.
pub fn load_on_host(path: &Path, down_links: DownLinks) -> Result<Document, LoadErrors> {
    parse_on_host(&path.display().to_string(), &read_text(path)?, down_links)
}

/// A document from text, checked against the host too; `file` is what errors call it.
pub fn parse_on_host(file: &str, text: &str, down_links: DownLinks) -> Result<Document, LoadErrors> {
    let (document, mut report) = parse_text(file, text)?;
    compare(&mut report, &document, down_links);
    report.into_result().map(|()| document)
}

/// Compares the document with this host, and gives what was seen of it.
fn compare(report: &mut Report, document: &Document, down_links: DownLinks) -> Option<host::Host> {
    match host::Host::observe() {
        Ok(observed) => {
            host::check(report, document, &observed, down_links);
            Some(observed)
        }
        Err(error) => {
            report.at("", format!("cannot list the interfaces of this host: {error}"), "run it again");
            None
        }
    }
}

/// A document from text; `file` is what errors call it.
pub fn parse(file: &str, text: &str) -> Result<Document, LoadErrors> {
    let (document, report) = parse_text(file, text)?;
    report.into_result().map(|()| document)
}

/// Where a document keeps state, though it may be bad otherwise: as it says if that much can be read, else [`STATE_DIR`].
pub fn state_dir(text: &str) -> PathBuf {
    let (table, _) = DeTable::parse_recoverable(text);
    let bootstrap = table.get_ref().get("bootstrap").and_then(|section| section.get_ref().as_table());
    let said =
        bootstrap.and_then(|section| section.get("state_dir")).and_then(|value| value.get_ref().as_str());
    said.map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| STATE_DIR.into())
}

/// Text of a file.
pub fn read_text(path: &Path) -> Result<String, LoadErrors> {
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
    String::from_utf8(bytes).map_err(|error| {
        // Up to the bad byte all is well, so its place can be shown.
        let offset = error.utf8_error().valid_up_to();
        let (good, _) = error.as_bytes().split_at(offset);
        let mut report = Report::new(&file, &String::from_utf8_lossy(good));
        let help = "save the file as UTF-8 text";
        report.at_offset("", offset, "syntax: found a byte that is not UTF-8", help);
        refused(report, &file)
    })
}

fn parse_text(file: &str, text: &str) -> Result<(Document, Report), LoadErrors> {
    let mut report = Report::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !syntax_errors(&mut report, text, errors) {
        return Err(refused(report, file));
    }
    finish(file, report, table.get_ref())
}

/// Reports what is no TOML; tells whether there was nothing.
fn syntax_errors(report: &mut Report, text: &str, errors: Vec<toml::de::Error>) -> bool {
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        report.at_offset(
            "",
            offset,
            format!("syntax: {}", error.message()),
            "see https://toml.io for the syntax",
        );
    }
    report.is_clean()
}

/// Reads and checks the sections of a document.
fn finish(file: &str, mut report: Report, table: &DeTable<'_>) -> Result<(Document, Report), LoadErrors> {
    let draft = read::read(&mut report, table);
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
