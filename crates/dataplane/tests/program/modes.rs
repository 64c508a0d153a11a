// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Forwarding modes: each over each pair of address families, each switch of the outer header, and what does not fit.

use std::net::IpAddr;

use weir_dataplane::forwarding::{GueVariant, Mode, OuterHeader, Protocol};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane_core::hash::{HashKeys, flow_v4, flow_v6, row_index};
use weir_dataplane_core::{PoolValue, Verdict};

use crate::support::bed::{SEED, State, hop};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, SYN, ethernet};
use crate::support::carried::{Way, carried, entropy, with_checksum};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
pub(super) const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";
pub(super) const BACKEND4: &str = "10.1.0.1";
pub(super) const BACKEND6: &str = "2001:db8:1::1";

pub(super) const fn gue(variant: GueVariant) -> Mode {
    Mode::Gue { port: 6080, variant }
}

pub(super) const MODES: [(&str, Mode); 5] = [
    ("ipip", Mode::Ipip),
    ("gue header", gue(GueVariant::Header)),
    ("gue candidates", gue(GueVariant::Candidates)),
    ("gue direct", gue(GueVariant::Direct)),
    ("l2", Mode::L2),
];

/// Services of both families, TCP and UDP, on a pool with these backends.
pub(super) fn state(mode: Mode, backends: &[&str]) -> State {
    let names: Vec<String> = (1..=backends.len()).map(|n| format!("b{n}")).collect();
    let backends: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(backends.iter().copied()).collect();
    let mut state = State::default()
        .pool("web", &backends)
        .service("tcp4", VIP4, Protocol::Tcp, 80, "web")
        .service("udp4", VIP4, Protocol::Udp, 53, "web")
        .service("tcp6", VIP6, Protocol::Tcp, 80, "web")
        .service("udp6", VIP6, Protocol::Udp, 53, "web")
        .edit_pool("web", |pool| pool.mode = mode);
    for hops in state.next_hops.values_mut() {
        for hop in hops {
            hop.is_on_link = true;
        }
    }
    state
}

/// A packet of each family and transport, with right checksums.
pub(super) fn clients() -> Vec<(&'static str, Frame)> {
    vec![
        ("tcp4", Frame::tcp(CLIENT4, 40_000, VIP4, 80, SYN)),
        ("udp4", Frame::udp(CLIENT4, 40_001, VIP4, 53)),
        ("tcp6", Frame::tcp(CLIENT6, 40_002, VIP6, 80, SYN)),
        ("udp6", Frame::udp(CLIENT6, 40_003, VIP6, 53)),
    ]
}

pub(super) fn framed(ip: &[u8]) -> Vec<u8> {
    let ethertype = if ip[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    [ethernet(OWN_MAC, CLIENT_MAC, ethertype), ip.to_vec()].concat()
}

/// The tables of one process, to be filled anew for each mode.
fn pair() -> Pair {
    Pair::new(&state(Mode::Ipip, &[BACKEND4]))
}

/// Runs the packet `ip` of the flow of `frame` and demands that it is carried this way.
fn arrives(pair: &mut Pair, name: &str, frame: &Frame, ip: &[u8], way: &Way) {
    let result = pair.run(&framed(ip));
    assert!(result.verdict.name().starts_with("forward_"), "{name}: {:?}", result.verdict);
    assert_eq!(result.frame, carried(ip, entropy(frame), way), "{name}");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_mode_carries_every_family_over_every_family() {
    let mut pair = pair();
    for (mode_name, mode) in MODES {
        for to in [BACKEND4, BACKEND6] {
            pair.apply(&state(mode, &[to]));
            for (client, frame) in clients() {
                let ip = with_checksum(&frame.ip());
                let name = format!("{mode_name} of {client} to {to}");
                arrives(&mut pair, &name, &frame, &ip, &Way::new(mode, to));
            }
            assert!(pair.same_flows());
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_mode_keeps_what_is_in_the_inner_packet() {
    let mut pair = pair();
    let tcp4 = || Frame::tcp(CLIENT4, 40_000, VIP4, 80, ACK);
    let tcp6 = || Frame::tcp(CLIENT6, 40_000, VIP6, 80, ACK);
    let cases: Vec<(&str, Frame)> = vec![
        ("options", tcp4().with(|f| f.options = vec![1; 12])),
        ("the most options", tcp4().with(|f| f.options = vec![1; 40])),
        ("odd payload", tcp4().with(|f| f.payload = vec![0xa5; 333])),
        ("dscp and ecn", tcp4().with(|f| f.traffic_class = 0xb9)),
        ("congestion experienced", tcp6().with(|f| f.traffic_class = 3)),
        ("ttl 2", tcp4().with(|f| f.ttl = 2)),
        ("ttl 255", tcp4().with(|f| f.ttl = 255)),
        ("hop limit 2", tcp6().with(|f| f.ttl = 2)),
        ("df clear", tcp4().with(|f| f.fragment = 0)),
        ("odd payload in v6", tcp6().with(|f| f.payload = vec![0x5a; 77])),
    ];
    for (mode_name, mode) in MODES {
        for to in [BACKEND4, BACKEND6] {
            pair.apply(&state(mode, &[to]));
            for (name, frame) in &cases {
                let ip = with_checksum(&frame.ip());
                arrives(&mut pair, &format!("{mode_name} {name} to {to}"), frame, &ip, &Way::new(mode, to));
            }
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_udp_checksum_by_arithmetic_is_that_of_all_octets() {
    let mut pair = pair();
    let outer = OuterHeader { udp_checksum: true, ..OuterHeader::default() };
    for (mode_name, mode) in &MODES[1..4] {
        for to in [BACKEND4, BACKEND6] {
            pair.apply(&state(*mode, &[to]).edit_pool("web", |pool| pool.outer = outer));
            for (client, frame) in clients() {
                let base = Way { outer, ..Way::new(*mode, to) };
                for length in [0_usize, 1, 2, 3, 500, 1_001] {
                    let frame = frame.clone().with(|f| {
                        f.payload = (0..length).map(|i| (i * 7 + 3) as u8).collect();
                        f.traffic_class = 0x2e << 2 | 1;
                    });
                    let name = format!("{mode_name} of {client} to {to}, {length} octets");
                    arrives(&mut pair, &name, &frame, &with_checksum(&frame.ip()), &base);
                }
            }
            let options = Frame::tcp(CLIENT4, 40_000, VIP4, 80, ACK).with(|f| f.options = vec![1; 8]);
            let way = Way { outer, ..Way::new(*mode, to) };
            arrives(&mut pair, "options", &options, &with_checksum(&options.ip()), &way);
            // Impossible without reading the payload: sent without one, never with a wrong one.
            let none = Way { can_sum: false, ..way };
            for frame in [Frame::udp(CLIENT4, 1, VIP4, 53), Frame::udp(CLIENT6, 1, VIP6, 53)] {
                arrives(&mut pair, "udp without a checksum", &frame, &frame.ip(), &none);
                let mut shorter = with_checksum(&frame.ip());
                let header = if frame.source.is_ipv4() { 20 } else { 40 };
                shorter[header + 5] -= 1;
                arrives(&mut pair, "udp shorter than ip says", &frame, &shorter, &none);
            }
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn each_switch_of_the_outer_header_does_what_it_says() {
    let mut pair = pair();
    let default = OuterHeader::default();
    let switches = [
        ("dscp is not copied, ecn is", OuterHeader { copies_dscp: false, ..default }),
        ("no flow label", OuterHeader { flow_label: false, ..default }),
        ("one source port", OuterHeader { port_entropy: false, ..default }),
        (
            "nothing of the flow shows",
            OuterHeader { copies_dscp: false, flow_label: false, port_entropy: false, ..default },
        ),
    ];
    for (mode_name, mode) in &MODES[..4] {
        for to in [BACKEND4, BACKEND6] {
            for (switch, outer) in switches {
                pair.apply(&state(*mode, &[to]).edit_pool("web", |pool| pool.outer = outer));
                for (client, frame) in clients() {
                    let frame = frame.with(|f| f.traffic_class = 0xb9);
                    let way = Way { outer, ..Way::new(*mode, to) };
                    let name = format!("{mode_name} of {client} to {to}: {switch}");
                    arrives(&mut pair, &name, &frame, &with_checksum(&frame.ip()), &way);
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_tag_is_pushed_where_the_path_has_one() {
    let mut pair = pair();
    for (mode_name, mode) in MODES {
        for to in [BACKEND4, BACKEND6] {
            let tagged = NextHop { vlan: Some(0x123), is_on_link: true, ..hop(1500) };
            pair.apply(&state(mode, &[to]).next_hop(to, Some(tagged)));
            for (client, frame) in clients() {
                let way = Way { vlan: Some(0x123), ..Way::new(mode, to) };
                let name = format!("{mode_name} of {client} to {to} in a vlan");
                arrives(&mut pair, &name, &frame, &with_checksum(&frame.ip()), &way);
            }
        }
    }
}

/// The candidates behind the one at `to`, from the tables.
fn others(pair: &Pair, frame: &Frame, to: IpAddr) -> Vec<IpAddr> {
    let keys = HashKeys::from_seed(&SEED);
    let ports = [frame.source_port.to_be_bytes(), frame.destination_port.to_be_bytes()].concat();
    let ports = u32::from_ne_bytes(ports.try_into().unwrap());
    let hash = match (frame.source, frame.destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            flow_v4(&keys.v4, u32::from_ne_bytes(s.octets()), u32::from_ne_bytes(d.octets()), ports, 6)
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            let address = weir_dataplane_core::bytes::Address::from_octets;
            flow_v6(&keys.v6, &address(s.octets()), &address(d.octets()), ports, 6)
        }
        _ => panic!("addresses of one family"),
    };
    let pool = pair.host.pools.iter().find(|rows| **rows != 0).unwrap();
    let (first, count) = PoolValue::region(*pool);
    let row = pair.host.rows[(first + row_index(hash, count)) as usize];
    let address = |id: &u16| {
        let words = pair.host.backends[usize::from(*id)].outer.destination;
        if to.is_ipv4() {
            IpAddr::from(words[0].to_ne_bytes())
        } else {
            IpAddr::from(<[u8; 16]>::try_from(words.map(u32::to_ne_bytes).concat()).unwrap())
        }
    };
    row.ids().iter().filter(|id| **id != 0).map(address).filter(|address| *address != to).collect()
}

/// Where the packet went.
fn destination(frame: &[u8]) -> IpAddr {
    match frame[14] >> 4 {
        4 => <[u8; 4]>::try_from(&frame[30..34]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&frame[38..54]).unwrap().into(),
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn candidates_are_the_rows_others_in_their_order() {
    let mut pair = pair();
    let mode = gue(GueVariant::Candidates);
    let four = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"];
    let six = [
        "2001:db8:1::1",
        "2001:db8:1::2",
        "2001:db8:1::3",
        "2001:db8:1::4",
        "2001:db8:1::5",
        "2001:db8:1::6",
    ];
    for backends in [four, six] {
        for count in 1..=backends.len() {
            for udp_checksum in [false, true] {
                let outer = OuterHeader { udp_checksum, ..OuterHeader::default() };
                let state = state(mode, &backends[..count]).edit_pool("web", |pool| pool.outer = outer);
                pair.apply(&state);
                // Flows of their own, which no earlier table has chosen for.
                let first = 1_000 + 100 * count as u16 + 50 * u16::from(udp_checksum);
                for port in first..first + 20 {
                    for frame in
                        [Frame::tcp(CLIENT4, port, VIP4, 80, SYN), Frame::tcp(CLIENT6, port, VIP6, 80, SYN)]
                    {
                        let ip = with_checksum(&frame.ip());
                        let result = pair.run(&framed(&ip));
                        assert!(result.verdict.is_new_flow(), "{:?}", result.verdict);
                        let to = destination(&result.frame);
                        let hops = others(&pair, &frame, to);
                        assert_eq!(hops.len(), (count - 1).min(3), "{count} backends");
                        let way = Way { hops, outer, ..Way::new(mode, &to.to_string()) };
                        assert_eq!(result.frame, carried(&ip, entropy(&frame), &way), "{count} backends");
                    }
                }
            }
        }
    }
}

/// A flow whose backend left its row: all four of the row are named.
#[test]
#[ignore = "needs root and a private bpffs"]
fn a_flow_whose_backend_left_the_row_has_four_candidates() {
    let mode = gue(GueVariant::Candidates);
    for prefix in ["10.1.0.", "2001:db8:1::"] {
        let backends: Vec<String> = (1..=8).map(|n| format!("{prefix}{n}")).collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        let state = state(mode, &backends);
        let mut pair = Pair::new(&state);
        let frame = Frame::tcp(CLIENT4, 1_000, VIP4, 80, SYN);
        let ip = with_checksum(&frame.ip());
        let to = destination(&pair.run(&framed(&ip)).frame);
        let lighter = state.edit_pool("web", |pool| {
            for backend in pool.backends.values_mut() {
                backend.weight = if backend.address == to { 1 } else { 65_535 };
            }
        });
        pair.apply(&lighter);
        let hops = others(&pair, &frame, to);
        assert_eq!(hops.len(), 4, "it is still in its row: {hops:?}");
        let way = Way { hops, ..Way::new(mode, &to.to_string()) };
        arrives(&mut pair, "four candidates", &frame, &ip, &way);
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_fits_to_the_octet_goes_and_one_more_does_not() {
    let mut pair = pair();
    let overheads = [
        (Mode::Ipip, 20, 40),
        (gue(GueVariant::Direct), 28, 48),
        (gue(GueVariant::Header), 32, 52),
        // One backend: no candidates besides it.
        (gue(GueVariant::Candidates), 44, 64),
        (Mode::L2, 0, 0),
    ];
    for (mode, over_v4, over_v6) in overheads {
        for (to, overhead) in [(BACKEND4, over_v4), (BACKEND6, over_v6)] {
            pair.apply(&state(mode, &[to]));
            for (client, header, vip) in [(CLIENT4, 40, VIP4), (CLIENT6, 60, VIP6)] {
                let name = format!("{mode:?} of {client} to {to}");
                let fits = Frame::tcp(client, 40_000, vip, 80, ACK)
                    .with(|f| f.payload = vec![0; 1_500 - overhead - header]);
                arrives(&mut pair, &name, &fits, &with_checksum(&fits.ip()), &Way::new(mode, to));
                let more = fits.with(|f| {
                    f.payload.push(0);
                    f.fragment = 0;
                });
                if vip == VIP4 {
                    // With DF clear nothing is told to the client.
                    let result = pair.run(&more.octets());
                    assert_eq!(result.verdict, Verdict::DropTooBig, "{name}");
                }
            }
        }
    }
}

/// Without the backend's own MAC address a bare packet must not leave: a router would send it to the next appliance.
#[test]
#[ignore = "needs root and a private bpffs"]
fn l2_needs_the_backend_on_the_link() {
    let state = state(Mode::L2, &[BACKEND4]).next_hop(BACKEND4, Some(hop(1500)));
    let mut pair = Pair::new(&state);
    let frame = Frame::tcp(CLIENT4, 40_000, VIP4, 80, SYN);
    assert_eq!(pair.run(&frame.octets()).verdict, Verdict::DropNoNextHop);
}

/// xvs sends a packet that loops with TTL 1 for the same reason: whoever gets it must consume it.
#[test]
#[ignore = "needs root and a private bpffs"]
fn an_l2_packet_that_comes_back_ends_here() {
    let mut pair = Pair::new(&state(Mode::L2, &[BACKEND4]));
    let frame = Frame::tcp(CLIENT4, 40_000, VIP4, 80, SYN);
    let out = pair.run(&frame.octets()).frame;
    assert_eq!(pair.run(&out).verdict, Verdict::DropTtl);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn source_addresses_are_made_from_flows_where_wanted() {
    let mut pair = pair();
    let outer = OuterHeader { source_entropy: true, ..OuterHeader::default() };
    for (mode_name, mode) in &MODES[..4] {
        for to in [BACKEND4, BACKEND6] {
            let mut state = state(*mode, &[to]).edit_pool("web", |pool| pool.outer = outer);
            state.forwarding.limits.entropy_v4 = Some("172.16.0.0".parse().unwrap());
            state.forwarding.limits.entropy_v6 = Some("2001:db8:e::".parse().unwrap());
            pair.apply(&state);
            // Some address of the prefix, the same for all packets of a flow.
            for (client, frame) in clients() {
                let prefixes = ([172, 16], [0x20, 1, 0xd, 0xb8, 0, 0xe, 0, 0]);
                let way = Way { outer, source_prefixes: Some(prefixes), ..Way::new(*mode, to) };
                let name = format!("{mode_name} of {client} to {to}");
                arrives(&mut pair, &name, &frame, &with_checksum(&frame.ip()), &way);
                arrives(&mut pair, &name, &frame, &with_checksum(&frame.ip()), &way);
            }
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn backends_of_both_families_share_a_pool_unless_they_name_each_other() {
    let mixed = [BACKEND4, BACKEND6];
    for (mode_name, mode) in MODES {
        let pins = crate::support::bed::PinDir::new();
        let mut dataplane = crate::support::bed::open(&pins);
        let state = state(mode, &mixed);
        let applied = dataplane.set_forwarding(&state.forwarding, &state.next_hops);
        assert_eq!(applied.is_ok(), mode_name != "gue candidates", "{mode_name}: {applied:?}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn another_port_is_another_backend() {
    let state = state(gue(GueVariant::Header), &[BACKEND4]);
    let mut pair = Pair::new(&state);
    let frame = Frame::tcp(CLIENT4, 40_000, VIP4, 80, SYN);
    let ip = with_checksum(&frame.ip());
    arrives(&mut pair, "6080", &frame, &ip, &Way::new(gue(GueVariant::Header), BACKEND4));
    let other = Mode::Gue { port: 19_523, variant: GueVariant::Header };
    pair.apply(&state.edit_pool("web", |pool| pool.mode = other));
    arrives(&mut pair, "19523", &frame, &ip, &Way::new(other, BACKEND4));
}

/// Tags belong to the link that a frame came by, and a tag that is pushed to the one it leaves by.
#[test]
#[ignore = "needs root and a private bpffs"]
fn tags_that_came_are_gone_in_every_mode() {
    let mut pair = pair();
    for (mode_name, mode) in MODES {
        for (to, vlan) in [(BACKEND4, None), (BACKEND6, None), (BACKEND4, Some(0x123))] {
            let next = NextHop { vlan, is_on_link: true, ..hop(1500) };
            pair.apply(&state(mode, &[to]).next_hop(to, Some(next)));
            for (client, frame) in clients() {
                let ip = with_checksum(&frame.ip());
                for tags in [&[0x8100_0005_u32][..], &[0x88a8_0007, 0x8100_0005]] {
                    let mut octets = framed(&ip);
                    for tag in tags.iter().rev() {
                        octets.splice(12..12, tag.to_be_bytes());
                    }
                    let result = pair.run(&octets);
                    let name = format!("{mode_name} of {client} to {to}, {} tags to {vlan:?}", tags.len());
                    let way = Way { vlan, ..Way::new(mode, to) };
                    assert_eq!(result.frame, carried(&ip, entropy(&frame), &way), "{name}");
                }
            }
        }
    }
}

/// Jumbo frames lie in several buffers, of which a program sees the first.
#[test]
#[ignore = "needs root and a private bpffs"]
fn jumbo_frames_are_carried_whole_in_every_mode() {
    let mut pair = pair();
    let large = |vlan| NextHop { vlan, is_on_link: true, ..hop(9_000) };
    let summed = OuterHeader { udp_checksum: true, ..OuterHeader::default() };
    for (mode_name, mode) in MODES {
        for to in [BACKEND4, BACKEND6] {
            for (vlan, outer) in [(None, OuterHeader::default()), (Some(0x123), summed)] {
                let state = state(mode, &[to]).next_hop(to, Some(large(vlan)));
                pair.apply(&state.edit_pool("web", |pool| pool.outer = outer));
                for (client, frame) in clients() {
                    for length in [3_400_usize, 4_096, 6_001, 8_800] {
                        let payload = (0..length).map(|i| (i * 7 + 3) as u8).collect();
                        let frame = frame.clone().with(|f| f.payload = payload);
                        let ip = with_checksum(&frame.ip());
                        let way = Way { vlan, outer, ..Way::new(mode, to) };
                        let name = format!("{mode_name} of {client} to {to}, {length} octets, {vlan:?}");
                        arrives(&mut pair, &name, &frame, &ip, &way);
                        let mut came = framed(&ip);
                        came.splice(12..12, [0x81, 0, 0, 5]);
                        let result = pair.run(&came);
                        assert_eq!(result.verdict, Verdict::ForwardFlow, "{name}, with a tag");
                        assert_eq!(result.frame, carried(&ip, entropy(&frame), &way), "{name}, with a tag");
                    }
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn jumbo_frames_name_all_their_candidates() {
    let mut pair = pair();
    for prefix in ["10.1.0.", "2001:db8:1::"] {
        let backends: Vec<String> = (1..=5).map(|n| format!("{prefix}{n}")).collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        let mode = gue(GueVariant::Candidates);
        let state = backends.iter().fold(state(mode, &backends), |s, to| s.next_hop(to, Some(hop(9_000))));
        pair.apply(&state);
        for port in 5_000..5_010 {
            for frame in [Frame::tcp(CLIENT4, port, VIP4, 80, ACK), Frame::tcp(CLIENT6, port, VIP6, 80, ACK)]
            {
                let ip = with_checksum(&frame.clone().with(|f| f.payload = vec![9; 8_700]).ip());
                let result = pair.run(&framed(&ip));
                assert!(result.verdict.name().starts_with("forward_"), "{:?}", result.verdict);
                let to = destination(&result.frame);
                let hops = others(&pair, &frame, to);
                assert_eq!(hops.len(), 3);
                let way = Way { hops, ..Way::new(mode, &to.to_string()) };
                assert_eq!(result.frame, carried(&ip, entropy(&frame), &way), "port {port} to {to}");
            }
        }
    }
}
