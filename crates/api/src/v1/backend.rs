// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Backends: what each may receive, and why.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Counter, Override, PreciseTime, Spec, Timestamp};

/// `GET /v1/pools/{pool}/backends/{backend}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Backend {
    /// Name in the document, unique in its pool.
    pub name: String,
    /// Name of its pool.
    pub pool: String,
    /// What the document says of it.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: BackendStatus,
    /// Its override and its pool's.
    pub overrides: Vec<Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// `GET /v1/pools/{pool}/backends`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendList {
    /// All backends of the pool, by name.
    pub items: Vec<Backend>,
}

/// One backend of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendStatus {
    /// Outer destination.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Base weight.
    pub weight: u32,
    /// How much of the weight counts when new flows are shared out, above 0 to 1.
    #[serde(default = "whole")]
    pub cap_ratio: f64,
    /// What it may receive, all things considered.
    pub state: BackendState,
    /// Since when it is in that state.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// What its checks say.
    #[serde(default)]
    pub check: CheckStatus,
    /// The override that took it out, by its id.
    #[serde(default)]
    pub by: Option<String>,
    /// Why it takes no new flows; empty when it does.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// How it is reached.
    pub next_hop: NextHopStatus,
    /// Flows that it has now, as of the last sweep; null before the first.
    #[serde(default)]
    pub flows: Option<u64>,
    /// When the check result came that decided its last change.
    #[serde(default)]
    pub verdict_at: Option<PreciseTime>,
    /// When the kernel's rows followed.
    #[serde(default)]
    pub in_force_at: Option<PreciseTime>,
    /// Packets sent to it.
    pub packets_total: Counter,
    /// Bytes of those packets.
    pub bytes_total: Counter,
    /// Flows that began on it.
    pub flows_created_total: Counter,
}

/// Of daemons that know no caps.
fn whole() -> f64 {
    1.0
}

/// What a backend may receive, all things considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Everything.
    Usable,
    /// The flows it has, no new ones.
    Draining,
    /// The flows it has, no new ones: its checks fail.
    Failed,
    /// Nothing yet: its checks have not answered.
    Unknown,
    /// Nothing: there is no way to it.
    Unresolved,
    /// Nothing: an operator says so.
    Disabled,
}

impl BackendState {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Usable, Self::Draining, Self::Failed, Self::Unknown, Self::Unresolved, Self::Disabled];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unresolved => "unresolved",
            Self::Disabled => "disabled",
        }
    }
}

/// What the checks of a backend say, taken together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct CheckStatus {
    /// Up when all are up, down when any is down.
    pub verdict: CheckVerdict,
    /// The failure, when it is down.
    #[serde(default)]
    pub cause: Option<String>,
    /// Each check with its last results. Only where one pool or one backend was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckDetail>,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// There is no check.
    #[default]
    None,
    /// No result yet.
    Unknown,
    /// It answers as it should.
    Up,
    /// It does not.
    Down,
}

impl CheckVerdict {
    /// The word in status and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One check of a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckDetail {
    /// The VIP's address and port that it connects to, through the tunnel.
    pub target: String,
    /// What it says.
    pub verdict: CheckVerdict,
    /// Since when.
    pub since: Timestamp,
    /// The last results, oldest first, at most ten.
    pub results: Vec<CheckResult>,
}

/// Result of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckResult {
    /// When it came.
    pub at: Timestamp,
    /// How long the attempt took.
    pub seconds: f64,
    /// `ok`, or the failure's code, with the status where there is one.
    pub outcome: String,
}

/// How a backend is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NextHopStatus {
    /// Whether packets can be sent to it.
    pub resolved: bool,
    /// The next hop in words, or why there is none.
    pub detail: String,
}
