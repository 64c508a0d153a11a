// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's tests that need more than one module: packet fixtures on the host and in the kernel, random frames on both,
//! and the whole agent on a live link.
#![expect(unreachable_pub, reason = "a test binary exports nothing")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod differential;
mod fixtures;
mod gue;
mod live;
mod packet;
mod setup;
