// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many instructions of the kernel object a packet runs through: exact, on any machine, whatever else it does.
//!
//! The programs are interpreted, not loaded: no root, and no time is measured. Helpers count one each; what the kernel's
//! compiler makes of an instruction is not seen. So figures compare versions of one path, not paths with a clock.
#![expect(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

#[path = "support/build.rs"]
#[expect(dead_code, reason = "written for other tests too")]
mod build;
mod instructions {
    pub mod interpreter;
    pub mod machine;
    mod paths;
}
