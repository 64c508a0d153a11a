// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lookups a decision needs.

use crate::bytes::{
    Address, BackendValue, FragmentKey, FragmentValue, Knobs, NextHopValue, PrefixValue, ServiceKey,
    ServiceValue,
};
use crate::hash::{KeyV4, KeyV6};
use crate::plan::Plan;
use crate::process::Count;
use crate::row::Row;

/// One set of the flow table: eight slots of one word, shared by all CPUs.
pub trait Slots {
    /// Slot `index` (0 to 7), read as one word.
    fn load(&self, index: usize) -> u64;

    /// Replaces slot `index` by `new` if it still is `old`; tells whether it did.
    fn swap(&self, index: usize, old: u64, new: u64) -> bool;

    /// `index` (0 to 7) as it is. In the kernel it comes back as a number of which the verifier only knows the range, so
    /// that it walks what follows once and not once for each slot. `salt` is any number that is not a constant.
    #[inline(always)]
    fn launder(&self, index: usize, salt: u64) -> usize {
        let _ = salt;
        index
    }

    /// The larger of two numbers below 2^63. In the kernel without a branch: eight in a row were 100,000 instructions to the
    /// verifier.
    #[inline(always)]
    fn larger(&self, a: u64, b: u64) -> u64 {
        a.max(b)
    }
}

/// What the packet logic may ask. All lookups are by value or by reference into tables that outlive the packet.
pub trait Tables {
    /// One flow set.
    type Slots: Slots;

    /// Settings for all packets; `None` only if the kernel object is broken.
    fn knobs(&self) -> Option<&Knobs>;

    /// The longest prefix VIP that holds `address`.
    fn prefix(&self, address: &Address) -> Option<PrefixValue>;

    /// Takes one from the budget of this second at `index` (see [`crate::bytes::budget`]); `false`: all `limit` are
    /// spent. A limit of 0 allows nothing. Shared by all CPUs.
    fn take(&self, index: u32, limit: u32) -> bool;

    /// Takes one from this CPU's budget of flows to remember in this second, as [`Tables::take`] does from those that all CPUs
    /// share.
    fn learn(&self, limit: u32) -> bool;

    /// Where the first fragment of this datagram went, however long ago.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;

    /// Remembers where the first fragment of a datagram went.
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue);

    /// The plan that the step before left.
    fn plan(&self) -> Option<Plan>;

    /// Leaves a plan for the step behind. `false` only if the kernel object is broken.
    fn set_plan(&self, plan: &Plan) -> bool;

    /// The service with exactly this key.
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue>;

    /// Rows descriptor of a pool ([`crate::PoolValue::rows`]).
    fn pool_rows(&self, pool: u32) -> Option<u64>;

    /// The row at `index` of the whole row table.
    fn row(&self, index: u32) -> Option<Row>;

    /// The backend with this id.
    fn backend(&self, id: u16) -> Option<&BackendValue>;

    /// The next hop with this id.
    fn next_hop(&self, id: u16) -> Option<&NextHopValue>;

    /// The flow set that `hash` belongs to; the low bits choose it.
    fn flow_set(&self, hash: u64) -> Option<Self::Slots>;

    /// The clock in ticks of one second, 14 bits.
    fn tick(&self) -> u16;

    /// Counts a packet for a service.
    fn count(&self, count: &Count);

    /// Fleet-wide secret for IPv4 flows.
    fn key_v4(&self) -> KeyV4;

    /// Fleet-wide secret for IPv6 flows.
    fn key_v6(&self) -> KeyV6;
}
