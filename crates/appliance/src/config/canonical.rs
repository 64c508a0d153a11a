// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The canonical form of a document: JSON in the document's own shape, defaults filled in, keys sorted, no spaces.
//!
//! Two files that mean the same have the same canonical form and so the same [`DocumentHash`]. What is left out on
//! purpose (no address to listen on, no zone) is left out here too. The form is part of the interface: appliances compare
//! hashes, so a change of it changes every hash of a fleet.

mod traffic;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::limits;
use super::value::duration_text;
use crate::model::{
    AnnouncePolicy, Attributes, Bgp, CheckKind, Document, DocumentHash, Families, High, HttpMethod,
    LinkBandwidth, LogFormat, LogLevel, Mark, OnAllDown, Owner, Peer, PoolCheck, Remote, RemoteAs, Require,
    Uplink, XdpMode,
};

/// The document as JSON in its own shape, with every default filled in.
pub fn to_json(document: &Document) -> Value {
    let Document { bootstrap, appliance, uplinks, limits, bgp, peers, vips, services, pools, hash: _ } =
        document;
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
        "uplinks": map(uplinks, uplink),
        "dataplane": { "limits": traffic::limits(limits) },
        "bgp": speaker(bgp),
        "peers": map(peers, peer),
        "vips": map(vips, |vip| json!({
            "address": vip.address_text(),
            "echo": vip.echo,
            "announce": announce(&vip.announce),
        })),
        "services": map(services, traffic::service),
        "pools": map(pools, traffic::pool),
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
    let (interface, link_local) = match &peer.remote {
        Remote::Interface { interface, link_local } => (Some(interface), *link_local),
        Remote::Address(_) | Remote::Range { .. } => (None, None),
    };
    let address = match peer.remote {
        Remote::Address(address) => Some(address),
        Remote::Interface { .. } | Remote::Range { .. } => None,
    };
    let range = match peer.remote {
        Remote::Range { prefix, sessions_max } => Some((prefix, sessions_max)),
        Remote::Address(_) | Remote::Interface { .. } => None,
    };
    let import_default = match peer.import_default.is_empty() {
        true => json!(false),
        false => families(peer.import_default),
    };
    let link_bandwidth = match peer.link_bandwidth {
        LinkBandwidth::Transitive => "transitive",
        LinkBandwidth::NonTransitive => "non-transitive",
        LinkBandwidth::Off => "off",
    };
    let keys = object([
        ("address", address.map(|address| json!(address.to_string()))),
        ("interface", interface.map(|interface| json!(interface))),
        ("link_local", link_local.map(|address| json!(address.to_string()))),
        ("range", range.map(|(prefix, _)| json!(prefix.to_string()))),
        ("sessions_max", range.map(|(_, most)| json!(most))),
        ("port", Some(json!(peer.port))),
        ("remote_as", Some(remote_as)),
        ("source", peer.source.map(|address| json!(address.to_string()))),
        ("hold_time", Some(json!(duration_text(peer.hold_time)))),
        ("connect_retry", Some(json!(duration_text(peer.connect_retry)))),
        ("passive", Some(json!(peer.passive))),
        ("families", Some(families(peer.families))),
        ("next_hop_v4", peer.next_hop_v4.map(|address| json!(address.to_string()))),
        ("next_hop_v6", peer.next_hop_v6.map(|address| json!(address.to_string()))),
        (
            "bfd",
            Some(match peer.bfd {
                None => json!(false),
                Some(bfd) => json!({ "interval": duration_text(bfd.interval), "multiplier": bfd.multiplier }),
            }),
        ),
        ("md5_file", peer.md5_file.as_ref().map(|file| json!(file))),
        ("ttl_security", Some(json!(peer.ttl_security))),
        ("graceful_restart", Some(json!(peer.graceful_restart))),
        ("prefixes_max", Some(json!(peer.prefixes_max))),
        ("import_default", Some(import_default)),
        ("link_bandwidth", Some(json!(link_bandwidth))),
    ]);
    with(keys, attributes(&peer.export))
}

fn families(families: Families) -> Value {
    let words = [("ipv4", families.ipv4), ("ipv6", families.ipv6)];
    words.into_iter().filter_map(|(name, is_used)| is_used.then_some(name)).collect()
}

fn speaker(bgp: &Bgp) -> Value {
    let listen: Vec<String> = bgp.listen.iter().map(ToString::to_string).collect();
    let graceful_restart = bgp.graceful_restart.map_or_else(|| "off".to_owned(), duration_text);
    json!({
        "asn": bgp.asn.0,
        "listen": listen,
        "graceful_restart": graceful_restart,
        "helper_time": duration_text(bgp.helper_time),
        "communities": map(&bgp.communities, |community| json!(community.to_string())),
        "import": {
            "table": bgp.import.table,
            "protocol": bgp.import.protocol,
            "metric": bgp.import.metric,
        },
        "drain": object([
            ("time", Some(json!(duration_text(bgp.drain.time)))),
            ("prepend", Some(json!(bgp.drain.prepend))),
            ("med", bgp.drain.med.map(|med| json!(med))),
        ]),
    })
}

fn uplink(uplink: &Uplink) -> Value {
    let xdp = match uplink.xdp {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
    };
    object([("xdp", Some(json!(xdp))), ("capacity", uplink.capacity.map(|bits| json!(capacity_text(bits))))])
}

/// A capacity as the document writes it, in the largest unit that is exact.
fn capacity_text(bits: u64) -> String {
    let exact = limits::CAPACITY_UNITS.iter().find(|(_, unit)| bits.is_multiple_of(*unit));
    exact.map_or_else(|| bits.to_string(), |(name, unit)| format!("{}{name}", bits / unit))
}

/// The communities by their values, whatever name the document gives them.
fn attributes(attributes: &Attributes) -> Value {
    let communities: Vec<String> = attributes.communities.iter().map(ToString::to_string).collect();
    object([
        ("med", attributes.med.map(|med| json!(med))),
        ("prepend", Some(json!(attributes.prepend))),
        ("communities", Some(json!(communities))),
    ])
}

/// The keys of two objects.
fn with(mut keys: Value, more: Value) -> Value {
    if let (Value::Object(keys), Value::Object(more)) = (&mut keys, more) {
        keys.extend(more);
    }
    keys
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
    let keys = object([
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
    ]);
    with(keys, attributes(&policy.attributes))
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
