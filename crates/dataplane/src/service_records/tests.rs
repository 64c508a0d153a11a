// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records that services leave, against what packets of each kind must find.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn service(vip: &str, prefix_length: Option<u8>, port: u16) -> Service {
    Service {
        vip: vip.parse().unwrap(),
        prefix_length,
        protocol: Protocol::Udp,
        port,
        pool: "p".to_owned(),
        idle: Duration::from_secs(300),
        flow_table: true,
        affinity: Affinity::Flow,
        fragments: Fragments::Drop,
        new_flows_per_second: None,
    }
}

fn named<'a>(name: &'a str, service: &'a Service, id: u32, pool: u32) -> Named<'a> {
    Named { name, service, id, pool, idle: 300 }
}

fn vips(services: &[&Service]) -> BTreeMap<VipPrefix, VipRecord> {
    (70..).zip(services).map(|(id, s)| (s.vip(), VipRecord { id, answers_echo: false })).collect()
}

#[test]
fn only_what_chooses_by_less_than_the_tuple_leaves_the_plain_path() {
    let plain = service("198.51.100.10", None, 53);
    type Edit = fn(&mut Service);
    let cases: [(&str, Edit, u32, u32); 8] = [
        ("plain", |_| {}, 0, 0),
        ("no flow table", |s| s.flow_table = false, ServiceFlags::STATELESS, 0),
        ("source", |s| s.affinity = Affinity::Source, ServiceFlags::SLOW | ServiceFlags::AFFINITY_SOURCE, 0),
        (
            "source and port",
            |s| s.affinity = Affinity::SourcePort,
            ServiceFlags::SLOW | ServiceFlags::AFFINITY_SOURCE_PORT,
            0,
        ),
        (
            "fragments by source",
            |s| s.fragments = Fragments::BySource,
            ServiceFlags::SLOW | ServiceFlags::FRAGMENTS_BY_SOURCE,
            0,
        ),
        ("first fragments", |s| s.fragments = Fragments::FirstFragment, ServiceFlags::FRAGMENTS_TABLE, 0),
        ("a limit", |s| s.new_flows_per_second = NonZeroU32::new(9), 0, 9),
        ("any port", |s| s.port = 0, 0, 0),
    ];
    for (name, edit, flags, limit) in cases {
        let mut service = plain.clone();
        edit(&mut service);
        let records = records(&[named("s", &service, 5, 3)], &vips(&[&service])).unwrap();
        let value = records[&service_key(&service)];
        assert_eq!((value.id, value.pool, value.flags, value.new_flows_max), (5, 3, flags, limit), "{name}");
        assert_eq!(Idle::from_raw(value.idle).established(), 300, "{name}");
    }
}

#[test]
fn a_marker_says_what_concerns_the_vip() {
    let (one, any) = (service("198.51.100.10", None, 53), service("198.51.100.10", None, 0));
    let vips = BTreeMap::from([(one.vip(), VipRecord { id: 9, answers_echo: true })]);
    let records = records(&[named("a", &one, 1, 4), named("b", &any, 2, 5)], &vips).unwrap();
    let marker = records[&ServiceKey::marker(one.vip.into())];
    assert_eq!((marker.id, marker.pool), (9, 0));
    assert_eq!(marker.flags, VipFlags::ECHO);
    assert_eq!(records.len(), 3);
}

#[test]
fn keys_of_prefixes_are_networks_and_a_whole_address_is_no_prefix() {
    let key = |vip: &str, length| marker_key(VipPrefix { address: vip.parse().unwrap(), length });
    let network = |vip: &str| weir_dataplane_core::bytes::Address::from(vip.parse::<IpAddr>().unwrap());
    for (vip, length, expected, prefix_len) in [
        ("198.51.100.77", 28, "198.51.100.64", 124),
        ("198.51.100.77", 1, "128.0.0.0", 97),
        ("198.51.100.77", 32, "198.51.100.77", 0),
        ("2001:db8:100::ff", 64, "2001:db8:100::", 64),
        ("2001:db8:100::ff", 1, "::", 1),
        ("2001:db8:100::ff", 127, "2001:db8:100::fe", 127),
        ("2001:db8:100::ff", 128, "2001:db8:100::ff", 0),
    ] {
        let key = key(vip, length);
        assert_eq!((key.address, key.prefix_len), (network(expected), prefix_len), "{vip}/{length}");
        assert!(key.is_marker());
        let entry = (prefix_len != 0)
            .then_some(PrefixValue { network: network(expected), length: u32::from(prefix_len) });
        assert_eq!(prefix(&key), entry, "{vip}/{length}");
    }
}

#[test]
fn later_fragments_have_a_record_of_what_the_services_of_their_protocol_want() {
    let with = |port, fragments| Service { fragments, ..service("198.51.100.10", None, port) };
    let (dropping, table) = (with(53, Fragments::Drop), with(500, Fragments::FirstFragment));
    let (source, again) = (with(4500, Fragments::BySource), with(4501, Fragments::BySource));
    let vips = vips(&[&dropping]);
    let key = service_key(&dropping).fragments(Protocol::Udp);
    let made = |services: &[Named<'_>]| records(services, &vips).map(|records| records.get(&key).copied());

    assert_eq!(made(&[named("a", &dropping, 1, 1)]), Ok(None));
    let only_table = made(&[named("a", &dropping, 1, 1), named("b", &table, 2, 2)]).unwrap().unwrap();
    assert_eq!(only_table.flags, ServiceFlags::FRAGMENTS_TABLE);
    for order in [[0, 1], [1, 0]] {
        let services = [named("b", &table, 2, 2), named("c", &source, 3, 3)];
        let both = made(&order.map(|n| services[n])).unwrap().unwrap();
        assert_eq!((both.id, both.pool), (3, 3), "fragments without a known first go by source");
        let wanted = ServiceFlags::FRAGMENTS_TABLE | ServiceFlags::FRAGMENTS_BY_SOURCE;
        assert_eq!(both.flags & wanted, wanted);
    }
    let alike = made(&[named("c", &source, 3, 3), named("d", &again, 4, 3)]).unwrap().unwrap();
    assert_eq!(alike.id, 3);
    let error = made(&[named("c", &source, 3, 3), named("d", &again, 4, 9)]).unwrap_err();
    assert_eq!((error.first.as_str(), error.second.as_str()), ("c", "d"));
}

#[test]
fn later_fragments_to_a_vip_of_its_own_are_not_the_prefixes_around_it() {
    let with = |vip: &str, length, fragments| Service { fragments, ..service(vip, length, 53) };
    let table = ServiceFlags::FRAGMENTS_TABLE;
    let source = ServiceFlags::FRAGMENTS_BY_SOURCE;
    let all = [Fragments::Drop, Fragments::FirstFragment, Fragments::BySource];
    // Rows: what the address's service says; columns: what that of the prefix says. `None`: no record, so the prefix's, which has
    // none either.
    let expected = [
        [None, Some(table), Some(0)],
        [Some(table), Some(table), Some(table)],
        [Some(source), Some(source | table), Some(source)],
    ];
    for (own, row) in all.into_iter().zip(expected) {
        for (prefixes, wanted) in all.into_iter().zip(row) {
            let services = [with("198.51.100.10", None, own), with("198.51.100.0", Some(24), prefixes)];
            let named = [named("own", &services[0], 1, 1), named("prefix", &services[1], 2, 2)];
            let records = records(&named, &vips(&[&services[0], &services[1]])).unwrap();
            let found = records.get(&service_key(&services[0]).fragments(Protocol::Udp));
            let flags = found.map(|record| record.flags & (table | source));
            assert_eq!(flags, wanted, "{own:?} in {prefixes:?}");
            if own == Fragments::BySource {
                assert_eq!(found.map(|record| record.id), Some(1), "{own:?} in {prefixes:?}");
            }
            // Another protocol of the address is the prefix's, as its whole packets are.
            let tcp = service_key(&services[0]).fragments(Protocol::Tcp);
            assert_eq!(records.get(&tcp), None);
        }
    }
}

#[test]
fn a_packet_belongs_to_address_and_port_then_prefix_and_port_then_any_port() {
    let services = [
        service("198.51.100.10", None, 53),
        service("198.51.100.10", None, 0),
        service("198.51.100.0", Some(24), 53),
        service("198.51.100.0", Some(24), 443),
        service("198.51.100.0", Some(24), 0),
        service("198.51.100.16", Some(28), 53),
    ];
    let vips = vips(&services.iter().collect::<Vec<_>>());
    let named: Vec<_> = (0..).zip(&services).map(|(id, s)| named("s", s, id, 1)).collect();
    let records = records(&named, &vips).unwrap();
    for (address, port, id) in [
        ("198.51.100.10", 53, Some(0)),
        ("198.51.100.10", 443, Some(3)),
        ("198.51.100.10", 80, Some(1)),
        ("198.51.100.11", 53, Some(2)),
        ("198.51.100.11", 80, Some(4)),
        ("198.51.100.17", 53, Some(5)),
        ("198.51.100.17", 80, None),
        ("198.51.101.1", 53, None),
    ] {
        let found = service_of(&records, address.parse().unwrap(), Protocol::Udp, port);
        assert_eq!(found.map(|key| records[&key].id), id, "{address} port {port}");
        assert_eq!(service_of(&records, address.parse().unwrap(), Protocol::Tcp, port), None);
    }
}
