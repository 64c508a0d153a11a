// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pools of backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BackendStatus, Condition, Override, Spec};

/// `GET /v1/pools/{pool}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Name in the document.
    pub name: String,
    /// What the document says of it.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: PoolStatus,
    /// Its override and those of its backends.
    pub overrides: Vec<Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// `GET /v1/pools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// All pools, by name.
    pub items: Vec<Pool>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// Forwarding mode: `ipip`, `gue`, `gue-candidates`, `gue-direct` or `l2`.
    pub mode: String,
    /// How rows are made.
    #[serde(default)]
    pub algorithm: String,
    /// The most backends it will ever have.
    pub max_backends: u32,
    /// Backends that take new flows.
    #[serde(default)]
    pub usable: u64,
    /// Backends of the document.
    #[serde(default)]
    pub total: u64,
    /// Weight of the usable backends over that of all that operators did not take out, 0 to 1.
    #[serde(default)]
    pub usable_weight_ratio: f64,
    /// What is wrong with it, if anything is.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Backends by name.
    pub backends: BTreeMap<String, BackendStatus>,
}
