// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BFD beside a BGP session (RFC 5880).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counter, Timestamp};

/// BFD of one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BfdStatus {
    /// Our state.
    pub state: BfdState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why, in the words of RFC 5880.
    pub diagnostic: String,
    /// What the peer says of its own state; absent while nothing is heard of it.
    pub remote_state: Option<BfdState>,
    /// The peer's reason.
    pub remote_diagnostic: String,
    /// It shall be up and never was, so it protects nothing: the peer does not speak BFD here, speaks multihop, or drops our packets.
    pub is_never_up: bool,
    /// Times it came up.
    pub up_total: Counter,
    /// Times it went down.
    pub down_total: Counter,
    /// Time between our packets, in seconds.
    pub transmit_interval_seconds: Option<f64>,
    /// Time between the peer's packets, in seconds.
    pub receive_interval_seconds: Option<f64>,
    /// Silence that is taken for the end, in seconds.
    pub detection_time_seconds: Option<f64>,
}

/// State of a BFD session (RFC 5880 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BfdState {
    /// Switched off, which says nothing of the path.
    AdminDown,
    /// The path is down, or nobody answers.
    Down,
    /// The peer is heard, and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

impl BfdState {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin_down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}
