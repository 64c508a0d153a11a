// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Services: a port of a VIP, and what it carried.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Counter, Override, Spec};

/// `GET /v1/services/{service}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Name in the document.
    pub name: String,
    /// What the document says of it.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: ServiceStatus,
    /// Overrides of its VIP and of its pool.
    pub overrides: Vec<Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    /// All services, by name.
    pub items: Vec<Service>,
}

/// One service and what it carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Name of its VIP.
    pub vip: String,
    /// The VIP's address, or its prefix with the length behind it.
    pub address: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Destination port; 0: every port that no other service of the VIP and protocol has.
    pub port: u16,
    /// What goes to one backend: `flow`, `source` or `source-port`.
    #[serde(default)]
    pub affinity: String,
    /// What becomes of fragments: `drop`, `by-source` or `first-fragment`.
    #[serde(default)]
    pub fragments: String,
    /// Name of its pool.
    pub pool: String,
    /// What speaks against it, if anything does.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Packets from clients.
    pub packets_total: Counter,
    /// Bytes of those packets.
    pub bytes_total: Counter,
    /// Flows that began.
    pub flows_created_total: Counter,
}
