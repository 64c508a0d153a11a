// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Announced addresses, and why one is not announced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Counter, Override, PreciseTime, Spec};

/// `GET /v1/vips/{vip}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Vip {
    /// Name in the document.
    pub name: String,
    /// What the document says of it.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: VipStatus,
    /// Its override and the appliance's.
    pub overrides: Vec<Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// `GET /v1/vips`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VipList {
    /// All VIPs, by name.
    pub items: Vec<Vip>,
}

/// One announced address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VipStatus {
    /// Its address, or its prefix with the length behind it.
    pub address: String,
    /// Whether pings are answered while it is announced.
    #[serde(default)]
    pub echo: bool,
    /// Whether it shall be announced now.
    pub announce_desired: bool,
    /// Whether at least one Established peer was told.
    pub announced: bool,
    /// Why it is not announced; empty when it is.
    pub withheld: Vec<WithheldReason>,
    /// The same with sentences and times, one for each reason.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Whether each peer of the document is Established and was told.
    #[serde(default)]
    pub peers: BTreeMap<String, bool>,
    /// When the last change of the announcement was decided.
    #[serde(default)]
    pub decided_at: Option<PreciseTime>,
    /// When the peers had been told of it.
    #[serde(default)]
    pub told_at: Option<PreciseTime>,
    /// Times it began and ceased to be announced, by `announced` and `withdrawn`.
    pub transitions: BTreeMap<String, Counter>,
}

/// Why a VIP is not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithheldReason {
    /// An operator, or the stop of this appliance, withholds it.
    Admin,
    /// Its forwarding is not in place, or was not verified.
    Dataplane,
    /// The uplink is down.
    Uplink,
    /// A service has too few usable backends, or the VIP no service.
    Backends,
    /// Checks have no first results yet.
    FirstResults,
    /// It is fit again, but not for long enough.
    Settle,
    /// It shall be announced, but no peer is Established.
    NoPeer,
}

impl WithheldReason {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Dataplane,
        Self::Uplink,
        Self::Backends,
        Self::FirstResults,
        Self::Settle,
        Self::NoPeer,
    ];

    /// The word in status, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dataplane => "dataplane",
            Self::Uplink => "uplink",
            Self::Backends => "backends",
            Self::FirstResults => "first-results",
            Self::Settle => "settle",
            Self::NoPeer => "no-peer",
        }
    }
}
