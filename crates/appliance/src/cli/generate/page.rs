// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A page of the reference, written in Markdown, as a manual page. Knows the Markdown that those pages are written in and no
//! more: headings, paragraphs, lists, tables whose first column is a key, and code, emphasis and links within them.
//!
//! ```text
//! ## `[bgp]`: who we are          .SH "[bgp]: who we are"
//! | `asn` | 1 to 9 | required | x  .TP  \fBasn\fR  /  x. Values: 1 to 9. Default: required.
//! ```

/// One manual page: title, section, what it is in one line, the Markdown.
pub(super) fn manual(name: &str, section: &str, about: &str, source: &str, markdown: &str) -> String {
    let title = name.to_uppercase();
    let mut page =
        Page { text: format!(".TH {title} {section} \"\" \"{source}\" Weir\n.SH NAME\n"), is_list: false };
    page.text.push_str(&format!("{} \\- {}\n.SH DESCRIPTION\n", escaped(name), escaped(about)));
    let mut paragraph = String::new();
    for line in markdown.lines() {
        if is_continuation(line) {
            // Markdown breaks lines where it likes; a manual page does so by itself.
            paragraph.push(' ');
            paragraph.push_str(line.trim());
            continue;
        }
        page.block(&std::mem::replace(&mut paragraph, line.to_owned()));
    }
    page.block(&paragraph);
    page.text
}

/// Whether a line goes on with the block of the line before it.
fn is_continuation(line: &str) -> bool {
    !(line.trim().is_empty() || ["#", "- ", "|", "<!--"].iter().any(|start| line.starts_with(start)))
}

struct Page {
    text: String,
    /// Whether the last block was an item of a list, which takes what follows in.
    is_list: bool,
}

impl Page {
    /// Adds one block: a heading, an item, a row, or a paragraph.
    fn block(&mut self, block: &str) {
        let block = block.trim();
        let was_list =
            std::mem::replace(&mut self.is_list, block.starts_with("- ") || block.starts_with('|'));
        if let Some(heading) = block.strip_prefix("## ") {
            self.text.push_str(&format!(".SH \"{}\"\n", without_marks(heading).replace('"', "\\(dq")));
        } else if let Some(item) = block.strip_prefix("- ") {
            self.text.push_str(".IP \\(bu 2\n");
            self.line(item);
        } else if block.starts_with('|') {
            self.row(block);
        } else if !block.is_empty() && !block.starts_with("# ") && !block.starts_with("<!--") {
            if was_list || !self.text.ends_with("DESCRIPTION\n") {
                self.text.push_str(".PP\n");
            }
            self.line(block);
        }
    }

    /// `| key | values | default | meaning |`; the rows that draw the table say nothing.
    fn row(&mut self, row: &str) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [key, values, default, meaning] = cells.as_slice() else { return };
        if *key == "key" || key.starts_with("---") {
            return;
        }
        self.text.push_str(&format!(".TP\n{}\n", marked(key)));
        self.line(&format!("{meaning}. Values: {values}. Left out: {default}."));
    }

    /// One line of text; a dot or a quote at its beginning is none of roff's.
    fn line(&mut self, text: &str) {
        let text = marked(text);
        if text.starts_with(['.', '\'']) {
            self.text.push_str("\\&");
        }
        self.text.push_str(&text);
        self.text.push('\n');
    }
}

/// Text in which nothing is roff's.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Text with code in bold, emphasis in italics, and links as their words.
fn marked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, mark) = rest.split_at(at);
        out.push_str(&escaped(before));
        let (font, inner, after) = match inside(mark) {
            Some(found) => found,
            // A mark that nothing closes is a character.
            None => ("R", mark.get(..1).unwrap_or_default(), mark.get(1..).unwrap_or_default()),
        };
        match font {
            "R" => out.push_str(&escaped(inner)),
            // Links may have code in them.
            "link" => out.push_str(&marked(inner)),
            font => out.push_str(&format!("\\f{font}{}\\fR", escaped(inner))),
        }
        rest = after;
    }
    out.push_str(&escaped(rest));
    out
}

/// What stands between the mark at the beginning and its end, its font, and what follows.
fn inside(text: &str) -> Option<(&'static str, &str, &str)> {
    let between = |open: &str, close: &str| {
        let (inner, after) = text.strip_prefix(open)?.split_once(close)?;
        (!inner.is_empty()).then_some((inner, after))
    };
    if let Some((inner, after)) = between("`", "`") {
        return Some(("B", inner, after));
    }
    if let Some((inner, after)) = between("*", "*") {
        return Some(("I", inner, after));
    }
    let (inner, after) = between("[", "](")?;
    Some(("link", inner, after.split_once(')')?.1))
}

/// Text with its marks taken out, for places that have no fonts.
fn without_marks(text: &str) -> String {
    escaped(&text.replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKDOWN: &str = "<!-- a licence -->\n# Reference\n\nThe *desired* state, by [`weir.toml`](../x.md)\nand more.\n\n\
        - One\n  and a half.\n- Two `\\n`.\n\n## `[bgp]`: who we are\n\n.dot first.\n\n*Changed by a reload.*\n\n\
        | key | values | default | meaning |\n|---|---|---|---|\n| `asn` | 1 to 9 | required | AS number |\n";

    #[test]
    fn the_markdown_of_the_reference_becomes_a_manual_page() {
        assert_eq!(
            manual("weir.toml", "5", "the document", "weir 1", MARKDOWN),
            ".TH WEIR.TOML 5 \"\" \"weir 1\" Weir\n.SH NAME\nweir.toml \\- the document\n.SH DESCRIPTION\n\
             The \\fIdesired\\fR state, by \\fBweir.toml\\fR and more.\n.IP \\(bu 2\nOne and a half.\n.IP \\(bu 2\n\
             Two \\fB\\en\\fR.\n.SH \"[bgp]: who we are\"\n.PP\n\\&.dot first.\n.PP\n\\fIChanged by a reload.\\fR\n.TP\n\
             \\fBasn\\fR\nAS number. Values: 1 to 9. Left out: required.\n"
        );
    }

    #[test]
    fn a_mark_that_nothing_closes_is_a_character() {
        assert_eq!(marked("a * b [c] `d"), "a * b [c] `d");
        assert_eq!(marked("2^16 - 1"), "2^16 \\- 1");
    }
}
