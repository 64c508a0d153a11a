// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of programs, maps and constants in the kernel objects, used by the loader, by pins and by tests.

/// XDP program of the appliance.
pub const PROGRAM_INGRESS: &str = "weir_ingress";
/// Test-run-only program that writes the kernel's jiffies into its packet.
pub const PROGRAM_CLOCK: &str = "weir_clock";
/// Test-run-only program that decides like the first, counting and remembering nothing.
pub const PROGRAM_DRY: &str = "weir_dry";
/// Traffic control program of the check interface.
pub const PROGRAM_CHECKS: &str = "weir_checks";
/// XDP program of the agent.
pub const PROGRAM_AGENT: &str = "weir_agent";

/// Hash: [`crate::ServiceKey`] to [`crate::ServiceValue`].
pub const MAP_SERVICES: &str = "SERVICES";
/// Array: direct-mapped [`crate::bytes::ServiceSlot`]s in front of the former.
pub const MAP_SERVICE_SLOTS: &str = "SERVICE_SLOTS";
/// Array: pool id to [`crate::PoolValue`].
pub const MAP_POOLS: &str = "POOLS";
/// Array: row index to [`crate::Row`].
pub const MAP_ROWS: &str = "ROWS";
/// Array: backend id to [`crate::BackendValue`].
pub const MAP_BACKENDS: &str = "BACKENDS";
/// Array: next-hop id to [`crate::NextHopValue`].
pub const MAP_NEXT_HOPS: &str = "NEXT_HOPS";
/// Array: set index to eight flow slots.
pub const MAP_FLOWS: &str = "FLOWS";
/// Device map: interface index to interface, for packets that leave by another uplink.
pub const MAP_EGRESS: &str = "EGRESS";
/// Per-CPU array: verdict to [`crate::bytes::PacketCounter`].
pub const MAP_VERDICTS: &str = "VERDICTS";
/// Per-CPU array: service id to [`crate::bytes::ServiceCounter`].
pub const MAP_SERVICE_COUNTERS: &str = "SERVICE_COUNTS";
/// Per-CPU array: backend id to [`crate::bytes::ServiceCounter`].
pub const MAP_BACKEND_COUNTERS: &str = "BACKEND_COUNTS";

/// Per-CPU array: [`crate::check::CheckVerdict`] to packets. Not pinned: it counts for as long as its process lives.
pub const MAP_CHECK_COUNTS: &str = "CHECK_COUNTS";

/// The maps of the appliance that hold state and are pinned by name.
pub const PINNED_MAPS: [&str; 11] = [
    MAP_SERVICES,
    MAP_SERVICE_SLOTS,
    MAP_POOLS,
    MAP_ROWS,
    MAP_BACKENDS,
    MAP_NEXT_HOPS,
    MAP_FLOWS,
    MAP_EGRESS,
    MAP_VERDICTS,
    MAP_SERVICE_COUNTERS,
    MAP_BACKEND_COUNTERS,
];

/// Read-only constant: [`crate::hash::HashKeys`].
pub const CONST_HASH_KEYS: &str = "HASH_KEYS";
/// Read-only constant: number of flow sets minus one, `u32`.
pub const CONST_FLOW_SET_MASK: &str = "FLOW_SET_MASK";
/// Read-only constant: upper half of the marks of health checks, `u32`.
pub const CONST_CHECK_MARK: &str = "CHECK_MARK";
/// Read-only constant: 2^32 / HZ, `u64`.
pub const CONST_TICK_FACTOR: &str = "TICK_FACTOR";
