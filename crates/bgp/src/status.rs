// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know of the speaker and its peers: snapshots, replaced whole.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::advertise::Prefix;
use crate::config::{Families, Family, PeerConfig, Remote, RemoteAs};
use crate::fib::FibStatus;
pub use crate::rib::AdjRibOutView;
pub use crate::session::State as PeerState;
use crate::wire::iana::{cease, error_code, error_words};
use crate::wire::{Capability, MessageType, Notification};

/// The whole speaker.
#[derive(Debug, Clone, Default)]
pub struct SpeakerStatus {
    /// Every configured peer by its name, and every session of a range by `NAME/ADDRESS`. A range itself is as far as the
    /// furthest of its sessions, or [`PeerState::Active`]; it is not one that comes up.
    pub peers: BTreeMap<String, PeerStatus>,
    /// Advertisements that were refused: too many communities, or a prefix named twice.
    pub rejected: Arc<[Prefix]>,
    /// Connections from addresses that are no peer's.
    pub strangers: u64,
    /// The default routes of this host, if the speaker keeps any; gone once it has ended.
    pub fib: Option<Arc<FibStatus>>,
    /// Connections of peers that were closed because there were too many: of the peer at once, or of its range.
    pub refused: u64,
    /// What an operator has to mend, in words: keys that cannot be.
    pub faults: Arc<[String]>,
}

impl SpeakerStatus {
    /// How many peers are Established.
    pub fn established(&self) -> usize {
        let is_session = |peer: &&PeerStatus| {
            peer.state == PeerState::Established
                && (peer.address.is_some() || !matches!(peer.remote, Remote::Range { .. }))
        };
        self.peers.values().filter(is_session).count()
    }
}

/// One peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Where it is configured to be found.
    pub remote: Remote,
    /// Its address, once known: configured, learnt by discovery, or the one it connected from.
    pub address: Option<IpAddr>,
    /// The interface of an unnumbered session.
    pub interface: Option<String>,
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
    /// Since when it is down after having been Established, by the calendar.
    pub down_since: Option<SystemTime>,
    /// Last NOTIFICATION we sent.
    pub last_sent: Option<TimedNotification>,
    /// Last NOTIFICATION we received, with the peer's text.
    pub last_received: Option<TimedNotification>,
    /// NOTIFICATIONs we sent, never reset.
    pub notifications_sent: NotificationCounts,
    /// NOTIFICATIONs we received, never reset.
    pub notifications_received: NotificationCounts,
    /// Last failure of the transport: connecting, reading, writing, or the peer closing.
    pub last_transport: Option<TimedText>,
    /// What was agreed on, while Established or about to be.
    pub negotiated: Option<Arc<NegotiatedStatus>>,
    /// When its timers are due.
    pub timers: SessionTimers,
    /// What the peer was told.
    pub adj_rib_out: AdjRibOutView,
    /// What the peer has told, sorted by prefix: at most `prefixes_max` of each family.
    pub adj_rib_in: Arc<[ReceivedRoute]>,
    /// Until when the routes of a peer that restarts are kept.
    pub stale_until: Option<Instant>,
    /// How the neighbour of an unnumbered session is found.
    pub discovery: Option<DiscoveryStatus>,
    /// What an operator should look at.
    pub warnings: Vec<PeerWarning>,
    /// Counters, never reset.
    pub counters: Counters,
}

impl PeerStatus {
    /// A peer about which nothing is known yet.
    pub fn new(config: &PeerConfig) -> Self {
        Self {
            remote: config.remote.clone(),
            address: config.remote.address(),
            interface: config.remote.interface().map(str::to_owned),
            configured_as: config.remote_as,
            state: PeerState::Idle,
            remote_as: None,
            remote_router_id: None,
            local_address: None,
            since: None,
            established_at: None,
            down_since: None,
            last_sent: None,
            last_received: None,
            notifications_sent: NotificationCounts::default(),
            notifications_received: NotificationCounts::default(),
            last_transport: None,
            negotiated: None,
            timers: SessionTimers::default(),
            adj_rib_out: AdjRibOutView::default(),
            adj_rib_in: Arc::default(),
            stale_until: None,
            discovery: None,
            warnings: Vec::new(),
            counters: Counters::default(),
        }
    }

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
    /// Every capability of the peer, known or not.
    pub capabilities: Vec<CapabilityWords>,
    /// Every capability that we offered.
    pub offered: Vec<CapabilityWords>,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub has_extended_next_hop: bool,
    /// Either side may ask for everything again (RFC 2918).
    pub has_refresh: bool,
    /// Refreshes have borders (RFC 7313).
    pub has_enhanced_refresh: bool,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Messages may be longer than 4096 octets (RFC 8654).
    pub has_extended_message: bool,
    /// Graceful restart, if both offered it.
    pub graceful_restart: Option<NegotiatedRestart>,
}

/// A capability for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityWords {
    /// Its code.
    pub code: u8,
    /// Name and value in words.
    pub text: String,
}

impl From<&Capability> for CapabilityWords {
    fn from(capability: &Capability) -> Self {
        Self { code: capability.code(), text: capability.to_string() }
    }
}

/// What two OPENs agreed on about restarts (RFC 4724).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedRestart {
    /// How long the peer asks us to wait for it.
    pub peer_time: Duration,
    /// The peer has just restarted (R bit).
    pub peer_is_restarting: bool,
    /// A NOTIFICATION does not end the keeping of routes, only a Hard Reset does (RFC 8538, N bit of both).
    pub has_notification: bool,
    /// Families whose routes the peer keeps while we restart: those we offered, if the peer takes part.
    pub kept_by_peer: Families,
    /// Families whose routes we keep while the peer restarts.
    pub kept_for_peer: Families,
}

/// When the timers of a session are due, of the further of its two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionTimers {
    /// The session ends unless the peer is heard before.
    pub hold_at: Option<Instant>,
    /// Our next KEEPALIVE.
    pub keepalive_at: Option<Instant>,
    /// Our next attempt to connect.
    pub connect_at: Option<Instant>,
    /// End of the rest after a failure.
    pub idle_until: Option<Instant>,
}

/// One prefix that a peer was told, with what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedRoute {
    /// The prefix.
    pub prefix: Prefix,
    /// Its next hop.
    pub next_hop: IpAddr,
    /// AS_PATH in words.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities.
    pub communities: Vec<u32>,
    /// Large communities.
    pub large_communities: Vec<[u32; 3]>,
    /// Link bandwidth, octets per second.
    pub link_bandwidth: Option<u64>,
}

/// One prefix that a peer has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRoute {
    /// The prefix.
    pub prefix: Prefix,
    /// Its next hops as sent, `::` left out.
    pub next_hops: Vec<IpAddr>,
    /// AS_PATH in words.
    pub as_path: String,
    /// Number of ASes in the path, a set counting as one (RFC 4271 §9.1.2.2).
    pub as_path_len: u32,
    /// First AS of the path.
    pub first_as: Option<u32>,
    /// ORIGIN as on the wire: 0 IGP, 1 EGP, 2 INCOMPLETE.
    pub origin: u8,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities.
    pub communities: Vec<u32>,
    /// Large communities.
    pub large_communities: Vec<[u32; 3]>,
    /// The peer restarts, and has not told it again.
    pub is_stale: bool,
    /// When it was told last.
    pub received_at: SystemTime,
}

/// How the neighbour on an interface is found (RFC 4861 router advertisements).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiscoveryStatus {
    /// The interface exists and is up.
    pub is_link_up: bool,
    /// Our own link-local address on it.
    pub own: Option<Ipv6Addr>,
    /// The neighbour we go by.
    pub neighbour: Option<Ipv6Addr>,
    /// Other routers heard on the link, which should be point-to-point; at most 8.
    pub others: Vec<Ipv6Addr>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements heard and taken.
    pub received: u64,
    /// Messages that were no valid advertisement (RFC 4861 §6.1.2).
    pub ignored: u64,
    /// The last advertisement of the neighbour.
    pub last_heard: Option<Instant>,
    /// What keeps discovery from working, in words.
    pub error: Option<String>,
}

/// Something about a peer that an operator should look at; it goes away with its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerWarning {
    /// Prefixes of this family are not announced: the session has no next hop for them that the peer understands. For IPv4
    /// over IPv6 the peer did not offer extended next hops (RFC 8950), and no IPv4 next hop is configured.
    NoNextHop(Family),
    /// The peer announces at least three quarters of the prefixes it may.
    PrefixesHigh {
        /// Of this family.
        family: Family,
        /// How many.
        count: u32,
        /// How many are allowed.
        max: u32,
    },
    /// The peer announced more prefixes than allowed; its session was ended and rests.
    PrefixesExceeded {
        /// Of this family.
        family: Family,
        /// How many are allowed.
        max: u32,
    },
    /// The peer says that we announce too many prefixes, or that it has no resources; we rest.
    Refused,
}

impl fmt::Display for PeerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNextHop(family) => {
                write!(f, "{family} is not announced: no next hop that the peer understands")
            }
            Self::PrefixesHigh { family, count, max } => {
                write!(f, "{family}: {count} of {max} prefixes that the peer may announce")
            }
            Self::PrefixesExceeded { family, max } => {
                write!(f, "{family}: the peer announced more than {max} prefixes, the session rests")
            }
            Self::Refused => f.write_str("the peer refuses our number of prefixes, the session rests"),
        }
    }
}

/// A text and when it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedText {
    /// When.
    pub at: SystemTime,
    /// What.
    pub text: String,
}

/// A NOTIFICATION and when it was sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedNotification {
    /// When.
    pub at: SystemTime,
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Both in words, with the text for the operator and, of one that we sent, what was wrong.
    pub text: String,
}

/// NOTIFICATIONs by code and subcode. What no registry knows counts as [`Self::OTHER`], so that a peer cannot make many
/// entries. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotificationCounts(Arc<BTreeMap<(u8, u8), u64>>);

impl NotificationCounts {
    /// Stands for all that are not registered.
    pub const OTHER: (u8, u8) = (0, 0);

    /// Counts one more. A Hard Reset counts as such and not as what it wraps, unless that is a prefix limit: of these an
    /// operator must hear, whatever they came in.
    pub fn count(&mut self, notification: &Notification) {
        self.add(notification.code(), notification.subcode());
        let wrapped = notification.hard_reset().map(|inner| (inner.code(), inner.subcode()));
        if let Some((code, subcode)) =
            wrapped.filter(|inner| *inner == (error_code::CEASE, cease::MAX_PREFIXES))
        {
            self.add(code, subcode);
        }
    }

    fn add(&mut self, code: u8, subcode: u8) {
        let (name, detail) = error_words(code, subcode);
        let is_known = name.is_some() && (subcode == 0 || detail.is_some());
        let key = if is_known { (code, subcode) } else { Self::OTHER };
        *Arc::make_mut(&mut self.0).entry(key).or_default() += 1;
    }

    /// Code and subcode with how many there were, sorted.
    pub fn iter(&self) -> impl Iterator<Item = ((u8, u8), u64)> + '_ {
        self.0.iter().map(|(key, count)| (*key, *count))
    }

    /// How many there were of one code and subcode.
    pub fn get(&self, code: u8, subcode: u8) -> u64 {
        self.0.get(&(code, subcode)).copied().unwrap_or(0)
    }
}

/// What is counted of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages received.
    pub messages_in: MessageCounts,
    /// Messages handed to the socket.
    pub messages_out: MessageCounts,
    /// IPv4 prefixes heard of.
    pub received_ipv4: FamilyCounts,
    /// IPv6 prefixes heard of.
    pub received_ipv6: FamilyCounts,
    /// Changes of state of either connection.
    pub transitions: u64,
    /// How often the session came up.
    pub established: u64,
    /// How often it was lost again, by whatever but our own end.
    pub flaps: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_that_nobody_knows_are_counted_together() {
        let mut counts = NotificationCounts::default();
        for (code, subcode) in [(6, 2), (6, 2), (4, 0), (6, 99), (200, 1), (0, 0)] {
            counts.add(code, subcode);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [((0, 0), 3), ((4, 0), 1), ((6, 2), 2)]);
        assert_eq!((counts.get(6, 2), counts.get(6, 9)), (2, 0));
    }

    #[test]
    fn a_prefix_limit_is_counted_inside_a_hard_reset_too() {
        let mut counts = NotificationCounts::default();
        counts.count(&Notification::hard_reset_of(&Notification::cease(1)));
        counts.count(&Notification::hard_reset_of(&Notification::shutdown("bye")));
        assert_eq!((counts.get(6, 1), counts.get(6, 2), counts.get(6, 9)), (1, 0, 2));
    }
}
