// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the bench's programs are made of.

pub mod decap;
pub mod floors;
pub mod harness;
pub mod layout;
pub mod live;
pub mod lru;
