// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers: the speaker's words in the API's. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use weir_api::v1::{
    Capability, Condition, Counter, Direction, Discovery, FamilyPrefixes, GracefulRestart, MessageCounts,
    Negotiated, Notification, NotificationCount, PeerStatus, Remark, SessionState, SessionTimers, Severity,
    Timestamp,
};
use weir_bgp::{
    CapabilityWords, Families, Family, NegotiatedStatus, NotificationCounts, PeerState, PeerWarning,
    SpeakerStatus, TimedNotification, TimedText,
};

use crate::bfd::BfdStatus;
use crate::model::{Document, Peer, Remote, RemoteAs};

/// How long the end of a connection is told by the words that led to it.
const WORDS_COUNT_FOR: Duration = Duration::from_secs(2);

/// The word of a family in status and metrics.
pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

/// Every peer of the document, and every session of its ranges; one that the speaker does not know yet is idle.
pub(super) fn peers(
    document: &Document,
    speaker: Option<&SpeakerStatus>,
    bfd: Option<&BfdStatus>,
    now: Instant,
) -> BTreeMap<String, PeerStatus> {
    let known = |name: &String| speaker.and_then(|speaker| speaker.peers.get(name));
    let of_document = document.peers.iter().map(|(name, peer)| {
        (name.clone(), known(name).map_or_else(|| idle(peer), |known| running(peer, known, now)))
    });
    let mut peers: BTreeMap<String, PeerStatus> = of_document.collect();
    for (name, known) in speaker.into_iter().flat_map(|speaker| &speaker.peers) {
        let range = name.split_once('/').and_then(|(range, _)| Some((range, document.peers.get(range)?)));
        let Some((range, peer)) = range else { continue };
        peers.insert(name.clone(), running(peer, known, now));
        if let Some(range) = peers.get_mut(range) {
            range.sessions = Some(range.sessions.unwrap_or(0) + 1);
        }
    }
    for (name, of_peer) in bfd.into_iter().flat_map(|bfd| &bfd.peers) {
        if let Some(peer) = peers.get_mut(name).filter(|peer| !peer.is_range()) {
            peer.bfd = Some(super::bfd::peer(of_peer));
        }
    }
    peers
}

fn expected_as(peer: &Peer) -> u32 {
    match peer.remote_as {
        RemoteAs::Number(asn) => asn.0,
        RemoteAs::External => 0,
    }
}

fn idle(peer: &Peer) -> PeerStatus {
    PeerStatus {
        remote: peer.remote.to_string(),
        address: peer.remote.address(),
        interface: peer.remote.interface().map(str::to_owned),
        sessions: sessions(peer),
        state: SessionState::Idle,
        remote_as: expected_as(peer),
        remote_router_id: None,
        local_address: None,
        conditions: match peer.remote {
            Remote::Range { .. } => Vec::new(),
            Remote::Address(_) | Remote::Interface { .. } => {
                vec![down("the speaker does not know it yet".to_owned(), None)]
            }
        },
        established_at: None,
        down_since: None,
        timers: SessionTimers::default(),
        negotiated: None,
        prefixes: BTreeMap::new(),
        messages: BTreeMap::new(),
        notifications: Vec::new(),
        last_sent: None,
        last_received: None,
        last_transport: None,
        established_total: Counter(0),
        down_total: Counter(0),
        treat_as_withdraw_total: Counter(0),
        attributes_discarded_total: Counter(0),
        last_finding: None,
        bfd: None,
        discovery: None,
    }
}

fn running(peer: &Peer, known: &weir_bgp::PeerStatus, now: Instant) -> PeerStatus {
    let counters = &known.counters;
    PeerStatus {
        remote: known.remote.to_string(),
        address: known.address,
        interface: known.interface.clone(),
        // Its sessions are of the range's remote too; they have an address.
        sessions: sessions(peer).filter(|_| known.address.is_none()),
        state: state(known.state),
        remote_as: known.remote_as.unwrap_or_else(|| expected_as(peer)),
        remote_router_id: known.remote_router_id.map(|id| id.to_string()),
        local_address: known.local_address.map(|local| local.ip()),
        conditions: conditions(peer, known),
        established_at: known.since.map(Timestamp),
        down_since: known.down_since.map(Timestamp),
        timers: timers(known, now),
        negotiated: known.negotiated.as_deref().map(negotiated),
        prefixes: BTreeMap::from(
            Family::ALL.map(|family| (family_name(family).to_owned(), prefixes(peer, known, family))),
        ),
        messages: messages(&counters.messages_out, &counters.messages_in),
        notifications: [
            (Direction::Sent, &known.notifications_sent),
            (Direction::Received, &known.notifications_received),
        ]
        .into_iter()
        .flat_map(|(direction, counts)| notifications(direction, counts))
        .collect(),
        last_sent: known.last_sent.as_ref().map(notification),
        last_received: known.last_received.as_ref().map(notification),
        last_transport: known.last_transport.as_ref().map(remark),
        established_total: Counter(counters.established),
        down_total: Counter(counters.flaps),
        treat_as_withdraw_total: Counter(counters.treated_as_withdraw),
        attributes_discarded_total: Counter(counters.attributes_discarded),
        last_finding: counters.last_finding.clone(),
        bfd: None,
        discovery: known.discovery.as_ref().map(|found| discovery(found, now)),
    }
}

/// No sessions yet, of a range.
fn sessions(peer: &Peer) -> Option<u64> {
    match peer.remote {
        Remote::Range { .. } => Some(0),
        Remote::Address(_) | Remote::Interface { .. } => None,
    }
}

/// Why it is down, and what an operator should look at besides.
fn conditions(peer: &Peer, known: &weir_bgp::PeerStatus) -> Vec<Condition> {
    if sessions(peer).is_some() && known.address.is_none() {
        return Vec::new();
    }
    let is_up = known.state == PeerState::Established;
    let down = (!is_up).then(|| why_down(peer, known));
    down.into_iter().chain(known.warnings.iter().map(warning)).collect()
}

fn warning(warning: &PeerWarning) -> Condition {
    let code = match warning {
        PeerWarning::NoNextHop(_) => "no-next-hop",
        PeerWarning::PrefixesHigh { .. } => "prefixes-high",
        PeerWarning::PrefixesExceeded { .. } => "prefixes-exceeded",
        PeerWarning::Refused => "prefixes-refused",
    };
    Condition { kind: "problem".to_owned(), code: code.to_owned(), ..down(warning.to_string(), None) }
}

/// The latest of what was said and what happened to the transport; where no neighbour is found, that.
fn why_down(peer: &Peer, known: &weir_bgp::PeerStatus) -> Condition {
    if let Some(message) = known.discovery.as_ref().and_then(not_found) {
        return down(message, None);
    }
    let sent = known.last_sent.as_ref().map(|last| (last.at, "sent", &last.text));
    let received = known.last_received.as_ref().map(|last| (last.at, "received", &last.text));
    // The connection ends because of the words before it: they say why.
    let is_after_words = |at: SystemTime| {
        let spoken = [&known.last_sent, &known.last_received].into_iter().flatten().map(|last| last.at).max();
        spoken.and_then(|spoken| at.duration_since(spoken).ok()).is_some_and(|after| after < WORDS_COUNT_FOR)
    };
    let transport = known.last_transport.as_ref().filter(|last| !is_after_words(last.at));
    let transport = transport.map(|last| (last.at, "transport", &last.text));
    match [sent, received, transport].into_iter().flatten().max_by_key(|(at, _, _)| *at) {
        Some((at, what, text)) => {
            down(format!("{what}: {text}{}", silence(peer, known)), Some(Timestamp(at)))
        }
        None => down(format!("no session so far{}", silence(peer, known)), None),
    }
}

/// What a connection that nobody answers may mean: protected sessions are refused without a word.
fn silence(peer: &Peer, known: &weir_bgp::PeerStatus) -> &'static str {
    // What the peer began itself gets past our listener, so it may also be that no word follows.
    if !matches!(known.state, PeerState::Connect | PeerState::OpenSent) {
        return "";
    }
    match (peer.md5_file.is_some(), peer.ttl_security) {
        (true, true) => "; no answer: a filter, another key, or a key or `ttl_security` at this end alone",
        (true, false) => "; no answer: a filter, another key, or a key at this end alone",
        (false, true) => "; no answer: a filter, or `ttl_security` at this end alone",
        (false, false) => "; no answer: a filter, or a key or TTL security at the peer alone",
    }
}

/// Why there is nobody to connect to on an interface.
fn not_found(discovery: &weir_bgp::DiscoveryStatus) -> Option<String> {
    if let Some(error) = &discovery.error {
        return Some(format!("discovery: {error}"));
    }
    match (discovery.is_link_up, discovery.own, discovery.neighbour) {
        (false, _, _) => Some("discovery: the interface is down".to_owned()),
        (true, None, _) => Some("discovery: the interface has no link-local address".to_owned()),
        (true, Some(_), None) => {
            Some(format!("discovery: no router advertisement of a neighbour heard, {} sent", discovery.sent))
        }
        (true, Some(_), Some(_)) => None,
    }
}

fn down(message: String, since: Option<Timestamp>) -> Condition {
    Condition {
        kind: "down".to_owned(),
        state: true,
        code: "no-session".to_owned(),
        message,
        since,
        until: None,
        severity: Some(Severity::Warning),
    }
}

fn state(state: PeerState) -> SessionState {
    match state {
        PeerState::Idle => SessionState::Idle,
        PeerState::Connect => SessionState::Connect,
        PeerState::Active => SessionState::Active,
        PeerState::OpenSent => SessionState::OpenSent,
        PeerState::OpenConfirm => SessionState::OpenConfirm,
        PeerState::Established => SessionState::Established,
    }
}

fn timers(known: &weir_bgp::PeerStatus, now: Instant) -> SessionTimers {
    let left = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now)).map(milliseconds);
    SessionTimers {
        hold_seconds: left(known.timers.hold_at),
        keepalive_seconds: left(known.timers.keepalive_at),
        connect_seconds: left(known.timers.connect_at),
        idle_seconds: left(known.timers.idle_until),
        stale_seconds: left(known.stale_until),
    }
}

/// Seconds to the millisecond: more is noise to a reader.
fn milliseconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

fn negotiated(agreed: &NegotiatedStatus) -> Negotiated {
    let words = |all: &[CapabilityWords]| {
        all.iter().map(|one| Capability { code: one.code, text: one.text.clone() }).collect()
    };
    Negotiated {
        hold_time_seconds: agreed.hold_time.map(|time| time.as_secs_f64()),
        families: families(agreed.families),
        extended_next_hop: agreed.has_extended_next_hop,
        four_octet_as: agreed.four_octet_as,
        extended_message: agreed.has_extended_message,
        route_refresh: agreed.has_refresh,
        enhanced_route_refresh: agreed.has_enhanced_refresh,
        graceful_restart: agreed.graceful_restart.as_ref().map(|restart| GracefulRestart {
            peer_time_seconds: restart.peer_time.as_secs(),
            peer_is_restarting: restart.peer_is_restarting,
            notification: restart.has_notification,
            kept_by_peer: families(restart.kept_by_peer),
            kept_for_peer: families(restart.kept_for_peer),
        }),
        offered: words(&agreed.offered),
        received: words(&agreed.capabilities),
    }
}

fn families(families: Families) -> Vec<String> {
    let names = Family::ALL.into_iter().filter(|family| families.contains(*family)).map(family_name);
    names.map(str::to_owned).collect()
}

fn prefixes(peer: &Peer, known: &weir_bgp::PeerStatus, family: Family) -> FamilyPrefixes {
    let counts = match family {
        Family::Ipv4Unicast => &known.counters.received_ipv4,
        Family::Ipv6Unicast => &known.counters.received_ipv6,
    };
    let received = || known.adj_rib_in.iter().filter(|route| route.prefix.family() == family);
    FamilyPrefixes {
        advertised: known.adj_rib_out.len(family) as u64,
        received: received().count() as u64,
        stale: received().filter(|route| route.is_stale).count() as u64,
        limit: u64::from(peer.prefixes_max),
        announced_to_us_total: Counter(counts.announced),
        withdrawn_from_us_total: Counter(counts.withdrawn),
        looped_total: Counter(counts.looped),
        end_of_rib_total: Counter(counts.end_of_rib),
    }
}

fn messages(
    sent: &weir_bgp::MessageCounts,
    received: &weir_bgp::MessageCounts,
) -> BTreeMap<String, MessageCounts> {
    let both = |sent, received| MessageCounts { sent: Counter(sent), received: Counter(received) };
    let by_type = [
        ("open", both(sent.open, received.open)),
        ("update", both(sent.update, received.update)),
        ("notification", both(sent.notification, received.notification)),
        ("keepalive", both(sent.keepalive, received.keepalive)),
        ("refresh", both(sent.refresh, received.refresh)),
    ];
    by_type.into_iter().map(|(name, counts)| (name.to_owned(), counts)).collect()
}

fn notifications(
    direction: Direction,
    counts: &NotificationCounts,
) -> impl Iterator<Item = NotificationCount> + '_ {
    counts.iter().map(move |((code, subcode), total)| NotificationCount {
        direction,
        code,
        subcode,
        total: Counter(total),
    })
}

fn notification(last: &TimedNotification) -> Notification {
    Notification { at: Timestamp(last.at), code: last.code, subcode: last.subcode, text: last.text.clone() }
}

fn remark(text: &TimedText) -> Remark {
    Remark { at: Timestamp(text.at), text: text.text.clone() }
}

fn discovery(found: &weir_bgp::DiscoveryStatus, now: Instant) -> Discovery {
    Discovery {
        link_up: found.is_link_up,
        own: found.own.map(Into::into),
        neighbour: found.neighbour.map(Into::into),
        others: found.others.iter().map(|other| (*other).into()).collect(),
        sent_total: Counter(found.sent),
        received_total: Counter(found.received),
        ignored_total: Counter(found.ignored),
        last_heard_seconds: found.last_heard.map(|at| milliseconds(now.saturating_duration_since(at))),
        error: found.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use weir_bgp::{PeerConfig, RemoteAs};

    use super::*;

    #[test]
    fn last_words_count_for_more_than_the_end_of_the_connection() {
        let document =
            crate::config::parse("weir.toml", include_str!("../../tests/check/good/least.toml")).unwrap();
        let peer = &document.peers["tor1"];
        let config = PeerConfig::new("tor1", "10.0.0.1".parse().unwrap(), RemoteAs::External);
        let mut known = weir_bgp::PeerStatus::new(&config);
        known.state = PeerState::Connect;
        let said = why_down(peer, &known).message;
        assert!(said.starts_with("no session so far; no answer: a filter, or a key"), "{said}");
        let at = SystemTime::UNIX_EPOCH;
        known.state = PeerState::Active;
        known.last_received =
            Some(TimedNotification { at, code: 6, subcode: 2, text: "night work".to_owned() });
        for (after, expected) in [(1, "received: night work"), (60, "transport: reset")] {
            let at = at + Duration::from_secs(after);
            known.last_transport = Some(TimedText { at, text: "reset".to_owned() });
            assert_eq!(why_down(peer, &known).message, expected);
        }
    }
}
