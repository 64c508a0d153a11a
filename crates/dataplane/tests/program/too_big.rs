// SPDX-License-Identifier: Apache-2.0 OR MIT
//! "Fragmentation needed" and "packet too big" to clients whose packets do not fit once they are encapsulated.

use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{State, hop, usual};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC};
use crate::support::message::{Message, link, tagged};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

/// A packet of `ip_len` octets.
fn sized(ip_len: usize, is_v4: bool) -> Frame {
    let (source, vip, headers) = if is_v4 { (CLIENT4, VIP4, 40) } else { (CLIENT6, VIP6, 60) };
    let payload = (0..ip_len - headers).map(|at| (at * 7 % 251) as u8).collect();
    Frame::tcp(source, 40_000, vip, 80, ACK).with(|frame| frame.payload = payload)
}

/// The frame of the answer to the packet `ip` that came with `tags`: told `mtu`, quoting as much as RFC 1812 §4.3.2.3 and
/// RFC 4443 §3.2 allow, in steps of four octets.
fn answer(ip: &[u8], tags: &[(u16, u16)], mtu: u32) -> Vec<u8> {
    let is_v4 = ip[0] >> 4 == 4;
    let most = if is_v4 { 576 - 28 } else { 1_280 - 48 };
    let quote = &ip[..ip.len().min(most) / 4 * 4];
    let (vip, client) = if is_v4 { (VIP4, CLIENT4) } else { (VIP6, CLIENT6) };
    let (kind, code) = if is_v4 { (3, 4) } else { (2, 0) };
    let message = Message::new(vip, client, kind, code, mtu, quote).with(|m| {
        m.ttl = 64;
        m.traffic_class = 0xc0;
    });
    let mut packet = message.ip();
    if is_v4 {
        // Identification 0, as nothing of it will be fragmented (RFC 6864).
        packet[4..6].fill(0);
        packet[10..12].fill(0);
        let sum = crate::support::build::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[..4].copy_from_slice(&[0x6c, 0, 0, 0]);
    }
    let mut frame = link(CLIENT_MAC, OWN_MAC, tags, is_v4);
    frame.extend(packet);
    frame
}

fn tells(pair: &mut Pair, name: &str, frame: &[u8], expected: &[u8]) {
    let result = pair.run(frame);
    assert_eq!(result.verdict, AnswerTooBig, "{name}");
    assert_eq!(result.frame, expected, "{name}");
}

/// The usual state with a path of `mtu` octets to every backend.
fn path(mtu: u16) -> State {
    let backends = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"];
    backends.iter().fold(usual(), |state, address| state.next_hop(address, Some(hop(mtu))))
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn clients_are_told_what_fits() {
    let mut pair = Pair::new(&usual());
    for ip_len in [1481, 1482, 1483, 1484, 1500] {
        let frame = sized(ip_len, true);
        tells(&mut pair, &format!("v4 {ip_len}"), &frame.octets(), &answer(&frame.ip(), &[], 1480));
    }
    for ip_len in [1461, 1462, 1463, 1464, 1500] {
        let frame = sized(ip_len, false);
        tells(&mut pair, &format!("v6 {ip_len}"), &frame.octets(), &answer(&frame.ip(), &[], 1460));
    }
    let options = sized(1500, true).with(|frame| frame.options = vec![1; 40]);
    tells(&mut pair, "v4 options", &options.octets(), &answer(&options.ip(), &[], 1480));
    let class = sized(1500, true).with(|frame| frame.traffic_class = 0xff);
    tells(&mut pair, "v4 traffic class", &class.octets(), &answer(&class.ip(), &[], 1480));
    let dying = sized(1500, false).with(|frame| frame.ttl = 2);
    tells(&mut pair, "v6 hop limit 2", &dying.octets(), &answer(&dying.ip(), &[], 1460));
    let zeros = sized(1500, true).with(|frame| frame.payload.fill(0));
    tells(&mut pair, "v4 zeros", &zeros.octets(), &answer(&zeros.ip(), &[], 1480));
    let ones = sized(1500, false).with(|frame| frame.payload.fill(0xff));
    tells(&mut pair, "v6 ones", &ones.octets(), &answer(&ones.ip(), &[], 1460));
    let padded = sized(1500, true).with(|frame| frame.padding = 9);
    tells(&mut pair, "v4 padding is not quoted", &padded.octets(), &answer(&padded.ip(), &[], 1480));
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn tags_are_kept() {
    let mut pair = Pair::new(&usual());
    let (customer, provider) = ((0x8100, 0x2005), (0x88a8, 0xe007));
    for tags in [vec![customer], vec![provider], vec![provider, customer]] {
        for (is_v4, mtu) in [(true, 1480), (false, 1460)] {
            let ip = sized(1500, is_v4).ip();
            let name = format!("{} tags, v4 {is_v4}", tags.len());
            tells(&mut pair, &name, &tagged(&ip, &tags), &answer(&ip, &tags, mtu));
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_quote_ends_where_the_packet_does() {
    let mut pair = Pair::new(&path(400));
    for ip_len in [381, 382, 400, 547, 548, 549, 552, 600] {
        let frame = sized(ip_len, true);
        tells(&mut pair, &format!("v4 {ip_len}"), &frame.octets(), &answer(&frame.ip(), &[], 380));
    }
    pair.apply(&path(1320));
    for ip_len in [1281, 1282, 1284, 1300] {
        let frame = sized(ip_len, false);
        tells(&mut pair, &format!("v6 {ip_len}"), &frame.octets(), &answer(&frame.ip(), &[], 1280));
    }
}

/// A frame of several buffers: what is quoted lies in the first.
#[test]
#[ignore = "needs root and a private bpffs"]
fn senders_of_jumbo_frames_are_told_what_fits() {
    let mut pair = Pair::new(&usual());
    for (is_v4, mtu) in [(true, 1_480), (false, 1_460)] {
        for ip_len in [4_000, 8_999, 9_000] {
            let frame = sized(ip_len, is_v4);
            let name = format!("{ip_len} octets, v4 {is_v4}");
            tells(&mut pair, &name, &frame.octets(), &answer(&frame.ip(), &[], mtu));
            let tags = [(0x88a8, 7), (0x8100, 5)];
            tells(&mut pair, &name, &tagged(&frame.ip(), &tags), &answer(&frame.ip(), &tags, mtu));
        }
        let whole = sized(9_000, is_v4).with(|frame| frame.fragment = 0);
        if is_v4 {
            assert_eq!(pair.run(&whole.octets()).verdict, DropTooBig, "it may be fragmented");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn who_must_not_be_told_is_not() {
    let mut pair = Pair::new(&usual());
    let from = |source: &str, is_v4| {
        sized(1500, is_v4).with(|frame| frame.source = source.parse().unwrap()).octets()
    };
    let mut to_all = sized(1500, true).octets();
    to_all[..6].fill(0xff);
    let mut to_many = sized(1500, false).octets();
    to_many[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let quote = Frame::tcp(VIP4, 80, CLIENT4, 40_000, ACK).with(|frame| frame.payload = vec![3; 1440]).ip();
    let error = Message::new("192.0.2.77", VIP4, 3, 1, 0, &quote[..1460]);
    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        (
            "v4 that may be fragmented",
            sized(1500, true).with(|frame| frame.fragment = 0).octets(),
            DropTooBig,
        ),
        ("v4 from many", from("224.0.0.9", true), DropTooBig),
        ("v4 from all", from("255.255.255.255", true), DropTooBig),
        ("v4 from itself", from("127.0.0.1", true), DropTooBig),
        ("v6 from many", from("ff02::9", false), DropTooBig),
        ("v6 from nobody", from("::", false), DropTooBig),
        ("v6 from itself", from("::1", false), DropTooBig),
        ("v4 to all on the link", to_all, DropTooBig),
        ("v6 to many on the link", to_many, DropTooBig),
        ("v4 an icmp error", error.octets(), DropTooBig),
        ("v4 that ends here", sized(1500, true).with(|frame| frame.ttl = 1).octets(), DropTtl),
    ];
    for (name, octets, verdict) in &cases {
        assert_eq!(pair.run(octets).verdict, *verdict, "{name}");
    }
    // An IPv6 sender may not go below 1,280, so there is nothing to tell (RFC 8201 §4).
    pair.apply(&path(1319));
    assert_eq!(pair.run(&sized(1300, false).octets()).verdict, DropTooBig);
    pair.apply(&path(87));
    assert_eq!(pair.run(&sized(100, true).octets()).verdict, DropTooBig, "67 is no MTU of IPv4");
    pair.apply(&path(88));
    let frame = sized(100, true);
    tells(&mut pair, "68 is one", &frame.octets(), &answer(&frame.ip(), &[], 68));
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn telling_has_a_budget_for_each_vip() {
    let mut pair = Pair::new(&usual().edit_limits(|limits| limits.too_big_per_second = 2));
    let (v4, v6) = (sized(1500, true).octets(), sized(1500, false).octets());
    pair.pass(1);
    for verdict in [AnswerTooBig, AnswerTooBig, DropTooBigLimited] {
        assert_eq!(pair.run(&v4).verdict, verdict);
    }
    assert_eq!(pair.run(&v6).verdict, AnswerTooBig, "the other VIP has its own");
    pair.pass(1);
    assert_eq!(pair.run(&v4).verdict, AnswerTooBig, "the next second");
}
