// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BGP peers and their sessions. Lists of prefixes are long and have answers of their own ([`super::AdvertisedRouteList`],
//! [`super::ReceivedRouteList`]); here are their sizes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    BfdStatus, Condition, Counter, Discovery, Negotiated, Notification, NotificationCount, Remark,
    SessionTimers, Spec, Timestamp,
};

/// `GET /v1/peers/{peer}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Name in the document; of one session of a range, `NAME/ADDRESS`.
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
    /// Where the document says it is found: an address, an interface, or the prefix of a range.
    #[serde(default)]
    pub remote: String,
    /// The peer's address, once known: configured, learnt on the interface, or the one it connected from.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The interface of an unnumbered session.
    pub interface: Option<String>,
    /// Sessions of a range now. Such a peer has no session of its own; they are peers named `NAME/ADDRESS`.
    pub sessions: Option<u64>,
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
    /// When the session went down; absent while it is up, and before it first was.
    pub down_since: Option<Timestamp>,
    /// When its timers are due.
    #[serde(default)]
    pub timers: SessionTimers,
    /// What both sides agreed on, once they have.
    pub negotiated: Option<Negotiated>,
    /// Prefixes of the session by family.
    pub prefixes: BTreeMap<String, FamilyPrefixes>,
    /// Messages of the session's life by type.
    pub messages: BTreeMap<String, MessageCounts>,
    /// NOTIFICATIONs by direction, code and subcode.
    #[serde(default)]
    pub notifications: Vec<NotificationCount>,
    /// The last NOTIFICATION sent.
    pub last_sent: Option<Notification>,
    /// The last NOTIFICATION received, with the peer's text (RFC 9003) made printable.
    pub last_received: Option<Notification>,
    /// The last failure of the transport: connecting, reading, writing, or the peer closing.
    pub last_transport: Option<Remark>,
    /// Times the session became Established.
    pub established_total: Counter,
    /// Times an Established session went down.
    pub down_total: Counter,
    /// UPDATE messages treated as a withdraw (RFC 7606).
    pub treat_as_withdraw_total: Counter,
    /// UPDATE messages of which attributes were discarded (RFC 7606).
    #[serde(default)]
    pub attributes_discarded_total: Counter,
    /// What was wrong with the last of both, in words.
    pub last_finding: Option<String>,
    /// BFD beside the session, when the document asks for it.
    pub bfd: Option<BfdStatus>,
    /// How the neighbour of an unnumbered session is found.
    pub discovery: Option<Discovery>,
}

impl PeerStatus {
    /// Whether it is a range, which has no session of its own.
    pub fn is_range(&self) -> bool {
        self.sessions.is_some()
    }
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
    /// How many the peer was told and not yet told to forget.
    pub advertised: u64,
    /// How many the peer has told us and not withdrawn.
    #[serde(default)]
    pub received: u64,
    /// Of those, the ones of before its restart, not told again yet.
    #[serde(default)]
    pub stale: u64,
    /// How many it may tell us; one more ends the session.
    #[serde(default)]
    pub limit: u64,
    /// Prefixes that the peer announced to us, again and again.
    pub announced_to_us_total: Counter,
    /// Prefixes that the peer withdrew.
    pub withdrawn_from_us_total: Counter,
    /// Prefixes with our AS in their path, which are not looked at: our own ones coming back.
    #[serde(default)]
    pub looped_total: Counter,
    /// End-of-RIB markers received.
    #[serde(default)]
    pub end_of_rib_total: Counter,
}

/// Messages of one type, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MessageCounts {
    /// Sent.
    pub sent: Counter,
    /// Received.
    pub received: Counter,
}
