// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What standard output can show: the form that was asked for, the width of the terminal, colours.
//!
//! A pipe gets plain text, whole and without colours; a terminal gets lines that fit. Text of foreign origin (reasons,
//! words of peers) passes [`plain`], so that nobody else draws on the operator's terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;

/// Narrowest terminal that lines are made to fit; below it they break where the terminal breaks them.
const COLUMNS_MIN: usize = 40;

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[value(alias = "text")]
    Table,
    /// For machines: exactly the body that the API answers
    Json,
}

/// How text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// Columns of the terminal; `None` when lines may be as long as they are.
    pub(super) columns: Option<usize>,
    /// Whether colours are understood and wanted.
    pub(super) has_colour: bool,
}

/// What a word is about, where colour may say it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As wanted.
    Good,
    /// Wants a look.
    Bad,
    /// Head of a section or a column.
    Head,
}

impl Look {
    /// What standard output is.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        // https://no-color.org: any value but the empty one.
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            columns: columns.filter(|columns| *columns >= COLUMNS_MIN),
            has_colour: !is_unwanted && !is_dumb,
        }
    }

    /// `text` in a tone.
    pub(super) fn tint(self, tone: Tone, text: &str) -> String {
        if !self.has_colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Head => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Foreign text on one line: control characters are shown, not obeyed.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidi_control(c) {
            // Writing to a string cannot fail.
            write!(shown, "{}", c.escape_default()).ok();
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Marks that change the order in which a terminal shows the text around them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes text to standard output and sees that it got there.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes one body of the API, unchanged but for a line end after it.
pub(super) fn print_body(body: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(body)?;
    if !body.is_empty() && !body.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_does_not_steer_the_terminal() {
        assert_eq!(plain("maintenance"), "maintenance");
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(plain("Wartung für Zürich"), "Wartung für Zürich");
    }

    #[test]
    fn colour_is_only_there_when_wanted() {
        assert_eq!(Look::default().tint(Tone::Bad, "no"), "no");
        let look = Look { has_colour: true, ..Look::default() };
        assert_eq!(look.tint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
