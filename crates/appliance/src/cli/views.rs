// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One table for each kind of object, used by `status` and by `show`. Pure: the moment is an argument.

use std::time::SystemTime;

use weir_api::v1::{
    BackendState, BackendStatus, BfdState, BfdStatus, CheckStatus, CheckVerdict, Condition, FamilyPrefixes,
    Notification, Override, PeerStatus, PoolStatus, ServiceStatus, SessionState, Timestamp, VipStatus,
};

use super::output::Tone;
use super::table::{Cell, Table};
use super::target;
use super::time;

/// VIPs: announced or not, and why not.
pub(super) fn vips<'a>(items: impl IntoIterator<Item = (&'a str, &'a VipStatus)>, now: SystemTime) -> Table {
    let mut table = Table::new(&["VIP", "ADDRESS", "ANNOUNCED", "PEERS", "WHY"]);
    for (name, vip) in items {
        let told = vip.peers.values().filter(|is_told| **is_told).count();
        table.row([
            name.into(),
            vip.address.as_str().into(),
            yes_or_no(vip.announced),
            format!("{told}/{}", vip.peers.len()).into(),
            Cell::lines(why_not_announced(vip, now)),
        ]);
    }
    table
}

/// One line a reason. A reason without a sentence still is named.
pub(super) fn why_not_announced(vip: &VipStatus, now: SystemTime) -> Vec<String> {
    let mut lines: Vec<String> = vip.conditions.iter().map(|one| condition(one, now)).collect();
    let is_told = |code: &str| vip.conditions.iter().any(|one| one.code == code);
    let untold = vip.withheld.iter().map(|reason| reason.name()).filter(|code| !is_told(code));
    lines.extend(untold.map(str::to_owned));
    lines
}

/// Services and what they carried.
pub(super) fn services<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a ServiceStatus)>,
    now: SystemTime,
) -> Table {
    let mut table = Table::new(&["SERVICE", "VIP", "LISTENS", "POOL", "NEW FLOWS", "PACKETS", "WHY"]);
    for (name, service) in items {
        table.row([
            name.into(),
            service.vip.as_str().into(),
            format!("{} {}", service.protocol, endpoint(service)).into(),
            service.pool.as_str().into(),
            service.flows_created_total.0.to_string().into(),
            service.packets_total.0.to_string().into(),
            conditions(&service.conditions, now),
        ]);
    }
    table
}

/// `198.51.100.10:443`, `198.51.100.0/28 port 443`, `2001:db8::10 any port`.
fn endpoint(service: &ServiceStatus) -> String {
    match (service.address.parse(), service.port) {
        (_, 0) => format!("{} any port", service.address),
        (Ok(address), port) => std::net::SocketAddr::new(address, port).to_string(),
        (Err(_), port) => format!("{} port {port}", service.address),
    }
}

/// Pools and how many of their backends are usable.
pub(super) fn pools<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a PoolStatus)>,
    now: SystemTime,
) -> Table {
    let mut table = Table::new(&["POOL", "MODE", "USABLE", "WEIGHT", "OTHERS", "WHY"]);
    for (name, pool) in items {
        let usable = format!("{}/{}", pool.usable, pool.total);
        table.row([
            name.into(),
            pool.mode.as_str().into(),
            if pool.usable < pool.total { Cell::toned(Tone::Bad, usable) } else { usable.into() },
            format!("{:.0}%", pool.usable_weight_ratio * 100.0).into(),
            others(pool).into(),
            conditions(&pool.conditions, now),
        ]);
    }
    table
}

/// `1 draining, 2 failed`: backends that are not usable.
fn others(pool: &PoolStatus) -> String {
    let count = |state| pool.backends.values().filter(|backend| backend.state == state).count();
    let counts = BackendState::ALL.into_iter().filter(|state| *state != BackendState::Usable);
    let words: Vec<String> = counts
        .map(|state| (count(state), state.name()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    words.join(", ")
}

/// Backends with their pools.
pub(super) fn backends<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a str, &'a BackendStatus)>,
    now: SystemTime,
) -> Table {
    let mut table = Table::new(&["BACKEND", "ADDRESS", "WEIGHT", "STATE", "FOR", "CHECK", "FLOWS", "WHY"]);
    for (pool, name, backend) in items {
        let state = backend.state.name();
        table.row([
            format!("{pool}/{name}").into(),
            backend.address.to_string().into(),
            weight(backend).into(),
            match backend.state {
                BackendState::Usable => Cell::toned(Tone::Good, state),
                BackendState::Draining
                | BackendState::Failed
                | BackendState::Unknown
                | BackendState::Unresolved
                | BackendState::Disabled => Cell::toned(Tone::Bad, state),
            },
            backend.since.map_or(String::new(), |since| time::age(since.0, now)).into(),
            checked(&backend.check).into(),
            backend.flows.map_or(String::new(), |flows| flows.to_string()).into(),
            Cell::lines(why_not_usable(backend, now)),
        ]);
    }
    table
}

/// `100`, `100 at 50%`.
fn weight(backend: &BackendStatus) -> String {
    match (backend.cap_ratio * 100.0).round() {
        100.0 => backend.weight.to_string(),
        percent => format!("{} at {percent:.0}%", backend.weight),
    }
}

/// `up`, `down: timeout`, or nothing when there is no check.
fn checked(check: &CheckStatus) -> String {
    match (&check.cause, check.verdict) {
        (_, CheckVerdict::None) => String::new(),
        (Some(cause), CheckVerdict::Down) => format!("down: {cause}"),
        (_, verdict) => verdict.name().to_owned(),
    }
}

fn why_not_usable(backend: &BackendStatus, now: SystemTime) -> Vec<String> {
    if !backend.conditions.is_empty() {
        return backend.conditions.iter().map(|one| condition(one, now)).collect();
    }
    let unreachable = (!backend.next_hop.resolved).then(|| backend.next_hop.detail.clone());
    let by = backend.by.as_ref().map(|by| format!("override {by}"));
    by.into_iter().chain(unreachable).collect()
}

/// Sessions, and for one that is down what was last heard of it.
pub(super) fn peers<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a PeerStatus)>,
    now: SystemTime,
) -> Table {
    let mut table = Table::new(&["PEER", "ADDRESS", "AS", "STATE", "FOR", "PREFIXES", "WHY"]);
    for (name, peer) in items {
        table.row([
            name.into(),
            remote(peer).into(),
            remote_as(peer).into(),
            session_state(peer),
            in_state(peer, now).into(),
            sum(peer, |family| family.advertised).into(),
            why_not_up(peer, now),
        ]);
    }
    table
}

/// Sessions with what runs over them and beside them.
pub(super) fn sessions<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a PeerStatus)>,
    now: SystemTime,
) -> Table {
    let head = &["PEER", "REMOTE", "AS", "STATE", "FOR", "OUT", "IN", "FLAPS", "BFD", "WHY"];
    let mut table = Table::new(head);
    for (name, peer) in items {
        table.row([
            name.into(),
            remote(peer).into(),
            remote_as(peer).into(),
            session_state(peer),
            in_state(peer, now).into(),
            sum(peer, |family| family.advertised).into(),
            sum(peer, |family| family.received).into(),
            peer.down_total.0.to_string().into(),
            peer.bfd.as_ref().map_or_else(|| Cell::from(""), bfd),
            why_not_up(peer, now),
        ]);
    }
    table
}

fn is_up(peer: &PeerStatus) -> bool {
    peer.state == SessionState::Established
}

fn remote_as(peer: &PeerStatus) -> String {
    if peer.remote_as == 0 { "any".to_owned() } else { peer.remote_as.to_string() }
}

fn session_state(peer: &PeerStatus) -> Cell {
    match peer.sessions {
        Some(1) => Cell::from("1 session"),
        Some(sessions) => format!("{sessions} sessions").into(),
        None => Cell::toned(if is_up(peer) { Tone::Good } else { Tone::Bad }, peer.state.name()),
    }
}

/// How long it is up, or down after having been up.
fn in_state(peer: &PeerStatus, now: SystemTime) -> String {
    let since = if is_up(peer) { peer.established_at } else { peer.down_since };
    since.map_or_else(String::new, |since| time::age(since.0, now))
}

fn sum(peer: &PeerStatus, count: fn(&FamilyPrefixes) -> u64) -> String {
    peer.prefixes.values().map(count).sum::<u64>().to_string()
}

fn why_not_up(peer: &PeerStatus, now: SystemTime) -> Cell {
    if is_up(peer) { conditions(&peer.conditions, now) } else { Cell::lines(why_down(peer, now)) }
}

/// `10.0.0.1`, `fe80::1%eth1`, or as configured while the address is not known.
fn remote(peer: &PeerStatus) -> String {
    match (peer.address, &peer.interface) {
        (Some(address), Some(interface)) => format!("{address}%{interface}"),
        (Some(address), None) => address.to_string(),
        (None, _) => peer.remote.clone(),
    }
}

fn bfd(bfd: &BfdStatus) -> Cell {
    match bfd.state {
        BfdState::Up => Cell::toned(Tone::Good, "up"),
        _ if bfd.is_never_up => Cell::toned(Tone::Bad, "never-up"),
        BfdState::AdminDown | BfdState::Down | BfdState::Init => Cell::toned(Tone::Bad, bfd.state.name()),
    }
}

/// What keeps a session down, the newest first.
fn why_down(peer: &PeerStatus, now: SystemTime) -> Vec<String> {
    let is_told = |text: &str| peer.conditions.iter().any(|one| one.message.contains(text));
    let conditions = peer.conditions.iter().map(|one| condition(one, now));
    conditions.chain(words(peer, now, |text| !is_told(text))).collect()
}

/// The last words of each side about a session, the newest first.
pub(super) fn last_words(peer: &PeerStatus, now: SystemTime) -> Vec<String> {
    words(peer, now, |_| true)
}

fn words(peer: &PeerStatus, now: SystemTime, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let said = |last: &Option<Notification>| last.as_ref().map(|last| (last.at, last.text.clone()));
    let all = [
        ("received", said(&peer.last_received)),
        ("sent", said(&peer.last_sent)),
        ("transport", peer.last_transport.as_ref().map(|last| (last.at, last.text.clone()))),
    ];
    let mut words: Vec<(&str, Timestamp, String)> =
        all.into_iter().filter_map(|(what, last)| last.map(|(at, text)| (what, at, text))).collect();
    words.retain(|(_, _, text)| is_wanted(text));
    words.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    words.iter().map(|(what, at, text)| format!("{what}: {text} ({} ago)", time::age(at.0, now))).collect()
}

/// What operators set beside the document.
pub(super) fn overrides<'a>(items: impl IntoIterator<Item = &'a Override>, now: SystemTime) -> Table {
    let mut table = Table::new(&["TARGET", "STATE", "SET", "UNTIL", "AUTHOR", "REASON"]);
    for one in items {
        let until = one.until.map_or_else(|| "cleared".to_owned(), |until| time::deadline(until.0, now));
        let lost = "does not survive a restart: it could not be written down".to_owned();
        let reason = (!one.reason.is_empty()).then(|| one.reason.clone());
        table.row([
            target::parse(&one.target)
                .map_or_else(|_| one.target.clone(), |target| target::shown(&target))
                .into(),
            one.state.name().into(),
            format!("{} ago", time::age(one.created.0, now)).into(),
            until.into(),
            one.author.as_str().into(),
            Cell::lines(reason.into_iter().chain((!one.persisted).then_some(lost))),
        ]);
    }
    table
}

/// All conditions of an object, a line each.
pub(super) fn conditions(all: &[Condition], now: SystemTime) -> Cell {
    Cell::lines(all.iter().map(|one| condition(one, now)))
}

/// `backends: service `web`: 0 of 3 backends usable, 1 needed (for 3m10s)`.
pub(super) fn condition(one: &Condition, now: SystemTime) -> String {
    let mut times = Vec::new();
    if let Some(since) = one.since {
        times.push(format!("for {}", time::age(since.0, now)));
    }
    if let Some(until) = one.until {
        times.push(format!("until {}", time::deadline(until.0, now)));
    }
    let message = if one.message.is_empty() { String::new() } else { format!(": {}", one.message) };
    let times = if times.is_empty() { String::new() } else { format!(" ({})", times.join(", ")) };
    format!("{}{message}{times}", one.code)
}

fn yes_or_no(is_so: bool) -> Cell {
    if is_so { Cell::toned(Tone::Good, "yes") } else { Cell::toned(Tone::Bad, "no") }
}
