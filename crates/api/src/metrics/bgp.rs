// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Series of the speaker, its sessions, and BFD beside them.

use super::names;
use super::render::Families;
use crate::v1::{BfdState, BfdStatus, Direction, PeerStatus, SessionState, Status};

/// Code and subcode of the NOTIFICATION for too many prefixes (RFC 4486).
const PREFIX_LIMIT_REACHED: (u8, u8) = (6, 1);

/// Everything of BGP. A range tells nothing: its sessions do.
pub(super) fn speaker(status: &Status, families: &mut Families) {
    let speaker = &status.bgp;
    families.count(&names::BGP_STRANGERS, &[], speaker.strangers_total);
    families.count(&names::BGP_REFUSED, &[], speaker.refused_total);
    families.count(&names::BGP_FAULTS, &[], speaker.faults.len() as u64);
    families.count(&names::BGP_REJECTED, &[], speaker.rejected.len() as u64);
    for (family, route) in &speaker.imported {
        families.flag(&names::BGP_IMPORTED, &[family], route.installed);
        families.count(&names::BGP_IMPORTED_NEXT_HOPS, &[family], route.next_hops.len() as u64);
    }
    for (peer, of_peer) in status.peers.iter().filter(|(_, peer)| !peer.is_range()) {
        session(peer, of_peer, status, families);
        traffic(peer, of_peer, families);
        prefixes(peer, of_peer, families);
        if let Some(bfd) = &of_peer.bfd {
            of_bfd(peer, bfd, families);
        }
    }
}

fn session(peer: &str, of_peer: &PeerStatus, status: &Status, families: &mut Families) {
    families.flag(&names::BGP_SESSION_UP, &[peer], of_peer.state == SessionState::Established);
    for state in SessionState::ALL {
        families.flag(&names::BGP_SESSION_STATE, &[peer, state.name()], of_peer.state == state);
    }
    if let Some(at) = of_peer.established_at {
        families.add(&names::BGP_SESSION_ESTABLISHED, &[peer], at.since_epoch().as_secs_f64());
    }
    families.count(&names::BGP_SESSION_TRANSITIONS, &[peer, "established"], of_peer.established_total);
    families.count(&names::BGP_SESSION_TRANSITIONS, &[peer, "down"], of_peer.down_total);
    let agreed = of_peer.negotiated.as_ref();
    if let Some(seconds) = agreed.and_then(|agreed| agreed.hold_time_seconds) {
        families.add(&names::BGP_HOLD_TIME, &[peer], seconds);
    }
    let restart = agreed.and_then(|agreed| agreed.graceful_restart.as_ref());
    let is_kept = restart.is_some_and(|restart| !restart.kept_by_peer.is_empty());
    families.flag(&names::BGP_GRACEFUL_RESTART, &[peer], is_kept);
    // Zero rather than absence: a VIP that a peer was not told of is what people look for.
    for vip in status.vips.values() {
        let prefix = prefix(&vip.address);
        let is_told = vip.peers.get(peer).copied().unwrap_or(false);
        families.flag(&names::BGP_PREFIX_ANNOUNCED, &[peer, &prefix], is_told);
    }
    let address = of_peer.address.map_or_else(String::new, |address| address.to_string());
    let interface = of_peer.interface.as_deref().unwrap_or_default();
    let remote_as = of_peer.remote_as.to_string();
    families.flag(&names::BGP_PEER_INFO, &[peer, &remote_as, &address, interface], true);
}

fn traffic(peer: &str, of_peer: &PeerStatus, families: &mut Families) {
    for (kind, messages) in &of_peer.messages {
        families.count(&names::BGP_MESSAGES, &[peer, Direction::Sent.name(), kind], messages.sent);
        families.count(&names::BGP_MESSAGES, &[peer, Direction::Received.name(), kind], messages.received);
    }
    for one in &of_peer.notifications {
        let (code, subcode) = (one.code.to_string(), one.subcode.to_string());
        families.count(&names::BGP_NOTIFICATIONS, &[peer, one.direction.name(), &code, &subcode], one.total);
    }
    families.count(&names::BGP_TREAT_AS_WITHDRAW, &[peer], of_peer.treat_as_withdraw_total);
    families.count(&names::BGP_ATTRIBUTES_DISCARDED, &[peer], of_peer.attributes_discarded_total);
    if let Some(discovery) = &of_peer.discovery {
        for (outcome, count) in [
            ("sent", discovery.sent_total),
            ("received", discovery.received_total),
            ("ignored", discovery.ignored_total),
        ] {
            families.count(&names::BGP_ROUTER_ADVERTISEMENTS, &[peer, outcome], count);
        }
    }
}

/// A VIP as peers are told of it: a single address with its length.
fn prefix(address: &str) -> String {
    match (address.contains('/'), address.contains(':')) {
        (true, _) => address.to_owned(),
        (false, false) => format!("{address}/32"),
        (false, true) => format!("{address}/128"),
    }
}

fn prefixes(peer: &str, of_peer: &PeerStatus, families: &mut Families) {
    for (family, prefixes) in &of_peer.prefixes {
        families.count(&names::BGP_PREFIXES, &[peer, family, "advertised"], prefixes.advertised);
        families.count(&names::BGP_PREFIXES, &[peer, family, "received"], prefixes.received);
        families.count(&names::BGP_STALE_PREFIXES, &[peer, family], prefixes.stale);
        families.count(&names::BGP_PREFIX_LIMIT, &[peer, family], prefixes.limit);
        let (announced, withdrawn) = (prefixes.announced_to_us_total, prefixes.withdrawn_from_us_total);
        families.count(&names::BGP_PREFIXES_RECEIVED, &[peer, family, "announce"], announced);
        families.count(&names::BGP_PREFIXES_RECEIVED, &[peer, family, "withdraw"], withdrawn);
        families.count(&names::BGP_PREFIXES_RECEIVED, &[peer, family, "loop"], prefixes.looped_total);
    }
    for direction in [Direction::Sent, Direction::Received] {
        let about_it = of_peer
            .notifications
            .iter()
            .filter(|one| one.direction == direction && (one.code, one.subcode) == PREFIX_LIMIT_REACHED);
        let times: u64 = about_it.map(|one| one.total.0).sum();
        families.count(&names::BGP_PREFIX_LIMIT_REACHED, &[peer, direction.name()], times);
    }
}

fn of_bfd(peer: &str, bfd: &BfdStatus, families: &mut Families) {
    families.flag(&names::BFD_SESSION_UP, &[peer], bfd.state == BfdState::Up);
    for state in BfdState::ALL {
        families.flag(&names::BFD_SESSION_STATE, &[peer, state.name()], bfd.state == state);
    }
    families.count(&names::BFD_TRANSITIONS, &[peer, "up"], bfd.up_total);
    families.count(&names::BFD_TRANSITIONS, &[peer, "down"], bfd.down_total);
    families.flag(&names::BFD_NEVER_UP, &[peer], bfd.is_never_up);
    if let Some(seconds) = bfd.detection_time_seconds {
        families.add(&names::BFD_DETECTION_TIME, &[peer], seconds);
    }
}
