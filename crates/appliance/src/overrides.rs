// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides: what operators set beside the document while the appliance runs.
//!
//! An override belongs to one object by name, whatever the document says of it: it survives reloads, replaced documents
//! and restarts until it is cleared or expires. One that names nothing of the present document stays and is shown as such.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
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

/// Why an override was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// Its state means nothing for the target.
    #[error("`{}` means nothing for `{target}`; allowed: {}", state.name(), target.allowed())]
    Meaningless {
        /// What it was for.
        target: Target,
        /// What it asked for.
        state: OverrideState,
    },
    /// Nobody says who set it.
    #[error("the author is missing")]
    NoAuthor,
    /// A text is too long.
    #[error("the {field} has {len} bytes; allowed: {max}")]
    TooLong {
        /// `author` or `reason`.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// A text has a line break or another control character, which would spoil logs and tables.
    #[error("the {field} has a control character")]
    ControlCharacter {
        /// `author` or `reason`.
        field: &'static str,
    },
    /// It would end before it begins.
    #[error("its end has passed already")]
    EndPassed,
    /// There are too many.
    #[error("there are {OVERRIDES_MAX} overrides, the most that are kept")]
    Full,
}

impl OverrideError {
    /// The field to change: `state`, `author`, `reason`, `until`; `None` when none would help.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Meaningless { .. } => Some("state"),
            Self::NoAuthor => Some("author"),
            Self::TooLong { field, .. } | Self::ControlCharacter { field } => Some(field),
            Self::EndPassed => Some("until"),
            Self::Full => None,
        }
    }
}

/// A text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not like `appliance`, `vip/NAME`, `pool/NAME` or `backend/POOL/NAME`")]
pub struct TargetError(String);

impl OverrideState {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Disable, Self::Withhold];

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

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
    /// The states that mean something for it, for an operator.
    fn allowed(&self) -> String {
        let allowed = OverrideState::ALL.into_iter().filter(|state| self.takes(*state));
        let words: Vec<String> = allowed.map(|state| format!("`{}`", state.name())).collect();
        words.join(", ")
    }

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

/// Reads what [`Target`] displays as.
impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["appliance"] => Ok(Self::Appliance),
            ["vip", vip] if !vip.is_empty() => Ok(Self::Vip(vip.to_owned())),
            ["pool", pool] if !pool.is_empty() => Ok(Self::Pool(pool.to_owned())),
            ["backend", pool, backend] if !pool.is_empty() && !backend.is_empty() => {
                Ok(Self::Backend { pool: pool.to_owned(), backend: backend.to_owned() })
            }
            _ => Err(TargetError(text.to_owned())),
        }
    }
}

impl Overrides {
    /// Whether `one` may be set for `target` now.
    pub fn check(&self, target: &Target, one: &Override, now: SystemTime) -> Result<(), OverrideError> {
        if !target.takes(one.state) {
            return Err(OverrideError::Meaningless { target: target.clone(), state: one.state });
        }
        if one.author.trim().is_empty() {
            return Err(OverrideError::NoAuthor);
        }
        for (field, text, max) in [("author", &one.author, AUTHOR_MAX), ("reason", &one.reason, REASON_MAX)] {
            if text.len() > max {
                return Err(OverrideError::TooLong { field, len: text.len(), max });
            }
            if text.chars().any(char::is_control) {
                return Err(OverrideError::ControlCharacter { field });
            }
        }
        if one.until.is_some_and(|until| until <= now) {
            return Err(OverrideError::EndPassed);
        }
        if self.by_target.len() >= OVERRIDES_MAX && !self.by_target.contains_key(target) {
            return Err(OverrideError::Full);
        }
        Ok(())
    }

    /// Takes out those whose end has come.
    pub fn take_expired(&mut self, now: SystemTime) -> BTreeMap<Target, Override> {
        let is_over = |one: &Override| one.until.is_some_and(|until| until <= now);
        let (over, left) = std::mem::take(&mut self.by_target).into_iter().partition(|(_, one)| is_over(one));
        self.by_target = left;
        over
    }

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

#[cfg(test)]
mod tests;
