// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VIPs: whether each is announced, to whom, and if not, why not. Pure.

use std::collections::{BTreeMap, BTreeSet};

use weir_api::v1::{
    Condition, Counter, PeerStatus, PreciseTime, SessionState, Timestamp, VipStatus, WithheldReason,
};
use weir_bgp::{PeerState, Prefix, SpeakerStatus};

use super::status::Parts;
use crate::model::{Peer, Vip};
use crate::reconcile::status::{Reason, VipOutcome, Why};

/// Every VIP of the document, by what the reconciler decided and what the peers were told.
pub(super) fn vips(parts: &Parts<'_>, peers: &BTreeMap<String, PeerStatus>) -> BTreeMap<String, VipStatus> {
    let vips = parts.accepted.document.vips.iter();
    vips.map(|(name, one)| {
        let takes = |peer: &Peer| {
            if one.prefix.address().is_ipv4() { peer.families.ipv4 } else { peer.families.ipv6 }
        };
        let takers = parts.accepted.document.peers.iter().filter(|(_, peer)| takes(peer));
        let takers = takers.map(|(name, _)| name.as_str()).collect();
        (name.clone(), vip(one, parts.reconcile.vips.get(name), parts.speaker, peers, &takers))
    })
    .collect()
}

/// `takers` are the peers that the document gives routes of the VIP's family.
fn vip(
    vip: &Vip,
    outcome: Option<&VipOutcome>,
    speaker: Option<&SpeakerStatus>,
    peers: &BTreeMap<String, PeerStatus>,
    takers: &BTreeSet<&str>,
) -> VipStatus {
    // Another address under an old name is another VIP, of which the reconciler has not said anything yet.
    let outcome = outcome.filter(|outcome| outcome.prefix == vip.prefix);
    let told: BTreeMap<String, bool> =
        sessions(peers).map(|(name, _)| (name.clone(), is_told(speaker, name, &vip.prefix))).collect();
    let announced = told.values().any(|told| *told);
    let Some(outcome) = outcome else { return unseen(vip, told, announced) };
    let mut withheld: Vec<WithheldReason> = outcome.withheld.iter().map(|reason| word(*reason)).collect();
    let mut conditions: Vec<Condition> =
        outcome.conditions.iter().map(|why| condition(why, outcome)).collect();
    if outcome.wanted && !announced {
        withheld.push(WithheldReason::NoPeer);
        conditions.push(no_peer(vip, peers, takers));
    }
    let transitions = [("announced", outcome.announced), ("withdrawn", outcome.withdrawn)];
    VipStatus {
        address: vip.address_text(),
        echo: vip.echo,
        announce_desired: outcome.wanted,
        announced,
        withheld,
        conditions,
        peers: told,
        decided_at: outcome.decided_at.map(PreciseTime),
        told_at: outcome.told_at.map(PreciseTime),
        transitions: transitions.into_iter().map(|(to, times)| (to.to_owned(), Counter(times))).collect(),
    }
}

/// Before the first pass that knows the VIP.
fn unseen(vip: &Vip, peers: BTreeMap<String, bool>, announced: bool) -> VipStatus {
    let message = "its forwarding has not been looked at yet".to_owned();
    VipStatus {
        address: vip.address_text(),
        echo: vip.echo,
        announce_desired: false,
        announced,
        withheld: vec![WithheldReason::Dataplane],
        conditions: vec![withheld_by(WithheldReason::Dataplane, message)],
        peers,
        decided_at: None,
        told_at: None,
        transitions: ["announced", "withdrawn"].map(|to| (to.to_owned(), Counter(0))).into(),
    }
}

/// A session of a range is what the document says of the range.
fn in_document(name: &str) -> &str {
    name.split_once('/').map_or(name, |(range, _)| range)
}

/// Peers with a session of their own: a range has none.
fn sessions(peers: &BTreeMap<String, PeerStatus>) -> impl Iterator<Item = (&String, &PeerStatus)> {
    peers.iter().filter(|(_, peer)| !peer.is_range())
}

fn is_told(speaker: Option<&SpeakerStatus>, name: &str, prefix: &Prefix) -> bool {
    let peer = speaker.and_then(|speaker| speaker.peers.get(name));
    peer.is_some_and(|peer| peer.state == PeerState::Established && peer.adj_rib_out.contains(prefix))
}

fn word(reason: Reason) -> WithheldReason {
    match reason {
        Reason::Admin => WithheldReason::Admin,
        Reason::Dataplane => WithheldReason::Dataplane,
        Reason::Uplink => WithheldReason::Uplink,
        Reason::Backends => WithheldReason::Backends,
        Reason::FirstResults => WithheldReason::FirstResults,
        Reason::Settle => WithheldReason::Settle,
    }
}

/// A sentence on a VIP: one that keeps it back, or one that warns of what may.
fn condition(why: &Why, outcome: &VipOutcome) -> Condition {
    let kind = if outcome.withheld.contains(&why.reason) { "withheld" } else { "warning" };
    Condition {
        kind: kind.to_owned(),
        since: Some(Timestamp(why.since)),
        until: why.until.map(Timestamp),
        ..withheld_by(word(why.reason), why.message.clone())
    }
}

fn withheld_by(reason: WithheldReason, message: String) -> Condition {
    Condition {
        kind: "withheld".to_owned(),
        state: true,
        code: reason.name().to_owned(),
        message,
        since: None,
        until: None,
        severity: None,
    }
}

/// Wanted, but nobody was told: because nobody listens, or because those who do were not told.
fn no_peer(vip: &Vip, peers: &BTreeMap<String, PeerStatus>, takers: &BTreeSet<&str>) -> Condition {
    let takers: Vec<_> = peers.iter().filter(|(name, _)| takers.contains(in_document(name))).collect();
    let established: Vec<&str> = takers
        .iter()
        .filter(|(_, peer)| peer.state == SessionState::Established)
        .map(|(name, _)| name.as_str())
        .collect();
    let message = if takers.is_empty() {
        let family = if vip.prefix.address().is_ipv4() { "IPv4" } else { "IPv6" };
        format!("wanted, but no peer of the document takes {family} routes")
    } else if established.is_empty() {
        let states: Vec<String> =
            takers.iter().map(|(name, peer)| format!("{name} is {}", peer.state.name())).collect();
        format!("wanted, but no peer is Established: {}", states.join(", "))
    } else {
        format!("wanted, but not told yet to any Established peer: {}", established.join(", "))
    };
    withheld_by(WithheldReason::NoPeer, message)
}
