// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What siblings are opened with: the fixed parts of the document in their words.

use std::path::Path;

use weir_bgp::{PeerConfig, SpeakerConfig};
use weir_dataplane::{Capacity, CheckPath, DataplaneConfig, Uplink};

use crate::model::{Document, Peer, RemoteAs, XdpMode};

/// What the dataplane is opened with.
pub fn dataplane(document: &Document, hash_seed: [u8; 32]) -> DataplaneConfig {
    let capacity = &document.bootstrap.capacity;
    let checks = &document.bootstrap.checks;
    let uplink = |(name, uplink): (&String, &crate::model::Uplink)| Uplink {
        name: name.clone(),
        mode: match uplink.xdp {
            XdpMode::Native => weir_dataplane::XdpMode::Native,
            XdpMode::Generic => weir_dataplane::XdpMode::Generic,
        },
    };
    DataplaneConfig {
        instance_dir: Path::new(&document.bootstrap.pin_dir).join(&document.bootstrap.instance),
        uplinks: document.uplinks.iter().map(uplink).collect(),
        hash_seed,
        source_v4: document.appliance.source_v4,
        source_v6: document.appliance.source_v6,
        capacity: Capacity {
            services: capacity.services,
            backends: capacity.backends,
            flow_slots: capacity.flow_slots,
            rows: capacity.rows,
        },
        checks: Some(CheckPath {
            interface: checks.interface.clone(),
            mark: checks.mark,
            table: checks.table,
            priority: checks.priority,
        }),
    }
}

/// What the speaker is started with.
pub fn speaker(document: &Document) -> SpeakerConfig {
    SpeakerConfig {
        asn: document.bgp.asn.0,
        router_id: document.appliance.router_id,
        listen: document.bgp.listen.clone(),
        hostname: document.appliance.name.clone(),
        software: format!("weir/{}", env!("CARGO_PKG_VERSION")),
        graceful_restart: None,
        fib: None,
        peers: document.peers.iter().map(|(name, one)| peer(name, one)).collect(),
    }
}

fn peer(name: &str, peer: &Peer) -> PeerConfig {
    let remote_as = match peer.remote_as {
        RemoteAs::Number(asn) => weir_bgp::RemoteAs::Exact(asn.0),
        RemoteAs::External => weir_bgp::RemoteAs::External,
    };
    PeerConfig {
        port: peer.port,
        local_address: peer.source,
        hold_time: peer.hold_time,
        connect_retry: peer.connect_retry,
        passive: peer.passive,
        families: weir_bgp::Families { ipv4: peer.families.ipv4, ipv6: peer.families.ipv6 },
        next_hop_v4: peer.next_hop_v4,
        next_hop_v6: peer.next_hop_v6,
        ..PeerConfig::new(name, peer.address, remote_as)
    }
}
