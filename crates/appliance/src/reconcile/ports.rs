// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the reconciler needs of its siblings. The real ones are in `adapters`, fakes that can fail in `fake`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use weir_bgp::Advertisement;
use weir_dataplane::forwarding::Service;
use weir_dataplane::{BackendFlows, BackendIds};
use weir_health::{Check, CheckKey};

use super::desired::Target;

/// The dataplane, owned by the reconciler. Calls may block for some milliseconds.
pub trait Forwarder: Send {
    /// Makes `target` the whole state. After an error each service is as before or as in `target`.
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError>;
    /// Attaches XDP to every uplink; changes nothing where it is attached already.
    fn attach(&mut self) -> Result<(), PortError>;
    /// Whether XDP still is where [`Self::attach`] put it: an interface that goes away takes it along, and somebody may take
    /// it off.
    fn is_attached(&mut self) -> bool;
    /// Takes XDP off every uplink and removes the pins.
    fn detach(&mut self) -> Result<(), PortError>;
    /// What was counted so far.
    fn traffic(&mut self) -> Result<Traffic, PortError>;
    /// Goes on clearing flows that ended, for a millisecond or two. Gives what was found once the whole table was seen; the
    /// next call begins anew. To be begun every few seconds.
    fn sweep(&mut self) -> Result<Option<Flows>, PortError>;
    /// Ids of all backends of the state in force, by pool and name.
    fn backend_ids(&mut self) -> Arc<BackendIds>;
    /// Makes a packet for each service and sees whether the program would send it to a backend; nothing is counted or
    /// remembered. `Err` says why not.
    fn verify(&mut self, services: &BTreeMap<String, Service>) -> BTreeMap<String, Result<(), String>>;
    /// Makes the way that checks take into their tunnels; changes nothing where it is there already.
    fn open_check_path(&mut self) -> Result<(), PortError>;
    /// Puts the program that copies ICMP errors back where somebody took it off. To be called every few seconds.
    fn keep_clones(&mut self);
}

/// The health monitor.
pub trait Checker: Send {
    /// Makes `checks` the whole set. What is unchanged goes on undisturbed.
    fn set_checks(
        &mut self,
        checks: BTreeMap<CheckKey, Check>,
    ) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// The speaker.
pub trait Announcer: Send {
    /// Makes `wanted` the whole advertised set, withdraws first. Resolves once the peers were told.
    fn set_advertisements(
        &mut self,
        wanted: &BTreeSet<Advertisement>,
    ) -> impl Future<Output = Result<(), PortError>> + Send;
    /// Every VIP was decided once and the peers were told: peers that kept routes over a restart need not wait any longer.
    /// Said again and again it changes nothing.
    fn handle_complete(&mut self);
    /// Whether packets would go on if this process ended now. Until told otherwise they would.
    fn set_forwarding(&mut self, is_preserved: bool);
}

/// Why a sibling did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// It tried and failed; trying again may help.
    #[error("{cause}")]
    Failed {
        /// The sibling's words, its sources included.
        cause: String,
    },
    /// It has ended; nothing will help.
    #[error("{part} has ended")]
    Gone {
        /// Which sibling.
        part: &'static str,
    },
}

impl PortError {
    /// A failure in the words of `error` and its sources.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            cause.push_str(": ");
            cause.push_str(&error.to_string());
            source = error.source();
        }
        Self::Failed { cause }
    }
}

/// What a sweep of the flow table found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flows {
    /// Slots in use.
    pub slots_used: u64,
    /// Live flows by pool and backend; `None` when they were not counted.
    pub by_backend: Option<Arc<BackendFlows>>,
}

/// Counters of the packet path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets by verdict, in the order of the verdicts.
    pub verdicts: Vec<(&'static str, u64)>,
    /// Packets of health checks by what became of them on their way into the tunnel.
    pub checks: Vec<(&'static str, u64)>,
    /// Frames that were lost behind the program, by why.
    pub losses: Vec<(&'static str, u64)>,
    /// By service.
    pub services: BTreeMap<String, Count>,
    /// By pool and backend.
    pub backends: BTreeMap<(String, String), Count>,
}

/// What one object carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// Flows that began.
    pub new_flows: u64,
}
