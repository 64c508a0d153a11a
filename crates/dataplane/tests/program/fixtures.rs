// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packet in, verdict and whole packet out: the same expectation for the loaded program and for the host.
//!
//! Every run also checks that exactly the counters of its verdict, service and backend went up by one.

use std::net::IpAddr;

use weir_dataplane::forwarding::BackendState;
use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{GATEWAY_MAC, OWN_MAC, SOURCE_V4, SOURCE_V6, hop, usual};
use crate::support::build::{ACK, CLIENT_MAC, FIN, Frame, RST, SYN, checksum, ethernet, forwarded};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

fn tcp4(flags: u8) -> Frame {
    Frame::tcp(CLIENT4, 40_000, VIP4, 80, flags)
}

fn tcp6(flags: u8) -> Frame {
    Frame::tcp(CLIENT6, 40_000, VIP6, 80, flags)
}

/// The frame that must leave for `frame` towards `backend`, written out from RFC 2003 and RFC 2473. The flow label is
/// taken from `seen`: any but 0 will do.
fn encapsulated(frame: &Frame, backend: IpAddr, seen: &[u8]) -> Vec<u8> {
    let inner = forwarded(&frame.ip());
    let length = |overhead: usize| u16::try_from(inner.len() + overhead).unwrap().to_be_bytes();
    let mut out;
    match (backend, SOURCE_V4.parse(), SOURCE_V6.parse()) {
        (IpAddr::V4(backend), Ok(IpAddr::V4(source)), _) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x0800);
            let mut header = vec![0x45, frame.traffic_class];
            header.extend(length(20));
            header.extend([0, 0, 0x40, 0, 64, 4, 0, 0]);
            header.extend(source.octets());
            header.extend(backend.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            out.extend(header);
        }
        (IpAddr::V6(backend), _, Ok(IpAddr::V6(source))) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x86dd);
            let label = u32::from_be_bytes(seen[14..18].try_into().unwrap()) & 0xf_ffff;
            assert_ne!(label, 0, "no flow label");
            out.extend((6 << 28 | u32::from(frame.traffic_class) << 20 | label).to_be_bytes());
            out.extend(length(0));
            out.extend([41, 64]);
            out.extend(source.octets());
            out.extend(backend.octets());
        }
        other => panic!("{other:?}"),
    }
    out.extend(inner);
    out.extend(std::iter::repeat_n(0, frame.padding));
    out
}

fn backend_of(frame: &[u8]) -> IpAddr {
    match frame[14] >> 4 {
        4 => <[u8; 4]>::try_from(&frame[30..34]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&frame[38..54]).unwrap().into(),
    }
}

/// Runs `frame` and checks verdict and frame; gives the backend it went to.
fn forwards(pair: &mut Pair, name: &str, frame: &Frame, verdict: Verdict) -> IpAddr {
    let result = pair.run(&frame.octets());
    assert_eq!(result.verdict, verdict, "{name}");
    let backend = backend_of(&result.frame);
    assert_eq!(result.frame, encapsulated(frame, backend, &result.frame), "{name}");
    let known = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"];
    assert!(known.iter().any(|known| *known == backend.to_string()), "{name}: {backend}");
    backend
}

/// Runs raw octets that must come out as they went in.
fn unchanged(pair: &mut Pair, name: &str, octets: &[u8], verdict: Verdict) {
    let result = pair.run(octets);
    assert_eq!(result.verdict, verdict, "{name}");
    if name.starts_with("pass") {
        assert_eq!(result.frame, octets, "{name}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn packets_for_services_are_encapsulated() {
    let mut pair = Pair::new(&usual());
    let udp4 = Frame::udp(CLIENT4, 40_000, VIP4, 53);
    let udp6 = Frame::udp(CLIENT6, 40_000, VIP6, 53);
    let cases: Vec<(&str, Frame, Verdict)> = vec![
        ("v4 syn", tcp4(SYN), ForwardNew),
        ("v4 ack", tcp4(ACK), ForwardFlow),
        ("v4 data", tcp4(ACK).with(|f| f.payload = vec![0xaa; 1000]), ForwardFlow),
        ("v4 fin", tcp4(ACK | FIN), ForwardFlow),
        ("v4 ack after fin", tcp4(ACK), ForwardFlow),
        ("v4 new syn on the closing flow", tcp4(SYN), ForwardFlow),
        ("v4 first packet in mid-flow", Frame::tcp(CLIENT4, 40_001, VIP4, 80, ACK), ForwardNew),
        ("v4 rst of an unknown flow", Frame::tcp(CLIENT4, 40_002, VIP4, 80, RST), ForwardEnding),
        ("v4 fin of an unknown flow", Frame::tcp(CLIENT4, 40_003, VIP4, 80, ACK | FIN), ForwardEnding),
        (
            "v4 syn-ack opens nothing, but is somebody's",
            Frame::tcp(CLIENT4, 40_004, VIP4, 80, SYN | ACK),
            ForwardNew,
        ),
        ("v6 syn", tcp6(SYN), ForwardNew),
        ("v6 ack", tcp6(ACK), ForwardFlow),
        ("v6 data", tcp6(ACK).with(|f| f.payload = vec![0xbb; 1000]), ForwardFlow),
        ("udp4", udp4.clone(), ForwardNew),
        ("udp4 again", udp4, ForwardFlow),
        ("udp6", udp6.clone(), ForwardNew),
        ("udp6 again", udp6, ForwardFlow),
        ("v4 dscp and ecn are copied", tcp4(ACK).with(|f| f.traffic_class = 0xb9), ForwardFlow),
        ("v6 dscp and ecn are copied", tcp6(ACK).with(|f| f.traffic_class = 0xb9), ForwardFlow),
        ("v4 without df", tcp4(ACK).with(|f| f.fragment = 0), ForwardFlow),
        ("v4 with options", tcp4(ACK).with(|f| f.options = vec![1; 8]), ForwardFlow),
        ("v4 with the most options", tcp4(ACK).with(|f| f.options = vec![1; 40]), ForwardFlow),
        ("v4 trailing padding stays outside", tcp4(ACK).with(|f| f.padding = 6), ForwardFlow),
        ("v6 trailing padding stays outside", tcp6(ACK).with(|f| f.padding = 6), ForwardFlow),
        ("v4 ttl 2", tcp4(ACK).with(|f| f.ttl = 2), ForwardFlow),
        ("v4 ttl 255", tcp4(ACK).with(|f| f.ttl = 255), ForwardFlow),
        ("v6 hop limit 2", tcp6(ACK).with(|f| f.ttl = 2), ForwardFlow),
        ("v4 largest that fits", tcp4(ACK).with(|f| f.payload = vec![0; 1440]), ForwardFlow),
        ("v6 largest that fits", tcp6(ACK).with(|f| f.payload = vec![0; 1400]), ForwardFlow),
    ];
    for (name, frame, verdict) in &cases {
        forwards(&mut pair, name, frame, *verdict);
    }
    assert!(pair.same_flows(), "both flow tables are alike");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn flows_spread_over_all_backends_and_each_stays() {
    let mut pair = Pair::new(&usual());
    let mut seen = std::collections::BTreeMap::<IpAddr, u32>::new();
    for port in 0..300 {
        let syn = Frame::tcp(CLIENT4, 10_000 + port, VIP4, 80, SYN);
        let first = forwards(&mut pair, "syn", &syn, ForwardNew);
        let ack = syn.with(|f| f.tcp = Some(ACK));
        assert_eq!(forwards(&mut pair, "ack", &ack, ForwardFlow), first);
        *seen.entry(first).or_default() += 1;
    }
    // 100 ± 5 standard deviations of a fair choice among three.
    assert!(seen.len() == 3 && seen.values().all(|n| (59..=141).contains(n)), "{seen:?}");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_cannot_be_forwarded_is_dropped_by_name() {
    let mut pair = Pair::new(&usual());
    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("v4 ttl 1", tcp4(SYN).with(|f| f.ttl = 1).octets(), DropTtl),
        ("v4 ttl 0", tcp4(SYN).with(|f| f.ttl = 0).octets(), DropTtl),
        ("v6 hop limit 1", tcp6(SYN).with(|f| f.ttl = 1).octets(), DropTtl),
        (
            "v4 one octet too big, and may be fragmented: nobody is told",
            tcp4(ACK).with(|f| (f.payload, f.fragment) = (vec![0; 1441], 0)).octets(),
            DropTooBig,
        ),
        (
            "v4 first fragment",
            tcp4(ACK).with(|f| f.fragment = 0x2000).with(|f| f.payload = vec![0; 4]).octets(),
            DropFragment,
        ),
        ("v4 later fragment", tcp4(ACK).with(|f| f.fragment = 0x0003).octets(), DropFragment),
        ("v4 no such port", Frame::tcp(CLIENT4, 1, VIP4, 81, SYN).octets(), DropNoService),
        ("v4 udp to a tcp port", Frame::udp(CLIENT4, 1, VIP4, 80).octets(), DropNoService),
        ("v6 no such port", Frame::tcp(CLIENT6, 1, VIP6, 81, SYN).octets(), DropNoService),
        ("v4 port 0", Frame::tcp(CLIENT4, 1, VIP4, 0, SYN).octets(), DropNoService),
        ("v4 length beyond the frame", tcp4(ACK).with(|f| f.length_lie = 1).octets(), DropTruncated),
        ("v4 length far beyond", tcp4(ACK).with(|f| f.length_lie = 60_000).octets(), DropTruncated),
        ("v6 length beyond the frame", tcp6(ACK).with(|f| f.length_lie = 1).octets(), DropTruncated),
        ("v4 length without tcp header", tcp4(ACK).with(|f| f.length_lie = -1).octets(), DropBadLength),
        ("v4 length shorter than its header", tcp4(ACK).with(|f| f.length_lie = -39).octets(), DropBadLength),
        ("v6 length without tcp header", tcp6(ACK).with(|f| f.length_lie = -1).octets(), DropBadLength),
        ("v6 length 0", tcp6(ACK).with(|f| f.length_lie = -20).octets(), DropBadLength),
        (
            "udp4 length without udp header",
            Frame::udp(CLIENT4, 1, VIP4, 53).with(|f| f.length_lie = -6).octets(),
            DropBadLength,
        ),
        ("v4 cut in the ports", tcp4(ACK).octets()[..36].to_vec(), DropTruncated),
        ("v4 cut behind the ports", tcp4(ACK).octets()[..40].to_vec(), DropTruncated),
        ("v4 cut in the tcp header", tcp4(ACK).octets()[..52].to_vec(), DropTruncated),
        ("v6 cut in the tcp header", tcp6(ACK).octets()[..60].to_vec(), DropTruncated),
        ("v4 icmp", protocol(&tcp4(0), 1), DropIcmp),
        ("v4 gre", protocol(&tcp4(0), 47), DropProtocol),
        ("v4 sctp", protocol(&tcp4(0), 132), DropProtocol),
        ("v6 icmp", protocol(&tcp6(0), 58), DropIcmp),
        ("v6 gre", protocol(&tcp6(0), 47), DropProtocol),
        ("v6 hop-by-hop", protocol(&tcp6(0), 0), DropExtensionHeader),
        ("v6 routing", protocol(&tcp6(0), 43), DropExtensionHeader),
        ("v6 fragment of something unknown", protocol(&tcp6(0), 44), DropProtocol),
        ("v6 destination options", protocol(&tcp6(0), 60), DropExtensionHeader),
        ("v6 no next header", protocol(&tcp6(0), 59), DropProtocol),
    ];
    for (name, octets, verdict) in &cases {
        unchanged(&mut pair, name, octets, *verdict);
    }
}

/// The IPv6 frame towards `::ffff:198.51.100.10`, which is how the tables write the IPv4 VIP.
fn mapped(frame: &Frame) -> Vec<u8> {
    let mut octets = frame.octets();
    octets[38..54].copy_from_slice(&"::ffff:198.51.100.10".parse::<std::net::Ipv6Addr>().unwrap().octets());
    octets
}

/// The frame with another protocol number in its IP header.
fn protocol(frame: &Frame, number: u8) -> Vec<u8> {
    let mut octets = frame.octets();
    let at = if frame.source.is_ipv4() { 14 + 9 } else { 14 + 6 };
    octets[at] = number;
    octets
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_not_for_a_vip_passes_untouched_whatever_is_wrong_with_it() {
    let mut pair = Pair::new(&usual());
    let host4 = |flags| Frame::tcp(CLIENT4, 40_000, "192.0.2.1", 22, flags);
    let host6 = |flags| Frame::tcp(CLIENT6, 40_000, "2001:db8:ffff::1", 22, flags);
    let mut versions = host4(SYN).octets();
    versions[14] = 0x65;
    let mut short_ihl = tcp4(SYN).octets();
    short_ihl[14] = 0x44;
    let mut v6_as_4 = tcp6(SYN).octets();
    v6_as_4[14] = 0x45;
    let mut bad_sum = host4(SYN).octets();
    bad_sum[24] ^= 0xff;
    let tagged = [
        &ethernet(OWN_MAC, CLIENT_MAC, 0x88a8)[..],
        &[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0],
        &tcp4(SYN).ip(),
    ]
    .concat();
    let mut icmp_to_mapped = mapped(&tcp6(0));
    icmp_to_mapped[14 + 6] = 58;
    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("pass v4 ssh", host4(SYN).octets(), PassNotVip),
        ("pass v6 ssh", host6(SYN).octets(), PassNotVip),
        (
            "pass v4 to the vip's neighbour",
            Frame::tcp(CLIENT4, 1, "198.51.100.11", 80, SYN).octets(),
            PassNotVip,
        ),
        (
            "pass v6 to the vip's neighbour",
            Frame::tcp(CLIENT6, 1, "2001:db8:100::11", 80, SYN).octets(),
            PassNotVip,
        ),
        ("pass v4 fragment", host4(ACK).with(|f| f.fragment = 0x2000).octets(), PassNotVip),
        ("pass v4 ttl 0", host4(ACK).with(|f| f.ttl = 0).octets(), PassNotVip),
        ("pass v4 length lie", host4(ACK).with(|f| f.length_lie = 500).octets(), PassNotVip),
        ("pass v4 short length lie", host4(ACK).with(|f| f.length_lie = -39).octets(), PassNotVip),
        ("pass v6 length lie", host6(ACK).with(|f| f.length_lie = 500).octets(), PassNotVip),
        ("pass v4 cut in the ports", host4(ACK).octets()[..36].to_vec(), PassNotVip),
        ("pass v4 bad checksum", bad_sum, PassNotVip),
        ("pass v4 icmp", protocol(&host4(0), 1), PassNotVip),
        ("pass v4 ospf", protocol(&host4(0), 89), PassNotVip),
        ("pass v6 neighbour discovery", protocol(&host6(0), 58), PassNotVip),
        ("pass v6 hop-by-hop", protocol(&host6(0), 0), PassNotVip),
        ("pass v4 answer of a vip", Frame::tcp(VIP4, 80, CLIENT4, 40_000, SYN | ACK).octets(), PassNotVip),
        ("pass ipip to us", protocol(&host4(0), 4), PassNotVip),
        ("pass v6 to a v4 vip in v6 form", mapped(&tcp6(SYN)), PassMalformed),
        ("pass v6 icmp to a v4 vip in v6 form", icmp_to_mapped, PassMalformed),
        ("pass v4 ethertype with version 6", versions, PassMalformed),
        ("pass v4 header shorter than a header", short_ihl, PassMalformed),
        ("pass v6 ethertype with version 4", v6_as_4, PassMalformed),
        ("pass v4 cut in the ip header", tcp4(SYN).octets()[..33].to_vec(), PassMalformed),
        ("pass v6 cut in the ip header", tcp6(SYN).octets()[..53].to_vec(), PassMalformed),
        ("pass v4 nothing behind ethernet", tcp4(SYN).octets()[..14].to_vec(), PassMalformed),
        ("pass arp", [ethernet([0xff; 6], CLIENT_MAC, 0x0806), vec![0; 28]].concat(), PassNotIp),
        ("pass lldp", [ethernet([0xff; 6], CLIENT_MAC, 0x88cc), vec![0; 28]].concat(), PassNotIp),
        ("pass three vlan tags", tagged, PassNotIp),
        ("pass an 802.3 length", [ethernet([0xff; 6], CLIENT_MAC, 46), vec![0; 46]].concat(), PassNotIp),
    ];
    for (name, octets, verdict) in &cases {
        unchanged(&mut pair, name, octets, *verdict);
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn states_of_backends_act_at_once() {
    let mut pair = Pair::new(&usual());
    let owner = forwards(&mut pair, "syn", &tcp4(SYN), ForwardNew);
    forwards(&mut pair, "ack", &tcp4(ACK), ForwardFlow);
    forwards(&mut pair, "data", &tcp4(ACK), ForwardFlow);
    let state = usual();
    let name =
        state.forwarding.pools["web4"].backends.iter().find(|(_, b)| b.address == owner).unwrap().0.clone();

    pair.apply(&state.clone().backend_state("web4", &name, BackendState::Draining));
    assert_eq!(forwards(&mut pair, "draining keeps", &tcp4(ACK), ForwardFlow), owner);
    pair.apply(&state.clone().backend_state("web4", &name, BackendState::Failed));
    assert_eq!(forwards(&mut pair, "failed keeps", &tcp4(ACK), ForwardFlow), owner);
    let other = forwards(&mut pair, "failed takes no syn", &tcp4(SYN), ForwardRechosen);
    assert_ne!(other, owner);
    pair.apply(&state);
    assert_eq!(forwards(&mut pair, "back again: the flow has moved", &tcp4(ACK), ForwardFlow), other);

    let mut none = state.clone();
    for backend in ["b1", "b2", "b3"] {
        none = none.backend_state("web4", backend, BackendState::Disabled);
    }
    pair.apply(&none);
    unchanged(&mut pair, "nobody left", &tcp4(ACK).octets(), DropNoBackend);
    forwards(&mut pair, "the other pool goes on", &tcp6(SYN), ForwardNew);

    let unresolved =
        ["10.1.0.1", "10.1.0.2", "10.1.0.3"].iter().fold(state.clone(), |s, a| s.next_hop(a, None));
    pair.apply(&unresolved);
    unchanged(&mut pair, "nobody reachable", &tcp4(ACK).octets(), DropNoNextHop);

    let jumbo =
        ["10.1.0.1", "10.1.0.2", "10.1.0.3"].iter().fold(state, |s, a| s.next_hop(a, Some(hop(1700))));
    pair.apply(&jumbo);
    forwards(
        &mut pair,
        "a larger path, and the flow is still known",
        &tcp4(ACK).with(|f| f.payload = vec![0; 1460]),
        ForwardFlow,
    );
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_service_without_flow_table_remembers_nothing() {
    let state = usual().edit_service("http4", |service| service.flow_table = false);
    let mut pair = Pair::new(&state);
    let first = forwards(&mut pair, "syn", &tcp4(SYN), ForwardStateless);
    assert_eq!(forwards(&mut pair, "ack", &tcp4(ACK), ForwardStateless), first);
    assert_eq!(pair.kernel.sweep().unwrap().used, 0);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_next_hop_by_an_interface_that_is_no_uplink_is_no_next_hop() {
    let mut elsewhere = hop(1500);
    elsewhere.ifindex = 77;
    let state =
        ["10.1.0.1", "10.1.0.2", "10.1.0.3"].iter().fold(usual(), |s, a| s.next_hop(a, Some(elsewhere)));
    let mut pair = Pair::new(&state);
    // The device map is the kernel's alone, so the host is not asked.
    assert_eq!(pair.kernel.run(&tcp4(SYN).octets()).unwrap().action, 1);
    let counters = pair.kernel.counters().unwrap();
    let counted: Vec<_> =
        counters.verdicts.iter().filter(|v| v.packets > 0).map(|v| (v.verdict, v.packets)).collect();
    assert_eq!(counted, [(DropNoNextHop, 1)]);
}
