// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers: the speaker's words in the API's. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use weir_api::v1::{
    Condition, Counter, FamilyPrefixes, MessageCounts, PeerStatus, Remark, SessionState, Severity, Timestamp,
};
use weir_bgp::{Family, PeerState, SpeakerStatus, TimedNotification, TimedText};

use crate::model::{Document, Peer, RemoteAs};

/// Every peer of the document; one that the speaker does not know yet is idle.
pub(super) fn peers(document: &Document, speaker: Option<&SpeakerStatus>) -> BTreeMap<String, PeerStatus> {
    let of_peer = |(name, peer): (&String, &Peer)| {
        let known = speaker.and_then(|speaker| speaker.peers.get(name));
        (name.clone(), known.map_or_else(|| idle(peer), |known| running(peer, known)))
    };
    document.peers.iter().map(of_peer).collect()
}

fn expected_as(peer: &Peer) -> u32 {
    match peer.remote_as {
        RemoteAs::Number(asn) => asn.0,
        RemoteAs::External => 0,
    }
}

/// The address of the document; the unspecified one while an unnumbered peer is not found.
fn configured(peer: &Peer) -> IpAddr {
    peer.remote.address().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

fn idle(peer: &Peer) -> PeerStatus {
    PeerStatus {
        address: configured(peer),
        state: SessionState::Idle,
        remote_as: expected_as(peer),
        remote_router_id: None,
        local_address: None,
        conditions: vec![down("the speaker does not know it yet".to_owned(), None)],
        established_at: None,
        hold_time_seconds: None,
        capabilities: Vec::new(),
        prefixes: BTreeMap::new(),
        messages: BTreeMap::new(),
        last_sent: None,
        last_received: None,
        last_transport: None,
        established_total: Counter(0),
        down_total: Counter(0),
        treat_as_withdraw_total: Counter(0),
    }
}

fn running(peer: &Peer, known: &weir_bgp::PeerStatus) -> PeerStatus {
    let counters = &known.counters;
    let is_up = known.state == PeerState::Established;
    PeerStatus {
        address: known.address.unwrap_or_else(|| configured(peer)),
        state: state(known.state),
        remote_as: known.remote_as.unwrap_or_else(|| expected_as(peer)),
        remote_router_id: known.remote_router_id.map(|id| id.to_string()),
        local_address: known.local_address.map(|local| local.ip()),
        conditions: (!is_up).then(|| why_down(known)).into_iter().collect(),
        established_at: known.since.map(Timestamp),
        hold_time_seconds: known
            .negotiated
            .as_ref()
            .and_then(|agreed| agreed.hold_time)
            .map(|time| time.as_secs_f64()),
        capabilities: known
            .negotiated
            .as_ref()
            .map(|agreed| agreed.capabilities.iter().map(|one| one.text.clone()).collect())
            .unwrap_or_default(),
        prefixes: BTreeMap::from([
            ("ipv4".to_owned(), family(known, Family::Ipv4Unicast, &counters.received_ipv4)),
            ("ipv6".to_owned(), family(known, Family::Ipv6Unicast, &counters.received_ipv6)),
        ]),
        messages: messages(&counters.messages_out, &counters.messages_in),
        last_sent: known.last_sent.as_ref().map(notification),
        last_received: known.last_received.as_ref().map(notification),
        last_transport: known.last_transport.as_ref().map(remark),
        established_total: Counter(counters.established),
        down_total: Counter(counters.established.saturating_sub(u64::from(is_up))),
        treat_as_withdraw_total: Counter(counters.treated_as_withdraw),
    }
}

/// The latest of what was said and what happened to the transport.
fn why_down(known: &weir_bgp::PeerStatus) -> Condition {
    let sent = known.last_sent.as_ref().map(|last| (last.at, "sent", &last.text));
    let received = known.last_received.as_ref().map(|last| (last.at, "received", &last.text));
    let transport = known.last_transport.as_ref().map(|last| (last.at, "transport", &last.text));
    match [sent, received, transport].into_iter().flatten().max_by_key(|(at, _, _)| *at) {
        Some((at, what, text)) => down(format!("{what}: {text}"), Some(Timestamp(at))),
        None => down("no session so far".to_owned(), None),
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

fn family(known: &weir_bgp::PeerStatus, family: Family, received: &weir_bgp::FamilyCounts) -> FamilyPrefixes {
    FamilyPrefixes {
        advertised: known.adj_rib_out.iter(family).map(|route| route.prefix.to_string()).collect(),
        announced_to_us_total: Counter(received.announced),
        withdrawn_from_us_total: Counter(received.withdrawn),
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

fn remark(text: &TimedText) -> Remark {
    Remark { at: Timestamp(text.at), text: text.text.clone() }
}

fn notification(last: &TimedNotification) -> Remark {
    Remark { at: Timestamp(last.at), text: last.text.clone() }
}
