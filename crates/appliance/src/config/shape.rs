// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a section of the document looks like: its keys, each with what it takes, its default and its meaning.
//!
//! A [`Shape`] is both what the reader refuses unknown keys by and what the reference is written from, so no key is without
//! its line and no line is without its key. That values and defaults say what the reader does is held by tests.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A section of the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Where it stands: `pools.NAME.check`, upper case for what the operator chooses; empty for the document itself.
    pub(super) path: &'static str,
    /// What it is about, for the head line, and whether it must be there.
    pub(super) title: &'static str,
    /// What is true of the section as a whole; may be empty.
    pub(super) about: &'static str,
    /// What a change of it takes.
    pub(super) change: Change,
    /// Keys that are read.
    pub(super) keys: &'static [Key],
    /// Keys that are refused as not supported by this version, rather than as unknown.
    pub(super) later: &'static [&'static str],
}

/// What a change of a section takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A reload takes it up.
    Reload,
    /// A reload refuses it; the process learns it at its start.
    Restart,
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    /// As the document writes it.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) values: Values,
    /// What holds when it is left out.
    pub(super) absent: Absent,
    /// One sentence, without its full stop.
    pub(super) meaning: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub(super) enum Values {
    /// A section, or sections by name: a [`Shape`] of its own.
    Section,
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// A whole number.
    Number(RangeInclusive<u32>),
    /// A time span.
    Span(RangeInclusive<Duration>),
    /// A time span of whole seconds.
    Seconds(RangeInclusive<Duration>),
    /// Something else, in words.
    Text(&'static str),
}

/// What holds when a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// The document is refused.
    Required,
    /// This value, as the document writes it.
    Default(&'static str),
    /// What these words say; the document then has no value for it.
    Means(&'static str),
}

impl Shape {
    /// Whether a key of this name is read.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Names of the keys that are read.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl Key {
    /// A key that must be there.
    pub(super) const fn required(name: &'static str, values: Values, meaning: &'static str) -> Self {
        Self { name, values, absent: Absent::Required, meaning }
    }

    /// A key with a default, written as the document writes it.
    pub(super) const fn or(
        name: &'static str,
        values: Values,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, values, absent: Absent::Default(default), meaning }
    }

    /// A key that may be left out; `otherwise` says what then.
    pub(super) const fn optional(
        name: &'static str,
        values: Values,
        otherwise: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, values, absent: Absent::Means(otherwise), meaning }
    }

    /// A section, or sections by name, described by its own shape.
    pub(super) const fn section(name: &'static str) -> Self {
        Self { name, values: Values::Section, absent: Absent::Means(""), meaning: "" }
    }
}

/// The words of a list of choices.
pub(super) fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}
