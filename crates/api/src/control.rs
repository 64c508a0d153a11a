// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one port from the API to the appliance.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::events::EventLog;
use crate::metrics::Telemetry;
use crate::v1::{
    AdvertisedRouteList, CheckDetail, FieldError, Override, OverrideState, ReceivedRouteList, Reloaded,
    Status,
};

/// What the API needs from the appliance. One implementation runs it, another is a fake in tests.
pub trait ControlPlane: Send + Sync + 'static {
    /// The whole state as of now, counters included, and the document that it is the state of.
    ///
    /// Fails when the part that owns the counters does not answer, or has too many questions waiting.
    fn view(&self) -> impl Future<Output = Result<View, Unavailable>> + Send;

    /// The status and what only metrics tell, of one moment.
    fn scrape(&self) -> impl Future<Output = Result<(Status, Telemetry), Unavailable>> + Send;

    /// The accepted document. Never waits.
    fn document(&self) -> Arc<DocumentView>;

    /// The checks of a pool with their last results, by backend; empty for a pool without checks.
    fn checks(
        &self,
        pool: &str,
    ) -> impl Future<Output = Result<BTreeMap<String, Vec<CheckDetail>>, Unavailable>> + Send;

    /// A page of what a peer was told; `None` when there is no such peer. Never waits.
    fn advertised(&self, peer: &str, page: Page) -> Option<AdvertisedRouteList>;

    /// A page of what a peer told us; `None` when there is no such peer. Never waits.
    fn received(&self, peer: &str, page: Page) -> Option<ReceivedRouteList>;

    /// All overrides in force, in the order of their ids' kinds: appliance, VIPs, pools, backends. Never waits.
    fn overrides(&self) -> Vec<Override>;

    /// Sets or replaces the override of an object. Resolves once it is in force and, if the disk allows, kept.
    fn set_override(
        &self,
        target: OverrideTarget,
        wish: OverrideWish,
    ) -> impl Future<Output = Result<OverrideSet, OverrideRefused>> + Send;

    /// Clears the override of an object; `false` when there was none.
    fn clear_override(
        &self,
        target: OverrideTarget,
    ) -> impl Future<Output = Result<bool, OverrideRefused>> + Send;

    /// Reads the document again, all or nothing. Resolves once it is accepted or refused.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, ReloadRefused>> + Send;

    /// What happened so far, and what will.
    fn events(&self) -> &Arc<EventLog>;

    /// What the two probes answer. Never waits.
    fn probes(&self) -> Probes;
}

/// A status and the document that it is the status of.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The status.
    pub status: Status,
    /// The document.
    pub document: Arc<DocumentView>,
}

/// Which prefixes of a long list are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Those behind this one, whether it is still there or not; `None`: from the first.
    pub after: Option<(IpAddr, u8)>,
    /// At most so many, at least one.
    pub limit: usize,
}

/// The accepted document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentView {
    /// Canonical form: the document's own shape, defaults filled in.
    pub json: serde_json::Value,
    /// SHA-256 of it, as hex digits.
    pub hash: String,
    /// Its number.
    pub generation: u64,
}

/// What an override is about. Names are those of the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverrideTarget {
    /// Everything that this appliance announces.
    Appliance,
    /// A VIP.
    Vip(String),
    /// All backends of a pool.
    Pool(String),
    /// One backend.
    Backend {
        /// Its pool.
        pool: String,
        /// Its name in the pool.
        backend: String,
    },
}

impl OverrideTarget {
    /// The override's id: `appliance`, `vip/www`, `pool/web`, `backend/web/b1`.
    pub fn id(&self) -> String {
        match self {
            Self::Appliance => "appliance".to_owned(),
            Self::Vip(vip) => format!("vip/{vip}"),
            Self::Pool(pool) => format!("pool/{pool}"),
            Self::Backend { pool, backend } => format!("backend/{pool}/{backend}"),
        }
    }
}

/// An override as asked for; the shape is right, the values are the control plane's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideWish {
    /// What it asks for.
    pub state: OverrideState,
    /// Who, as they say.
    pub author: String,
    /// Why; may be empty.
    pub reason: String,
    /// When it ends by itself, if it does.
    pub until: Option<SystemTime>,
}

/// An override that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideSet {
    /// As it is in force.
    pub set: Override,
    /// Whether the object had none before.
    pub is_new: bool,
}

/// Why an override was not set or cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideRefused {
    /// A value is not allowed. Answered as 422.
    #[error("{}: {}", .0.path, .0.message)]
    Invalid(FieldError),
    /// There are as many as there may be. Answered as 409.
    #[error("there are {max} overrides already, clear some first")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Nobody keeps overrides now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadRefused {
    /// The document is not valid. Answered as 422.
    #[error("the document has {} error{}", errors.len(), if errors.len() == 1 { "" } else { "s" })]
    Invalid {
        /// All of them.
        errors: Vec<FieldError>,
    },
    /// It changes parts that are fixed while the process runs. Answered as 409.
    #[error("a change of `{}` needs a restart", sections.join("`, `"))]
    NeedsRestart {
        /// Those parts of the document.
        sections: Vec<String>,
    },
    /// Nobody reloads now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Answers of `/livez` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probes {
    /// Parts whose loop has not turned for too long; empty when the process is alive.
    pub stuck: Vec<&'static str>,
    /// Parts that are not up yet, or are going down; empty when ready.
    pub not_ready: Vec<&'static str>,
}

/// Why no answer can be given now. Answered as 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More questions wait than the queue holds.
    #[error("too many requests are waiting")]
    Busy,
    /// The owner of the state has ended.
    #[error("the part that answers has stopped")]
    Stopped,
    /// The part that answers is not up yet.
    #[error("the appliance is starting")]
    Starting,
}
