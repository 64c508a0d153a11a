// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's implementation of `Tables` and `Slots` over BPF maps.

use core::arch::asm;
use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::maps::lpm_trie::Key;
use weir_dataplane_core::bytes::{Address, ServiceCounter, SlotControl, budget};
use weir_dataplane_core::flow::TICK_MASK;
use weir_dataplane_core::hash::{KeyV4, KeyV6};
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::{
    BackendValue, Count, FragmentKey, FragmentValue, Knobs, NextHopValue, Plan, PrefixValue, Row, ServiceKey,
    ServiceValue, Slots, Tables,
};

use super::maps;

/// Index of the plan of live packets.
const LIVE: u32 = 0;
/// Index of the plan of dry runs.
pub const DRY: u32 = 1;
/// Attempts at a budget that another CPU spent from meanwhile.
const TAKES: usize = 4;

/// The appliance's maps.
pub struct KernelTables;

/// One flow set in the map.
pub struct KernelSlots(*mut [u64; SLOTS_PER_SET]);

impl Slots for KernelSlots {
    #[inline(always)]
    fn load(&self, index: usize) -> u64 {
        // SAFETY: `index` is below 8 and the set is a map value, which outlives the program run. Volatile: other CPUs
        // write it, and one load must be one load.
        unsafe { read_volatile((self.0 as *const u64).add(index & (SLOTS_PER_SET - 1))) }
    }

    #[inline(always)]
    fn swap(&self, index: usize, old: u64, new: u64) -> bool {
        let index = launder(index, new);
        // SAFETY: as in `load`.
        let slot = unsafe { (self.0 as *mut u64).add(index & (SLOTS_PER_SET - 1)) };
        compare_exchange(slot, old, new)
    }

    #[inline(always)]
    fn launder(&self, index: usize, salt: u64) -> usize {
        launder(index, salt)
    }

    #[inline(always)]
    fn larger(&self, a: u64, b: u64) -> u64 {
        let mut larger = a;
        // SAFETY: plain arithmetic: a − min(a − b, 0). In Rust the optimiser would recognise it and make a branch of it.
        unsafe {
            asm!(
                "{difference} = {a}",
                "{difference} -= {b}",
                "{sign} = {difference}",
                "{sign} s>>= 63",
                "{difference} &= {sign}",
                "{a} -= {difference}",
                a = inout(reg) larger,
                b = in(reg) b,
                difference = out(reg) _,
                sign = out(reg) _,
                options(nomem, nostack, pure)
            );
        }
        larger
    }
}

impl Tables for KernelTables {
    type Slots = KernelSlots;

    #[inline(always)]
    fn knobs(&self) -> Option<&Knobs> {
        maps::KNOBS.get(0)
    }

    #[inline(always)]
    fn prefix(&self, address: &Address) -> Option<PrefixValue> {
        maps::PREFIXES.get(Key::new(128, *address)).copied()
    }

    #[inline(always)]
    fn take(&self, index: u32, limit: u32) -> bool {
        let Some(word) = maps::BUDGETS.get_ptr_mut(index) else { return false };
        let tick = self.tick();
        let mut attempt = 0;
        while attempt < TAKES {
            // SAFETY: a map value, one word, loaded once; other CPUs write it.
            let old = unsafe { read_volatile(word as *const u64) };
            let Some(new) = budget::taken(old, tick, limit) else { return false };
            if compare_exchange(word, old, new) {
                return true;
            }
            attempt += 1;
        }
        // So many CPUs want some at once that it will be spent soon.
        false
    }

    #[inline(always)]
    fn learn(&self, limit: u32) -> bool {
        let Some(word) = maps::LEARNED.get_ptr_mut(0) else { return false };
        // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
        match budget::taken(unsafe { *word }, self.tick(), limit) {
            Some(new) => {
                // SAFETY: as above.
                unsafe { *word = new };
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        // SAFETY: the value is copied at once. An element that is replaced meanwhile may be another datagram's by then, as
        // with any LRU map: that one's fragment finds no backend, or the backend of its neighbour.
        maps::FRAGMENTS.get_ptr(key).map(|value| unsafe { *value })
    }

    #[inline(always)]
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        // No room: later fragments of the datagram are dropped under their own name.
        let _ = maps::FRAGMENTS.insert(key, value, 0);
    }

    #[inline(always)]
    fn plan(&self) -> Option<Plan> {
        plan(LIVE)
    }

    #[inline(always)]
    fn set_plan(&self, plan: &Plan) -> bool {
        set_plan(LIVE, plan)
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        if let Some(slot) = maps::SERVICE_SLOTS.get_ptr(key.slot()) {
            // SAFETY: a map value. Volatile and first: user space clears this word, and waits for all programs that run,
            // before it touches the rest.
            let control = unsafe { read_volatile(&raw const (*slot).control) };
            if control & SlotControl::HOLDS != 0 {
                // SAFETY: a map value that the control word says is whole.
                let (held, value) = unsafe { (&(*slot).key, &raw const (*slot).value) };
                if held.is(key) {
                    return Some(service_value(value));
                }
            }
            if control & SlotControl::ALONE != 0 {
                return None;
            }
        }
        // A copy for the helper alone: the other one then never has to lie in memory.
        let key = ServiceKey { ..*key };
        // The value is copied at once; an element that is replaced meanwhile is not freed before this run ends.
        maps::SERVICES.get_ptr(&key).map(service_value)
    }

    #[inline(always)]
    fn pool_rows(&self, pool: u32) -> Option<u64> {
        // SAFETY: a map value; volatile, since user space switches it by one store.
        maps::POOLS.get_ptr(pool).map(|p| unsafe { read_volatile(&raw const (*p).rows) })
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<Row> {
        // SAFETY: a map value, one word, loaded once.
        maps::ROWS.get_ptr(index).map(|p| unsafe { read_volatile(p) })
    }

    #[inline(always)]
    fn backend(&self, id: u16) -> Option<&BackendValue> {
        maps::BACKENDS.get(id as u32)
    }

    #[inline(always)]
    fn next_hop(&self, id: u16) -> Option<&NextHopValue> {
        maps::NEXT_HOPS.get(id as u32)
    }

    #[inline(always)]
    fn flow_set(&self, hash: u64) -> Option<KernelSlots> {
        // SAFETY: a constant of the object. Volatile: the loader sets it, the compiler must not take it for zero.
        let mask = unsafe { read_volatile(&raw const maps::FLOW_SET_MASK) };
        maps::FLOWS.get_ptr_mut(hash as u32 & mask).map(KernelSlots)
    }

    #[inline(always)]
    fn tick(&self) -> u16 {
        // SAFETY: the helper takes nothing and cannot fail; the constant as in `flow_set`.
        let (jiffies, factor) = unsafe { (bpf_jiffies64(), read_volatile(&raw const maps::TICK_FACTOR)) };
        (jiffies.wrapping_mul(factor) >> 32) as u16 & TICK_MASK
    }

    #[inline(always)]
    fn count(&self, count: &Count) {
        if let Some(counter) = maps::SERVICE_COUNTS.get_ptr_mut(count.service) {
            add(counter, count);
        }
        if count.backend != 0
            && let Some(counter) = maps::BACKEND_COUNTS.get_ptr_mut(count.backend as u32)
        {
            add(counter, count);
        }
    }

    #[inline(always)]
    fn key_v4(&self) -> KeyV4 {
        // SAFETY: as in `flow_set`.
        unsafe { read_volatile(&raw const maps::HASH_KEYS.v4) }
    }

    #[inline(always)]
    fn key_v6(&self) -> KeyV6 {
        // SAFETY: as in `flow_set`.
        unsafe { read_volatile(&raw const maps::HASH_KEYS.v6) }
    }
}

/// The service at `value`, a map value: field by field, since of a copy the compiler keeps five pointers around.
#[inline(always)]
fn service_value(value: *const ServiceValue) -> ServiceValue {
    // SAFETY: the caller's pointer is to a map value, which outlives the program run.
    unsafe {
        ServiceValue {
            id: read_volatile(&raw const (*value).id),
            pool: read_volatile(&raw const (*value).pool),
            flags: read_volatile(&raw const (*value).flags),
            new_flows_max: read_volatile(&raw const (*value).new_flows_max),
            idle: read_volatile(&raw const (*value).idle),
        }
    }
}

/// Bits of where an IP header can lie: behind an Ethernet header and two tags at most.
const L3_MASK: u16 = 0x1f;
/// Bits of where a transport header can lie: within the first 512 octets.
const L4_MASK: u16 = 0x3ff;

/// The plan at `index` of this CPU.
///
/// The masks change nothing. A value of a map may be anything to the verifier, and that of Linux 6.1 forgets what a comparison
/// said of an offset once it comes back from the stack ("R1 offset is outside of the packet"); a mask it remembers. Guarded by the
/// fixtures of modes on that kernel.
#[inline(always)]
pub fn plan(index: u32) -> Option<Plan> {
    // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
    let plan = maps::PLANS.get_ptr(index).map(|plan| unsafe { *plan })?;
    Some(Plan { l3: plan.l3 & L3_MASK, l4: plan.l4 & L4_MASK, ..plan })
}

/// Leaves a plan at `index` of this CPU.
#[inline(always)]
pub fn set_plan(index: u32, plan: &Plan) -> bool {
    match maps::PLANS.get_ptr_mut(index) {
        Some(place) => {
            // SAFETY: as in `plan`.
            unsafe { *place = *plan };
            true
        }
        None => false,
    }
}

/// Replaces the word at `place`, a map value, by `new` if it is `old`; tells whether it did.
#[inline(always)]
fn compare_exchange(place: *mut u64, old: u64, new: u64) -> bool {
    let seen: u64;
    // SAFETY: the caller's pointer is into a map value, which outlives the program run, and values of a memory-mappable
    // array are eight-byte aligned. `AtomicU64` has no compare-exchange on this target.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {new})",
            place = in(reg) place,
            new = in(reg) new,
            inout("r0") old => seen,
            options(nostack)
        );
    }
    seen == old
}

#[inline(always)]
fn add(counter: *mut ServiceCounter, count: &Count) {
    // SAFETY: a per-CPU value that the map gave; XDP runs to its end on this CPU, so nobody else writes it.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += count.ip_len as u64;
        (*counter).new_flows += count.is_new_flow as u64;
    }
}

/// See [`Slots::launder`].
#[inline(always)]
fn launder(index: usize, salt: u64) -> usize {
    let mut laundered = index as u64;
    // SAFETY: plain arithmetic that ends where it began. The verifier does not see that the two cancel out; it keeps
    // the range 0 to 7 and forgets the constant (needed on 6.18; guarded by the bench's count of instructions).
    unsafe {
        asm!(
            "{index} ^= {salt}",
            "{index} ^= {salt}",
            "{index} &= 7",
            index = inout(reg) laundered,
            salt = in(reg) salt,
            options(nomem, nostack, pure)
        );
    }
    laundered as usize
}
