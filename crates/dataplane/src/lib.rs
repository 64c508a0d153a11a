// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Loads, fills and reads the XDP dataplane.
//!
//! The caller holds one [`Dataplane`] and tells it a whole [`forwarding::ForwardingState`]; this crate turns that into
//! ids, rows and map entries, in an order in which a packet never meets half a change. Everything lives in pinned maps:
//! packets flow on while nobody holds a [`Dataplane`], and the next one adopts what it finds, without files of its own.
//!
//! ```text
//! forwarding (words) ─► dataplane::apply ─► ids, regions, rows (pure) ─► kernel::maps ─► XDP
//! next_hop (netlink) ──────────┘                                         kernel::link, pins
//! checks (netlink) ─► interface, routes, rules of health checks ────────► kernel::egress
//! ```
//!
//! It does not know documents, health checks or BGP.

pub mod checks;
pub mod config;
pub mod counters;
pub mod dataplane;
pub mod forwarding;
pub mod host;
mod identity;
mod ids;
pub mod kernel;
pub mod next_hop;
mod next_hop_ids;
pub mod object;
pub mod path;
mod regions;
pub mod replay;
pub mod rows;
mod service_records;
mod service_slots;

pub use checks::CheckPathError;
pub use config::{Capacity, CheckPath, DataplaneConfig, Uplink, XdpMode};
pub use counters::{Counters, ServiceCounters, VerdictCounters};
pub use dataplane::{
    Applied, ApplyError, BackendFlows, BackendIds, CheckCounter, Dataplane, FixRowsError, LossCounter,
    NextHops, OpenError, ProgramFacts, SLICE_SLOTS, SweepError, Swept, VerifyError,
};
pub use kernel::link::AttachError;
pub use next_hop_ids::TooMany;
pub use regions::NoRoom;
pub use service_records::AmbiguousFragments;
