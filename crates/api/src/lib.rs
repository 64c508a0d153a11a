// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the world may ask of an appliance: a status document, metrics and two probes.
//!
//! This crate owns the shapes on the wire ([`v1`]), the names of all metrics ([`metrics::names`]) and one port,
//! [`ControlPlane`], through which it sees the appliance. It knows no dataplane, no BGP and no document; whoever
//! implements the port translates into the words of [`v1`].
//!
//! ```text
//!  unix socket 0660 ─┐                               ┌─ GET /v1/status   application/json
//!                    ├─ server ── routes ── Control ─┼─ GET /metrics     text/plain; version=0.0.4
//!  loopback TCP ─────┘  (limits)             Plane   ├─ GET /livez
//!                                                    └─ GET /readyz
//! ```
//!
//! Everything else is an RFC 9457 problem. `/metrics` is a projection of the status document, so that the two can
//! never tell different stories.
#![forbid(unsafe_code)]

pub mod control;
pub mod error;
pub mod events;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod v1;

mod routes;

#[cfg(test)]
mod tests;

pub use control::{
    ControlPlane, DocumentView, OverrideRefused, OverrideSet, OverrideTarget, OverrideWish, Probes,
    ReloadRefused, Unavailable, View,
};
pub use readiness::{Latch, Readiness};
pub use server::{BindError, Server, ServerConfig};
