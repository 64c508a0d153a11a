// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bytes that kernel and user space share, and the packet logic that both compile.
//!
//! The logic is generic over [`Packet`] (checked access to one frame) and [`Tables`] (the lookups a decision needs).
//! The kernel program implements both over XDP and BPF maps, the host over a buffer and ordinary memory, so there is
//! one decision core and two targets, and a differential test feeds both the same bytes.
//!
//! ```text
//! frame -> parse -> service? -> flow? -> row -> backend -> next hop -> encapsulate -> Outcome { verdict, .. }
//! (one program for what is plain, further ones for the rest: `process`)
//! ```
//!
//! Rules for the shared bytes:
//! - Fields that mirror a packet hold the octets in network order, as read; their names end in `_be` or their doc says
//!   so. Indexes, ids and counters are native integers.
//! - No padding that is not a named field, no enum, no `bool`: sizes and offsets are asserted beside each type.
//! - Any change of a layout or of what a field means raises [`ABI_VERSION`]; pins of another version are never adopted.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod answer;
pub mod bytes;
pub mod check;
pub mod clone;
pub mod decap;
pub mod encap;
pub mod flow;
pub mod hash;
pub mod ingress;
pub mod limits;
pub mod loss;
pub mod mss;
pub mod names;
pub mod packet;
pub mod parse;
pub mod plan;
pub mod process;
pub mod rendezvous;
pub mod row;
pub mod siphash;
pub mod slow;
pub mod steer;
pub mod tables;
pub mod verdict;

pub use bytes::{
    BackendFlags, BackendValue, FragmentKey, FragmentValue, Knobs, NextHopValue, PoolValue, PrefixValue,
    Protocol, ServiceFlags, ServiceKey, ServiceValue,
};
pub use packet::{Encapsulation, Packet};
pub use plan::Plan;
pub use process::{Count, Exit, Outcome, Step, process, process_by};
pub use row::Row;
pub use tables::{Slots, Tables};
pub use verdict::{Action, Verdict};

/// Version of every layout in this crate. It names the pin directory (`v2`), so builds that differ never share maps.
pub const ABI_VERSION: u32 = 2;
