// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One table for each kind of object, used by `status` and by `show`. Pure: the moment is an argument.

use std::time::SystemTime;

use weir_api::v1::{
    BackendState, BackendStatus, CheckStatus, CheckVerdict, Condition, Override, PeerStatus, PoolStatus,
    Remark, ServiceStatus, SessionState, VipStatus,
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
            vip.address.to_string().into(),
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
        let address = std::net::SocketAddr::new(service.address, service.port);
        table.row([
            name.into(),
            service.vip.as_str().into(),
            format!("{} {address}", service.protocol).into(),
            service.pool.as_str().into(),
            service.flows_created_total.0.to_string().into(),
            service.packets_total.0.to_string().into(),
            conditions(&service.conditions, now),
        ]);
    }
    table
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
            backend.weight.to_string().into(),
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
        let is_up = peer.state == SessionState::Established;
        let told: usize = peer.prefixes.values().map(|family| family.advertised.len()).sum();
        table.row([
            name.into(),
            peer.address.to_string().into(),
            if peer.remote_as == 0 { Cell::from("any") } else { peer.remote_as.to_string().into() },
            Cell::toned(if is_up { Tone::Good } else { Tone::Bad }, peer.state.name()),
            match (is_up, peer.established_at) {
                (true, Some(since)) => time::age(since.0, now).into(),
                _ => "".into(),
            },
            told.to_string().into(),
            if is_up { conditions(&peer.conditions, now) } else { Cell::lines(why_down(peer, now)) },
        ]);
    }
    table
}

/// What keeps a session down, the newest first.
fn why_down(peer: &PeerStatus, now: SystemTime) -> Vec<String> {
    let is_told = |remark: &Remark| peer.conditions.iter().any(|one| one.message.contains(&remark.text));
    let conditions = peer.conditions.iter().map(|one| condition(one, now));
    conditions.chain(words(peer, now, |remark| !is_told(remark))).collect()
}

/// The last words of each side about a session, the newest first.
pub(super) fn last_words(peer: &PeerStatus, now: SystemTime) -> Vec<String> {
    words(peer, now, |_| true)
}

fn words(peer: &PeerStatus, now: SystemTime, is_wanted: impl Fn(&Remark) -> bool) -> Vec<String> {
    let all =
        [("received", &peer.last_received), ("sent", &peer.last_sent), ("transport", &peer.last_transport)];
    let mut words: Vec<(&str, &Remark)> =
        all.into_iter().filter_map(|(what, remark)| Some((what, remark.as_ref()?))).collect();
    words.retain(|(_, remark)| is_wanted(remark));
    words.sort_by_key(|(_, remark)| std::cmp::Reverse(remark.at));
    words
        .iter()
        .map(|(what, one)| format!("{what}: {} ({} ago)", one.text, time::age(one.at.0, now)))
        .collect()
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
