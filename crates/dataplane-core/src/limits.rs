// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capacities, each with the memory it costs. Defaults; the loader may be told others within the hard limits.
//!
//! What the kernel takes is measured by a test of `weir-dataplane` and told to operators in `docs/operating/capacity.md`; the daemon's
//! own memory comes on top.

/// Bytes of the kernel's maps for each service, its VIP and its pool: at most, and more for each CPU.
pub const BYTES_PER_SERVICE: (u64, u64) = (416, 24);
/// Bytes of the kernel's maps for each backend, and more for each CPU.
pub const BYTES_PER_BACKEND: (u64, u64) = (72, 24);
/// Bytes of the kernel's maps for each flow slot.
pub const BYTES_PER_FLOW_SLOT: u64 = 8;
/// Bytes of the kernel's maps for each row.
pub const BYTES_PER_ROW: u64 = 8;
/// Bytes of the kernel's maps whatever the capacities.
pub const BYTES_FIXED: u64 = 4 << 20;
/// Bytes of the kernel's maps for each CPU, whatever the capacities.
pub const BYTES_PER_CPU: u64 = 64 << 10;

/// Services, VIP markers not counted. [`BYTES_PER_SERVICE`].
pub const SERVICES_DEFAULT: u32 = 16_384;
/// Slots of the direct-mapped table in front of the service table, a power of two: 64 bytes each, 1 MiB.
pub const SERVICE_SLOTS: u32 = 16_384;
/// Backends. [`BYTES_PER_BACKEND`].
pub const BACKENDS_DEFAULT: u32 = 16_384;
/// Ids are 16 bits and 0 means none.
pub const BACKENDS_HARD_MAX: u32 = 65_535;
/// Pools; never more than services are useful. 16 bytes each.
pub const POOLS_DEFAULT: u32 = 16_384;
/// Distinct next hops: one for each backend where all are on the link, and as many that changed and may still be read. 24
/// bytes each.
pub const NEXT_HOPS_MAX: u32 = 32_768;
/// Next hops of one backend.
pub const NEXT_HOPS_PER_BACKEND: usize = 4;
/// Flow slots, a power of two: 8 bytes each, so 4,194,304 take 32 MiB.
pub const FLOW_SLOTS_DEFAULT: u32 = 4_194_304;
/// Largest flow table: 4 GiB of memory; the set index, 26 bits, stays clear of the bits for slot (30 to 32) and tag.
pub const FLOW_SLOTS_HARD_MAX: u32 = 1 << 29;
/// Slots of one set: a cache line of 64 bytes.
pub const SLOTS_PER_SET: usize = 8;
/// Rows of all pools: 8 bytes each, so 16,777,216 take 128 MiB.
pub const ROWS_DEFAULT: u32 = 16_777_216;
/// Prefixes that are VIPs as a whole. About 64 bytes each.
pub const PREFIXES_MAX: u32 = 4_096;
/// Datagrams whose first fragment is remembered, least recently used going first. About 128 bytes each.
pub const FRAGMENTS_MAX: u32 = 16_384;
/// How long the fragments of a datagram may take, in seconds: what Linux waits for the last of them.
pub const FRAGMENT_S_MAX: u16 = 30;
/// Network interfaces that packets may leave by.
pub const UPLINKS_MAX: u32 = 64;

/// Largest idle time of a flow in seconds. Ages have 14 bits (16,384 s); the rest is time for the sweeper to come round.
pub const IDLE_S_MAX: u16 = 10_800;
/// Idle time of a flow whose FIN or RST was seen, in seconds.
pub const CLOSING_IDLE_S: u16 = 60;
/// Longest idle time of a flow that has not been confirmed by a second packet, in seconds.
pub const NEW_IDLE_S_MAX: u16 = 60;
/// How far two CPUs' views of the clock may be apart, in ticks: an age this close to the wrap counts as zero.
pub const TICK_SKEW: u16 = 64;
