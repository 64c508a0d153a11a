// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP for a VIP: echo requests answered in place, errors sent where their flow goes, discovery left to the host.

use std::net::IpAddr;

use weir_dataplane::forwarding::{Affinity, BackendState, Protocol};
use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{State, usual};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, SYN};
use crate::support::message::{Message, link, outer, tunnelled};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";
/// A router between client and backend.
const ROUTER4: &str = "192.0.2.77";
const ROUTER6: &str = "2001:db8:77::1";

/// The usual state with VIPs that answer echo requests.
fn answering() -> State {
    usual().echo(VIP4, true).echo(VIP6, true)
}

fn echo4(body: &[u8]) -> Message {
    Message::new(CLIENT4, VIP4, 8, 0, 0x1234_0001, body)
}

fn echo6(body: &[u8]) -> Message {
    Message::new(CLIENT6, VIP6, 128, 0, 0x1234_0001, body)
}

/// The frame of the reply to `request`, as RFC 792 and RFC 4443 §4.2 want it: made anew, not brought along.
fn reply(request: &Message) -> Vec<u8> {
    let answer = request.clone().with(|m| {
        (m.source, m.destination) = (request.destination, request.source);
        m.kind = if request.source.is_ipv4() { 0 } else { 129 };
        m.ttl = 64;
    });
    let mut frame = link(CLIENT_MAC, OWN_MAC, &request.tags, request.source.is_ipv4());
    frame.extend(answer.ip());
    frame.extend(std::iter::repeat_n(0, request.padding));
    frame
}

/// Runs each named frame and demands its verdict; a frame that passes must be as it was.
fn end_as(pair: &mut Pair, cases: &[(&str, Vec<u8>, Verdict)]) {
    for (name, octets, verdict) in cases {
        let result = pair.run(octets);
        assert_eq!(result.verdict, *verdict, "{name}");
        if verdict.name().starts_with("pass") && *verdict != PassToClone {
            assert_eq!(&result.frame, octets, "{name}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn echo_requests_are_answered_in_place() {
    let mut pair = Pair::new(&answering());
    let payload: Vec<u8> = (0..56).collect();
    let (v4, v6) = (echo4(&payload), echo6(&payload));
    let customer = (0x8100, 0x6005);
    let provider = (0x88a8, 0x0007);
    let cases = [
        ("v4", v4.clone()),
        ("v6", v6.clone()),
        ("v4 nothing but a header", echo4(&[])),
        ("v6 nothing but a header", echo6(&[])),
        ("v4 large", echo4(&[0x5a; 1400])),
        ("v6 large", echo6(&[0xa5; 1400])),
        ("v4 ttl 1", v4.clone().with(|m| m.ttl = 1)),
        ("v4 ttl 64", v4.clone().with(|m| m.ttl = 64)),
        ("v4 ttl 255", v4.clone().with(|m| m.ttl = 255)),
        ("v6 hop limit 1", v6.clone().with(|m| m.ttl = 1)),
        ("v6 hop limit 255", v6.clone().with(|m| m.ttl = 255)),
        ("v4 traffic class", v4.clone().with(|m| m.traffic_class = 0xb9)),
        ("v6 traffic class", v6.clone().with(|m| m.traffic_class = 0xb9)),
        ("v4 without df", v4.clone().with(|m| m.fragment = 0)),
        ("v4 one tag", v4.clone().with(|m| m.tags = vec![customer])),
        ("v4 two tags", v4.clone().with(|m| m.tags = vec![provider, customer])),
        ("v6 one tag", v6.clone().with(|m| m.tags = vec![provider])),
        ("v6 two tags", v6.clone().with(|m| m.tags = vec![provider, customer])),
        ("v4 trailing padding", echo4(&[]).with(|m| m.padding = 18)),
        ("v6 trailing padding", echo6(&[]).with(|m| m.padding = 4)),
    ];
    for (name, request) in &cases {
        let result = pair.run(&request.octets());
        assert_eq!(result.verdict, AnswerEcho, "{name}");
        assert_eq!(result.frame, reply(request), "{name}");
    }
}

/// Katran adds and subtracts without the end-around carry and is wrong at the edges (dataplane.md §23).
#[test]
#[ignore = "needs root and a private bpffs"]
fn checksums_of_echo_replies_carry_around() {
    let mut pair = Pair::new(&answering());
    // Type 8 goes (0x0800), type 129 comes (0x0100 more): the edges are there, and where a sum is all ones or all zeros.
    let edges = [
        0x0000_u16, 0x0001, 0x00ff, 0x0100, 0x0101, 0x07fe, 0x07ff, 0x0800, 0x0801, 0x7fff, 0xf7fe, 0xf7ff,
        0xf800, 0xfefe, 0xfeff, 0xff00, 0xfffe, 0xffff,
    ];
    for word in edges {
        for request in [echo4(&word.to_be_bytes()), echo6(&word.to_be_bytes())] {
            for rest in [0, 0x0000_ffff, 0xffff_0001] {
                let request = request.clone().with(|m| m.rest = rest);
                let result = pair.run(&request.octets());
                assert_eq!(result.verdict, AnswerEcho, "word {word:04x}, rest {rest:08x}");
                assert_eq!(result.frame, reply(&request), "word {word:04x}, rest {rest:08x}");
            }
        }
    }
    // A reply of nothing but zeros must not have the checksum 0: its sum would be 0 too, which is damaged.
    let zeros = Message::new(CLIENT4, VIP4, 8, 0, 0, &[0; 8]);
    assert_eq!(pair.run(&zeros.octets()).frame[34..38], [0, 0, 0xff, 0xff]);
    // Damaged on its way here, damaged on its way back: nobody takes it for an answer.
    let mut damaged = echo4(&[1, 2, 3, 4]).octets();
    damaged[43] ^= 0x10;
    let result = pair.run(&damaged);
    assert_eq!(result.verdict, AnswerEcho);
    assert_ne!(crate::support::build::checksum(&result.frame[34..]), 0, "the damage shows");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_asks_for_more_than_an_echo_is_not_answered() {
    let mut pair = Pair::new(&answering());
    let (v4, v6) = (echo4(&[7; 8]), echo6(&[7; 8]));
    let from = |source: &str| {
        let base = if source.contains(':') { &v6 } else { &v4 };
        base.clone().with(|m| m.source = source.parse().unwrap()).octets()
    };
    let options = vec![58, 0, 1, 4, 0, 0, 0, 0];
    end_as(
        &mut pair,
        &[
            (
                "v4 record route",
                v4.clone().with(|m| m.between = vec![7, 7, 4, 0, 0, 0, 0, 0]).octets(),
                DropEcho,
            ),
            (
                "v6 destination options",
                v6.clone().with(|m| (m.first_extension, m.between) = (60, options.clone())).octets(),
                DropEcho,
            ),
            ("v4 from many", from("224.0.0.1"), DropEcho),
            ("v4 from all", from("255.255.255.255"), DropEcho),
            ("v4 from nobody", from("0.0.0.0"), DropEcho),
            ("v4 from itself", from("127.0.0.1"), DropEcho),
            ("v6 from many", from("ff02::1"), DropEcho),
            ("v6 from nobody", from("::"), DropEcho),
            ("v6 from itself", from("::1"), DropEcho),
            ("v4 to all on the link", v4.clone().with(|m| m.destination_mac = [0xff; 6]).octets(), DropEcho),
            (
                "v6 to many on the link",
                v6.clone().with(|m| m.destination_mac = [0x33, 0x33, 0, 0, 0, 1]).octets(),
                DropEcho,
            ),
            ("v4 code 1", v4.clone().with(|m| m.code = 1).octets(), DropIcmp),
            ("v6 code 1", v6.clone().with(|m| m.code = 1).octets(), DropIcmp),
            ("v4 echo reply", v4.clone().with(|m| m.kind = 0).octets(), DropIcmp),
            ("v6 echo reply", v6.clone().with(|m| m.kind = 129).octets(), DropIcmp),
            ("v4 timestamp", v4.clone().with(|m| m.kind = 13).octets(), DropIcmp),
            ("v4 redirect", v4.clone().with(|m| m.kind = 5).octets(), DropIcmp),
            ("v6 node information", v6.clone().with(|m| m.kind = 139).octets(), DropIcmp),
            ("v4 first fragment", v4.clone().with(|m| m.fragment = 0x2000).octets(), DropFragment),
            ("v4 later fragment", v4.clone().with(|m| m.fragment = 0x0002).octets(), DropFragment),
            (
                "v6 first fragment",
                v6.clone()
                    .with(|m| (m.first_extension, m.between) = (44, vec![58, 0, 0, 1, 1, 2, 3, 4]))
                    .octets(),
                DropFragment,
            ),
            ("v4 header cut", short(&v4, 7), DropIcmpMalformed),
            ("v6 header cut", short(&v6, 7), DropIcmpMalformed),
            ("v4 nothing", short(&v4, 0), DropIcmpMalformed),
        ],
    );
    let host = echo4(&[7; 8]).with(|m| m.destination = "192.0.2.1".parse().unwrap());
    end_as(&mut pair, &[("pass the host's own", host.octets(), PassNotVip)]);
}

/// The frame of `message` with only `octets` of ICMP, by the length in its IP header too.
fn short(message: &Message, octets: u16) -> Vec<u8> {
    let mut frame = message.octets();
    let (field, header) = if message.source.is_ipv4() { (16, 20) } else { (18, 0) };
    frame[field..field + 2].copy_from_slice(&(header + octets).to_be_bytes());
    frame
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn echo_follows_the_state_of_its_vip() {
    let mut pair = Pair::new(&usual());
    let (v4, v6) = (echo4(&[1; 16]).octets(), echo6(&[1; 16]).octets());
    end_as(&mut pair, &[("v4 silent", v4.clone(), DropEcho), ("v6 silent", v6.clone(), DropEcho)]);
    pair.apply(&usual().echo(VIP4, true));
    end_as(&mut pair, &[("v4 up", v4.clone(), AnswerEcho), ("v6 silent", v6.clone(), DropEcho)]);
    pair.apply(&answering());
    end_as(&mut pair, &[("v4 up", v4.clone(), AnswerEcho), ("v6 up", v6.clone(), AnswerEcho)]);
    pair.apply(&usual().echo(VIP4, false).echo(VIP6, true));
    end_as(&mut pair, &[("v4 down", v4, DropEcho), ("v6 up", v6, AnswerEcho)]);
}

/// Lets a second pass, so that what follows has budgets of its own.
fn next_second(pair: &mut Pair) {
    pair.pass(1);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn echo_has_a_budget_for_each_vip() {
    let state = answering().edit_limits(|limits| limits.echo_per_second = 3);
    let mut pair = Pair::new(&state);
    let (v4, v6) = (echo4(&[1; 16]).octets(), echo6(&[1; 16]).octets());
    next_second(&mut pair);
    for _ in 0..3 {
        assert_eq!(pair.run(&v4).verdict, AnswerEcho);
    }
    assert_eq!(pair.run(&v4).verdict, DropEchoLimited);
    assert_eq!(pair.run(&v6).verdict, AnswerEcho, "the other VIP has its own");
    next_second(&mut pair);
    assert_eq!(pair.run(&v4).verdict, AnswerEcho, "the next second");
    pair.apply(&answering().edit_limits(|limits| limits.echo_per_second = 0));
    assert_eq!(pair.run(&v4).verdict, DropEchoLimited, "none at all");
}

/// Neighbour discovery and listener discovery belong to the host even when addressed to a VIP.
#[test]
#[ignore = "needs root and a private bpffs"]
fn discovery_is_always_the_hosts() {
    let mut pair = Pair::new(&answering());
    for (name, kind) in [
        ("listener query", 130),
        ("listener report", 131),
        ("listener done", 132),
        ("router solicitation", 133),
        ("router advertisement", 134),
        ("neighbour solicitation", 135),
        ("neighbour advertisement", 136),
        ("redirect", 137),
        ("listener report 2", 143),
    ] {
        for destination in [VIP6, "ff02::1", "2001:db8:ffff::1"] {
            let message = Message::new(CLIENT6, destination, kind, 0, 0, &[0; 16]).with(|m| m.ttl = 255);
            let routed =
                message.clone().with(|m| (m.first_extension, m.between) = (0, vec![58, 0, 5, 2, 0, 0, 1, 0]));
            for frame in [message, routed] {
                let octets = frame.octets();
                let result = pair.run(&octets);
                let expected = if destination == VIP6 { PassControl } else { PassNotVip };
                assert_eq!(result.verdict, expected, "{name} to {destination}");
                assert_eq!(result.frame, octets, "{name} to {destination}");
            }
        }
    }
}

/// The packet that the VIP's backend sent to the client: what errors quote.
fn answer4() -> Frame {
    Frame::tcp(VIP4, 80, CLIENT4, 40_000, ACK)
}

fn answer6() -> Frame {
    Frame::tcp(VIP6, 80, CLIENT6, 40_000, ACK)
}

/// An error about `quote`, of which only so many octets behind the IP header are there.
fn error(kind: u8, code: u8, rest: u32, quote: &Frame, transport: usize) -> Message {
    let ip = quote.ip();
    let header = if quote.source.is_ipv4() { usize::from(ip[0] & 0xf) * 4 } else { 40 };
    let (router, vip) = if quote.source.is_ipv4() { (ROUTER4, VIP4) } else { (ROUTER6, VIP6) };
    Message::new(router, vip, kind, code, rest, &ip[..(header + transport).min(ip.len())])
}

/// Runs an error that must be forwarded unchanged; gives backend and flow label.
fn told(pair: &mut Pair, name: &str, message: &Message) -> (IpAddr, u32) {
    let result = pair.run(&message.octets());
    assert_eq!(result.verdict, ForwardIcmp, "{name}");
    is_tunnelled(name, message, &result.frame)
}

/// Runs an error about a flow that nobody knows; gives the first of the backends that have a copy.
fn copied(pair: &mut Pair, name: &str, message: &Message) -> IpAddr {
    let result = pair.run(&message.octets());
    assert_eq!(result.verdict, PassToClone, "{name}");
    let copies = pair.copies(&result.frame);
    assert!(copies.len() > 1, "{name}");
    let first = copies.iter().map(|copy| is_tunnelled(name, message, &copy.frame)).next();
    first.expect("more than one").0
}

fn is_tunnelled(name: &str, message: &Message, frame: &[u8]) -> (IpAddr, u32) {
    let (backend, label) = outer(frame);
    assert_eq!(frame, tunnelled(&message.ip(), backend, label), "{name}");
    (backend, label)
}

/// Opens and confirms the flow of `quote`, makes its backend draining so that the row's first candidate is another, and
/// gives the backend and the label of the flow.
fn established(pair: &mut Pair, quote: &Frame) -> (IpAddr, u32) {
    let open = |flags| {
        let (client, vip) = (quote.destination.to_string(), quote.source.to_string());
        Frame::tcp(&client, quote.destination_port, &vip, quote.source_port, flags).octets()
    };
    assert_eq!(pair.run(&open(SYN)).verdict, ForwardNew);
    let flow = pair.run(&open(ACK));
    assert_eq!(flow.verdict, ForwardFlow);
    let (backend, label) = outer(&flow.frame);
    let pool = if quote.source.is_ipv4() { "web4" } else { "web6" };
    let state = answering();
    let name =
        state.forwarding.pools[pool].backends.iter().find(|(_, b)| b.address == backend).unwrap().0.clone();
    pair.apply(&state.backend_state(pool, &name, BackendState::Draining));
    (backend, label)
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_go_where_their_flow_goes() {
    let mut pair = Pair::new(&answering());
    let v4 = established(&mut pair, &answer4());
    // The draining of one pool ends that of the other, so each family is done by itself.
    let mut kinds4: Vec<(u8, u8, u32)> = (0..=15).map(|code| (3, code, 1400)).collect();
    kinds4.extend([(11, 0, 0), (11, 1, 0), (12, 0, 0x0900_0000), (12, 1, 0), (3, 4, 1300), (3, 13, 0)]);
    for (kind, code, rest) in kinds4 {
        let name = format!("v4 type {kind} code {code}");
        // Eight octets of TCP are all that RFC 792 promises; Katran wants twenty (dataplane.md §23).
        for transport in [8, 9, 12, 19, 20] {
            let transport = transport & !1;
            assert_eq!(told(&mut pair, &name, &error(kind, code, rest, &answer4(), transport)), v4, "{name}");
        }
    }
    let v6 = established(&mut pair, &answer6());
    let mut kinds6: Vec<(u8, u8, u32)> = (0..=7).map(|code| (1, code, 0)).collect();
    kinds6.extend([(2, 0, 1280), (2, 0, 1500), (3, 0, 0), (3, 1, 0), (4, 0, 40), (4, 1, 6), (4, 2, 48)]);
    for (kind, code, rest) in kinds6 {
        let name = format!("v6 type {kind} code {code}");
        for transport in [8, 20] {
            assert_eq!(told(&mut pair, &name, &error(kind, code, rest, &answer6(), transport)), v6, "{name}");
        }
    }
}

/// The IPv6 quote with extension headers `chain` (each with the number of the one before it) in front of its transport.
fn with_extensions(quote: &Frame, chain: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let ip = quote.ip();
    let mut out = ip[..40].to_vec();
    let mut at = 6;
    for (number, octets) in chain {
        out[at] = *number;
        at = out.len();
        out.extend(octets);
    }
    out[at] = ip[6];
    out.extend(&ip[40..48]);
    out
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn quotes_are_read_behind_options_and_extension_headers() {
    let mut pair = Pair::new(&answering());
    let v4 = established(&mut pair, &answer4());
    for words in [1, 2, 10] {
        let quote = answer4().with(|f| f.options = vec![1; words * 4]);
        assert_eq!(
            told(&mut pair, "v4 options", &error(11, 0, 0, &quote, 8)),
            v4,
            "{words} words of options"
        );
    }
    let first = answer4().with(|f| f.fragment = 0x2000);
    assert_eq!(told(&mut pair, "v4 first fragment", &error(11, 1, 0, &first, 8)), v4);
    let own = error(3, 1, 0, &answer4(), 8);
    let options = own.clone().with(|m| m.between = vec![1; 8]);
    assert_eq!(told(&mut pair, "v4 options of its own", &options), v4);
    assert_eq!(told(&mut pair, "v4 traffic class", &own.clone().with(|m| m.traffic_class = 0xc1)), v4);

    let v6 = established(&mut pair, &answer6());
    let destination = (60, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let long = (60, [vec![0, 2], vec![1, 20], vec![0; 20]].concat());
    let hop = (0, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let routing = (43, vec![0, 0, 4, 0, 0, 0, 0, 0]);
    let whole = (44, vec![0, 0xff, 0, 0, 1, 2, 3, 4]);
    let start = (44, vec![0, 0, 0, 1, 1, 2, 3, 4]);
    for (name, chain) in [
        ("destination options", vec![destination.clone()]),
        ("long destination options", vec![long]),
        ("hop by hop", vec![hop.clone()]),
        ("whole in a fragment header", vec![whole]),
        ("first fragment", vec![start]),
        ("a chain of four", vec![hop, destination.clone(), routing, destination]),
    ] {
        let body = with_extensions(&answer6(), &chain);
        let message = Message::new(ROUTER6, VIP6, 1, 3, 0, &body);
        assert_eq!(told(&mut pair, name, &message), v6, "{name}");
    }
    let own = error(1, 3, 0, &answer6(), 8)
        .with(|m| (m.first_extension, m.between) = (60, vec![58, 0, 1, 4, 0, 0, 0, 0]));
    assert_eq!(told(&mut pair, "v6 extension header of its own", &own), v6);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_leave_no_trace_in_the_flow_table() {
    let mut pair = Pair::new(&answering());
    // Nobody knows the flow: the row decides, as it does for the flow's first packet afterwards.
    let quote = Frame::tcp(VIP4, 80, CLIENT4, 41_000, ACK);
    let stranger = error(3, 4, 1400, &quote, 8);
    let backend = copied(&mut pair, "unknown flow", &stranger);
    assert!(pair.same_flows());
    assert!(flows_are_empty(&mut pair), "an error was remembered");
    let open = Frame::tcp(CLIENT4, 41_000, VIP4, 80, SYN).octets();
    let first = pair.run(&open);
    assert_eq!((first.verdict, outer(&first.frame).0), (ForwardNew, backend));
    // A new flow stays new, however many errors tell of it: nothing but its own packets confirms it.
    let before = pair.kernel.snapshot().unwrap();
    for _ in 0..3 {
        assert_eq!(told(&mut pair, "known flow", &stranger).0, backend);
    }
    let after = pair.kernel.snapshot().unwrap();
    assert_eq!(slots(&before), slots(&after), "an error touched a slot");
    // What lies where TCP flags would be is nobody's: all bits set, and still an error like any other.
    let mut body = quote.ip();
    body[33] = 0xff;
    let flags = Message::new(ROUTER4, VIP4, 11, 0, 0, &body);
    assert_eq!(told(&mut pair, "flags in the quote", &flags).0, backend);
    assert_eq!(slots(&before), slots(&pair.kernel.snapshot().unwrap()));
}

fn slots(tables: &weir_dataplane::host::HostTables) -> Vec<u64> {
    tables
        .flows
        .iter()
        .flat_map(|set| set.iter().map(|s| s.load(std::sync::atomic::Ordering::Relaxed)))
        .collect()
}

fn flows_are_empty(pair: &mut Pair) -> bool {
    slots(&pair.kernel.snapshot().unwrap()).iter().all(|slot| *slot == 0)
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_find_the_backend_by_the_options_of_their_service() {
    let options = |edit: fn(&mut weir_dataplane::forwarding::Service)| {
        answering().edit_service("http4", edit).service("any4", VIP4, Protocol::Udp, 0, "web4")
    };
    let cases: [(&str, State); 4] = [
        ("affinity source", options(|s| s.affinity = Affinity::Source)),
        ("affinity source and port", options(|s| s.affinity = Affinity::SourcePort)),
        ("no flow table", options(|s| s.flow_table = false)),
        ("plain", options(|_| {})),
    ];
    for (name, state) in cases {
        let mut pair = Pair::new(&state);
        for port in 0..16 {
            let (client, quote) = (42_000 + port, Frame::tcp(VIP4, 80, CLIENT4, 42_000 + port, ACK));
            let flow = pair.run(&Frame::tcp(CLIENT4, client, VIP4, 80, SYN).octets());
            let (backend, _) = outer(&flow.frame);
            assert_eq!(told(&mut pair, name, &error(3, 1, 0, &quote, 8)).0, backend, "{name}, port {client}");
        }
        // A port that only the service for every port has.
        let flow = pair.run(&Frame::udp(CLIENT4, 43_000, VIP4, 999).octets());
        let quote = Frame::udp(VIP4, 999, CLIENT4, 43_000);
        assert_eq!(told(&mut pair, "any port", &error(3, 3, 0, &quote, 8)).0, outer(&flow.frame).0, "{name}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_about_addresses_of_a_prefix_find_their_flow() {
    let state = usual().service("net4", "203.0.113.64", Protocol::Tcp, 80, "web4");
    let state = state.edit_service("net4", |service| service.prefix_length = Some(28));
    let mut pair = Pair::new(&state);
    for last in [64, 70, 79] {
        let vip = format!("203.0.113.{last}");
        let flow = pair.run(&Frame::tcp(CLIENT4, 40_000, &vip, 80, SYN).octets());
        assert_eq!(flow.verdict, ForwardNew);
        let quote = Frame::tcp(&vip, 80, CLIENT4, 40_000, ACK).ip();
        let message = Message::new(ROUTER4, &vip, 3, 1, 0, &quote[..28]);
        assert_eq!(told(&mut pair, &vip, &message).0, outer(&flow.frame).0, "{vip}");
        // The error went to one address of the VIP and quotes another: neither is to be trusted.
        let other = Message::new(ROUTER4, "203.0.113.65", 3, 1, 0, &quote[..28]);
        assert_eq!(pair.run(&other.octets()).verdict, DropIcmpMalformed);
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_that_tell_nothing_are_dropped_by_name() {
    let mut pair = Pair::new(&answering());
    let about = |quote: &Frame| error(3, 1, 0, quote, 8).octets();
    let quoting = |octets: &[u8]| Message::new(ROUTER4, VIP4, 3, 1, 0, octets).octets();
    let quoting6 = |octets: &[u8]| Message::new(ROUTER6, VIP6, 1, 0, 0, octets).octets();
    let (v4, v6) = (answer4().ip(), answer6().ip());
    let changed = |ip: &[u8], at: usize, octet: u8| {
        let mut ip = ip[..if ip[0] >> 4 == 4 { 28 } else { 48 }].to_vec();
        ip[at] = octet;
        ip
    };
    let too_long = with_extensions(&answer6(), &vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0]); 5]);
    let later = with_extensions(&answer6(), &[(44, vec![0, 0, 0, 9, 1, 2, 3, 4])]);
    let mut cases = vec![
        (
            "v4 another's packet",
            about(&answer4().with(|f| f.source = "198.51.100.11".parse().unwrap())),
            DropIcmpMalformed,
        ),
        (
            "v4 the client's packet",
            quoting(&Frame::tcp(CLIENT4, 40_000, VIP4, 80, ACK).ip()),
            DropIcmpMalformed,
        ),
        ("v4 later fragment", about(&answer4().with(|f| f.fragment = 0x0001)), DropIcmpMalformed),
        ("v4 an icmp packet", quoting(&changed(&v4, 9, 1)), DropIcmpMalformed),
        ("v4 sctp", quoting(&changed(&v4, 9, 132)), DropIcmpMalformed),
        ("v4 version 6", quoting(&changed(&v4, 0, 0x65)), DropIcmpMalformed),
        ("v4 header shorter than a header", quoting(&changed(&v4, 0, 0x44)), DropIcmpMalformed),
        ("v4 header longer than the quote", quoting(&changed(&v4, 0, 0x4f)), DropIcmpMalformed),
        ("v4 no such port", about(&answer4().with(|f| f.source_port = 81)), DropNoService),
        ("v4 other protocol", about(&Frame::udp(VIP4, 80, CLIENT4, 40_000)), DropNoService),
        ("v6 another's packet", quoting6(&changed(&v6, 23, 0x11)), DropIcmpMalformed),
        ("v6 version 4", quoting6(&changed(&v6, 0, 0x45)), DropIcmpMalformed),
        ("v6 an icmp packet", quoting6(&changed(&v6, 6, 58)), DropIcmpMalformed),
        ("v6 later fragment", quoting6(&later), DropIcmpMalformed),
        ("v6 five extension headers", quoting6(&too_long), DropIcmpMalformed),
        ("v6 no such port", about(&answer6().with(|f| f.source_port = 81)), DropNoService),
        ("v4 ttl 1", error(3, 1, 0, &answer4(), 8).with(|m| m.ttl = 1).octets(), DropTtl),
        (
            "v4 in a fragment",
            error(3, 1, 0, &answer4(), 12).with(|m| m.fragment = 0x2000).octets(),
            DropFragment,
        ),
        ("v4 to the host", Message::new(ROUTER4, "192.0.2.1", 3, 1, 0, &v4).octets(), PassNotVip),
        ("v4 mtu 551", error(3, 4, 551, &answer4(), 8).octets(), DropIcmpMtu),
        ("v4 mtu 0", error(3, 4, 0, &answer4(), 8).octets(), DropIcmpMtu),
        ("v4 mtu 0 behind unused octets", error(3, 4, 0xffff_0000, &answer4(), 8).octets(), DropIcmpMtu),
        ("v4 mtu 552", error(3, 4, 552, &answer4(), 8).octets(), PassToClone),
        ("v4 only code 4 tells an mtu", error(3, 3, 0, &answer4(), 8).octets(), PassToClone),
        ("v6 mtu 1279", error(2, 0, 1279, &answer6(), 8).octets(), DropIcmpMtu),
        ("v6 mtu 0", error(2, 0, 0, &answer6(), 8).octets(), DropIcmpMtu),
        ("v6 mtu 1280", error(2, 0, 1280, &answer6(), 8).octets(), PassToClone),
        ("v6 mtu of 32 bits", error(2, 0, 0x1_0000, &answer6(), 8).octets(), PassToClone),
    ];
    for octets in [0, 4, 19, 20, 24, 26] {
        cases.push(("v4 quote cut", quoting(&v4[..octets & !1]), DropIcmpMalformed));
    }
    for octets in [0, 8, 38, 40, 44, 46] {
        cases.push(("v6 quote cut", quoting6(&v6[..octets]), DropIcmpMalformed));
    }
    end_as(&mut pair, &cases);
    assert!(flows_are_empty(&mut pair));
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn errors_have_a_budget_for_each_vip() {
    let mut pair = Pair::new(&answering().edit_limits(|limits| limits.icmp_errors_per_second = 2));
    let (v4, v6) = (error(3, 1, 0, &answer4(), 8), error(1, 3, 0, &answer6(), 8));
    next_second(&mut pair);
    for _ in 0..2 {
        copied(&mut pair, "within the budget", &v4);
    }
    assert_eq!(pair.run(&v4.octets()).verdict, DropIcmpLimited);
    copied(&mut pair, "the other VIP", &v6);
    next_second(&mut pair);
    copied(&mut pair, "the next second", &v4);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn the_floor_of_told_mtus_is_the_operators() {
    let mut pair = Pair::new(&answering().edit_limits(|limits| limits.min_mtu_v4 = 1200));
    end_as(
        &mut pair,
        &[
            ("v4 below", error(3, 4, 1199, &answer4(), 8).octets(), DropIcmpMtu),
            ("v4 at", error(3, 4, 1200, &answer4(), 8).octets(), PassToClone),
            ("v6 has its own", error(2, 0, 1280, &answer6(), 8).octets(), PassToClone),
        ],
    );
}
