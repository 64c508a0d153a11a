// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker: what holds for all sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::Community;

/// AS number (RFC 6793), never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bgp {
    /// Own AS number.
    pub asn: Asn,
    /// Addresses that accept sessions; may be empty, then Weir only connects.
    pub listen: Vec<SocketAddr>,
    /// How long peers are asked to keep the routes of a daemon that restarts (RFC 4724), whole seconds; `None`: not at all.
    pub graceful_restart: Option<Duration>,
    /// Longest time that the routes of a peer that restarts are kept.
    pub helper_time: Duration,
    /// Where imported default routes go.
    pub import: Import,
    /// How a VIP leaves that an operator takes out.
    pub drain: Drain,
    /// Communities that have a name in this document.
    pub communities: BTreeMap<String, Community>,
}

/// Where default routes of peers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import {
    /// Routing table; 254 is `main`.
    pub table: u32,
    /// Protocol number by which our routes are known.
    pub protocol: u8,
    /// Metric; the kernel prefers lower ones.
    pub metric: u32,
}

/// How VIPs leave on purpose: first with GRACEFUL_SHUTDOWN (RFC 8326), so that peers turn to others while the path still
/// works, then withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Time between the two; zero: withdrawn at once.
    pub time: Duration,
    /// Own AS numbers added meanwhile, for peers that do not honour the community.
    pub prepend: u8,
    /// MED meanwhile, instead of the usual one.
    pub med: Option<u32>,
}
