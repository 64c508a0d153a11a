// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Being built.

pub mod next_hop;
