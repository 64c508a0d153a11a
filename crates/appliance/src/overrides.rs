// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides: what operators set beside the document while the appliance runs.
//!
//! An override belongs to one object by name, whatever the document says of it: it survives reloads, replaced documents
//! and restarts until it is cleared or expires. One that names nothing of the present document stays and is shown as such.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// Overrides at once, at most; beyond it a new one is refused.
pub const OVERRIDES_MAX: usize = 4_096;
/// Longest author, in bytes.
pub const AUTHOR_MAX: usize = 128;
/// Longest reason, in bytes.
pub const REASON_MAX: usize = 1_024;

/// What an override is about. Ordered: the appliance, VIPs, pools, backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Everything that this appliance announces.
    Appliance,
    /// A VIP by name.
    Vip(String),
    /// All backends of a pool by its name.
    Pool(String),
    /// One backend.
    Backend {
        /// Its pool.
        pool: String,
        /// Its name in the pool.
        backend: String,
    },
}

/// What an override asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverrideState {
    /// Backend or pool: keep the flows, take no new ones.
    Drain,
    /// Backend or pool: nothing any more.
    Disable,
    /// VIP or appliance: do not announce.
    Withhold,
}

/// One override; its target is its key in [`Overrides`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// What it asks for.
    pub state: OverrideState,
    /// Who set it, as they say.
    pub author: String,
    /// Why; may be empty.
    pub reason: String,
    /// When it was set.
    pub created: SystemTime,
    /// When it ends by itself, if it does.
    pub until: Option<SystemTime>,
}

/// All overrides in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// One at most for each target.
    pub by_target: BTreeMap<Target, Override>,
}

impl OverrideState {
    /// The word in the API, in files and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
            Self::Withhold => "withhold",
        }
    }
}

impl Target {
    /// Whether `state` means something for it.
    pub const fn takes(&self, state: OverrideState) -> bool {
        match self {
            Self::Appliance | Self::Vip(_) => matches!(state, OverrideState::Withhold),
            Self::Pool(_) | Self::Backend { .. } => {
                matches!(state, OverrideState::Drain | OverrideState::Disable)
            }
        }
    }
}

/// `appliance`, `vip/www`, `pool/web`, `backend/web/b1`: also its id in the API.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appliance => f.write_str("appliance"),
            Self::Vip(vip) => write!(f, "vip/{vip}"),
            Self::Pool(pool) => write!(f, "pool/{pool}"),
            Self::Backend { pool, backend } => write!(f, "backend/{pool}/{backend}"),
        }
    }
}

impl Overrides {
    /// What holds for one backend: its own or its pool's, the stronger of the two.
    pub fn backend(&self, pool: &str, backend: &str) -> Option<(&Override, Target)> {
        let own = Target::Backend { pool: pool.to_owned(), backend: backend.to_owned() };
        let of_pool = Target::Pool(pool.to_owned());
        [own, of_pool]
            .into_iter()
            .filter_map(|target| Some((self.by_target.get(&target)?, target)))
            .max_by_key(|(one, _)| one.state)
    }

    /// What withholds a VIP: its own override or the appliance's.
    pub fn withheld(&self, vip: &str) -> Option<(&Override, Target)> {
        [Target::Vip(vip.to_owned()), Target::Appliance]
            .into_iter()
            .find_map(|target| Some((self.by_target.get(&target)?, target)))
    }

    /// When the next one ends by itself.
    pub fn next_expiry(&self) -> Option<SystemTime> {
        self.by_target.values().filter_map(|one| one.until).min()
    }
}
