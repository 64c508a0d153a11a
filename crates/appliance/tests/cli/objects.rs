// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A daemon's answers for tests: objects as the API shapes them, cut from one status and one document.

use serde_json::{Value, json};

/// `GET /v1/status`.
pub(crate) fn status() -> Value {
    serde_json::from_str(include_str!("status.json")).expect("the status is JSON")
}

/// `GET /v1/document`.
pub(crate) fn document() -> Value {
    serde_json::from_str(include_str!("document.json")).expect("the document is JSON")
}

/// The answer to a GET of `path`, `None` where there is nothing.
pub(crate) fn get(path: &str) -> Option<Value> {
    let (status, document) = (status(), document());
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    let segments: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
    match segments.as_slice() {
        ["status"] => Some(status),
        ["document"] => Some(document),
        ["overrides"] => Some(json!({ "items": status["overrides"] })),
        ["appliance"] => Some(json!({
            "name": status["appliance"]["name"],
            "spec": { "appliance": document["appliance"], "bgp": document["bgp"], "uplinks": document["uplinks"] },
            "status": { "process": status["appliance"], "document": status["document"],
                "dataplane": status["dataplane"], "conditions": status["conditions"] },
            "overrides": overrides(&status, "appliance"),
            "generation": 4,
        })),
        ["bgp"] => Some(json!({
            "spec": document["bgp"], "status": status["bgp"], "peers": status["peers"], "generation": 4,
        })),
        ["peers", peer, "adj-rib-out"] => status["peers"].get(peer).map(|_| json!({
            "items": [
                { "prefix": "192.0.2.1/32", "next_hop": "10.0.0.2", "as_path": "65010", "med": null,
                    "communities": [], "large_communities": [], "link_bandwidth": null },
                { "prefix": "198.51.100.10/32", "next_hop": "10.0.0.2", "as_path": "65010 65010", "med": 50,
                    "communities": ["65010:100", "no-export"], "large_communities": ["65010:1:2"],
                    "link_bandwidth": 3_125_000_000_u64 },
            ],
            "total": 2, "next": null,
        })),
        ["peers", peer, "adj-rib-in"] => status["peers"].get(peer).map(|_| json!({
            "items": [{ "prefix": "0.0.0.0/0", "next_hops": ["2001:db8::1", "fe80::1"], "as_path": "65000", "origin": "igp",
                "med": null, "communities": [], "large_communities": [], "is_stale": true,
                "received_at": "2026-03-01T10:00:04.000Z" }],
            "total": 1, "next": null,
        })),
        ["pools", pool, "backends"] => {
            let names = status["pools"][pool]["backends"].as_object()?.keys();
            let items: Vec<Value> =
                names.filter_map(|name| backend(&status, &document, pool, name)).collect();
            Some(json!({ "items": items }))
        }
        ["pools", pool, "backends", name] => backend(&status, &document, pool, name),
        [kind @ ("vips" | "services" | "pools" | "peers")] => {
            let names = status[kind].as_object()?.keys();
            let items: Vec<Value> = names.filter_map(|name| object(&status, &document, kind, name)).collect();
            Some(json!({ "items": items }))
        }
        [kind @ ("vips" | "services" | "pools" | "peers"), name] => object(&status, &document, kind, name),
        _ => None,
    }
}

fn object(status: &Value, document: &Value, kind: &str, name: &str) -> Option<Value> {
    let prefix = match kind {
        "vips" => format!("vip/{name}"),
        "pools" => format!("/{name}"),
        _ => "none".to_owned(),
    };
    Some(json!({
        "name": name,
        "spec": document[kind][name],
        "status": status[kind].get(name)?,
        "overrides": overrides(status, &prefix),
        "generation": 4,
    }))
}

fn backend(status: &Value, document: &Value, pool: &str, name: &str) -> Option<Value> {
    let mut found = status["pools"][pool]["backends"].get(name)?.clone();
    found["check"]["checks"] = json!([{
        "target": "198.51.100.10:443", "verdict": found["check"]["verdict"], "since": "2026-03-01T11:00:00.000Z",
        "results": [
            { "at": "2026-03-01T11:59:56.000Z", "seconds": 0.0021, "outcome": "ok" },
            { "at": "2026-03-01T11:59:58.000Z", "seconds": 1.0, "outcome": "timeout" },
        ],
    }]);
    Some(json!({
        "name": name,
        "pool": pool,
        "spec": document["pools"][pool]["backends"][name],
        "status": found,
        "overrides": overrides(status, &format!("{pool}/{name}")),
        "generation": 4,
    }))
}

/// Overrides whose target has `part` in it.
fn overrides(status: &Value, part: &str) -> Vec<Value> {
    let all = status["overrides"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter()
        .filter(|one| one["target"].as_str().is_some_and(|target| target.contains(part)))
        .cloned()
        .collect()
}
