// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The dashboard and the rules in `packaging` say only what the appliance exports: every expression parses, every metric
//! and label in it exists, every template names a label that the result has. So a metric cannot be renamed without them.

mod dashboard;
mod promql;
mod rules;

use std::path::{Path, PathBuf};

/// A file below the root of the tree.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}
