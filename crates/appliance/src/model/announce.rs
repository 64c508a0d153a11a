// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When a VIP is announced and when it is withdrawn.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Attributes;

/// Announce policy of a VIP. The two marks and the two times keep it from flapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncePolicy {
    /// A service whose pool has less than this is not served; the VIP is withdrawn after [`Self::down_hold`], at once
    /// when nothing at all is usable.
    pub low: Mark,
    /// What a pool must have before a withdrawn VIP comes back; never below [`Self::low`].
    pub high: High,
    /// How long a withdrawn VIP must be fit again before it is announced; doubles with each withdrawal of the last minutes.
    pub up_hold: Duration,
    /// How long less than [`Self::low`], but not nothing, is tolerated.
    pub down_hold: Duration,
    /// What happens when no backend at all is usable.
    pub on_all_down: OnAllDown,
    /// Which services must be served.
    pub require: Require,
    /// What its announcement carries.
    pub attributes: Attributes,
}

/// A least amount of usable backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// That many usable backends.
    Backends(u32),
    /// That much of the pool's weight, 1 to 100; backends that operators took out do not count as part of the pool.
    Percent(u8),
}

/// When a withdrawn VIP may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum High {
    /// Two usable backends, or 30 % of the weight, whichever comes first.
    Usual,
    /// As the operator says.
    Mark(Mark),
}

/// What happens to the announcement when no backend at all is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAllDown {
    /// It is withdrawn: other sites take over.
    Withdraw,
    /// It stays with the least preference (GRACEFUL_SHUTDOWN, RFC 8326), so it is used only when nobody better announces.
    Deprioritise,
    /// It stays as it is: a single site, whose clients get a fast answer rather than silence.
    Keep,
}

/// Which services of a VIP must be served for it to be announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// Every one.
    All,
    /// One at least.
    Any,
    /// These, by name; each is a service of the VIP.
    Services(BTreeSet<String>),
}

impl Default for AnnouncePolicy {
    fn default() -> Self {
        Self {
            low: Mark::Backends(1),
            high: High::Usual,
            up_hold: Duration::from_secs(5),
            down_hold: Duration::from_secs(3),
            on_all_down: OnAllDown::Withdraw,
            require: Require::All,
            attributes: Attributes::default(),
        }
    }
}
