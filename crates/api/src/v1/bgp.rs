// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The BGP speaker as a whole, and what became of the routes it takes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counter, PeerStatus, Spec, Timestamp};

/// `GET /v1/bgp`: the speaker and all its sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bgp {
    /// The document's section `bgp`.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// The speaker.
    pub status: BgpStatus,
    /// Its peers by name.
    pub peers: BTreeMap<String, PeerStatus>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// The BGP speaker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct BgpStatus {
    /// Own AS number.
    pub asn: u32,
    /// Own BGP identifier.
    pub router_id: String,
    /// Addresses that accept sessions.
    pub listen: Vec<String>,
    /// Families of at least one peer: `ipv4`, `ipv6`.
    pub families: Vec<String>,
    /// Sessions that are Established.
    pub established: u64,
    /// Sessions that there should be; ranges count their live ones.
    pub sessions: u64,
    /// Connections from addresses that are no peer's, closed without a word.
    pub strangers_total: Counter,
    /// Connections of peers that were closed because there were too many at once.
    #[serde(default)]
    pub refused_total: Counter,
    /// Prefixes that were to be announced and cannot be: too many communities, or named twice.
    pub rejected: Vec<String>,
    /// Default routes taken into the kernel, by family; only families that some peer may give.
    #[serde(default)]
    pub imported: BTreeMap<String, ImportedRoute>,
    /// What an operator has to mend, in words: keys that cannot be, routes that the kernel does not take.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// A default route that was taken from peers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ImportedRoute {
    /// Whether it is in the kernel.
    pub installed: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Where it leads to; empty when no peer gives one, or the kernel takes none.
    pub next_hops: Vec<ImportedNextHop>,
}

/// One way of an imported route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedNextHop {
    /// The gateway.
    #[schema(value_type = String)]
    pub gateway: IpAddr,
    /// Its interface.
    pub interface: Option<String>,
    /// Whether the kernel uses it now; not while its interface is down.
    #[serde(default)]
    pub in_use: bool,
}
