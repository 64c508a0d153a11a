// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fixtures of tunnels that cross address families, and of GUE (draft-ietf-intarea-gue).

use std::net::IpAddr;

use weir_dataplane_core::decap::AgentVerdict::{self, *};

use crate::cases::Case;
use crate::packet::{OUTER, ethernet, fix_ipv4_checksum, ip, udp};
use crate::setup::{APPLIANCE, CLIENT, HOST, VIP, addr};

const PORT: u16 = 6080;
const VIP_PREFIX: [&str; 2] = ["198.51.100.10/32", "2001:db8:100::/48"];
const PROTOCOL: [u8; 2] = [4, 41];
const VERSION: [u8; 2] = [4, 6];

fn inner(family: usize, class: u8) -> Vec<u8> {
    udp(addr(CLIENT[family]), addr(VIP[family]), class, 53, b"what is in the packet")
}

/// A UDP datagram that carries `content`, with a checksum that nobody made from it.
fn datagram(port: u16, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + content.len()).unwrap().to_be_bytes();
    let port = port.to_be_bytes();
    [&[0xc0, 1, port[0], port[1], len[0], len[1], 0xbe, 0xef], content].concat()
}

fn outer(family: usize, class: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip(addr(APPLIANCE[family]), addr(HOST[family]), class, protocol, payload)
}

/// GUE variant 0 with `words` of private data.
fn header(words: u8, protocol: u8) -> Vec<u8> {
    let mut header = vec![words, protocol, 0, 0];
    header.extend((0..words).flat_map(|word| [0x57, 0x52, word, 0xff]));
    header
}

fn case(name: String, frame: Vec<u8>, verdict: AgentVerdict) -> Case {
    Case { name, frame, verdict, left: None, vip: None }
}

fn taken(name: String, frame: Vec<u8>, inner: &[u8], family: usize) -> Case {
    Case { left: Some(ethernet(inner)), vip: Some(VIP_PREFIX[family]), ..case(name, frame, Decapsulated) }
}

/// The payload of the outer packet in each way to carry `inner`, with its protocol.
fn ways(inner: &[u8], family: usize) -> Vec<(&'static str, u8, Vec<u8>)> {
    let mut ways = vec![("bare", PROTOCOL[family], inner.to_vec())];
    for (name, words) in
        [("gue", 0), ("gue without hops", 3), ("gue with three hops", 6), ("gue with all words", 31)]
    {
        let content = [header(words, PROTOCOL[family]), inner.to_vec()].concat();
        ways.push((name, 17, datagram(PORT, &content)));
    }
    ways.push(("gue variant 1", 17, datagram(PORT, inner)));
    ways
}

fn carried() -> Vec<Case> {
    let mut cases = Vec::new();
    for (over, within) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let packet = inner(within, 0);
        for (way, protocol, payload) in ways(&packet, within) {
            let name = |what: &str| format!("IPv{} in IPv{}, {way}: {what}", VERSION[within], VERSION[over]);
            let whole = outer(over, 0, protocol, &payload);
            let padded = |packet: &[u8]| ethernet(&[packet, &[0xee; 5]].concat());
            let mut padded_case = taken(name("with padding"), padded(&whole), &packet, within);
            padded_case.left = Some(padded(&packet));
            let mut truncated = ethernet(&whole);
            truncated.pop();
            let to_nobody = udp(addr(CLIENT[within]), addr(HOST[within]), 0, 53, b"no VIP");
            let nobody = ways(&to_nobody, within).into_iter().find(|(found, ..)| *found == way).unwrap();
            let from = |source: &str, destination: &str| {
                ethernet(&ip(addr(source), addr(destination), 0, protocol, &payload))
            };
            cases.extend([
                taken(name("decapsulated"), ethernet(&whole), &packet, within),
                padded_case,
                case(name("truncated"), truncated, DropTruncated),
                case(name("to no VIP"), ethernet(&outer(over, 0, protocol, &nobody.2)), PassNotVip),
                case(name("from nobody"), from(CLIENT[over], HOST[over]), PassForeignSource),
                case(name("to nobody"), from(APPLIANCE[over], CLIENT[over]), PassForeignAddress),
            ]);
            cases.extend(ecn(over, within, way));
        }
    }
    cases
}

/// Frames of 9,000 octets, which the kernel keeps in several buffers, in each way and over any two families.
fn jumbo() -> Vec<Case> {
    let mut cases = Vec::new();
    for (over, within) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let bare = udp(addr(CLIENT[within]), addr(VIP[within]), 0, 53, &[]);
        for (at, (way, ..)) in ways(&bare, within).into_iter().enumerate() {
            let carried = |len: usize| {
                let text: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
                let packet = udp(addr(CLIENT[within]), addr(VIP[within]), 0, 53, &text);
                let (_, protocol, payload) = ways(&packet, within).swap_remove(at);
                (packet, ethernet(&outer(over, 0, protocol, &payload)))
            };
            let (packet, frame) = carried(9_000 - carried(0).1.len());
            assert_eq!(frame.len(), 9_000);
            let name = |what: &str| format!("IPv{} in IPv{}, {way}: {what}", VERSION[within], VERSION[over]);
            let mut cut = frame.clone();
            cut.pop();
            cases.extend([
                taken(name("9,000 octets"), frame, &packet, within),
                case(name("one short of 9,000 octets"), cut, DropTruncated),
            ]);
        }
    }
    cases
}

/// RFC 6040 §4.2 across families: congestion goes inwards, and what cannot say so is dropped.
fn ecn(over: usize, within: usize, way: &str) -> Vec<Case> {
    [(2, 3, Some(3)), (1, 3, Some(3)), (2, 1, Some(1)), (1, 2, Some(1)), (3, 0, Some(3)), (0, 3, None)]
        .into_iter()
        .map(|(inner_ecn, outer_ecn, result)| {
            let packet = inner(within, 0xb8 | inner_ecn);
            let ways = ways(&packet, within);
            let (_, protocol, payload) = ways.iter().find(|(found, ..)| *found == way).unwrap();
            let frame = ethernet(&outer(over, 0x28 | outer_ecn, *protocol, payload));
            let name = format!("{within} in {over}, {way}: ECN {inner_ecn} in {outer_ecn}");
            match result {
                Some(ecn) => taken(name, frame, &inner(within, 0xb8 | ecn), within),
                None => case(name, frame, DropEcn),
            }
        })
        .collect()
}

/// What is GUE and yet none of ours, and what lies.
fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    for over in [0, 1] {
        let packet = inner(0, 0);
        let gue = |first: [u8; 4], port| {
            ethernet(&outer(over, 0, 17, &datagram(port, &[&first[..], &packet].concat())))
        };
        let name = |what: &str| format!("gue over IPv{}: {what}", VERSION[over]);
        cases.extend([
            case(name("control message"), gue([0x20, 4, 0, 0], PORT), PassGue),
            case(name("extension fields"), gue([0, 4, 0x80, 0], PORT), PassGue),
            case(name("another protocol"), gue([0, 47, 0, 0], PORT), PassGue),
            case(name("variant 2"), gue([0x80, 4, 0, 0], PORT), PassGue),
            case(name("variant 3"), gue([0xc0, 4, 0, 0], PORT), PassGue),
            case(name("variant 1 of no version"), gue([0x55, 0, 0, 0], PORT), PassGue),
            case(name("the other version inside"), gue([0, 41, 0, 0], PORT), PassInnerMalformed),
            case(name("another port"), gue([0, 4, 0, 0], PORT + 1), PassNotTunnel),
            case(name("words beyond the frame"), gue([31, 4, 0, 0], PORT), PassInnerMalformed),
        ]);
        let good = outer(over, 0, 17, &datagram(PORT, &[&[0, 4, 0, 0][..], &packet].concat()));
        let at = if over == 0 { 20 } else { 40 };
        let udp_len = usize::from(u16::from_be_bytes([good[at + 4], good[at + 5]]));
        for (what, len) in [
            ("udp longer than ip", udp_len + 1),
            ("udp that cuts the inner packet", udp_len - 1),
            ("udp of no length", 0),
            ("udp of the greatest length", 65_535),
        ] {
            let mut lying = good.clone();
            lying[at + 4..at + 6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            cases.push(case(name(what), ethernet(&lying), DropBadLength));
        }
        let cut = |len: usize| ethernet(&good)[..OUTER + at + len].to_vec();
        cases.extend([
            case(name("frame that ends in udp"), cut(7), PassNotTunnel),
            case(name("frame that ends in gue"), cut(11), PassInnerMalformed),
            case(name("frame that ends in the inner header"), cut(31), PassInnerMalformed),
        ]);
    }
    cases.extend(fragments());
    cases
}

fn fragments() -> Vec<Case> {
    let payload = datagram(PORT, &[&[0, 4, 0, 0][..], &inner(0, 0)].concat());
    let v4 = outer(0, 0, 17, &payload);
    let patched = |at: usize, octets: [u8; 2]| {
        let mut packet = v4.clone();
        packet[at..at + 2].copy_from_slice(&octets);
        fix_ipv4_checksum(&mut packet);
        ethernet(&packet)
    };
    let mut options = v4.clone();
    options.splice(20..20, [1, 1, 1, 1]);
    options[0] = 0x46;
    options[3] += 4;
    fix_ipv4_checksum(&mut options);
    let mut wrong = v4.clone();
    wrong[10] ^= 1;
    let of_v6 = [&[17, 0, 0, 1, 0, 0, 0, 7][..], &payload].concat();
    let foreign = IpAddr::from([192, 0, 2, 200]);
    vec![
        case("gue, first fragment".to_owned(), patched(6, [0x20, 0]), PassFragment),
        case("gue, later fragment".to_owned(), patched(6, [0, 9]), PassNotTunnel),
        case("gue, outer options".to_owned(), ethernet(&options), PassOptions),
        case("gue, wrong outer checksum".to_owned(), ethernet(&wrong), DropChecksum),
        case("gue, fragment of IPv6".to_owned(), ethernet(&outer(1, 0, 44, &of_v6)), PassNotTunnel),
        taken(
            "gue from another appliance of the prefix".to_owned(),
            ethernet(&ip(foreign, addr(HOST[0]), 0, 17, &payload)),
            &inner(0, 0),
            0,
        ),
    ]
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = carried();
    cases.extend(jumbo());
    cases.extend(others());
    cases
}
