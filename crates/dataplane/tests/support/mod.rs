// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shared by the tests of the loaded program: a dataplane of small tables, packets, and the host's copy of the tables.

pub mod bed;
pub mod build;
pub mod carried;
pub mod document;
pub mod headers;
pub mod message;
pub mod pair;
pub mod recorder;
