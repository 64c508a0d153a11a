// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Parts of a BGP session: timers, what was agreed on, last words, how an unnumbered neighbour is found.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counter, Timestamp};

/// When the timers of a session are due, in seconds from now; absent when not running, 0 when due.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct SessionTimers {
    /// The session ends unless the peer is heard before.
    pub hold_seconds: Option<f64>,
    /// Our next KEEPALIVE.
    pub keepalive_seconds: Option<f64>,
    /// Our next attempt to connect.
    pub connect_seconds: Option<f64>,
    /// End of the rest after a failure.
    pub idle_seconds: Option<f64>,
    /// Routes of the peer, which restarts, are kept until then.
    pub stale_seconds: Option<f64>,
}

/// What two OPEN messages agreed on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Negotiated {
    /// Hold time, the smaller of both; absent when neither side watches.
    pub hold_time_seconds: Option<f64>,
    /// Families: `ipv4`, `ipv6`.
    pub families: Vec<String>,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Messages may be longer than 4096 octets (RFC 8654).
    pub extended_message: bool,
    /// Either side may ask for everything again (RFC 2918).
    pub route_refresh: bool,
    /// Refreshes have borders (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Graceful restart, if both sides offered it.
    pub graceful_restart: Option<GracefulRestart>,
    /// Capabilities that we offered.
    pub offered: Vec<Capability>,
    /// Capabilities that the peer offered, known or not.
    pub received: Vec<Capability>,
}

/// What was agreed on about restarts (RFC 4724, RFC 8538).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct GracefulRestart {
    /// How long the peer asks us to wait for it, in seconds.
    pub peer_time_seconds: u64,
    /// The peer said that it has just restarted.
    pub peer_is_restarting: bool,
    /// A NOTIFICATION does not end the keeping of routes, only a Hard Reset does.
    pub notification: bool,
    /// Families whose routes the peer keeps while we restart.
    pub kept_by_peer: Vec<String>,
    /// Families whose routes we keep while the peer restarts.
    pub kept_for_peer: Vec<String>,
}

/// One capability of an OPEN message (RFC 5492).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capability {
    /// Its code.
    pub code: u8,
    /// Name and value in words.
    pub text: String,
}

/// A NOTIFICATION, the last word of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// When.
    pub at: Timestamp,
    /// Error code.
    #[serde(default)]
    pub code: u8,
    /// Error subcode.
    #[serde(default)]
    pub subcode: u8,
    /// Both in words, with the text for the operator.
    pub text: String,
}

/// NOTIFICATIONs of one direction, code and subcode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationCount {
    /// Who said so.
    pub direction: Direction,
    /// Error code; 0 stands for all that are not registered.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// How many.
    pub total: Counter,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From us.
    Sent,
    /// From the peer.
    Received,
}

impl Direction {
    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// How the neighbour of an unnumbered session is found (RFC 4861).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Discovery {
    /// The interface exists and is up.
    pub link_up: bool,
    /// Our own link-local address on it.
    #[schema(value_type = Option<String>)]
    pub own: Option<IpAddr>,
    /// The neighbour we go by.
    #[schema(value_type = Option<String>)]
    pub neighbour: Option<IpAddr>,
    /// Other routers heard on a link that should have one.
    #[schema(value_type = Vec<String>)]
    pub others: Vec<IpAddr>,
    /// Router advertisements sent.
    pub sent_total: Counter,
    /// Router advertisements heard and taken.
    pub received_total: Counter,
    /// Messages that were no valid router advertisement.
    pub ignored_total: Counter,
    /// Time since the neighbour's last advertisement, in seconds.
    pub last_heard_seconds: Option<f64>,
    /// What keeps it from working, in words.
    pub error: Option<String>,
}

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
