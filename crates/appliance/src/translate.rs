// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What siblings are opened with: the fixed parts of the document in their words.

use std::collections::BTreeMap;
use std::path::Path;

use weir_bgp::{ExportPolicy, FibConfig, GracefulRestart, LinkBandwidth, PeerConfig, Secret, SpeakerConfig};
use weir_dataplane::{Capacity, CheckPath, DataplaneConfig, Uplink};

use crate::model::{self, Document, Peer, Remote, RemoteAs, XdpMode};

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

/// What the speaker is started with. `keys` are those of peers that sign their segments, by name; `is_restarting`: forwarding
/// that an earlier process left goes on.
pub fn speaker(
    document: &Document,
    mut keys: BTreeMap<String, Secret>,
    is_restarting: bool,
) -> SpeakerConfig {
    let bgp = &document.bgp;
    let import = bgp.import;
    SpeakerConfig {
        asn: bgp.asn.0,
        router_id: document.appliance.router_id,
        listen: bgp.listen.clone(),
        hostname: document.appliance.name.clone(),
        software: format!("weir/{}", env!("CARGO_PKG_VERSION")),
        graceful_restart: bgp.graceful_restart.map(|restart_time| GracefulRestart {
            restart_time,
            is_restarting,
            helper_max: bgp.helper_time,
        }),
        // Also when nothing is imported: what an earlier document imported has to go.
        fib: Some(FibConfig { table: import.table, protocol: import.protocol, metric: import.metric }),
        peers: document.peers.iter().map(|(name, one)| peer(name, one, keys.remove(name))).collect(),
    }
}

fn peer(name: &str, peer: &Peer, md5: Option<Secret>) -> PeerConfig {
    let remote_as = match peer.remote_as {
        RemoteAs::Number(asn) => weir_bgp::RemoteAs::Exact(asn.0),
        RemoteAs::External => weir_bgp::RemoteAs::External,
    };
    let remote = match &peer.remote {
        Remote::Address(address) => weir_bgp::Remote::Address(*address),
        Remote::Interface { interface, link_local } => {
            weir_bgp::Remote::Interface { interface: interface.clone(), address: *link_local }
        }
        Remote::Range { prefix, sessions_max } => {
            weir_bgp::Remote::Range { prefix: *prefix, sessions_max: *sessions_max }
        }
    };
    PeerConfig {
        name: name.to_owned(),
        remote,
        port: peer.port,
        remote_as,
        local_address: peer.source,
        hold_time: peer.hold_time,
        connect_retry: peer.connect_retry,
        passive: peer.passive,
        families: families(peer.families),
        next_hop_v4: peer.next_hop_v4,
        next_hop_v6: peer.next_hop_v6,
        md5,
        has_gtsm: peer.ttl_security,
        has_graceful_restart: peer.graceful_restart,
        prefixes_max: peer.prefixes_max,
        import_default: families(peer.import_default),
        export: ExportPolicy {
            med: peer.export.med,
            prepend: peer.export.prepend,
            communities: peer.export.standard(),
            large_communities: peer.export.large(),
            link_bandwidth: match peer.link_bandwidth {
                model::LinkBandwidth::Transitive => LinkBandwidth::Transitive,
                model::LinkBandwidth::NonTransitive => LinkBandwidth::NonTransitive,
                model::LinkBandwidth::Off => LinkBandwidth::Off,
            },
        },
    }
}

fn families(families: model::Families) -> weir_bgp::Families {
    weir_bgp::Families { ipv4: families.ipv4, ipv6: families.ipv6 }
}
