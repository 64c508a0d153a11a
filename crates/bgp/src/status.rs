// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of the speaker and its peers: snapshots, replaced whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::advertise::Prefix;
use crate::config::{Families, Family, RemoteAs};
pub use crate::session::State as PeerState;
use crate::wire::MessageType;

/// The whole speaker.
#[derive(Debug, Clone, Default)]
pub struct SpeakerStatus {
    /// Every configured peer by its name.
    pub peers: BTreeMap<String, PeerStatus>,
    /// Advertisements that were refused: too many communities, or a prefix named twice.
    pub rejected: Arc<[Prefix]>,
    /// Connections from addresses that are no peer's.
    pub strangers: u64,
}

impl SpeakerStatus {
    /// How many peers are Established.
    pub fn established(&self) -> usize {
        self.peers.values().filter(|p| p.state == PeerState::Established).count()
    }
}

/// One peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// Which AS it may be of.
    pub configured_as: RemoteAs,
    /// State of the further of its two connections.
    pub state: PeerState,
    /// AS the peer named, while its OPEN is accepted.
    pub remote_as: Option<u32>,
    /// Identifier the peer named, while its OPEN is accepted.
    pub remote_router_id: Option<Ipv4Addr>,
    /// Our end of the connection.
    pub local_address: Option<SocketAddr>,
    /// Since when it is Established, by the calendar.
    pub since: Option<SystemTime>,
    /// Since when it is Established, for [`PeerStatus::uptime`].
    pub established_at: Option<Instant>,
    /// Last NOTIFICATION we sent, in words.
    pub last_sent: Option<TimedText>,
    /// Last NOTIFICATION we received, in words and with the peer's text.
    pub last_received: Option<TimedText>,
    /// Last failure of the transport: connecting, reading, writing, or the peer closing.
    pub last_transport: Option<TimedText>,
    /// What was agreed on, while Established or about to be.
    pub negotiated: Option<Arc<NegotiatedStatus>>,
    /// IPv4 prefixes the peer was told.
    pub advertised_ipv4: Arc<[Prefix]>,
    /// IPv6 prefixes the peer was told.
    pub advertised_ipv6: Arc<[Prefix]>,
    /// Counters, never reset.
    pub counters: Counters,
}

impl PeerStatus {
    /// How long it has been Established at `now`.
    pub fn uptime(&self, now: Instant) -> Option<Duration> {
        self.established_at.map(|at| now.saturating_duration_since(at))
    }
}

/// What two OPENs agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedStatus {
    /// Hold time, `None` if neither side watches.
    pub hold_time: Option<Duration>,
    /// Families.
    pub families: Families,
    /// Every capability of the peer in words, known or not.
    pub capabilities: Vec<String>,
}

/// A text and when it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedText {
    /// When.
    pub at: SystemTime,
    /// What.
    pub text: String,
}

/// What is counted of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages received.
    pub messages_in: MessageCounts,
    /// Messages handed to the socket.
    pub messages_out: MessageCounts,
    /// IPv4 prefixes heard of; nothing is kept of them.
    pub received_ipv4: FamilyCounts,
    /// IPv6 prefixes heard of; nothing is kept of them.
    pub received_ipv6: FamilyCounts,
    /// Changes of state of either connection.
    pub transitions: u64,
    /// How often the session came up.
    pub established: u64,
    /// UPDATEs treated as withdraw (RFC 7606).
    pub treated_as_withdraw: u64,
    /// UPDATEs with attributes that were discarded (RFC 7606).
    pub attributes_discarded: u64,
    /// What was wrong with the last of both.
    pub last_finding: Option<String>,
}

impl Counters {
    pub(crate) fn received(&mut self, family: Family) -> &mut FamilyCounts {
        match family {
            Family::Ipv4Unicast => &mut self.received_ipv4,
            Family::Ipv6Unicast => &mut self.received_ipv6,
        }
    }
}

/// Messages by type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are the message types")]
pub struct MessageCounts {
    pub open: u64,
    pub update: u64,
    pub notification: u64,
    pub keepalive: u64,
    pub refresh: u64,
}

impl MessageCounts {
    pub(crate) fn add(&mut self, kind: MessageType) {
        *match kind {
            MessageType::Open => &mut self.open,
            MessageType::Update => &mut self.update,
            MessageType::Notification => &mut self.notification,
            MessageType::Keepalive => &mut self.keepalive,
            MessageType::Refresh => &mut self.refresh,
        } += 1;
    }

    /// All types together.
    pub fn total(&self) -> u64 {
        self.open + self.update + self.notification + self.keepalive + self.refresh
    }
}

/// What was heard of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilyCounts {
    /// Prefixes announced to us.
    pub announced: u64,
    /// Prefixes withdrawn, by the peer or by treatment.
    pub withdrawn: u64,
    /// Prefixes whose path contains our AS, our own ones coming back as a rule; not counted as announced.
    pub looped: u64,
    /// End-of-RIB markers.
    pub end_of_rib: u64,
}
