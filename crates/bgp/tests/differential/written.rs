// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Everything we write, over random inputs, is read by the other decoder to the same meaning.

use std::net::{Ipv4Addr, Ipv6Addr};

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use proptest::prelude::*;
use weir_bgp::wire::capability::ExtendedNextHop;
use weir_bgp::wire::{
    AfiSafi, AsPath, Capability, DecodeContext, LinkBandwidthForm, NextHop, Notification, Open, Origin,
    PathToSend, Refresh, RefreshKind, UpdateEncoder, decode_message, encode_keepalive, link_bandwidth,
};
use weir_bgp::{Family, Prefix};

use super::meaning::{Meaning, Said, read_theirs, theirs};

/// What they read of octets that we wrote.
fn read(octets: &[u8], four_octet_as: bool) -> Meaning {
    theirs(&read_theirs(octets, four_octet_as).expect("they read what we write"))
}

fn read_said(octets: &[u8], four_octet_as: bool) -> Said {
    match read(octets, four_octet_as) {
        Meaning::Update(said) => *said,
        other => panic!("no UPDATE: {other:?}"),
    }
}

/// Prefixes that are unicast, of any length, each once.
fn prefixes(family: Family) -> impl Strategy<Value = Vec<Prefix>> {
    let prefix = (any::<u128>(), any::<u8>()).prop_map(move |(bits, length)| match family {
        Family::Ipv4Unicast => {
            let low = (bits & 0x3fff_ffff) as u32;
            Prefix::truncated(Ipv4Addr::from_bits(low).into(), length % 33).unwrap()
        }
        Family::Ipv6Unicast => {
            let address = Ipv6Addr::from_bits(bits >> 4 | 2 << 124);
            Prefix::truncated(address.into(), length % 129).unwrap()
        }
    });
    prop::collection::btree_set(prefix, 1..400).prop_map(|set| set.into_iter().collect())
}

fn family() -> impl Strategy<Value = (Family, Vec<Prefix>)> {
    prop::sample::select(Family::ALL.to_vec()).prop_flat_map(|f| (Just(f), prefixes(f)))
}

fn next_hop(family: Family, is_v4: bool, bits: u128) -> NextHop {
    if is_v4 && family == Family::Ipv4Unicast {
        NextHop::V4(Ipv4Addr::from_bits(0x0a00_0000 | (bits & 0xff_ffff) as u32 | 1))
    } else {
        NextHop::V6(Ipv6Addr::from_bits(0xfe80 << 112 | bits >> 64 | 1))
    }
}

proptest! {
    #[test]
    fn announcements(
        (family, prefixes) in family(), is_v4: bool, bits: u128, asn in 1u32.., prepend in 0usize..300,
        four_octet_as: bool, is_long: bool, med: Option<u32>,
        origin in prop::sample::select(vec![Origin::Igp, Origin::Egp, Origin::Incomplete]),
        communities in prop::collection::vec(any::<u32>(), 0..64),
        large in prop::collection::vec(any::<[u32; 3]>(), 0..64),
        bandwidth: Option<(u64, bool)>,
    ) {
        let encoder = UpdateEncoder { four_octet_as, message_max: if is_long { 65535 } else { 4096 } };
        let as_path = AsPath::own(asn, 1 + prepend);
        let next_hop = next_hop(family, is_v4, bits);
        let extended: Vec<[u8; 8]> = bandwidth.map(|(bytes, is_transitive)| {
            let form = if is_transitive { LinkBandwidthForm::Transitive } else { LinkBandwidthForm::NonTransitive };
            link_bandwidth(asn, bytes, form)
        }).into_iter().collect();
        let path = PathToSend {
            as_path: &as_path, origin, med, communities: &communities, extended_communities: &extended,
            large_communities: &large,
        };
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let (octets, taken) = encoder.announce(path, next_hop, family, rest).unwrap();
            prop_assert!(octets.len() <= encoder.message_max);
            let said = read_said(&octets, four_octet_as);
            let wide: Vec<_> = as_path.segments.iter().map(|s| (false, s.asns.clone())).collect();
            let narrow = |n: &u32| u16::try_from(*n).map_or(23456, u32::from);
            let sent = wide.iter().map(|(_, asns)| (false, if four_octet_as { asns.clone() } else { asns.iter().map(narrow).collect() }));
            prop_assert_eq!(said.as_path, Some(sent.collect()));
            let has_as4 = !four_octet_as && u16::try_from(asn).is_err();
            prop_assert_eq!(said.as4_path, has_as4.then_some(wide));
            prop_assert_eq!(said.origin, Some(origin as u8));
            prop_assert_eq!(said.med, med);
            prop_assert_eq!(&said.communities, &communities);
            prop_assert_eq!(&said.extended_communities, &extended);
            prop_assert_eq!(&said.large_communities, &large);
            match next_hop {
                NextHop::V4(address) => {
                    prop_assert_eq!((said.next_hop, said.reach_next_hops), (Some(address), vec![]));
                    prop_assert_eq!((said.announced, said.reach), (rest[..taken].to_vec(), vec![]));
                }
                NextHop::V6(address) => {
                    prop_assert_eq!((said.next_hop, said.reach_next_hops), (None, vec![address.into()]));
                    prop_assert_eq!((said.announced, said.reach), (vec![], rest[..taken].to_vec()));
                }
            }
            rest = &rest[taken..];
        }
    }

    #[test]
    fn withdraws((family, prefixes) in family(), is_multiprotocol: bool) {
        let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let written = if is_multiprotocol {
                encoder.withdraw_multiprotocol(family, rest)
            } else {
                encoder.withdraw(family, rest)
            };
            let (octets, taken) = written.unwrap();
            let said = read_said(&octets, true);
            let is_classic = family == Family::Ipv4Unicast && !is_multiprotocol;
            let (wanted, other) = if is_classic { (said.withdrawn, said.unreach) } else { (said.unreach, said.withdrawn) };
            prop_assert_eq!((wanted, other), (rest[..taken].to_vec(), vec![]));
            prop_assert_eq!((said.announced, said.reach), (vec![], vec![]));
            rest = &rest[taken..];
        }
    }

    #[test]
    fn opens(
        asn in 1u32.., hold_time_s in prop_oneof![Just(0u16), 3u16..], router_id in 0x0100_0000u32..0xe000_0000,
        time_s in 0u16..4096, flags: [bool; 4], host in "[a-z0-9.-]{0,64}", domain in "[a-z0-9.-]{0,64}",
        fillers in 0usize..40,
    ) {
        let v4 = AfiSafi { afi: 1, safi: 1 };
        let v6 = AfiSafi { afi: 2, safi: 1 };
        let mut capabilities = vec![
            Capability::Multiprotocol(v4),
            Capability::Multiprotocol(v6),
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![ExtendedNextHop { family: v4, next_hop_afi: 2 }]),
            Capability::ExtendedMessage,
            Capability::GracefulRestart {
                is_restarting: flags[0], has_notification: flags[1], time_s,
                families: vec![(v4, flags[2]), (v6, flags[3])],
            },
            Capability::FourOctetAs(asn),
            Capability::EnhancedRouteRefresh,
            Capability::Fqdn { host: host.clone(), domain: domain.clone() },
            Capability::SoftwareVersion("weir/0.1.0".into()),
        ];
        // They know no long parameters (RFC 9072): as many as fit the short form.
        let mut octets = 0;
        capabilities.extend((0..fillers).map(|_| Capability::EnhancedRouteRefresh));
        capabilities.retain(|c| {
            let mut out = vec![];
            c.encode(&mut out);
            octets += out.len();
            octets <= 253
        });
        let open = Open {
            two_octet_as: Open::two_octet(asn), hold_time_s, router_id: Ipv4Addr::from_bits(router_id), capabilities,
        };
        let octets = open.encode();
        let Ok(BgpMessage::Open(read)) = read_theirs(&octets, true) else { panic!("no OPEN: {:?}", read_theirs(&octets, true)) };
        prop_assert_eq!((read.my_as(), read.hold_time(), read.bgp_id()), (open.two_octet_as, hold_time_s, open.router_id));
        prop_assert_eq!(read.my_asn4(), asn);
        let theirs = read.capabilities();
        prop_assert_eq!(theirs.len(), open.capabilities.len());
        for (ours, theirs) in open.capabilities.iter().zip(theirs) {
            match (ours, theirs) {
                (Capability::GracefulRestart { .. }, BgpCapability::GracefulRestartCapability(restart)) => {
                    prop_assert_eq!((restart.restart(), restart.graceful_notification(), restart.time()), (flags[0], flags[1], time_s));
                    let kept: Vec<bool> = restart.address_families().iter().map(|f| f.forwarding_state()).collect();
                    prop_assert_eq!(kept, &flags[2..]);
                }
                (Capability::ExtendedNextHop(_), BgpCapability::ExtendedNextHopEncoding(list)) => {
                    prop_assert_eq!(format!("{:?}", list.encodings()), "[ExtendedNextHopEncoding { address_type: Ipv4Unicast, next_hop_afi: IPv6 }]");
                }
                (Capability::Fqdn { .. }, BgpCapability::Fqdn(name)) => {
                    prop_assert_eq!((name.hostname(), name.domain_name()), (&host[..], &domain[..]));
                }
                (Capability::Multiprotocol(family), BgpCapability::MultiProtocolExtensions(theirs)) => {
                    let word = if family.afi == 1 { "Ipv4Unicast" } else { "Ipv6Unicast" };
                    prop_assert_eq!(format!("{:?}", theirs.address_type()), word);
                }
                (Capability::FourOctetAs(_), BgpCapability::FourOctetAs(theirs)) => prop_assert_eq!(theirs.asn4(), asn),
                (Capability::RouteRefresh, BgpCapability::RouteRefresh)
                | (Capability::ExtendedMessage, BgpCapability::ExtendedMessage)
                | (Capability::EnhancedRouteRefresh, BgpCapability::EnhancedRouteRefresh) => {}
                // A capability they do not know either, kept raw: its length, then the text.
                (Capability::SoftwareVersion(text), BgpCapability::Unrecognized(raw)) => {
                    prop_assert_eq!((*raw.code(), &raw.value()[1..]), (75, text.as_bytes()));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn notifications(text in "\\PC{0,200}", limit: u32, subcode in 1u8..=10, is_hard: bool, which in 0usize..5) {
        let family = AfiSafi { afi: 2, safi: 1 };
        let inner = match which {
            0 => Notification::shutdown(&text),
            1 => Notification::reset(&text),
            2 => Notification::prefixes_exceeded(family, limit),
            3 => Notification::cease(subcode),
            _ => Notification::new(3, 9, text.as_bytes().to_vec()),
        };
        let sent = if is_hard { Notification::hard_reset_of(&inner) } else { inner };
        let expected =
            Meaning::Notification { code: sent.code(), subcode: sent.subcode(), data: sent.data().to_vec() };
        prop_assert_eq!(read(&sent.encode(), true), expected);
    }
}

#[test]
fn refreshes_keepalives_and_end_of_rib() {
    for family in Family::ALL {
        let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
        let Ok(BgpMessage::Update(update)) = read_theirs(&encoder.end_of_rib(family), true) else {
            panic!("no UPDATE")
        };
        let word = if family == Family::Ipv4Unicast { "Some(Ipv4Unicast)" } else { "Some(Ipv6Unicast)" };
        assert_eq!(format!("{:?}", update.end_of_rib()), word);
        for (kind, subtype) in [(RefreshKind::Request, 0), (RefreshKind::Begin, 1), (RefreshKind::End, 2)] {
            let AfiSafi { afi, safi } = family.into();
            let expected = Meaning::Refresh { family: (afi, safi), subtype };
            assert_eq!(read(&Refresh::new(kind, family).encode(), true), expected);
        }
    }
    assert_eq!(read(&encode_keepalive(), true), Meaning::Keepalive);
    let context = DecodeContext { four_octet_as: true, local_address: None };
    assert!(decode_message(&encode_keepalive(), &context).is_ok());
}
