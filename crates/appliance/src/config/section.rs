// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One table of the document and how its keys are taken: a small typed reader that goes on after an error.
//!
//! Opening a [`Section`] refuses every key it does not know; taking a key gives `None` exactly when a problem was
//! reported for it. So a document whose report is clean has all its values, and one pass finds all that is wrong.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::report::Report;
use super::shape::Shape;
use super::value::{Wrong, found, is_name, key_text};

/// An open table of the document.
pub(super) struct Section<'t> {
    path: String,
    table: Option<&'t DeTable<'t>>,
    /// Known keys that an unknown one was probably meant to be: not reported as missing too.
    mistyped: Vec<&'static str>,
}

/// Value of an object in a map of objects, still unread.
pub(super) struct Entry<'t> {
    /// Name of the object, well formed.
    pub(super) name: String,
    path: String,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Section<'t> {
    /// Opens the document itself.
    pub(super) fn root(report: &mut Report, table: &'t DeTable<'t>, shape: Shape) -> Self {
        Self::open(report, String::new(), table, shape)
    }

    /// A section that the document leaves out: all keys are missing.
    fn absent(path: String) -> Self {
        Self { path, table: None, mistyped: Vec::new() }
    }

    fn open(report: &mut Report, path: String, table: &'t DeTable<'t>, shape: Shape) -> Self {
        let mut section = Self { path, table: Some(table), mistyped: Vec::new() };
        for (key, value) in table {
            let name: &str = key.get_ref();
            if shape.knows(name) {
                let offset = match value.get_ref() {
                    DeValue::Table(_) => key.span().start,
                    _ => value.span().start,
                };
                report.place(&section.child(name), offset);
            } else {
                section.refuse(report, key, shape);
            }
        }
        section
    }

    /// Path of a key of this section.
    pub(super) fn child(&self, key: &str) -> String {
        let key = key_text(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// Whether the key is written, well or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many objects a map of objects holds, good or not; `None` when it is no map.
    pub(super) fn entry_count(&self, key: &str) -> Option<usize> {
        match self.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Table(table)) => Some(table.len()),
            Some(_) => None,
            None if self.mistyped.contains(&key) => None,
            None => Some(0),
        }
    }

    /// Takes a key that must be there.
    pub(super) fn required<T>(
        &self,
        report: &mut Report,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let Some(value) = self.get(key) else {
            self.missing(report, key);
            return None;
        };
        self.parse(report, key, value, parse)
    }

    /// Takes a key with a default.
    pub(super) fn or<T>(
        &self,
        report: &mut Report,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => self.parse(report, key, value, parse),
            None => Some(default),
        }
    }

    /// Takes a key that may be left out.
    pub(super) fn optional<T>(
        &self,
        report: &mut Report,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.get(key) {
            Some(value) => self.parse(report, key, value, parse).map(Some),
            None => Some(None),
        }
    }

    /// Reports that a key which must be there is not.
    pub(super) fn missing(&self, report: &mut Report, key: &str) {
        // In a section that is missing as a whole, that was said once.
        if self.table.is_some() && !self.mistyped.contains(&key) {
            let path = self.child(key);
            report.at(&path, "missing", format!("add `{key} = …` to this section"));
        }
    }

    /// Reports that none of `keys`, of which one must be there, is.
    pub(super) fn missing_one_of(&self, report: &mut Report, keys: &[&'static str], help: &str) {
        if let Some(first) = keys.first()
            && self.table.is_some()
            && !keys.iter().any(|key| self.mistyped.contains(key))
        {
            report.at(&self.child(first), "missing", help);
        }
    }

    /// Opens a sub-section that must be there.
    pub(super) fn section(&self, report: &mut Report, key: &'static str, shape: Shape) -> Section<'t> {
        if self.table.is_some() && !self.has(key) && !self.mistyped.contains(&key) {
            let path = self.child(key);
            report.at(&path, "missing section", format!("add a section `[{path}]`"));
        }
        self.section_or_default(report, key, shape)
    }

    /// Opens a sub-section that may be left out.
    pub(super) fn section_or_default(
        &self,
        report: &mut Report,
        key: &'static str,
        shape: Shape,
    ) -> Section<'t> {
        let path = self.child(key);
        match self.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Table(table)) => Section::open(report, path, table, shape),
            Some(other) => {
                report.at(
                    &path,
                    format!("found {}, expected a section", found(other)),
                    format!("write it as a section `[{path}]`"),
                );
                Section::absent(path)
            }
            None => Section::absent(path),
        }
    }

    /// The objects of a map of objects, those whose names are well formed.
    pub(super) fn entries(
        &self,
        report: &mut Report,
        key: &'static str,
        is_well_formed: fn(&str) -> bool,
        names_are: &str,
    ) -> Vec<Entry<'t>> {
        let path = self.child(key);
        let table = match self.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Table(table)) => table,
            Some(other) => {
                let message = format!("found {}, expected named sections", found(other));
                report.at(&path, message, format!("write `[{path}.NAME]` for each"));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let path = format!("{path}.{}", key_text(name));
            report.place(&path, key.span().start);
            if is_well_formed(name) {
                entries.push(Entry { name: name.to_owned(), path, value });
            } else {
                report.at(&path, format!("`{}` is not a name that can be used", key_text(name)), names_are);
            }
        }
        entries
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.and_then(|table| table.get(key))
    }

    fn parse<T>(
        &self,
        report: &mut Report,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
        parse: impl FnOnce(&DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        match parse(value.get_ref()) {
            Ok(value) => Some(value),
            Err(wrong) => {
                report.at_offset(&self.child(key), value.span().start, wrong.message, wrong.help);
                None
            }
        }
    }

    fn refuse(&mut self, report: &mut Report, key: &Spanned<DeString<'t>>, shape: Shape) {
        let name: &str = key.get_ref();
        let path = self.child(name);
        let offset = key.span().start;
        if shape.later.contains(&name) {
            report.at_offset(&path, offset, "not supported by this version", "remove it");
            return;
        }
        let help = match other_word(name, shape).or_else(|| nearest(name, shape.names())) {
            Some(known) => {
                self.mistyped.push(known);
                format!("did you mean `{known}`?")
            }
            None => format!("known here: {}", shape.names().collect::<Vec<_>>().join(", ")),
        };
        report.at_offset(&path, offset, "unknown key", help);
    }
}

/// What other speakers call some of our keys, and ours.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("auth_password", "md5_file"),
    ("default_import", "import_default"),
    ("gtsm", "ttl_security"),
    ("import", "import_default"),
    ("local_address", "source"),
    ("max_prefix", "prefixes_max"),
    ("maximum_prefix", "prefixes_max"),
    ("md5", "md5_file"),
    ("neighbor", "address"),
    ("password", "md5_file"),
    ("password_file", "md5_file"),
    ("peer_as", "remote_as"),
];

/// The key of this section that goes by another word elsewhere.
fn other_word(name: &str, shape: Shape) -> Option<&'static str> {
    let (_, ours) = OTHER_WORDS.iter().find(|(word, _)| *word == name)?;
    shape.names().find(|known| known == ours)
}

impl<'t> Entry<'t> {
    /// Takes an object that is a plain value.
    pub(super) fn parse<T>(
        &self,
        report: &mut Report,
        parse: impl FnOnce(&DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        parse(self.value.get_ref())
            .map_err(|wrong| report.at_offset(&self.path, self.value.span().start, wrong.message, wrong.help))
            .ok()
    }

    /// Opens the object.
    pub(super) fn open(&self, report: &mut Report, shape: Shape) -> Section<'t> {
        match self.value.get_ref() {
            DeValue::Table(table) => Section::open(report, self.path.clone(), table, shape),
            other => {
                let help = format!("write it as a section `[{}]`", self.path);
                report.at(&self.path, format!("found {}, expected a section", found(other)), help);
                Section::absent(self.path.clone())
            }
        }
    }
}

/// Names of objects: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
pub(super) fn object_names() -> (fn(&str) -> bool, &'static str) {
    (is_name, super::value::NAME_RULE)
}
