// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a dataplane is opened with; none of it changes while it runs.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use weir_dataplane_core::bytes::budget;
use weir_dataplane_core::limits::{
    BACKENDS_DEFAULT, BACKENDS_HARD_MAX, FLOW_SLOTS_DEFAULT, FLOW_SLOTS_HARD_MAX, ROWS_DEFAULT,
    SERVICES_DEFAULT, SLOTS_PER_SET,
};

pub use crate::kernel::link::Mode as XdpMode;

/// What a dataplane is opened with.
#[derive(Debug, Clone)]
pub struct DataplaneConfig {
    /// Pin directory of this instance on bpffs; the layout version is appended.
    pub instance_dir: PathBuf,
    /// Interfaces that the program is attached to.
    pub uplinks: Vec<Uplink>,
    /// Fleet-wide secret: flow hash and rows are derived from it.
    pub hash_seed: [u8; 32],
    /// Outer source address towards IPv4 backends.
    pub source_v4: Option<Ipv4Addr>,
    /// Outer source address towards IPv6 backends.
    pub source_v6: Option<Ipv6Addr>,
    /// Sizes of the tables.
    pub capacity: Capacity,
    /// How health checks reach single backends; `None`: they cannot.
    pub checks: Option<CheckPath>,
}

/// How packets of health checks reach one certain backend: a socket with the mark `mark | backend id` is routed by `table`
/// to `interface`, where a program puts on the outer header of that backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPath {
    /// Name of the interface that is made for it.
    pub interface: String,
    /// The upper half of the marks; the lower half, which holds the backend's id, is 0.
    pub mark: u32,
    /// Routing table.
    pub table: u32,
    /// Priority of the rules that lead to it.
    pub priority: u32,
}

/// An interface that the program is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Interface name.
    pub name: String,
    /// How the program is run there.
    pub mode: XdpMode,
}

/// Sizes of the tables. The memory is taken at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Services; as many VIPs and as many pools.
    pub services: u32,
    /// Backends, at most 65,535.
    pub backends: u32,
    /// Flow slots, a power of two of at least 64; 8 bytes each.
    pub flow_slots: u32,
    /// Rows of all pools together, with room for the largest pool twice; 8 bytes each.
    pub rows: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            services: SERVICES_DEFAULT,
            backends: BACKENDS_DEFAULT,
            flow_slots: FLOW_SLOTS_DEFAULT,
            rows: ROWS_DEFAULT,
        }
    }
}

/// A capacity that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("capacity {what} is {found}; allowed: {allowed}")]
pub struct CapacityError {
    /// Which.
    pub what: &'static str,
    /// What was asked for.
    pub found: u32,
    /// What may be asked for.
    pub allowed: &'static str,
}

impl Capacity {
    /// Checks every size against its hard limits.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn check(&self) -> Result<(), CapacityError> {
        let Self { services, backends, flow_slots, rows } = *self;
        let wrong = |what, found, allowed| Err(CapacityError { what, found, allowed });
        if !(1..=1 << 20).contains(&services) {
            return wrong("services", services, "1 to 1,048,576");
        }
        if !(1..=BACKENDS_HARD_MAX).contains(&backends) {
            return wrong("backends", backends, "1 to 65,535");
        }
        if !flow_slots.is_power_of_two() || !(64..=FLOW_SLOTS_HARD_MAX).contains(&flow_slots) {
            return wrong("flow_slots", flow_slots, "a power of two from 64 to 536,870,912");
        }
        if !(4_096..=1 << 29).contains(&rows) {
            return wrong("rows", rows, "4,096 to 536,870,912");
        }
        Ok(())
    }

    /// Entries of the service map: services, and for each at the most one VIP marker and one record of fragments.
    pub(crate) fn service_entries(&self) -> u32 {
        3 * self.services
    }

    /// Words of the budget array: a VIP needs as many as a service.
    pub(crate) fn budgets(&self) -> u32 {
        self.services * budget::KINDS
    }

    /// Entries of the backend array: id 0 is none.
    pub(crate) fn backend_entries(&self) -> u32 {
        self.backends + 1
    }

    /// Flow sets.
    pub(crate) fn flow_sets(&self) -> u32 {
        self.flow_slots / u32::try_from(SLOTS_PER_SET).expect("eight")
    }
}
