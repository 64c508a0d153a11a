// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Steering on the host: every hit rule of the flow table, floods, and many writers at once.

#![expect(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

#[expect(dead_code, reason = "shared with the tests of the loaded program")]
#[path = "support/build.rs"]
mod packet;

mod steering {
    mod checks;
    mod floods;
    mod hits;
    mod hops;
    pub mod table;
    mod writers;
}
