// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reference of the metrics is written from their names: `docs/reference/metrics.md`.

use std::fmt::Write;
use std::path::Path;

use crate::metrics::names::ALL;

const HEAD: &str = "\
<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->
<!-- Written from the code by `cargo xtask gen-docs`; edit `crates/api/src/metrics/names.rs`. -->
# Reference: metrics

What `GET /metrics` of an appliance tells, in the text format of Prometheus. Values are in base units; counters end in `_total` and begin at 0 with
the process or with the pinned maps; a state is one series for each value of a closed set, 1 for the one that holds. Labels are names of
the document, never anything of a packet; the series of an object that is no longer in the document are gone.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// The page, in Markdown.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_ascii_lowercase();
        writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(" "), metric.help)
            .expect("a string takes everything");
    }
    page
}

#[test]
fn docs_fresh_metrics() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, page()).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page(), "docs/reference/metrics.md is stale: run `cargo xtask gen-docs`");
}

#[test]
fn no_help_text_breaks_the_table() {
    for metric in ALL {
        assert!(!metric.help.contains(['|', '\n']), "{}", metric.name);
    }
}
