// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several paths to one backend: which flow takes which, what each path's own tag and MTU do, and what happens when one goes.

use std::collections::BTreeMap;

use weir_dataplane::forwarding::{GueVariant, Mode, Protocol};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane_core::Verdict;

use crate::support::bed::{State, hop};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, SYN, ethernet};
use crate::support::carried::{Way, carried, entropy, with_checksum};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

/// Flows of each case; the chance that some path gets none of them is below 1 in 10,000.
const FLOWS: u16 = 40;

fn mac(last: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0xf, last]
}

/// So many paths, to as many switches.
fn paths(count: u8) -> Vec<NextHop> {
    (1..=count).map(|last| NextHop { destination_mac: mac(last), ..hop(1500) }).collect()
}

fn state(mode: Mode, backend: &str, hops: &[NextHop]) -> State {
    let mut state = State::default()
        .pool("web", &[("b1", backend)])
        .service("tcp4", VIP4, Protocol::Tcp, 80, "web")
        .service("tcp6", VIP6, Protocol::Tcp, 80, "web")
        .edit_pool("web", |pool| pool.mode = mode);
    state.next_hops.insert(backend.parse().unwrap(), hops.to_vec());
    state
}

fn flow(number: u16, is_v6: bool, flags: u8) -> Frame {
    let (client, vip) = if is_v6 { (CLIENT6, VIP6) } else { (CLIENT4, VIP4) };
    Frame::tcp(client, 30_000 + number, vip, 80, flags)
}

/// The path of a flow by its hash: two bits choose one of four places.
fn expected<'a>(hops: &'a [NextHop], backend: u16, frame: &Frame) -> &'a NextHop {
    let place = (entropy(frame) >> 30) as usize;
    match (hops.len(), place) {
        (3, 3) => &hops[usize::from(backend) % 3],
        (count, place) => &hops[place % count],
    }
}

/// Runs a packet and demands that it leaves by its path, octet for octet. Gives the path's Ethernet address.
fn leaves(
    pair: &mut Pair,
    name: &str,
    (mode, backend, hops): (Mode, &str, &[NextHop]),
    frame: &Frame,
) -> [u8; 6] {
    let id = pair.kernel.backend_ids()[&("web".to_owned(), "b1".to_owned())];
    let hop = expected(hops, id, frame);
    let ip = with_checksum(&frame.ip());
    let ethertype = if frame.source.is_ipv4() { 0x0800 } else { 0x86dd };
    let received = [ethernet(OWN_MAC, CLIENT_MAC, ethertype), ip.clone()].concat();
    let result = pair.run(&received);
    assert!(result.verdict.name().starts_with("forward_"), "{name}: {:?}", result.verdict);
    let way = Way { next_hop_mac: hop.destination_mac, vlan: hop.vlan, ..Way::new(mode, backend) };
    assert_eq!(result.frame, carried(&ip, entropy(frame), &way), "{name}");
    hop.destination_mac
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn flows_are_spread_over_all_paths_and_each_keeps_its_own() {
    let direct = Mode::Gue { port: 6080, variant: GueVariant::Direct };
    let mut pair = Pair::new(&state(Mode::Ipip, "10.1.0.1", &paths(1)));
    for (mode_name, mode, backend, is_v6) in [
        ("4in4", Mode::Ipip, "10.1.0.1", false),
        ("6in6", Mode::Ipip, "2001:db8:1::1", true),
        ("6in4", Mode::Ipip, "10.1.0.1", true),
        ("gue direct", direct, "10.1.0.1", false),
    ] {
        for count in 1..=4 {
            let hops = paths(count);
            pair.apply(&state(mode, backend, &hops));
            let mut used = BTreeMap::new();
            for number in 0..FLOWS {
                let name = format!("{mode_name} over {count} paths, flow {number}");
                let first = leaves(&mut pair, &name, (mode, backend, &hops), &flow(number, is_v6, SYN));
                let again = leaves(&mut pair, &name, (mode, backend, &hops), &flow(number, is_v6, ACK));
                assert_eq!(first, again, "{name}");
                *used.entry(first).or_insert(0) += 1;
            }
            assert_eq!(used.len(), usize::from(count), "{mode_name}: {used:?}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn when_a_path_goes_its_flows_take_another_and_keep_their_backend() {
    let both = paths(2);
    let mut pair = Pair::new(&state(Mode::Ipip, "10.1.0.1", &both));
    for number in 0..FLOWS {
        leaves(&mut pair, "both", (Mode::Ipip, "10.1.0.1", &both), &flow(number, false, SYN));
    }
    for left in [&both[1..], &both[..1], &both[..]] {
        pair.apply(&state(Mode::Ipip, "10.1.0.1", left));
        for number in 0..FLOWS {
            let name = format!("{} paths left, flow {number}", left.len());
            leaves(&mut pair, &name, (Mode::Ipip, "10.1.0.1", left), &flow(number, false, ACK));
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn each_path_has_its_own_tag() {
    let mut hops = paths(3);
    hops[1].vlan = Some(100);
    hops[2].vlan = Some(4_094);
    for (name, backend, is_v6) in [("tagged 4in4", "10.1.0.1", false), ("tagged 6in6", "2001:db8:1::1", true)]
    {
        let mut pair = Pair::new(&state(Mode::Ipip, backend, &hops));
        let mut used = BTreeMap::new();
        for number in 0..FLOWS {
            let to = leaves(&mut pair, name, (Mode::Ipip, backend, &hops), &flow(number, is_v6, SYN));
            *used.entry(to).or_insert(0) += 1;
        }
        assert_eq!(used.len(), 3, "{name}: {used:?}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn each_path_has_its_own_mtu() {
    let mut hops = paths(2);
    hops[0].mtu = 1400;
    let mut pair = Pair::new(&state(Mode::Ipip, "10.1.0.1", &hops));
    let (mut fitted, mut dropped) = (0, 0);
    for number in 0..FLOWS {
        // 1,450 octets with the outer header; without DF nobody is told.
        let large = flow(number, false, ACK).with(|f| {
            f.payload = vec![0; 1450 - 60];
            f.fragment = 0;
        });
        let name = format!("1,430 octets, flow {number}");
        if expected(&hops, 0, &large).mtu == 1500 {
            leaves(&mut pair, &name, (Mode::Ipip, "10.1.0.1", &hops), &large);
            fitted += 1;
        } else {
            assert_eq!(pair.run(&large.octets()).verdict, Verdict::DropTooBig, "{name}");
            dropped += 1;
        }
    }
    assert!(fitted > 0 && dropped > 0, "{fitted} {dropped}");
}
