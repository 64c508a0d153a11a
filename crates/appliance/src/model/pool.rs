// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What serves: pools of backends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::PoolCheck;

/// Backends that serve alike, and how packets reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// How packets are carried to the backends.
    pub mode: Mode,
    /// The most backends this pool will ever have; fixes its number of rows, so changing it moves flows.
    pub max_backends: u32,
    /// What an established flow does when its backend fails.
    pub on_failed: OnFailed,
    /// How its backends are checked; `None`: a backend with a next hop counts as up.
    pub check: Option<PoolCheck>,
    /// Backends by name, at most [`Self::max_backends`]; may be empty.
    pub backends: BTreeMap<String, Backend>,
}

/// Forwarding mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// IPv4 in IPv4 or IPv6 in IPv6; VIPs and backends of a pool are of one family.
    Ipip,
}

/// What an established flow does when its backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailed {
    /// It stays, so that a false alarm breaks nothing.
    Keep,
    /// It goes to another backend, which resets it at once.
    Reset,
}

/// One server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Outer destination address; unique in its pool.
    pub address: IpAddr,
    /// Base weight. 0: no new flows, as if draining; some backend of the pool has more.
    pub weight: u32,
    /// What the operator allows it to receive.
    pub state: AdminState,
    /// Failure domain, for display and later use.
    pub zone: Option<String>,
}

/// What the operator allows a backend to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// Everything.
    Active,
    /// The flows it has, no new ones.
    Draining,
    /// Nothing.
    Disabled,
}
