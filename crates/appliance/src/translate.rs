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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const KINDS: &str = include_str!("../tests/check/good/peers_of_every_kind.toml");

    fn config(text: &str, is_restarting: bool) -> SpeakerConfig {
        let document = parse("weir.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let key = Secret::new("s3cr3t").expect("a key");
        speaker(&document, BTreeMap::from([("tor1".to_owned(), key)]), is_restarting)
    }

    fn peer_of<'c>(config: &'c SpeakerConfig, name: &str) -> &'c PeerConfig {
        config.peers.iter().find(|peer| peer.name == name).expect("it is there")
    }

    #[test]
    fn every_key_of_a_peer_reaches_the_speaker() {
        let config = config(KINDS, true);
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.graceful_restart, None, "the document says off");
        assert_eq!(config.fib, Some(FibConfig { table: 254, protocol: 87, metric: 2048 }));
        let both = weir_bgp::Families::BOTH;
        let tor1 = peer_of(&config, "tor1");
        assert_eq!(tor1.md5, Secret::new("s3cr3t"));
        assert!(tor1.has_gtsm && tor1.has_graceful_restart);
        assert_eq!((tor1.families, tor1.import_default), (both, both));
        assert_eq!(tor1.next_hop_v6, Some("2001:db8::10".parse().expect("an address")));
        let export = ExportPolicy {
            med: Some(u32::MAX),
            prepend: 0,
            communities: vec![65_010 << 16 | 7, 0xffff_ff01],
            large_communities: vec![[4_200_000_000, 1, 2]],
            link_bandwidth: LinkBandwidth::Transitive,
        };
        assert_eq!(tor1.export, export);
        let tor2 = peer_of(&config, "tor2");
        assert_eq!(tor2.remote, weir_bgp::Remote::Interface { interface: "eth1".into(), address: None });
        assert_eq!((tor2.families, tor2.md5.as_ref(), tor2.has_gtsm), (both, None, false));
        assert_eq!(tor2.import_default, weir_bgp::Families { ipv4: false, ipv6: true });
        assert_eq!(tor2.export.link_bandwidth, LinkBandwidth::NonTransitive);
        let link_local = Some("fe80::1".parse().expect("an address"));
        let fixed = weir_bgp::Remote::Interface { interface: "eth2".into(), address: link_local };
        assert_eq!(peer_of(&config, "tor3").remote, fixed);
        let tor4 = peer_of(&config, "tor4");
        assert_eq!(tor4.families, weir_bgp::Families { ipv4: true, ipv6: false }, "IPv4 over IPv6, RFC 8950");
        let tors = peer_of(&config, "tors");
        let prefix = "10.0.5.0/24".parse().expect("a prefix");
        assert_eq!(tors.remote, weir_bgp::Remote::Range { prefix, sessions_max: 4 });
        assert_eq!(tors.prefixes_max, 100);
    }

    #[test]
    fn graceful_restart_is_offered_unless_the_document_says_no() {
        const LEAST: &str = include_str!("../tests/check/good/least.toml");
        for is_restarting in [false, true] {
            let expected = GracefulRestart { is_restarting, ..GracefulRestart::default() };
            assert_eq!(config(LEAST, is_restarting).graceful_restart, Some(expected));
        }
    }
}
