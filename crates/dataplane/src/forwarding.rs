// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words this crate is told what to do in: a whole desired [`ForwardingState`], never a delta.
//!
//! The caller says which services exist, which pool each uses, and for each backend of a pool who it is and what it may
//! receive. It does not know ids, maps, rows or programs; this crate does not know health checks, documents or BGP.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

pub use weir_dataplane_core::Protocol;

/// Everything the dataplane shall do. Applying the same state twice changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardingState {
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Pools by name; a pool that no service names is kept ready all the same.
    pub pools: BTreeMap<String, Pool>,
}

/// One VIP, protocol and port, and the pool that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Address that clients send to.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port, host order, 1 to 65535.
    pub port: u16,
    /// Name of the pool in [`ForwardingState::pools`].
    pub pool: String,
    /// Idle time after which an established flow is forgotten; 1 s to [`weir_dataplane_core::limits::IDLE_S_MAX`].
    pub idle: Duration,
    /// Whether flows are remembered. `false`: every packet goes by its row alone.
    pub flow_table: bool,
}

/// Backends that serve alike, and how packets reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// How packets are carried to the backends.
    pub mode: Mode,
    /// The most backends this pool will ever have; fixes the number of rows (DESIGN §5.3), so changing it moves flows.
    pub max_backends: u32,
    /// What an established flow does when its backend fails.
    pub on_failed: OnFailed,
    /// Backends by name.
    pub backends: BTreeMap<String, Backend>,
}

/// Forwarding mode of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// IPv4 in IPv4 (RFC 2003) or IPv6 in IPv6 (RFC 2473); VIP and backend are of one family.
    Ipip,
}

impl Mode {
    /// The number in the backend table.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipip => 1,
        }
    }
}

/// What an established flow does when its backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailed {
    /// It stays, so that a false alarm breaks nothing.
    #[default]
    Keep,
    /// It goes to another backend, which resets it at once.
    Reset,
}

/// One server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Outer destination address.
    pub address: IpAddr,
    /// Base weight, at least 1: decides membership and order of the rows.
    pub weight: u32,
    /// Share of the base weight it may carry now, in 1/1000 (1000 = all): lowers its cap and nothing else.
    pub cap_permille: u16,
    /// What it may receive.
    pub state: BackendState,
}

/// What a backend may receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// Everything.
    Usable,
    /// Flows it has, no new ones.
    Draining,
    /// Established flows as the pool's [`OnFailed`] says, no new ones.
    Failed,
    /// Nothing.
    Disabled,
}
