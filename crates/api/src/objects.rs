// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects as answers: the document's part, the status, the overrides, put together. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::control::{DocumentView, OverrideTarget, View};
use crate::error::{Problem, Slug};
use crate::v1::{
    Appliance, ApplianceFacts, Backend, Bgp, CheckDetail, Override, Peer, Pool, Service, Spec, Vip,
};

/// Longest name that a guess is made for; bounds the work on hostile input.
const GUESS_CHARS_MAX: usize = 64;

/// The VIP of this name.
pub(crate) fn vip(view: &View, name: &str) -> Result<Vip, Problem> {
    let status = view.status.vips.get(name).ok_or_else(|| unknown("vip", name, view.status.vips.keys()))?;
    let overrides = pick(view, &[OverrideTarget::Vip(name.to_owned()), OverrideTarget::Appliance]);
    Ok(Vip {
        name: name.to_owned(),
        spec: spec(&view.document, &["vips", name]),
        status: status.clone(),
        overrides,
        generation: view.document.generation,
    })
}

/// The service of this name.
pub(crate) fn service(view: &View, name: &str) -> Result<Service, Problem> {
    let services = &view.status.services;
    let status = services.get(name).ok_or_else(|| unknown("service", name, services.keys()))?;
    let overrides = [
        OverrideTarget::Vip(status.vip.clone()),
        OverrideTarget::Pool(status.pool.clone()),
        OverrideTarget::Appliance,
    ];
    Ok(Service {
        name: name.to_owned(),
        spec: spec(&view.document, &["services", name]),
        status: status.clone(),
        overrides: pick(view, &overrides),
        generation: view.document.generation,
    })
}

/// The pool of this name.
pub(crate) fn pool(view: &View, name: &str) -> Result<Pool, Problem> {
    let status =
        view.status.pools.get(name).ok_or_else(|| unknown("pool", name, view.status.pools.keys()))?;
    let of_pool = OverrideTarget::Pool(name.to_owned()).id();
    let of_backends = format!("backend/{name}/");
    let overrides = view.status.overrides.iter();
    let overrides = overrides.filter(|one| one.target == of_pool || one.target.starts_with(&of_backends));
    Ok(Pool {
        name: name.to_owned(),
        spec: spec(&view.document, &["pools", name]),
        status: status.clone(),
        overrides: overrides.cloned().collect(),
        generation: view.document.generation,
    })
}

/// The backend of this name, with its checks.
pub(crate) fn backend(
    view: &View,
    pool: &str,
    name: &str,
    checks: &BTreeMap<String, Vec<CheckDetail>>,
) -> Result<Backend, Problem> {
    let pools = &view.status.pools;
    let backends = &pools.get(pool).ok_or_else(|| unknown("pool", pool, pools.keys()))?.backends;
    let found = backends.get(name);
    let status = found.ok_or_else(|| unknown(&format!("backend of pool `{pool}`"), name, backends.keys()))?;
    let mut status = status.clone();
    status.check.checks = checks.get(name).cloned().unwrap_or_default();
    let own = OverrideTarget::Backend { pool: pool.to_owned(), backend: name.to_owned() };
    Ok(Backend {
        name: name.to_owned(),
        pool: pool.to_owned(),
        spec: spec(&view.document, &["pools", pool, "backends", name]),
        status,
        overrides: pick(view, &[own, OverrideTarget::Pool(pool.to_owned())]),
        generation: view.document.generation,
    })
}

/// The peer of this name.
pub(crate) fn peer(view: &View, name: &str) -> Result<Peer, Problem> {
    let status = view.status.peers.get(name).ok_or_else(|| unknown_peer(view, name))?;
    // A session of a range is what the document says of the range.
    let in_document = name.split_once('/').map_or(name, |(range, _)| range);
    Ok(Peer {
        name: name.to_owned(),
        spec: spec(&view.document, &["peers", in_document]),
        status: status.clone(),
        overrides: Vec::new(),
        generation: view.document.generation,
    })
}

/// 404 for a peer.
pub(crate) fn unknown_peer(view: &View, name: &str) -> Problem {
    unknown("peer", name, view.status.peers.keys())
}

/// The speaker and its peers.
pub(crate) fn bgp(view: &View) -> Bgp {
    Bgp {
        spec: spec(&view.document, &["bgp"]),
        status: view.status.bgp.clone(),
        peers: view.status.peers.clone(),
        generation: view.document.generation,
    }
}

/// This appliance.
pub(crate) fn appliance(view: &View) -> Appliance {
    let sections = ["appliance", "bgp", "uplinks"];
    let section = |name: &str| Some((name.to_owned(), view.document.json.get(name)?.clone()));
    Appliance {
        name: view.status.appliance.name.clone(),
        spec: sections.into_iter().filter_map(section).collect(),
        status: ApplianceFacts {
            process: view.status.appliance.clone(),
            document: view.status.document.clone(),
            dataplane: view.status.dataplane.clone(),
            conditions: view.status.conditions.clone(),
        },
        overrides: pick(view, &[OverrideTarget::Appliance]),
        generation: view.document.generation,
    }
}

/// Whether the document has the object that an override is about; the problem to answer when it does not.
pub(crate) fn known(document: &DocumentView, target: &OverrideTarget) -> Result<(), Problem> {
    let names = |path: &[&str]| -> Vec<String> {
        let part = path.iter().try_fold(&document.json, |part, key| part.get(key));
        part.and_then(Value::as_object).into_iter().flat_map(|part| part.keys().cloned()).collect()
    };
    let check = |kind: &str, names: Vec<String>, name: &str| {
        if names.iter().any(|known| known == name) { Ok(()) } else { Err(unknown(kind, name, &names)) }
    };
    match target {
        OverrideTarget::Appliance => Ok(()),
        OverrideTarget::Vip(vip) => check("vip", names(&["vips"]), vip),
        OverrideTarget::Pool(pool) => check("pool", names(&["pools"]), pool),
        OverrideTarget::Backend { pool, backend } => {
            check("pool", names(&["pools"]), pool)?;
            check(&format!("backend of pool `{pool}`"), names(&["pools", pool, "backends"]), backend)
        }
    }
}

/// 404 with the kind, the name, and the known name that was probably meant.
fn unknown<'n>(kind: &str, name: &str, known: impl IntoIterator<Item = &'n String>) -> Problem {
    let shown: String = name.chars().take(GUESS_CHARS_MAX).collect();
    let mut words = format!("there is no {kind} named `{shown}`");
    if let Some(near) = nearest(name, known) {
        words.push_str(&format!(", did you mean `{near}`?"));
    }
    Problem::new(Slug::NotFound, words)
}

/// The known name nearest to `name`, unless all are too far: more than a third of the letters wrong.
fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n String>) -> Option<&'n String> {
    if name.chars().count() > GUESS_CHARS_MAX {
        return None;
    }
    let allowed = (name.chars().count() / 3).max(1);
    let near = known.into_iter().map(|candidate| (strsim::osa_distance(name, candidate), candidate));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

fn pick(view: &View, targets: &[OverrideTarget]) -> Vec<Override> {
    let ids: Vec<String> = targets.iter().map(OverrideTarget::id).collect();
    let of = |id: &String| view.status.overrides.iter().find(|one| one.id == *id).cloned();
    ids.iter().filter_map(of).collect()
}

fn spec(document: &DocumentView, path: &[&str]) -> Spec {
    let part = path.iter().try_fold(&document.json, |part, key| part.get(key));
    part.and_then(Value::as_object).cloned().unwrap_or_default()
}
