// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of the reconciler: the outcome of its last pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::desired::{BackendOutcome, Reason};
use super::plan::StepKind;
use super::ports::PortError;
use crate::model::Generation;

/// Outcome of the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReconcileStatus {
    /// Generation that is in force as a whole, `None` before the first.
    pub applied: Option<Generation>,
    /// Passes so far.
    pub passes: u64,
    /// Passes in which a step failed.
    pub failed_passes: u64,
    /// When the last pass ended.
    pub ended_at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// The steps that failed in it.
    pub failed: Vec<(StepKind, PortError)>,
    /// When the failed steps are tried again, from the end of the pass.
    pub retry_in: Option<Duration>,
    /// Whether XDP is attached.
    pub is_attached: bool,
    /// Slots of the flow table in use at the last sweep.
    pub flow_slots_used: u64,
    /// VIPs by name.
    pub vips: BTreeMap<String, VipOutcome>,
    /// Backends by pool and name.
    pub backends: BTreeMap<(String, String), BackendOutcome>,
}

/// What became of one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipOutcome {
    /// The address.
    pub address: IpAddr,
    /// Whether the speaker was told to announce it.
    pub is_told: bool,
    /// Why it is withheld; empty when it shall be announced.
    pub withheld: BTreeSet<Reason>,
    /// Times the speaker was told to announce it.
    pub announced: u64,
    /// Times the speaker was told to withdraw it.
    pub withdrawn: u64,
}
