// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BGP peers and their sessions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Counter, Spec, Timestamp};

/// `GET /v1/peers/{peer}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Name in the document.
    pub name: String,
    /// What the document says of it.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What it is.
    pub status: PeerStatus,
    /// Always empty: sessions have no overrides.
    pub overrides: Vec<super::Override>,
    /// Generation of the document in which this is said.
    pub generation: u64,
}

/// `GET /v1/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// All peers, by name.
    pub items: Vec<Peer>,
}

/// One BGP session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerStatus {
    /// The peer's address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// State of the session.
    pub state: SessionState,
    /// What is wrong with it, if anything is.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// AS number: the peer's once known, else the expected one, 0 when any is.
    pub remote_as: u32,
    /// The peer's BGP identifier, once known.
    pub remote_router_id: Option<String>,
    /// Own address of the session.
    #[schema(value_type = Option<String>)]
    pub local_address: Option<IpAddr>,
    /// When the session became Established.
    pub established_at: Option<Timestamp>,
    /// Hold time in use, in seconds.
    pub hold_time_seconds: Option<f64>,
    /// Capabilities the peer offered, in words.
    pub capabilities: Vec<String>,
    /// Prefixes of the session by family.
    pub prefixes: BTreeMap<String, FamilyPrefixes>,
    /// Messages of the session's life by type.
    pub messages: BTreeMap<String, MessageCounts>,
    /// The last NOTIFICATION sent, in words.
    pub last_sent: Option<Remark>,
    /// The last NOTIFICATION received, in words, with the peer's text (RFC 9003) made printable.
    pub last_received: Option<Remark>,
    /// The last failure of the transport: connecting, reading, writing, or the peer closing.
    pub last_transport: Option<Remark>,
    /// Times the session became Established.
    pub established_total: Counter,
    /// Times an Established session went down.
    pub down_total: Counter,
    /// UPDATE messages treated as a withdraw (RFC 7606).
    pub treat_as_withdraw_total: Counter,
}

/// State of a session (RFC 4271 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Nothing is tried.
    Idle,
    /// A connection is being made.
    Connect,
    /// Between two attempts, or waiting for the peer.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl SessionState {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Connect, Self::Active, Self::OpenSent, Self::OpenConfirm, Self::Established];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open_sent",
            Self::OpenConfirm => "open_confirm",
            Self::Established => "established",
        }
    }
}

/// Prefixes of one family on one session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct FamilyPrefixes {
    /// What the peer was told and not yet told to forget.
    pub advertised: Vec<String>,
    /// Prefixes that the peer announced to us; none is used.
    pub announced_to_us_total: Counter,
    /// Prefixes that the peer withdrew.
    pub withdrawn_from_us_total: Counter,
}

/// Messages of one type, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MessageCounts {
    /// Sent.
    pub sent: Counter,
    /// Received.
    pub received: Counter,
}

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
