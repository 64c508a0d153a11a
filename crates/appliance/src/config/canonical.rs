// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The canonical form of a document: JSON in the document's own shape, defaults filled in, keys sorted, no spaces.
//!
//! Two files that mean the same have the same canonical form and so the same [`DocumentHash`]. What is left out on
//! purpose (no address to listen on, no zone) is left out here too. The form is part of the interface: appliances compare
//! hashes, so a change of it changes every hash of a fleet.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::value::duration_text;
use crate::model::{
    AdminState, AnnouncePolicy, Backend, CheckKind, Document, DocumentHash, High, HttpMethod, LogFormat,
    LogLevel, Mark, Mode, OnAllDown, OnFailed, Owner, Peer, Pool, PoolCheck, Protocol, RemoteAs, Require,
    Service, XdpMode,
};

/// The document as JSON in its own shape, with every default filled in.
pub fn to_json(document: &Document) -> Value {
    let Document { bootstrap, appliance, uplinks, bgp, peers, vips, services, pools, hash: _ } = document;
    let owner = match bootstrap.owner {
        Owner::File => "file",
    };
    let level = match bootstrap.log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let format = match bootstrap.log.format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let capacity = bootstrap.capacity;
    let listen: Vec<String> = bgp.listen.iter().map(ToString::to_string).collect();
    json!({
        "bootstrap": object([
            ("owner", Some(json!(owner))),
            ("api_socket", Some(json!(bootstrap.api_socket))),
            ("api_listen", bootstrap.api_listen.map(|address| json!(address.to_string()))),
            ("state_dir", Some(json!(bootstrap.state_dir))),
            ("instance", Some(json!(bootstrap.instance))),
            ("pin_dir", Some(json!(bootstrap.pin_dir))),
            ("capacity", Some(json!({
                "services": capacity.services,
                "backends": capacity.backends,
                "flow_slots": capacity.flow_slots,
                "rows": capacity.rows,
            }))),
            ("checks", Some(json!({
                "interface": bootstrap.checks.interface,
                "mark": bootstrap.checks.mark,
                "table": bootstrap.checks.table,
                "priority": bootstrap.checks.priority,
            }))),
            ("log", Some(json!({ "level": level, "format": format }))),
        ]),
        "appliance": object([
            ("name", Some(json!(appliance.name))),
            ("router_id", Some(json!(appliance.router_id.to_string()))),
            ("source_v4", appliance.source_v4.map(|address| json!(address.to_string()))),
            ("source_v6", appliance.source_v6.map(|address| json!(address.to_string()))),
            ("hash_seed_file", Some(json!(appliance.hash_seed_file))),
            ("drain_wait", Some(json!(duration_text(appliance.drain_wait)))),
        ]),
        "uplinks": map(uplinks, |uplink| json!({ "xdp": match uplink.xdp {
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        } })),
        "bgp": { "asn": bgp.asn.0, "listen": listen },
        "peers": map(peers, peer),
        "vips": map(vips, |vip| json!({
            "address": vip.address.to_string(),
            "announce": announce(&vip.announce),
        })),
        "services": map(services, service),
        "pools": map(pools, pool),
    })
}

/// SHA-256 of the canonical form.
pub(super) fn hash(document: &Document) -> DocumentHash {
    let mut text = String::new();
    write_sorted(&to_json(document), &mut text);
    DocumentHash(Sha256::digest(text.as_bytes()).into())
}

fn peer(peer: &Peer) -> Value {
    let remote_as = match peer.remote_as {
        RemoteAs::Number(asn) => json!(asn.0),
        RemoteAs::External => json!("external"),
    };
    let families: Vec<&str> = [("ipv4", peer.families.ipv4), ("ipv6", peer.families.ipv6)]
        .into_iter()
        .filter_map(|(name, is_used)| is_used.then_some(name))
        .collect();
    object([
        ("address", Some(json!(peer.address.to_string()))),
        ("port", Some(json!(peer.port))),
        ("remote_as", Some(remote_as)),
        ("source", peer.source.map(|address| json!(address.to_string()))),
        ("hold_time", Some(json!(duration_text(peer.hold_time)))),
        ("connect_retry", Some(json!(duration_text(peer.connect_retry)))),
        ("passive", Some(json!(peer.passive))),
        ("families", Some(json!(families))),
        ("next_hop_v4", peer.next_hop_v4.map(|address| json!(address.to_string()))),
        ("next_hop_v6", peer.next_hop_v6.map(|address| json!(address.to_string()))),
        (
            "bfd",
            Some(match peer.bfd {
                None => json!(false),
                Some(bfd) => json!({ "interval": duration_text(bfd.interval), "multiplier": bfd.multiplier }),
            }),
        ),
    ])
}

fn service(service: &Service) -> Value {
    let protocol = match service.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    json!({
        "vip": service.vip,
        "protocol": protocol,
        "port": service.port,
        "pool": service.pool,
        "idle": duration_text(service.idle),
        "flow_table": service.flow_table,
    })
}

fn pool(pool: &Pool) -> Value {
    let mode = match pool.mode {
        Mode::Ipip => "ipip",
    };
    let on_failed = match pool.on_failed {
        OnFailed::Keep => "keep",
        OnFailed::Reset => "reset",
    };
    object([
        ("mode", Some(json!(mode))),
        ("max_backends", Some(json!(pool.max_backends))),
        ("on_failed", Some(json!(on_failed))),
        ("check", pool.check.as_ref().map(check)),
        ("backends", Some(map(&pool.backends, backend))),
    ])
}

fn check(check: &PoolCheck) -> Value {
    let (kind, http) = match &check.kind {
        CheckKind::Tcp => ("tcp", None),
        CheckKind::Http(http) => ("http", Some(http)),
    };
    let method = |method| match method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Options => "OPTIONS",
    };
    let status = |&(start, end): &(u16, u16)| match start == end {
        true => json!(start),
        false => json!(format!("{start}-{end}")),
    };
    object([
        ("kind", Some(json!(kind))),
        ("port", check.port.map(|port| json!(port))),
        ("interval", Some(json!(duration_text(check.interval)))),
        ("timeout", Some(json!(duration_text(check.timeout)))),
        ("fast_interval", Some(json!(duration_text(check.fast_interval)))),
        ("down_interval", Some(json!(duration_text(check.down_interval)))),
        ("rise", Some(json!(check.rise))),
        ("fall", Some(json!(check.fall))),
        ("method", http.map(|http| json!(method(http.method)))),
        ("path", http.map(|http| json!(http.path))),
        ("host", http.and_then(|http| http.host.as_ref()).map(|host| json!(host))),
        ("status", http.map(|http| http.status.iter().map(status).collect())),
        ("body", http.and_then(|http| http.body.as_ref()).map(|body| json!(body))),
    ])
}

fn announce(policy: &AnnouncePolicy) -> Value {
    let mark = |mark| match mark {
        Mark::Backends(backends) => json!(backends),
        Mark::Percent(percent) => json!(format!("{percent}%")),
    };
    let on_all_down = match policy.on_all_down {
        OnAllDown::Withdraw => "withdraw",
        OnAllDown::Deprioritise => "deprioritise",
        OnAllDown::Keep => "keep",
    };
    let require = match &policy.require {
        Require::All => json!("all"),
        Require::Any => json!("any"),
        Require::Services(services) => json!(services),
    };
    object([
        ("low", Some(mark(policy.low))),
        (
            "high",
            match policy.high {
                High::Usual => None,
                High::Mark(high) => Some(mark(high)),
            },
        ),
        ("up_hold", Some(json!(duration_text(policy.up_hold)))),
        ("down_hold", Some(json!(duration_text(policy.down_hold)))),
        ("on_all_down", Some(json!(on_all_down))),
        ("require", Some(require)),
    ])
}

fn backend(backend: &Backend) -> Value {
    let state = match backend.state {
        AdminState::Active => "active",
        AdminState::Draining => "draining",
        AdminState::Disabled => "disabled",
    };
    object([
        ("address", Some(json!(backend.address.to_string()))),
        ("weight", Some(json!(backend.weight))),
        ("state", Some(json!(state))),
        ("zone", backend.zone.as_ref().map(|zone| json!(zone))),
    ])
}

/// An object of the keys that have a value.
fn object<const N: usize>(keys: [(&str, Option<Value>); N]) -> Value {
    let present = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(present.collect::<Map<String, Value>>())
}

fn map<T>(objects: &BTreeMap<String, T>, value: impl Fn(&T) -> Value) -> Value {
    Value::Object(objects.iter().map(|(name, object)| (name.clone(), value(object))).collect())
}

/// Writes JSON with sorted keys and no spaces, whatever order the map type keeps.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_sorted(value, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string())
        }
    }
}
