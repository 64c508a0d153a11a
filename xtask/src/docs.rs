// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask gen-docs`: the pages of `docs/` that are written from the code.
//!
//! Each page has a test whose name begins with `docs_fresh` in the crate that knows its content. It fails when the page is
//! stale and writes it when `UPDATE_EXPECT` is set, so this crate need not know what the pages are about.

use anyhow::Result;

use crate::run::{self, run};

/// Crates with pages.
const CRATES: [&str; 2] = ["weir-api", "weir-appliance"];

/// Writes every page.
pub(crate) fn generate() -> Result<()> {
    for package in CRATES {
        let mut tests = run::cargo(&["test", "--quiet", "--package", package, "docs_fresh"]);
        run(tests.env("UPDATE_EXPECT", "1"))?;
    }
    Ok(())
}
