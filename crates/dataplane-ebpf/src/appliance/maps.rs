// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All maps and constants of the appliance's program. Capacities here are defaults; the loader sets them.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMapHash, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray};
use weir_dataplane_core::bytes::{
    Address, FragmentKey, FragmentValue, Knobs, PacketCounter, PrefixValue, ServiceCounter, ServiceSlot,
    budget,
};
use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::limits as l;
use weir_dataplane_core::names::STEPS as STEP_NAMES;
use weir_dataplane_core::verdict::VERDICTS as VERDICT_COUNT;
use weir_dataplane_core::{BackendValue, NextHopValue, Plan, PoolValue, Row, ServiceKey, ServiceValue};

/// Destination to service, VIP markers, records of fragments. Written by user space; full: the document is refused.
#[map]
pub static SERVICES: HashMap<ServiceKey, ServiceValue> =
    HashMap::with_max_entries(3 * l::SERVICES_DEFAULT, 0);

/// Direct-mapped slots in front of the former. Written by user space, the control word last.
#[map]
pub static SERVICE_SLOTS: Array<ServiceSlot> = Array::with_max_entries(l::SERVICE_SLOTS, BPF_F_MMAPABLE);

/// Pool id to its rows. Written by user space, one word at a time.
#[map]
pub static POOLS: Array<PoolValue> = Array::with_max_entries(l::POOLS_DEFAULT, BPF_F_MMAPABLE);

/// Rows of all pools, in regions. Written by user space; a region is reused only after a grace time.
#[map]
pub static ROWS: Array<Row> = Array::with_max_entries(l::ROWS_DEFAULT, BPF_F_MMAPABLE);

/// Backend id to backend. Written by user space, one word at a time. Memory-mappable, so that a value is one cache line.
#[map]
pub static BACKENDS: Array<BackendValue> = Array::with_max_entries(l::BACKENDS_DEFAULT + 1, BPF_F_MMAPABLE);

/// Next-hop id to next hop. Written by user space, an entry once.
#[map]
pub static NEXT_HOPS: Array<NextHopValue> = Array::with_max_entries(l::NEXT_HOPS_MAX, BPF_F_MMAPABLE);

/// Flow sets. Written here and by the sweeper, every write a compare-exchange; full: packets go by their rows.
#[map]
pub static FLOWS: Array<[u64; l::SLOTS_PER_SET]> =
    Array::with_max_entries(l::FLOW_SLOTS_DEFAULT / l::SLOTS_PER_SET as u32, BPF_F_MMAPABLE);

/// Interface index to interface. Written by user space.
#[map]
pub static EGRESS: DevMapHash = DevMapHash::with_max_entries(l::UPLINKS_MAX, 0);

/// The steps behind the first. Written by user space.
#[map]
pub static STEPS: ProgramArray = ProgramArray::with_max_entries(STEP_NAMES.len() as u32, 0);

/// The program that sends one copy. Written by user space.
#[map]
pub static COPIES: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Plans: the live one, the dry one. Written here.
#[map]
pub static PLANS: PerCpuArray<Plan> = PerCpuArray::with_max_entries(2, 0);

/// Settings. Written by user space.
#[map]
pub static KNOBS: Array<Knobs> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Prefixes that are VIPs as a whole. Written by user space; full: the document is refused.
#[map]
pub static PREFIXES: LpmTrie<Address, PrefixValue> = LpmTrie::with_max_entries(l::PREFIXES_MAX, 0);

/// What was spent this second. Written here, by compare-exchange.
#[map]
pub static BUDGETS: Array<u64> = Array::with_max_entries(l::SERVICES_DEFAULT * budget::KINDS, BPF_F_MMAPABLE);

/// Flows that this CPU remembered anew this second. Written here.
#[map]
pub static LEARNED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where first fragments went. Written here; full: the kernel evicts what it takes for the least recently used.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> =
    LruHashMap::with_max_entries(l::FRAGMENTS_MAX, 0);

/// Verdict to packets and bytes. Written here.
#[map]
pub static VERDICTS: PerCpuArray<PacketCounter> = PerCpuArray::with_max_entries(VERDICT_COUNT, 0);

/// Service id to packets, bytes and new flows. Written here.
#[map]
pub static SERVICE_COUNTS: PerCpuArray<ServiceCounter> =
    PerCpuArray::with_max_entries(l::SERVICES_DEFAULT, 0);

/// Backend id to packets, bytes and new flows. Written here.
#[map]
pub static BACKEND_COUNTS: PerCpuArray<ServiceCounter> =
    PerCpuArray::with_max_entries(l::BACKENDS_DEFAULT + 1, 0);

/// The fleet's secret. Set at load.
#[unsafe(no_mangle)]
pub static HASH_KEYS: HashKeys = HashKeys {
    v4: weir_dataplane_core::hash::KeyV4 { words: [0; 2], seal: 0 },
    v6: weir_dataplane_core::hash::KeyV6 { words: [0; 5], seal: 0 },
};

/// Flow sets minus one. Set at load.
#[unsafe(no_mangle)]
pub static FLOW_SET_MASK: u32 = 0;

/// 2^32 divided by the kernel's HZ. Set at load.
#[unsafe(no_mangle)]
pub static TICK_FACTOR: u64 = 0;
