// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table of words. Columns are as wide as their widest cell; the last one is free text and is broken between words to
//! stay on the terminal. Nothing is ever cut off.
//!
//! ```text
//! NAME  ANNOUNCED  WHY
//! dns   no         backends: service `dns-udp`: 0 of 3 backends
//!                  usable, 1 needed
//! www   yes        -
//! ```

use super::output::{Look, Tone, plain};

/// Spaces between two columns.
const GAP: usize = 2;
/// Least columns that the last cell is broken to; on a narrower rest it is not broken at all.
const LAST_MIN: usize = 20;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its lines; all but those of the last column have one.
    lines: Vec<String>,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell in a tone.
    pub(super) fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { tone: Some(tone), ..Self::from(text.as_ref()) }
    }

    /// A cell of several lines, for the last column.
    pub(super) fn lines(lines: impl IntoIterator<Item = String>) -> Self {
        let mut lines: Vec<String> = lines.into_iter().map(|line| plain(&line)).collect();
        if lines.is_empty() {
            lines.push("-".to_owned());
        }
        Self { lines, tone: None }
    }
}

/// Empty text is shown as `-`, so that every row has every column also for `awk`.
impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        let shown = if text.is_empty() { "-".to_owned() } else { plain(text) };
        Self { lines: vec![shown], tone: None }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Rows under a head.
#[derive(Debug, Clone)]
pub(super) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row of one cell for each column.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.head.len(), "a cell for each column of {:?}", self.head);
        self.rows.push(cells.into());
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The whole table, each line ended.
    pub(super) fn render(&self, look: Look) -> String {
        let widths = self.widths();
        let last = self.head.len().saturating_sub(1);
        let indent: usize = widths.iter().take(last).map(|width| width + GAP).sum();
        let room =
            look.columns.and_then(|columns| columns.checked_sub(indent)).filter(|room| *room >= LAST_MIN);
        let mut out = String::new();
        let head: Vec<Cell> = self.head.iter().map(|word| Cell::toned(Tone::Head, word)).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            for (cell, width) in row.iter().zip(&widths).take(last) {
                let text = cell.lines.first().map_or("", String::as_str);
                out.push_str(&tinted(look, cell, text));
                out.push_str(&" ".repeat(width - text.chars().count() + GAP));
            }
            if let Some(cell) = row.get(last) {
                let lines = cell.lines.iter().flat_map(|line| broken(line, room));
                let shown: Vec<String> = lines.map(|line| tinted(look, cell, &line)).collect();
                out.push_str(&shown.join(&format!("\n{}", " ".repeat(indent))));
            }
            out.push('\n');
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|word| word.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.lines.iter().map(|line| line.chars().count()).fold(*width, usize::max);
            }
        }
        widths
    }
}

fn tinted(look: Look, cell: &Cell, text: &str) -> String {
    cell.tone.map_or_else(|| text.to_owned(), |tone| look.tint(tone, text))
}

/// `text` in lines of at most `room` characters, broken between words; a longer word stays whole.
pub(super) fn broken(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "ANNOUNCED", "WHY"]);
        let why = "backends: service `dns-udp`: 0 of 3 backends usable, 1 needed".to_owned();
        table.row([
            "dns".into(),
            Cell::toned(Tone::Bad, "no"),
            Cell::lines([why, "admin: withheld".to_owned()]),
        ]);
        table.row(["www-long".into(), "yes".into(), "".into()]);
        table
    }

    #[test]
    fn a_pipe_gets_whole_lines() {
        let text = table().render(Look::default());
        assert_eq!(
            text,
            "NAME      ANNOUNCED  WHY\n\
             dns       no         backends: service `dns-udp`: 0 of 3 backends usable, 1 needed\n\
             \u{20}                    admin: withheld\n\
             www-long  yes        -\n"
        );
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let look = Look { columns: Some(50), has_colour: false };
        let text = table().render(look);
        assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&text), words(&table().render(Look::default())), "nothing is lost");
        let narrow = table().render(Look { columns: Some(41), has_colour: false });
        assert_eq!(narrow.lines().count(), 7, "{narrow}");
        let narrower = table().render(Look { columns: Some(40), has_colour: false });
        assert_eq!(narrower, table().render(Look::default()), "too narrow to break");
    }

    #[test]
    fn colour_does_not_shift_columns() {
        let coloured = table().render(Look { columns: None, has_colour: true });
        let stripped: String =
            coloured.replace("\u{1b}[31m", "").replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert_eq!(stripped, table().render(Look::default()));
        assert_ne!(coloured, stripped);
    }

    #[test]
    fn text_is_broken_between_words_and_a_long_word_stays() {
        assert_eq!(broken("a bb ccc", Some(4)), ["a bb", "ccc"]);
        assert_eq!(broken("abcdefgh i", Some(4)), ["abcdefgh", "i"]);
        assert_eq!(broken("a bb ccc", None), ["a bb ccc"]);
    }
}
