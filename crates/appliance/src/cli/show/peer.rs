// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One BGP session on a page: everything that is known of it, in words. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use weir_api::v1::{
    BfdState, BfdStatus, Capability, Discovery, GracefulRestart, Negotiated, Peer, PeerStatus, SessionState,
};

use super::super::output::Look;
use super::super::table::{Cell, Table};
use super::super::{time, views};
use super::detail::{facts, section, tail};

/// The page.
pub(super) fn page(peer: &Peer, now: SystemTime, look: Look) -> String {
    let status = &peer.status;
    let mut page = views::sessions([(peer.name.as_str(), status)], now).render(look);
    let agreed = status.negotiated.as_ref();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    facts(
        &mut page,
        [
            ("session", session(status, now)),
            ("configured remote", status.remote.clone()),
            ("router id", text(&status.remote_router_id)),
            ("own address", status.local_address.map_or_else(String::new, |address| address.to_string())),
            ("timers", timers(status)),
            ("families", agreed.map_or_else(String::new, |agreed| agreed.families.join(", "))),
            ("agreed", agreed.map_or_else(String::new, features)),
            ("graceful restart", agreed.map_or_else(String::new, restart)),
            ("bfd", status.bfd.as_ref().map_or_else(String::new, |one| bfd(one, now))),
            ("neighbour", status.discovery.as_ref().map_or_else(String::new, discovery)),
            ("advertisements", status.discovery.as_ref().map_or_else(String::new, advertisements)),
            ("bad updates", findings(status)),
            ("times up", status.established_total.0.to_string()),
            ("times down", status.down_total.0.to_string()),
        ],
    );
    section(&mut page, "Prefixes", &prefixes(status), look);
    section(&mut page, "Capabilities", &capabilities(agreed), look);
    section(&mut page, "Messages", &messages(status), look);
    section(&mut page, "Notifications", &notifications(status), look);
    let mut words = Table::new(&["LAST WORDS"]);
    for line in views::last_words(status, now) {
        words.row([line.into()]);
    }
    section(&mut page, "History", &words, look);
    tail(&mut page, &peer.spec, &peer.overrides, now, look);
    page
}

/// `established for 1h59m`, `down for 3m, active`.
fn session(status: &PeerStatus, now: SystemTime) -> String {
    if let Some(sessions) = status.sessions {
        return format!("a range, with {sessions} sessions of its own name");
    }
    match (status.state, status.established_at, status.down_since) {
        (SessionState::Established, Some(since), _) => format!("established for {}", time::age(since.0, now)),
        (state, _, Some(since)) => format!("down for {}, now {}", time::age(since.0, now), state.name()),
        (state, _, None) => state.name().to_owned(),
    }
}

fn timers(status: &PeerStatus) -> String {
    let agreed = status.negotiated.as_ref().and_then(|agreed| agreed.hold_time_seconds);
    let timers = &status.timers;
    let hold = match (agreed, timers.hold_seconds) {
        (Some(agreed), Some(left)) => Some(format!("hold time {agreed} s, {left:.1} s left")),
        (Some(agreed), None) => Some(format!("hold time {agreed} s")),
        (None, Some(left)) => Some(format!("hold timer {left:.1} s left")),
        (None, None) => None,
    };
    let others = [
        ("keepalive in", timers.keepalive_seconds),
        ("connects in", timers.connect_seconds),
        ("rests for", timers.idle_seconds),
        ("keeps its routes for", timers.stale_seconds),
    ];
    let others = others.into_iter().filter_map(|(what, left)| Some(format!("{what} {:.1} s", left?)));
    hold.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

fn features(agreed: &Negotiated) -> String {
    let all = [
        ("4-octet AS numbers", agreed.four_octet_as),
        ("extended next hops", agreed.extended_next_hop),
        ("extended messages", agreed.extended_message),
        ("route refresh", agreed.route_refresh),
        ("enhanced route refresh", agreed.enhanced_route_refresh),
    ];
    all.into_iter().filter(|(_, is_agreed)| *is_agreed).map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

fn restart(agreed: &Negotiated) -> String {
    let Some(restart) = &agreed.graceful_restart else { return "not agreed".to_owned() };
    let GracefulRestart { peer_time_seconds, peer_is_restarting, notification, kept_by_peer, kept_for_peer } =
        restart;
    let kept = |families: &[String]| match families {
        [] => "nothing".to_owned(),
        families => families.join(", "),
    };
    let mut words = vec![format!("the peer keeps {}", kept(kept_by_peer))];
    words.push(match kept_for_peer.is_empty() {
        true => "we keep nothing".to_owned(),
        false => format!("we keep {} for {peer_time_seconds} s", kept(kept_for_peer)),
    });
    if *notification {
        words.push("over a NOTIFICATION too".to_owned());
    }
    if *peer_is_restarting {
        words.push("the peer has just restarted".to_owned());
    }
    words.join("; ")
}

/// `up for 3m, lost after 300 ms of silence, down 1 time`.
fn bfd(bfd: &BfdStatus, now: SystemTime) -> String {
    let since = bfd.since.map_or_else(String::new, |since| format!(" for {}", time::age(since.0, now)));
    if bfd.is_never_up {
        return format!(
            "configured but never up{since}: the peer does not speak it here, or speaks multihop (as FRR does with ttl-security)"
        );
    }
    let mut words = vec![format!("{}{since}", bfd.state.name())];
    if let Some(seconds) = bfd.detection_time_seconds {
        words.push(format!("gone after {} of silence", milliseconds(seconds)));
    }
    if bfd.state != BfdState::Up {
        words.push(format!("we say {}", bfd.diagnostic));
        if let Some(state) = bfd.remote_state {
            words.push(format!("the peer says {}, {}", state.name(), bfd.remote_diagnostic));
        }
    }
    words.push(format!("times up {}, down {}", bfd.up_total.0, bfd.down_total.0));
    words.join(", ")
}

fn milliseconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds)
        .map_or_else(|_| "?".to_owned(), |time| format!("{} ms", time.as_millis()))
}

fn discovery(found: &Discovery) -> String {
    let own = found.own.map_or_else(|| "no link-local address".to_owned(), |own| own.to_string());
    let mut words = vec![match (&found.error, found.link_up, found.neighbour) {
        (Some(error), _, _) => error.clone(),
        (None, false, _) => "the interface is down".to_owned(),
        (None, true, Some(neighbour)) => neighbour.to_string(),
        (None, true, None) => "none heard yet".to_owned(),
    }];
    words.push(format!("ourselves {own}"));
    if !found.others.is_empty() {
        let others: Vec<String> = found.others.iter().map(ToString::to_string).collect();
        words.push(format!("others on the link, which should have one: {}", others.join(", ")));
    }
    words.join("; ")
}

fn advertisements(found: &Discovery) -> String {
    let last = found.last_heard_seconds.map_or_else(String::new, |ago| format!(", last {ago:.1} s ago"));
    format!(
        "{} sent, {} heard{last}, {} ignored",
        found.sent_total.0, found.received_total.0, found.ignored_total.0
    )
}

fn findings(status: &PeerStatus) -> String {
    let (withdrawn, discarded) = (status.treat_as_withdraw_total.0, status.attributes_discarded_total.0);
    if withdrawn == 0 && discarded == 0 {
        return String::new();
    }
    let last = status.last_finding.as_ref().map_or_else(String::new, |last| format!("; last: {last}"));
    format!("{withdrawn} treated as withdraw, {discarded} with attributes discarded{last}")
}

fn prefixes(status: &PeerStatus) -> Table {
    let mut table = Table::new(&[
        "FAMILY",
        "TOLD",
        "HEARD",
        "STALE",
        "LIMIT",
        "ANNOUNCED",
        "WITHDRAWN",
        "LOOPS",
        "END-OF-RIB",
    ]);
    for (family, prefixes) in &status.prefixes {
        let number = |number: u64| Cell::from(number.to_string());
        table.row([
            family.as_str().into(),
            number(prefixes.advertised),
            number(prefixes.received),
            number(prefixes.stale),
            number(prefixes.limit),
            number(prefixes.announced_to_us_total.0),
            number(prefixes.withdrawn_from_us_total.0),
            number(prefixes.looped_total.0),
            number(prefixes.end_of_rib_total.0),
        ]);
    }
    table
}

/// Side by side, by code; a code can be there several times.
fn capabilities(agreed: Option<&Negotiated>) -> Table {
    let mut table = Table::new(&["CODE", "OFFERED", "RECEIVED"]);
    let mut by_code: BTreeMap<u8, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    let Some(agreed) = agreed else { return table };
    for Capability { code, text } in &agreed.offered {
        by_code.entry(*code).or_default().0.push(text);
    }
    for Capability { code, text } in &agreed.received {
        by_code.entry(*code).or_default().1.push(text);
    }
    for (code, (offered, received)) in by_code {
        table.row([code.to_string().into(), offered.join(", ").into(), received.join(", ").into()]);
    }
    table
}

fn messages(status: &PeerStatus) -> Table {
    let mut table = Table::new(&["MESSAGE", "SENT", "RECEIVED"]);
    for (kind, counts) in &status.messages {
        table.row([
            kind.as_str().into(),
            counts.sent.0.to_string().into(),
            counts.received.0.to_string().into(),
        ]);
    }
    table
}

fn notifications(status: &PeerStatus) -> Table {
    let mut table = Table::new(&["NOTIFICATION", "CODE", "TIMES"]);
    for one in &status.notifications {
        let code = match (one.code, one.subcode) {
            (0, _) => "not registered".to_owned(),
            (code, subcode) => format!("{code}/{subcode}"),
        };
        table.row([one.direction.name().into(), code.into(), one.total.0.to_string().into()]);
    }
    table
}
