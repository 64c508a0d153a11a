// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of programs, maps and constants in the kernel objects, used by the loader, by pins and by tests.

/// XDP program of the appliance.
pub const PROGRAM_INGRESS: &str = "weir_ingress";
/// XDP program behind it: what is not plain.
pub const PROGRAM_SLOW: &str = "weir_slow";
/// XDP program behind both: encapsulates by the plan.
pub const PROGRAM_ENCAP: &str = "weir_encap";
/// XDP program behind those: answers by the plan.
pub const PROGRAM_ANSWER: &str = "weir_answer";
/// Test-run-only program that writes the kernel's jiffies into its packet.
pub const PROGRAM_CLOCK: &str = "weir_clock";
/// Test-run-only program that decides like the first, counting and remembering nothing.
pub const PROGRAM_DRY: &str = "weir_dry";
/// As [`PROGRAM_SLOW`], behind [`PROGRAM_DRY`].
pub const PROGRAM_DRY_SLOW: &str = "weir_dry_slow";
/// As [`PROGRAM_ENCAP`], behind [`PROGRAM_DRY`].
pub const PROGRAM_DRY_ENCAP: &str = "weir_dry_encap";
/// As [`PROGRAM_ANSWER`], behind [`PROGRAM_DRY`].
pub const PROGRAM_DRY_ANSWER: &str = "weir_dry_answer";
/// Traffic control program of the check interface.
pub const PROGRAM_CHECKS: &str = "weir_checks";
/// Programs that count frames lost behind the others, each with the kernel's tracepoint that it is attached to.
pub const LOSS_PROGRAMS: [(&str, &str); 3] = [
    ("weir_redirected", "xdp_redirect_err"),
    ("weir_transmitted", "xdp_devmap_xmit"),
    ("weir_exception", "xdp_exception"),
];
/// Traffic control program of the uplinks: sends copies of what the XDP program hands over.
pub const PROGRAM_CLONE: &str = "weir_clone";
/// Behind it: sends one copy.
pub const PROGRAM_COPY: &str = "weir_copy";
/// XDP program of the agent.
pub const PROGRAM_AGENT: &str = "weir_agent";
/// Traffic control program of the agent: the MSS that VIPs announce.
pub const PROGRAM_MSS: &str = "weir_mss";

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
/// Program array: the steps behind the first, in the order of [`STEPS`].
pub const MAP_STEPS: &str = "STEPS";
/// Program array of one: [`PROGRAM_COPY`].
pub const MAP_COPIES: &str = "COPIES";
/// Per-CPU array: [`crate::Plan`]s, one for live packets and one for dry runs.
pub const MAP_PLANS: &str = "PLANS";
/// Array of one: [`crate::bytes::Knobs`].
pub const MAP_KNOBS: &str = "KNOBS";
/// LPM trie: prefix to [`crate::bytes::PrefixValue`].
pub const MAP_PREFIXES: &str = "PREFIXES";
/// Array: see [`crate::bytes::budget`].
pub const MAP_BUDGETS: &str = "BUDGETS";
/// Per-CPU array of one: flows remembered anew this second, see [`crate::bytes::budget`].
pub const MAP_LEARNED: &str = "LEARNED";
/// LRU hash: [`crate::bytes::FragmentKey`] to [`crate::bytes::FragmentValue`].
pub const MAP_FRAGMENTS: &str = "FRAGMENTS";
/// Per-CPU array: verdict to [`crate::bytes::PacketCounter`].
pub const MAP_VERDICTS: &str = "VERDICTS";
/// Per-CPU array: service id to [`crate::bytes::ServiceCounter`].
pub const MAP_SERVICE_COUNTERS: &str = "SERVICE_COUNTS";
/// Per-CPU array: backend id to [`crate::bytes::ServiceCounter`].
pub const MAP_BACKEND_COUNTERS: &str = "BACKEND_COUNTS";

/// Per-CPU array: [`crate::check::CheckVerdict`] to packets. Not pinned: it counts for as long as its process lives.
pub const MAP_CHECK_COUNTS: &str = "CHECK_COUNTS";

/// Per-CPU array: [`crate::loss::Loss`] to frames. Not pinned: it counts for as long as its process lives.
pub const MAP_LOSS_COUNTS: &str = "LOSS_COUNTS";
/// Array of one: the kernel's id of [`MAP_EGRESS`]. Not pinned.
pub const MAP_LOSS_OF_MAP: &str = "LOSS_OF_MAP";

/// Programs in the step table, by index.
pub const STEPS: [&str; 6] =
    [PROGRAM_SLOW, PROGRAM_ENCAP, PROGRAM_ANSWER, PROGRAM_DRY_SLOW, PROGRAM_DRY_ENCAP, PROGRAM_DRY_ANSWER];

/// The maps of the appliance that hold state and are pinned by name.
pub const PINNED_MAPS: [&str; 19] = [
    MAP_STEPS,
    MAP_COPIES,
    MAP_PLANS,
    MAP_KNOBS,
    MAP_PREFIXES,
    MAP_BUDGETS,
    MAP_LEARNED,
    MAP_FRAGMENTS,
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
