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
    /// How outer headers are made; has no meaning in [`Mode::L2`].
    pub outer: OuterHeader,
    /// How rows are made.
    pub algorithm: Algorithm,
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
    /// IP in IP, of any two families.
    Ipip,
    /// GUE over UDP.
    Gue(Gue),
    /// The frame goes to the backend's own MAC address; nothing is put on.
    L2,
}

/// What GUE packets look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gue {
    /// UDP destination port.
    pub port: u16,
    /// What stands behind the UDP header.
    pub variant: GueVariant,
    /// Whether there is a UDP checksum instead of zero.
    pub udp_checksum: bool,
    /// Whether the UDP source port is made from the flow.
    pub port_entropy: bool,
}

/// What stands behind the UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GueVariant {
    /// Four octets of GUE header.
    Header,
    /// A GUE header with the row's other candidates in private data.
    Candidates,
    /// The inner IP header itself.
    Direct,
}

/// How outer headers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterHeader {
    /// Whether the source address is made from the flow, in the prefix of [`super::Limits`].
    pub source_entropy: bool,
    /// Whether DSCP is copied; ECN always is.
    pub copy_dscp: bool,
    /// Whether the IPv6 flow label is made from the flow.
    pub flow_label: bool,
}

impl Default for OuterHeader {
    fn default() -> Self {
        Self { source_entropy: false, copy_dscp: true, flow_label: true }
    }
}

/// How rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Bounded rendezvous: whom a flow had stays in its row through any single change.
    Rendezvous,
    /// Maglev: shares even to one row, but a change moves a little more than it must.
    Maglev,
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
    /// How much of the weight counts when new flows are shared out; lowering it moves only rows that this backend gives up.
    pub cap: Percent,
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

/// A share of a whole, 1 to 100 in a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// `None`: nothing, or more than all.
    pub const fn new(percent: u8) -> Option<Self> {
        if 1 <= percent && percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// In a hundred.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// In a thousand.
    pub const fn permille(self) -> u16 {
        self.0 as u16 * 10
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}
