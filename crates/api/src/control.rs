// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one port from the API to the appliance.

use std::future::Future;

use crate::v1::Status;

/// What the API needs from the appliance. One implementation runs it, another is a fake in tests.
pub trait ControlPlane: Send + Sync + 'static {
    /// The whole state as of now, counters included.
    ///
    /// Fails when the part that owns the counters does not answer, or has too many questions waiting.
    fn status(&self) -> impl Future<Output = Result<Status, Unavailable>> + Send;

    /// What the two probes answer. Never waits.
    fn probes(&self) -> Probes;
}

/// Answers of `/livez` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probes {
    /// Parts whose loop has not turned for too long; empty when the process is alive.
    pub stuck: Vec<&'static str>,
    /// Parts that are not up yet, or are going down; empty when ready.
    pub not_ready: Vec<&'static str>,
}

/// Why no status can be given now. Answered as 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More questions wait than the queue holds.
    #[error("too many requests wait for the reconciler")]
    Busy,
    /// The owner of the state has ended.
    #[error("the reconciler has stopped")]
    Stopped,
}
