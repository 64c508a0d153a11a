// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides: what operators set beside the document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// One override in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// `appliance`, `vip/www`, `pool/web` or `backend/web/b1`; one at most for each object.
    pub id: String,
    /// What it is about; the same as its id.
    pub target: String,
    /// What it asks for.
    pub state: OverrideState,
    /// Who set it, as they say.
    pub author: String,
    /// Why; may be empty.
    pub reason: String,
    /// When it was set.
    pub created: Timestamp,
    /// When it ends by itself, null when it does not.
    pub until: Option<Timestamp>,
    /// Whether it survives a restart; false when the state directory could not be written.
    #[serde(default = "yes")]
    pub persisted: bool,
}

const fn yes() -> bool {
    true
}

/// `GET /v1/overrides`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverrideList {
    /// All overrides: the appliance's, then VIPs, pools, backends, by name.
    pub items: Vec<Override>,
}

/// What an override asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverrideState {
    /// Backend or pool: keep the flows, take no new ones.
    Drain,
    /// Backend or pool: nothing any more.
    Disable,
    /// VIP or appliance: do not announce.
    Withhold,
}

impl OverrideState {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Disable, Self::Withhold];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
            Self::Withhold => "withhold",
        }
    }
}

/// Body of `PUT …/override`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// `drain` or `disable` for a backend or a pool, `withhold` for a VIP or the appliance.
    pub state: OverrideState,
    /// Why, for those who look later. At most 1,024 bytes, no control characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub reason: String,
    /// Who. At most 128 bytes, no control characters; left out, the user of the connection.
    #[schema(min_length = 1, max_length = 128)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When it ends by itself. Not together with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// After how long it ends by itself: a number and `s`, `m`, `h` or `d`. Not together with `until`.
    #[schema(pattern = "^[0-9]{1,8}[smhd]$")]
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
}
