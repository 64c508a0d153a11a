// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and values of the maps that kernel and user space share.

mod backend;
mod counters;
mod next_hop;
mod pool;
mod service;

pub use backend::{BackendFlags, BackendValue, Outer, UNUSED_ID};
pub use counters::{PacketCounter, ServiceCounter};
pub use next_hop::NextHopValue;
pub use pool::PoolValue;
pub use service::{Address, Protocol, ServiceFlags, ServiceKey, ServiceSlot, ServiceValue, SlotControl};

/// Declares that the types are plain bytes without padding, for the loader.
macro_rules! pod {
    ($($type:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, integers only, every byte is a named field (sizes asserted beside the type).
        unsafe impl aya::Pod for $type {}
    )+};
}
pod!(
    ServiceKey,
    ServiceValue,
    ServiceSlot,
    PoolValue,
    BackendValue,
    NextHopValue,
    PacketCounter,
    ServiceCounter
);
pod!(crate::hash::HashKeys);
