// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The API as a client meets it: real sockets, a fake appliance.

mod fake;
mod http;
mod sockets;

pub(crate) use fake::{FakeAppliance, sample};
