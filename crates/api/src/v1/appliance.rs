// SPDX-License-Identifier: Apache-2.0 OR MIT
//! This appliance: the process, the program, the host.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, DataplaneStatus, DocumentStatus, Override, Spec, Timestamp};

/// `GET /v1/appliance`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Appliance {
    /// Name in the document.
    pub name: String,
    /// The document's sections `appliance`, `bgp` and `uplinks`.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: ApplianceFacts,
    /// The override that withholds everything, if there is one.
    pub overrides: Vec<Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// What an appliance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceFacts {
    /// The process.
    pub process: ApplianceStatus,
    /// Which document is wanted and which is in force.
    pub document: DocumentStatus,
    /// The packet path.
    pub dataplane: DataplaneStatus,
    /// What is wrong, in codes and words.
    pub conditions: Vec<Condition>,
}

/// This process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceStatus {
    /// Name in the document.
    pub name: String,
    /// BGP identifier.
    pub router_id: String,
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, or `unknown`.
    pub commit: String,
    /// Compiler it was built with.
    pub rustc: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Where in its life it is.
    pub state: Lifecycle,
    /// Parts that are not up yet.
    pub waiting_for: Vec<String>,
    /// When it started.
    pub started_at: Timestamp,
}

/// Where in its life the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Parts are still coming up.
    Starting,
    /// All parts are up.
    Running,
    /// Everything is being withdrawn and detached.
    Stopping,
}
