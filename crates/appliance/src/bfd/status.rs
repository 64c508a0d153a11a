// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of BFD with the peers: one picture, replaced whole.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_bfd::{Discards, Scheduling, SessionStatus};

use crate::model::Bfd;

/// BFD as a whole. Empty where no peer asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BfdStatus {
    /// Peers that ask for it, by the names that the speaker's status has: `NAME`, or `NAME/ADDRESS` of a range.
    pub peers: BTreeMap<String, BfdPeer>,
    /// How its thread is scheduled; `None` while it does not run.
    pub scheduling: Option<Scheduling>,
    /// Dropped datagrams by reason.
    pub discards: Discards,
    /// Most that its thread was late since the start.
    pub late_max: Duration,
    /// Most that its thread was late in the last second.
    pub late_recent: Duration,
}

impl BfdStatus {
    /// How many sessions are Up.
    pub fn up(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_up()).count()
    }
}

/// BFD with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdPeer {
    /// What the document asks for.
    pub wanted: Bfd,
    /// The session; `None` while the peer's address or ours is not known, or BFD could not start.
    pub session: Option<SessionStatus>,
    /// Whether BFD protects the BGP session.
    pub protection: Protection,
}

impl BfdPeer {
    /// Whether the path is watched now.
    pub fn is_up(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.state == weir_bfd::State::Up)
    }
}

/// Whether BFD does what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Nothing to say: BGP is not Established, or not for long.
    #[default]
    Open,
    /// BGP is Established and BFD is Up.
    Protected,
    /// BGP has been Established for a while, and BFD never came up: the peer does not speak it here, or speaks multihop.
    NeverUp,
    /// BGP has been Established for a while, and BFD was up once and is not.
    Lost,
}

impl Protection {
    /// The word in status and API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Protected => "protected",
            Self::NeverUp => "never-up",
            Self::Lost => "lost",
        }
    }
}
