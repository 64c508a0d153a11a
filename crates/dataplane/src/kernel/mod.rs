// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The only module that speaks to BPF: loading, pinning, attaching, and typed access to the maps.

pub mod clock;
pub mod cpu;
pub mod egress;
pub mod facts;
pub mod features;
pub mod grace;
pub mod link;
pub mod mapped;
pub mod maps;
pub mod pinned_link;
pub mod pins;
pub mod probe;
pub mod refusal;
pub mod standing;
pub mod test_run;
pub mod unlink;
