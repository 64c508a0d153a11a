// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of the default routes.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::config::Family;
use crate::import::DefaultNextHop;

/// The default routes as the kernel had them after the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FibStatus {
    /// Every family, also one without a route.
    pub families: BTreeMap<Family, FibFamily>,
    /// Routes of an earlier run may still be kept besides what peers announce.
    pub is_adopting: bool,
    /// Next hops that an earlier run had left at the start.
    pub adopted: u64,
    /// How many of those went unclaimed and were removed.
    pub purged: u64,
    /// How often a route was put right that somebody else had changed or removed.
    pub mended: u64,
    /// Default routes with our protocol number in other tables: not touched, perhaps left by another configuration.
    pub elsewhere: u64,
    /// What is wrong now; `None` when all is as wanted.
    pub problem: Option<FibProblem>,
}

/// One family's default route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FibFamily {
    /// Next hops in the kernel with our protocol number and metric.
    pub next_hops: Vec<InstalledNextHop>,
    /// Since when there is a route at all, by the calendar; an adopted one since our start.
    pub since: Option<SystemTime>,
    /// When its next hops last changed.
    pub changed: Option<SystemTime>,
    /// Wanted next hops that the kernel does not take; they are tried again.
    pub refused: Vec<RefusedNextHop>,
    /// Another default route has our metric, so ours is not installed.
    pub is_blocked: bool,
}

/// A next hop in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledNextHop {
    /// Where it leads; the interface is always there.
    pub next_hop: DefaultNextHop,
    /// Name of the interface, unless it went in this moment.
    pub interface: Option<String>,
    /// The kernel does not use it now: its interface is down or has no carrier.
    pub is_dead: bool,
}

/// A next hop that the kernel does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedNextHop {
    /// Where it would lead.
    pub next_hop: DefaultNextHop,
    /// The kernel's words.
    pub reason: String,
}

/// Why the kernel does not have what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibProblem {
    /// What, in words.
    pub text: String,
    /// Since when.
    pub since: SystemTime,
}
