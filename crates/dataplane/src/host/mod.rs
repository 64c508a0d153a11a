// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet logic on the host: a frame in a buffer, tables in memory. For tests, and for tools that ask "what if".

mod carrier;
mod packet;
mod tables;

pub use carrier::{HostCarrier, Left};
pub use packet::HostPacket;
pub use tables::{HostSlots, HostTables};
