// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Metrics as a projection of the status document: [`names`] says what exists, [`render`] fills it in.
//!
//! Nothing is kept between two scrapes, so an object that left the document leaves its series with it.

mod bgp;
pub mod names;
mod render;
mod telemetry;

#[cfg(test)]
mod tests;

pub use crate::stats::ApiCounts;
pub use render::{Scrape, render};
pub use telemetry::{Histogram, PoolChecks, Telemetry};

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
