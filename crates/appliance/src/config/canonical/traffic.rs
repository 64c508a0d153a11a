// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The canonical form of services, pools and the limits of the packet path.

use serde_json::{Value, json};
use weir_bgp::Prefix;

use super::{map, object};
use crate::config::value::duration_text;
use crate::model::{
    AdminState, Affinity, Algorithm, Backend, Fragments, Gue, GueVariant, Limits, Mode, OnFailed,
    OuterHeader, Percent, Pool, Protocol, Service,
};

pub(super) fn limits(limits: &Limits) -> Value {
    let prefix = |address, length| {
        Prefix::truncated(address, length).map_or(Value::Null, |prefix| json!(prefix.to_string()))
    };
    object([
        ("echo_per_second", Some(json!(limits.echo_per_second))),
        ("icmp_errors_per_second", Some(json!(limits.icmp_errors_per_second))),
        ("too_big_per_second", Some(json!(limits.too_big_per_second))),
        ("new_flows_per_cpu", Some(json!(limits.new_flows_per_cpu))),
        ("fragments_per_second", Some(json!(limits.fragments_per_second))),
        ("min_mtu_v4", Some(json!(limits.min_mtu_v4))),
        ("entropy_v4", limits.entropy_v4.map(|v4| prefix(v4.into(), Limits::ENTROPY_LENGTH_V4))),
        ("entropy_v6", limits.entropy_v6.map(|v6| prefix(v6.into(), Limits::ENTROPY_LENGTH_V6))),
    ])
}

pub(super) fn service(service: &Service) -> Value {
    let protocol = match service.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let affinity = match service.affinity {
        Affinity::Flow => "flow",
        Affinity::Source => "source",
        Affinity::SourcePort => "source-port",
    };
    let fragments = match service.fragments {
        Fragments::Drop => "drop",
        Fragments::BySource => "by-source",
        Fragments::FirstFragment => "first-fragment",
    };
    object([
        ("vip", Some(json!(service.vip))),
        ("protocol", Some(json!(protocol))),
        ("port", Some(service.port.map_or_else(|| json!("any"), |port| json!(port)))),
        ("pool", Some(json!(service.pool))),
        ("idle", Some(json!(duration_text(service.idle)))),
        ("flow_table", Some(json!(service.flow_table))),
        ("affinity", Some(json!(affinity))),
        ("fragments", Some(json!(fragments))),
        ("new_flows_per_second", service.new_flows_per_second.map(|most| json!(most))),
    ])
}

pub(super) fn pool(pool: &Pool) -> Value {
    let (mode, gue) = match &pool.mode {
        Mode::Ipip => ("ipip", None),
        Mode::Gue(gue) => ("gue", Some(gue)),
        Mode::L2 => ("l2", None),
    };
    let algorithm = match pool.algorithm {
        Algorithm::Rendezvous => "rendezvous",
        Algorithm::Maglev => "maglev",
    };
    // Where nothing is put on, there is nothing to say of it.
    let outer = (pool.mode != Mode::L2).then_some(pool.outer);
    let on_failed = match pool.on_failed {
        OnFailed::Keep => "keep",
        OnFailed::Reset => "reset",
    };
    object([
        ("mode", Some(json!(mode))),
        ("gue", gue.map(self::gue)),
        ("outer", outer.map(self::outer)),
        ("algorithm", Some(json!(algorithm))),
        ("max_backends", Some(json!(pool.max_backends))),
        ("on_failed", Some(json!(on_failed))),
        ("check", pool.check.as_ref().map(super::check)),
        ("backends", Some(map(&pool.backends, backend))),
    ])
}

fn gue(gue: &Gue) -> Value {
    let variant = match gue.variant {
        GueVariant::Header => "header",
        GueVariant::Candidates => "candidates",
        GueVariant::Direct => "direct",
    };
    json!({
        "port": gue.port,
        "variant": variant,
        "udp_checksum": gue.udp_checksum,
        "port_entropy": gue.port_entropy,
    })
}

fn outer(outer: OuterHeader) -> Value {
    json!({
        "source_entropy": outer.source_entropy,
        "copy_dscp": outer.copy_dscp,
        "flow_label": outer.flow_label,
    })
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
        // Left out where it says nothing: documents from before it have the hash they had.
        ("cap", (backend.cap != Percent::ALL).then(|| json!(backend.cap.to_string()))),
        ("state", Some(json!(state))),
        ("zone", backend.zone.as_ref().map(|zone| json!(zone))),
    ])
}
