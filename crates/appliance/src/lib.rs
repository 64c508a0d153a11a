// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance: everything behind the binary `weir`.
//!
//! A library only so that tests, fuzz targets and the documentation generator reach the same code as the binary;
//! nothing outside this workspace should link it. Translation between the words of the sibling crates happens here and
//! nowhere else.
//!
//! ```text
//! file ── config ──► model::Document ──► reconcile ──► dataplane, bgp
//! ```

#![forbid(unsafe_code)]

pub mod bfd;
pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod instance;
pub mod logging;
pub mod model;
pub mod overrides;
pub mod paths;
pub mod reconcile;
pub mod signals;
pub mod state;
pub mod store;
pub mod supervisor;
pub mod systemd;
pub mod translate;
