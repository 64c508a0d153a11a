// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of any octets, shared by the targets; a violated rule panics, which is what the fuzzer looks for.

pub mod allocation;
pub mod bfd;
pub mod dataplane;
mod peer;
pub mod ra;
pub mod session;
pub mod wire;
