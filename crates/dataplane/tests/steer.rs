// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Steering on the host: every hit rule of the flow table, floods, and many writers at once.

#![expect(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

mod steering {
    mod floods;
    mod hits;
    pub mod table;
    mod writers;
}
