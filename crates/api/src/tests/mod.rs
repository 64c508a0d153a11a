// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The API as a client meets it: real sockets, a fake appliance.

mod events;
mod fake;
mod harness;
mod http;
mod objects;
mod openapi;
mod reference;
mod sockets;
mod writes;

pub(crate) use fake::{FakeAppliance, sample, telemetry};
