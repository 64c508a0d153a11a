// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and values of the maps that kernel and user space share.

mod backend;
mod counters;
mod knobs;
mod next_hop;
mod pool;
mod prefix;
mod service;

pub use backend::{BackendFlags, BackendMode, BackendValue, Outer, OuterOptions, UNUSED_ID};
pub use counters::{PacketCounter, ServiceCounter};
pub use knobs::{Knobs, budget};
pub use next_hop::NextHopValue;
pub use pool::PoolValue;
pub use prefix::{FragmentKey, FragmentValue, PrefixValue};
pub use service::{
    Address, Protocol, ServiceFlags, ServiceKey, ServiceSlot, ServiceValue, SlotControl, VipFlags,
};

/// Declares that the types are plain bytes without padding, for the loader.
macro_rules! pod {
    ($($type:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, integers only, every byte is a named field (sizes asserted beside the type).
        unsafe impl aya::Pod for $type {}
    )+};
}
pod!(
    Address,
    ServiceKey,
    ServiceValue,
    ServiceSlot,
    PoolValue,
    BackendValue,
    NextHopValue,
    Knobs,
    PrefixValue,
    FragmentKey,
    FragmentValue,
    crate::plan::Plan,
    PacketCounter,
    ServiceCounter
);
pod!(crate::hash::HashKeys);
