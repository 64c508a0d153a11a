// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Headers in front of the transport: VLAN tags, IPv4 options, IPv6 extension chains, frames in several buffers.
//!
//! A balancer that drops options or fragments for addresses that are no VIPs breaks the host it runs on (Katran does): each
//! oddity is here twice, for a VIP and for the host.

use std::net::IpAddr;

use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{hop, usual};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, SYN, ethernet};
use crate::support::headers::{
    DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, backend_of, carried_as, extended, framed, padding, tagged,
};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";
const Q: u16 = 0x8100;
const AD: u16 = 0x88a8;
/// A fragment header of a whole packet (RFC 6946), without its first octet.
const ATOMIC: &[u8] = &[0, 0, 0, 1, 2, 3, 4];
/// A routing header with no segments left, and with one.
const ROUTED: &[u8] = &[0, 4, 0, 0, 0, 0, 0];
const TO_BE_ROUTED: &[u8] = &[0, 4, 1, 0, 0, 0, 0];

fn tcp4(flags: u8) -> Frame {
    Frame::tcp(CLIENT4, 40_000, VIP4, 80, flags)
}

fn tcp6(flags: u8) -> Frame {
    Frame::tcp(CLIENT6, 40_000, VIP6, 80, flags)
}

fn udp6() -> Frame {
    Frame::udp(CLIENT6, 40_001, VIP6, 53)
}

/// Runs `frame` and demands that its packet `ip` is carried; gives the backend.
fn carries(pair: &mut Pair, name: &str, frame: &[u8], ip: &[u8], verdict: Verdict) -> IpAddr {
    let result = pair.run(frame);
    assert_eq!(result.verdict, verdict, "{name}");
    let padding = frame.len() - (frame.len() - ip.len()).min(22) - ip.len();
    let expected = [carried_as(ip, &result.frame), vec![0; padding]].concat();
    assert_eq!(result.frame, expected, "{name}");
    backend_of(&result.frame)
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_header_in_front_leaves_the_flow_where_it_is() {
    let mut pair = Pair::new(&usual());
    let (v4, v6, u6) = (tcp4(ACK).ip(), tcp6(ACK).ip(), udp6().ip());
    let owners = [tcp4(SYN).ip(), tcp6(SYN).ip(), u6.clone()].map(|ip| {
        let frame = framed(&ip);
        carries(&mut pair, "the flow's first packet", &frame, &ip, ForwardNew)
    });
    let options = tcp4(ACK).with(|f| f.options = vec![1; 40]).ip();
    let one = padding(1);
    let three = padding(3);
    let chain = |ip: &[u8], headers: &[(u8, &[u8])]| extended(ip, headers);
    type Tagged = (&'static str, Vec<(u16, u16)>, Vec<u8>, usize);
    let cases: Vec<Tagged> = vec![
        ("802.1Q, v4", vec![(Q, 5)], v4.clone(), 0),
        ("802.1Q, v6", vec![(Q, 5)], v6.clone(), 1),
        ("802.1ad, v4", vec![(AD, 5)], v4.clone(), 0),
        ("802.1ad, v6 udp", vec![(AD, 5)], u6.clone(), 2),
        ("two tags, v4", vec![(AD, 5), (Q, 6)], v4.clone(), 0),
        ("two tags, v6", vec![(AD, 5), (Q, 6)], v6.clone(), 1),
        ("two tags of 802.1Q", vec![(Q, 5), (Q, 6)], v4.clone(), 0),
        ("two tags of 802.1ad", vec![(AD, 5), (AD, 6)], v4.clone(), 0),
        ("a tag of priority alone", vec![(Q, 0xe000)], v4.clone(), 0),
        ("a tag with all bits", vec![(Q, 0xffff)], v4.clone(), 0),
        ("a tag and the most options", vec![(Q, 5)], options.clone(), 0),
        ("two tags and the most options", vec![(AD, 5), (Q, 6)], options, 0),
        ("hop-by-hop", vec![], chain(&v6, &[(HOP_BY_HOP, &one)]), 1),
        ("hop-by-hop, udp", vec![], chain(&u6, &[(HOP_BY_HOP, &one)]), 2),
        ("destination options", vec![], chain(&v6, &[(DESTINATION, &one)]), 1),
        ("long destination options", vec![], chain(&v6, &[(DESTINATION, &three)]), 1),
        ("routing at its end", vec![], chain(&v6, &[(ROUTING, ROUTED)]), 1),
        ("an atomic fragment", vec![], chain(&v6, &[(FRAGMENT, ATOMIC)]), 1),
        ("an atomic fragment, udp", vec![], chain(&u6, &[(FRAGMENT, ATOMIC)]), 2),
        (
            "an atomic fragment behind hop-by-hop",
            vec![],
            chain(&v6, &[(HOP_BY_HOP, &one), (FRAGMENT, ATOMIC)]),
            1,
        ),
        (
            "options behind an atomic fragment",
            vec![],
            chain(&v6, &[(FRAGMENT, ATOMIC), (DESTINATION, &one)]),
            1,
        ),
        (
            "four headers",
            vec![],
            chain(&v6, &[(HOP_BY_HOP, &one), (DESTINATION, &three), (ROUTING, ROUTED), (DESTINATION, &one)]),
            1,
        ),
        (
            "two tags and four headers",
            vec![(AD, 5), (Q, 6)],
            chain(&u6, &[(HOP_BY_HOP, &one), (DESTINATION, &three), (ROUTING, ROUTED), (FRAGMENT, ATOMIC)]),
            2,
        ),
    ];
    for (name, tags, ip, flow) in &cases {
        let to = carries(&mut pair, name, &tagged(tags, ip), ip, ForwardFlow);
        assert_eq!(to, owners[*flow], "{name}");
    }
    let padded = [tagged(&[(Q, 5)], &v4), vec![0; 6]].concat();
    let result = pair.run(&padded);
    assert_eq!(result.verdict, ForwardFlow, "padding behind a tagged packet");
    assert_eq!(result.frame, [carried_as(&v4, &result.frame), vec![0; 6]].concat());
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn headers_that_are_not_walked_are_dropped_by_name_for_a_vip_and_passed_to_the_host() {
    let mut pair = Pair::new(&usual());
    let v6 = tcp6(ACK).ip();
    let one = padding(1);
    let d: (u8, &[u8]) = (DESTINATION, &one);
    let long = [vec![63], vec![0; 510]].concat();
    let ports_cut = |ip: Vec<u8>| ip[..ip.len() - 18].to_vec();
    let lied = |mut ip: Vec<u8>, length: u16| {
        ip[4..6].copy_from_slice(&length.to_be_bytes());
        ip
    };
    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("five headers", extended(&v6, &[(HOP_BY_HOP, &one), d, d, d, d]), DropExtensionHeader),
        ("hop-by-hop in second place", extended(&v6, &[d, (HOP_BY_HOP, &one)]), DropExtensionHeader),
        ("routing with a segment left", extended(&v6, &[(ROUTING, TO_BE_ROUTED)]), DropExtensionHeader),
        ("esp", extended(&v6, &[(50, &one)]), DropExtensionHeader),
        ("authentication header", extended(&v6, &[(51, &one)]), DropExtensionHeader),
        ("esp behind options", extended(&v6, &[d, (50, &one)]), DropExtensionHeader),
        (
            "a second fragment header",
            extended(&v6, &[(FRAGMENT, &[0, 0, 1, 0, 0, 0, 1]), (FRAGMENT, ATOMIC)]),
            DropExtensionHeader,
        ),
        ("headers beyond what is read", extended(&v6, &[(DESTINATION, &long)]), DropExtensionHeader),
        (
            "no next header",
            extended(&v6, &[d]).into_iter().enumerate().map(|(i, o)| if i == 40 { 59 } else { o }).collect(),
            DropProtocol,
        ),
        (
            "gre behind options",
            extended(&v6, &[d]).into_iter().enumerate().map(|(i, o)| if i == 40 { 47 } else { o }).collect(),
            DropProtocol,
        ),
        (
            "icmp of the other family",
            extended(&v6, &[d]).into_iter().enumerate().map(|(i, o)| if i == 40 { 1 } else { o }).collect(),
            DropIcmp,
        ),
        ("a chain longer than the packet", lied(extended(&v6, &[d, d]), 8), DropBadLength),
        ("a chain and no transport", lied(extended(&v6, &[d]), 8 + 19), DropBadLength),
        ("a chain and a length lie", lied(extended(&v6, &[d]), 8 + 21), DropTruncated),
        ("cut in a header", extended(&v6, &[d])[..44].to_vec(), DropTruncated),
        ("cut in the ports behind a header", ports_cut(extended(&v6, &[d])), DropTruncated),
        (
            "no such port behind a header",
            extended(&Frame::tcp(CLIENT6, 1, VIP6, 81, SYN).ip(), &[d]),
            DropNoService,
        ),
        ("hop limit 1 behind a header", extended(&tcp6(ACK).with(|f| f.ttl = 1).ip(), &[d]), DropTtl),
    ];
    for (name, ip, verdict) in &cases {
        assert_eq!(pair.run(&framed(ip)).verdict, *verdict, "{name}");
        assert_eq!(pair.run(&tagged(&[(AD, 1), (Q, 2)], ip)).verdict, *verdict, "{name}, tagged");
        let mut host = ip.clone();
        host[24..40].copy_from_slice(&"2001:db8:ffff::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        for frame in [framed(&host), tagged(&[(Q, 2)], &host)] {
            let result = pair.run(&frame);
            assert_eq!((result.verdict, result.frame), (PassNotVip, frame), "{name}, to the host");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn tags_change_nothing_about_what_is_dropped_or_passed() {
    let mut pair = Pair::new(&usual());
    let q = |ip: &[u8]| tagged(&[(Q, 5)], ip);
    let arp = [&ethernet([0xff; 6], CLIENT_MAC, Q)[..], &[0, 5, 0x08, 0x06], &[0; 28]].concat();
    let three = tagged(&[(AD, 1), (Q, 2), (Q, 3)], &tcp4(SYN).ip());
    let mut version = q(&tcp4(SYN).ip());
    version[18] = 0x65;
    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("ttl 1", q(&tcp4(ACK).with(|f| f.ttl = 1).ip()), DropTtl),
        ("hop limit 0", q(&tcp6(ACK).with(|f| f.ttl = 0).ip()), DropTtl),
        ("length beyond the frame", q(&tcp4(ACK).with(|f| f.length_lie = 1).ip()), DropTruncated),
        ("length without transport", q(&tcp4(ACK).with(|f| f.length_lie = -1).ip()), DropBadLength),
        ("length shorter than the header", q(&tcp4(ACK).with(|f| f.length_lie = -30).ip()), DropBadLength),
        ("cut in the ports", q(&tcp4(ACK).ip())[..40].to_vec(), DropTruncated),
        ("no such port", q(&Frame::tcp(CLIENT4, 1, VIP4, 81, SYN).ip()), DropNoService),
        ("udp to a tcp port", q(&Frame::udp(CLIENT4, 1, VIP4, 80).ip()), DropNoService),
        ("to the host", q(&Frame::tcp(CLIENT4, 1, "192.0.2.1", 22, SYN).ip()), PassNotVip),
        ("to the vip's neighbour", q(&Frame::tcp(CLIENT4, 1, "198.51.100.11", 80, SYN).ip()), PassNotVip),
        ("arp", arp, PassNotIp),
        ("a third tag", three, PassNotIp),
        ("another ethertype for tags", tagged(&[(0x9100, 5)], &tcp4(SYN).ip()), PassNotIp),
        ("version 6 behind the type of 4", version, PassMalformed),
        ("cut in the ip header", q(&tcp4(SYN).ip())[..37].to_vec(), PassMalformed),
        ("cut behind the tag", q(&tcp4(SYN).ip())[..18].to_vec(), PassMalformed),
        ("cut in the tag", q(&tcp4(SYN).ip())[..16].to_vec(), PassNotIp),
        (
            "nothing but a second tag",
            [&ethernet(OWN_MAC, CLIENT_MAC, Q)[..], &[0, 5, 0x81, 0]].concat(),
            PassNotIp,
        ),
    ];
    for (name, frame, verdict) in &cases {
        let result = pair.run(frame);
        assert_eq!(result.verdict, *verdict, "{name}");
        if verdict.name().starts_with("pass") {
            assert_eq!(result.frame, *frame, "{name}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_frame_in_several_buffers_is_carried_whole() {
    let jumbo = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"]
        .iter()
        .fold(usual(), |state, address| state.next_hop(address, Some(hop(9_000))));
    let mut pair = Pair::new(&jumbo);
    for length in [3_000_usize, 4_096, 6_000, 8_900] {
        let payload: Vec<u8> = (0..length).map(|i| (i * 7 + 3) as u8).collect();
        for (name, frame) in [("v4", tcp4(ACK)), ("v6", tcp6(ACK))] {
            let ip = frame.with(|f| f.payload.clone_from(&payload)).ip();
            for tags in [vec![], vec![(Q, 5)]] {
                let frame = tagged(&tags, &ip);
                let result = pair.run(&frame);
                let verdict = result.verdict;
                assert!(matches!(verdict, ForwardNew | ForwardFlow), "{name} of {length}: {verdict:?}");
                assert_eq!(result.frame, carried_as(&ip, &result.frame), "{name} of {length}");
            }
        }
    }
}
