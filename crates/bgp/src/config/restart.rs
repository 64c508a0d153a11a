// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How sessions end, and what outlives a restart.

use std::time::Duration;

/// Graceful restart of the speaker (RFC 4724, RFC 8538). Only for one whose forwarding goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long peers keep our routes after a session was lost: whole seconds, 1 to 4095.
    pub restart_time: Duration,
    /// Forwarding of a process before goes on: the first OPENs say so (R and F bits), and End-of-RIB waits for
    /// [`crate::SpeakerHandle::release_end_of_rib`], at most [`Self::restart_time`].
    pub is_restarting: bool,
    /// Longest time the routes of a peer that restarts are kept.
    pub helper_max: Duration,
}

impl GracefulRestart {
    /// Restart time unless told otherwise.
    pub const RESTART_TIME_DEFAULT: Duration = Duration::from_secs(20);
    /// Bound of the peer's restart time unless told otherwise.
    pub const HELPER_MAX_DEFAULT: Duration = Duration::from_secs(120);
    /// The longest that 12 bits can say.
    pub const RESTART_TIME_MAX: Duration = Duration::from_secs(4095);
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self {
            restart_time: Self::RESTART_TIME_DEFAULT,
            is_restarting: false,
            helper_max: Self::HELPER_MAX_DEFAULT,
        }
    }
}

/// How the speaker ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// For good: everything is withdrawn, then Cease with the text; peers that would keep routes over a Cease get a Hard
    /// Reset (RFC 8538). Imported routes are removed.
    Stop {
        /// What the peers' operators read (RFC 9003), cut to 128 octets.
        text: String,
    },
    /// Another process follows soon and forwarding goes on: peers that agreed to keep our routes see the connection end and
    /// nothing else, all others as with [`Ending::Stop`]. Imported routes stay for the next process.
    Restart {
        /// What the other peers' operators read.
        text: String,
    },
}

impl Ending {
    /// The text for the peers' operators.
    pub fn text(&self) -> &str {
        match self {
            Self::Stop { text } | Self::Restart { text } => text,
        }
    }
}

/// Why a path to a peer counts as dead before the session noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathDown {
    /// BFD says so (RFC 5882, Cease subcode 10 of RFC 9384).
    Bfd,
    /// The interface is down or gone.
    Link,
}
