// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel objects, as the build script made them.

/// Program of the appliance.
pub static APPLIANCE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/appliance.bpf"));
/// Program of the agent.
pub static AGENT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/agent.bpf"));
/// Floors and harness of the bench; in no release binary, since nothing else refers to it.
pub static BENCH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf"));
