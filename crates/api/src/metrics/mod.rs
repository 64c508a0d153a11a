// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Metrics as a projection of the status document: [`names`] says what exists, [`render`] fills it in.
//!
//! Nothing is kept between two scrapes, so an object that left the document leaves its series with it.

pub mod names;
mod render;

#[cfg(test)]
mod tests;

pub use render::render;

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
