// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reference of the document, written from its [`Shape`]s: `docs/reference/document.md`.

use std::fmt::Write;

use super::error::PROBLEMS_MAX;
use super::limits;
use super::read;
use super::shape::{Absent, Change, Key, Shape, Values};
use super::value::{NAME_RULE, duration_text};

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = head();
    for shape in read::shapes().iter().filter(|shape| !shape.path.is_empty()) {
        page.push('\n');
        page += &section(shape);
    }
    page
}

fn head() -> String {
    format!(
        "<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->\n\
         <!-- Written from the code by `cargo xtask gen-docs`; edit `crates/appliance/src/config/read`. -->\n\
         # Reference: the document\n\
         \n\
         The desired state of one appliance, in TOML, by default `/etc/weir/weir.toml`. \
         [`packaging/weir.toml`](../../packaging/weir.toml)\n\
         is an example with every key, [configure](../operating/configure.md) explains the usual tasks. `weir check FILE` says all that\n\
         is wrong with a document, `weir check --host FILE` compares it with this host too. The agent on backends has\n\
         [a document of its own](agent.md).\n\
         \n\
         - Objects are sections by name. A name is {NAME_RULE}; interfaces are\n  named as `ip link` shows them.\n\
         - Unknown keys are refused, with the nearest known one as help. Keys of later versions are refused as *not supported by this\n  version*.\n\
         - Time spans are strings of a whole number and one unit: `500ms`, `2s`, `5m`, `1h`.\n\
         - Addresses are written without prefix length, but for VIPs that are prefixes, and must be unicast addresses that one host can have: not loopback, link-local,\n  multicast, unspecified or IPv4-mapped.\n\
         - The file is at most {} MiB of UTF-8. At most {PROBLEMS_MAX} problems are listed, more are counted.\n\
         - Two documents that mean the same have the same hash, whatever they look like: it is taken over the canonical form, JSON\n  with sorted keys and defaults filled in.\n\
         - A reload (`weir reload`, `SIGHUP`) takes a document as a whole or not at all. Each section says whether a reload takes up\n  a change of it, or whether the change needs a restart and a reload refuses it.\n",
        limits::DOCUMENT_BYTES_MAX / MIB,
    )
}

fn section(shape: &Shape) -> String {
    let Shape { path, title, about, change, keys, later: _ } = shape;
    let mut page = format!("## `[{path}]`: {title}\n\n");
    if !about.is_empty() {
        for line in wrapped(about) {
            page += &line;
            page.push('\n');
        }
        page.push('\n');
    }
    page += match change {
        Change::Reload => "*Changed by a reload.*\n\n",
        Change::Restart => "*A change needs a restart.*\n\n",
    };
    let mut rows = keys.iter().filter(|key| !matches!(key.values, Values::Section)).map(row).peekable();
    if rows.peek().is_some() {
        page += "| key | values | default | meaning |\n|---|---|---|---|\n";
    }
    page.extend(rows);
    page
}

fn row(key: &Key) -> String {
    let mut row = String::new();
    let absent = match key.absent {
        Absent::Required => "required".to_owned(),
        Absent::Default(text) => format!("`{text}`"),
        Absent::Means(words) => words.to_owned(),
    };
    // Writing to a string cannot fail.
    writeln!(row, "| `{}` | {} | {absent} | {} |", key.name, values(&key.values), key.meaning).ok();
    row
}

/// What a key takes, in words.
fn values(values: &Values) -> String {
    let span = |range: &std::ops::RangeInclusive<std::time::Duration>| {
        format!("`{}` to `{}`", duration_text(*range.start()), duration_text(*range.end()))
    };
    match values {
        Values::Section => String::new(),
        Values::Words(words) => {
            words().iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" ")
        }
        Values::Number(range) => format!("{} to {}", grouped(*range.start()), grouped(*range.end())),
        Values::Span(range) => span(range),
        Values::Seconds(range) => format!("{}, whole seconds", span(range)),
        Values::Text(words) => (*words).to_owned(),
    }
}

/// A number with a comma before every three digits.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Words in lines of at most this many characters, where spaces allow.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 140;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
