// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Version 1 of the shapes on the wire, readable and writable. Additions are not breaking; clients ignore fields they do
//! not know.
//!
//! Every object answers `{name, spec, status, overrides, generation}`: what the document says of it, what it is, what
//! operators set beside the document, and the generation in which the document says it. Lists are `{"items": […]}`, by name.

mod appliance;
mod backend;
mod bfd;
mod bgp;
mod document;
mod event;
mod overrides;
mod peer;
mod pool;
mod problem;
mod route;
mod scalar;
mod service;
mod session;
mod status;
mod vip;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use appliance::{Appliance, ApplianceFacts, ApplianceStatus, Lifecycle};
pub use backend::{
    Backend, BackendList, BackendState, BackendStatus, CheckDetail, CheckResult, CheckStatus, CheckVerdict,
    NextHopStatus,
};
pub use bfd::{BfdState, BfdStatus};
pub use bgp::{Bgp, BgpStatus, ImportedNextHop, ImportedRoute};
pub use document::{DocumentStatus, Rejection, Reloaded};
pub use event::{Event, EventKind};
pub use overrides::{Override, OverrideList, OverrideRequest, OverrideState};
pub use peer::{FamilyPrefixes, MessageCounts, Peer, PeerList, PeerStatus, SessionState};
pub use pool::{Pool, PoolList, PoolStatus};
pub use problem::{FieldError, ProblemDetails};
pub use route::{AdvertisedRoute, AdvertisedRouteList, ReceivedRoute, ReceivedRouteList};
pub use scalar::{Counter, NotATime, PreciseTime, Timestamp};
pub use service::{Service, ServiceList, ServiceStatus};
pub use session::{
    Capability, Direction, Discovery, GracefulRestart, Negotiated, Notification, NotificationCount, Remark,
    SessionTimers,
};
pub use status::{DataplaneStatus, HealthStatus, ReconcileStatus, Status, UplinkStatus, XdpMode};
pub use vip::{Vip, VipList, VipStatus, WithheldReason};

/// An object as the document has it, defaults filled in: the keys of the document's reference.
pub type Spec = serde_json::Map<String, serde_json::Value>;

/// Something that is or is not as it should be, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What is said: `withheld`, `announced`, `draining`, `problem` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub state: bool,
    /// Why, as a word of a closed list.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
    /// Since when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// When it ends by itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
    /// How much it matters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<Severity>,
}

/// How much a condition matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
