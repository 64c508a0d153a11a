// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the world may ask of an appliance: objects with their state, overrides, events, metrics and two probes.
//!
//! This crate owns the shapes on the wire ([`v1`]), the names of all metrics ([`metrics::names`]) and one port,
//! [`ControlPlane`], through which it sees the appliance. It knows no dataplane, no BGP and no document; whoever
//! implements the port translates into the words of [`v1`].
//!
//! ```text
//!  unix socket 0660 ─┐                               ┌─ /v1/status, /v1/vips, /v1/pools/web/backends/b1 …
//!   reads and writes ├─ server ── routes ── Control ─┼─ /v1/…/override: PUT, DELETE    /v1/document/reload: POST
//!  loopback TCP ─────┘  (limits)  (objects)  Plane   ├─ /v1/events          text/event-stream
//!   reads only                                       └─ /metrics, /livez, /readyz, /openapi.json
//! ```
//!
//! Everything else is an RFC 9457 problem with the id of its request. Objects and metrics are projections of the status
//! document, so that no two of them can tell different stories.
#![forbid(unsafe_code)]

pub mod control;
pub mod error;
pub mod events;
pub mod metrics;
pub mod openapi;
pub mod readiness;
pub mod server;
pub mod v1;

mod body;
mod objects;
mod request;
mod routes;
mod stats;
mod stream;

#[cfg(test)]
mod tests;

pub use control::{
    ControlPlane, DocumentView, OverrideRefused, OverrideSet, OverrideTarget, OverrideWish, Page, Probes,
    ReloadRefused, Unavailable, View,
};
pub use readiness::{Latch, Readiness};
pub use server::{BindError, Server, ServerConfig};
