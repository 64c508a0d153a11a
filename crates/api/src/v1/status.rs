// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The status document: what is wanted, what is in force, and what keeps them apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApplianceStatus, BgpStatus, Condition, Counter, DocumentStatus, Override, PeerStatus, PoolStatus,
    ServiceStatus, Timestamp, VipStatus,
};

/// `GET /v1/status`: everything, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// This process.
    pub appliance: ApplianceStatus,
    /// What an operator should look at, in words; empty when all is as wanted.
    pub problems: Vec<String>,
    /// What is wrong with this appliance, in codes and words.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Which document is wanted and which is in force.
    pub document: DocumentStatus,
    /// The last pass of the reconciler.
    pub reconcile: ReconcileStatus,
    /// Announced addresses by name.
    pub vips: BTreeMap<String, VipStatus>,
    /// Services by name.
    pub services: BTreeMap<String, ServiceStatus>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolStatus>,
    /// The BGP speaker.
    #[serde(default)]
    pub bgp: BgpStatus,
    /// BGP peers by name.
    pub peers: BTreeMap<String, PeerStatus>,
    /// The packet path.
    pub dataplane: DataplaneStatus,
    /// The health checker.
    #[serde(default)]
    pub health: HealthStatus,
    /// What operators set beside the document.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// The last pass of the reconciler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReconcileStatus {
    /// Passes since the start.
    pub passes_total: Counter,
    /// Passes in which a step failed.
    pub failed_passes_total: Counter,
    /// When the last pass ended.
    pub last_pass_at: Option<Timestamp>,
    /// How long it took.
    pub last_pass_seconds: f64,
    /// What failed in it, one line a step; empty when desired and observed are in step.
    pub errors: Vec<String>,
    /// Time from the end of the pass to the next try, when something waits for one.
    pub retry_in_seconds: Option<f64>,
}

/// The packet path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataplaneStatus {
    /// Uplinks by interface name.
    pub uplinks: BTreeMap<String, UplinkStatus>,
    /// Slots of the flow table.
    pub flow_slots: u64,
    /// Slots in use when last counted.
    pub flow_slots_used: u64,
}

/// One interface with the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UplinkStatus {
    /// Where in the receive path the program runs.
    pub mode: XdpMode,
    /// Whether it does.
    pub attached: bool,
    /// Packets by the way they left the program; of several uplinks together, so alike at each.
    pub verdicts: BTreeMap<String, Counter>,
}

/// Where in the receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the kernel made its packet buffer.
    Generic,
}

impl XdpMode {
    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// The health checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HealthStatus {
    /// Checks that run.
    pub checks: u64,
    /// Of those, checks without a result yet.
    pub unknown: u64,
    /// Of those, checks that are up.
    pub up: u64,
    /// Of those, checks that are down.
    pub down: u64,
    /// Whether the checker cannot keep its times; nothing goes down meanwhile.
    pub is_overloaded: bool,
}
