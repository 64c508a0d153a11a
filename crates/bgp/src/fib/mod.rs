// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The default routes of this host that come from peers, kept true in the kernel's table.
//!
//! ```text
//!   FibHandle::set ──watch, latest wins──► task ──► plan (pure) ──► requests ──► kernel
//!   kernel ──multicast: only wakes──────────► │ ▲                                  │
//!   every 30 s ──────────────────────────────►│ └──── our routes, read whole ◄─────┘
//!   FibHandle::status ◄──watch────────────────┘
//! ```
//!
//! Ours is what carries our protocol number in our table: at most one default route for each family, of our metric.
//! Nothing else is read, changed or removed; a foreign route of the same metric is a conflict that is told and not solved.
//! What an earlier run left is kept until the peers have spoken again, or [`ADOPTION_MAX`]; so packets flow on while
//! a speaker restarts. What others remove is put back, ever more slowly if they insist.
//!
//! `plan`, `adoption`, `outcome` and `pace` are pure; `message` translates, `netlink` is the sockets, `task` the loop. Sessions and peers are not
//! known here. Decisions: `docs/adr/0023-imported-default-routes.md`.

mod adoption;
mod message;
mod netlink;
mod outcome;
mod pace;
mod plan;
mod status;
mod task;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use crate::import::{DefaultNextHop, Defaults};
pub use status::{FibFamily, FibProblem, FibStatus, InstalledNextHop, RefusedNextHop};

/// Longest time that routes of an earlier run are kept without a peer that announces them again.
///
/// Peers are dialled every 5 s and tell all they have within a second or two of that; a peer that is not back by then
/// was not restarting with us.
pub const ADOPTION_MAX: Duration = Duration::from_secs(60);
/// Longest time that the end may take: an answer or two of the kernel, or none.
const END_MAX: Duration = Duration::from_secs(1);

/// Where imported default routes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FibConfig {
    /// Routing table: 254 (main) as a rule; not 0, not 255 (local).
    pub table: u32,
    /// Protocol number that marks routes as ours; must be nobody else's on this host, and above 4.
    pub protocol: u8,
    /// Metric, at least 1; among default routes of one table the kernel takes the lowest.
    pub metric: u32,
}

impl FibConfig {
    /// The table that every packet of the host is looked up in.
    pub const TABLE_DEFAULT: u32 = 254;
    /// A number that the kernel's list gives to nobody.
    pub const PROTOCOL_DEFAULT: u8 = 87;
    /// Behind a default route without a metric (IPv4), before those of DHCP and router advertisements.
    pub const METRIC_DEFAULT: u32 = 20;

    /// Checks the numbers against those that mean something else to the kernel.
    pub fn validate(&self) -> Result<(), FibConfigError> {
        match self {
            Self { table: 0 | 255, .. } => Err(FibConfigError::Table { table: self.table }),
            // 0 would match every route when removing; 1 to 4 are redirects, the kernel, boot scripts and operators.
            Self { protocol: 0..=4, .. } => Err(FibConfigError::Protocol { protocol: self.protocol }),
            // The kernel makes 1024 of an IPv6 route's metric 0.
            Self { metric: 0, .. } => Err(FibConfigError::Metric),
            Self { .. } => Ok(()),
        }
    }
}

impl Default for FibConfig {
    fn default() -> Self {
        Self { table: Self::TABLE_DEFAULT, protocol: Self::PROTOCOL_DEFAULT, metric: Self::METRIC_DEFAULT }
    }
}

/// A fault of a [`FibConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FibConfigError {
    /// The table is none that routes may be added to.
    #[error("routing table {table} cannot be used, the main one is 254")]
    Table {
        /// The number.
        table: u32,
    },
    /// The protocol number is the kernel's or an operator's.
    #[error("protocol number {protocol} is not ours to use, it must be above 4")]
    Protocol {
        /// The number.
        protocol: u8,
    },
    /// Metric 0.
    #[error("metric 0 cannot be used, the kernel makes another of it for IPv6")]
    Metric,
}

/// Why default routes cannot be kept at all.
#[derive(Debug, thiserror::Error)]
pub enum FibError {
    /// The configuration has a fault.
    #[error("default routes: {0}")]
    Config(#[from] FibConfigError),
    /// Called outside a tokio runtime.
    #[error("no runtime to run on")]
    NoRuntime,
    /// A netlink socket could not be opened.
    #[error("open a netlink socket for default routes")]
    Socket(#[source] std::io::Error),
}

/// How much of the truth a wish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Some peers have not spoken since the start: routes of an earlier run stay beside the wish.
    Partial,
    /// Every peer has told all it has: what is not in the wish goes. Later wishes are whole as well.
    Whole,
}

/// What becomes of the installed routes when the task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// They stay for the next start to adopt.
    Keep,
    /// They go.
    Remove,
}

/// What the task is to make true.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    defaults: Defaults,
    completeness: Completeness,
}

/// Starts the task that keeps default routes.
#[derive(Debug)]
pub struct Fib;

impl Fib {
    /// Opens the sockets in the network namespace of the calling thread and spawns the task on the current runtime.
    ///
    /// Routes with our protocol number that are there already are adopted, see [`Completeness`] and `adoption_max`
    /// ([`ADOPTION_MAX`] as a rule). Rights are not needed to start: what the kernel refuses is in the status.
    pub fn start(config: FibConfig, adoption_max: Duration) -> Result<FibHandle, FibError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| FibError::NoRuntime)?;
        let none = Wish { defaults: Defaults::new(), completeness: Completeness::Partial };
        let (wish, wishes) = watch::channel(none);
        let (publish, status) = watch::channel(Arc::new(FibStatus::default()));
        let (stop, stopped) = watch::channel(None);
        let task = {
            let _entered = runtime.enter();
            task::Task::new(config, adoption_max, wishes, publish, stopped).map_err(FibError::Socket)?
        };
        Ok(FibHandle { wish, status, stop, task: runtime.spawn(task.run()) })
    }
}

/// A running task. Dropping it ends the task as [`AtEnd::Keep`] does.
#[derive(Debug)]
pub struct FibHandle {
    wish: watch::Sender<Wish>,
    status: watch::Receiver<Arc<FibStatus>>,
    stop: watch::Sender<Option<AtEnd>>,
    task: JoinHandle<()>,
}

impl FibHandle {
    /// Says which default routes are wanted; the latest word counts. Of more than 16 next hops the lowest are taken.
    pub fn set(&self, mut defaults: Defaults, completeness: Completeness) {
        for hops in defaults.values_mut() {
            if hops.len() > crate::import::NEXT_HOPS_MAX {
                let kept: BTreeSet<_> = hops.iter().copied().take(crate::import::NEXT_HOPS_MAX).collect();
                *hops = kept;
            }
        }
        self.wish.send_if_modified(|current| {
            // What was whole once stays so: an adoption that has ended does not begin again.
            let completeness = match current.completeness {
                Completeness::Whole => Completeness::Whole,
                Completeness::Partial => completeness,
            };
            let wish = Wish { defaults, completeness };
            let is_new = *current != wish;
            *current = wish;
            is_new
        });
    }

    /// What is in the kernel and what it refused; changes after every pass that found something new.
    pub fn status(&self) -> watch::Receiver<Arc<FibStatus>> {
        self.status.clone()
    }

    /// Ends the task, within a second.
    pub async fn end(self, at_end: AtEnd) {
        // The task may have ended by itself when its sockets did; then nobody listens.
        self.stop.send_replace(Some(at_end));
        let abort = self.task.abort_handle();
        match tokio::time::timeout(END_MAX, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the task of the default routes had failed"),
            Err(_) => {
                abort.abort();
                tracing::warn!(?at_end, "default routes: the kernel did not answer in time at the end");
            }
        }
    }
}

#[cfg(test)]
mod netns_tests;
#[cfg(test)]
mod tests;
