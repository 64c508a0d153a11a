// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fragments: dropped, by source, where the first of their datagram went; and those that lie.

use weir_dataplane::forwarding::{BackendState, Fragments, Protocol};
use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{State, usual};
use crate::support::build::{ACK, Frame, SYN};
use crate::support::headers::{
    DESTINATION, HOP_BY_HOP, backend_of, carried_as, extended, framed, padding, part, tagged,
};
use crate::support::pair::Pair;

const CLIENT4: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

/// A datagram of 1,208 octets behind the IP header.
fn datagram(vip: &str, port: u16) -> Vec<u8> {
    let client = if vip == VIP4 { CLIENT4 } else { CLIENT6 };
    Frame::udp(client, port, vip, 53).with(|f| f.payload = (0..1_200).map(|i| i as u8).collect()).ip()
}

fn with(fragments: Fragments) -> State {
    ["dns4", "dns6"]
        .iter()
        .fold(usual(), |state, service| state.edit_service(service, |s| s.fragments = fragments))
}

/// Runs `ip` and demands verdict and frame; gives the backend.
fn carries(pair: &mut Pair, name: &str, ip: &[u8], verdict: Verdict) -> std::net::IpAddr {
    let result = pair.run(&framed(ip));
    assert_eq!(result.verdict, verdict, "{name}");
    assert_eq!(result.frame, carried_as(ip, &result.frame), "{name}");
    backend_of(&result.frame)
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_service_that_says_nothing_drops_fragments() {
    let mut pair = Pair::new(&usual());
    for vip in [VIP4, VIP6] {
        let ip = datagram(vip, 40_000);
        for (name, offset, more) in [("first", 0, true), ("middle", 400, true), ("last", 800, false)] {
            let len = 400;
            let frame = framed(&part(&ip, 7, offset, len, more));
            assert_eq!(pair.run(&frame).verdict, DropFragment, "{name} to {vip}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn by_source_every_packet_of_the_service_goes_one_way() {
    let mut pair = Pair::new(&with(Fragments::BySource));
    for vip in [VIP4, VIP6] {
        let ip = datagram(vip, 40_000);
        // The last comes first: nobody has to have seen another.
        let owner = carries(&mut pair, "last", &part(&ip, 7, 800, 408, false), ForwardNew);
        assert_eq!(carries(&mut pair, "first", &part(&ip, 7, 0, 400, true), ForwardFlow), owner);
        assert_eq!(carries(&mut pair, "middle", &part(&ip, 7, 400, 400, true), ForwardFlow), owner);
        for port in 1..20 {
            let whole = Frame::udp(if vip == VIP4 { CLIENT4 } else { CLIENT6 }, port, vip, 53).ip();
            assert_eq!(carries(&mut pair, "whole", &whole, ForwardFlow), owner, "from port {port}");
        }
        let tcp = Frame::tcp(if vip == VIP4 { CLIENT4 } else { CLIENT6 }, 40_000, vip, 80, ACK);
        let tcp = tcp.with(|f| f.payload = vec![0; 1_204]).ip();
        assert_eq!(
            pair.run(&framed(&part(&tcp, 7, 400, 400, true))).verdict,
            DropFragment,
            "tcp has no such service"
        );
    }
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn later_fragments_go_where_the_first_of_their_datagram_went() {
    let mut pair = Pair::new(&with(Fragments::FirstFragment));
    for vip in [VIP4, VIP6] {
        for port in 40_000..40_016 {
            let ip = datagram(vip, port);
            let middle = part(&ip, port, 400, 400, true);
            assert_eq!(pair.run(&framed(&middle)).verdict, DropFragmentUnknown, "before its first");
            let owner = carries(&mut pair, "first", &part(&ip, port, 0, 400, true), ForwardNew);
            assert_eq!(carries(&mut pair, "middle", &middle, ForwardFragment), owner);
            assert_eq!(carries(&mut pair, "last", &part(&ip, port, 800, 408, false), ForwardFragment), owner);
            assert_eq!(carries(&mut pair, "whole", &ip, ForwardFlow), owner, "the flow's other packets");
            let other = part(&ip, port + 100, 400, 400, true);
            assert_eq!(pair.run(&framed(&other)).verdict, DropFragmentUnknown, "of another datagram");
        }
    }
    // Behind a tag, behind options, and of a stranger.
    let ip = datagram(VIP4, 50_000);
    let owner = {
        let first = part(&ip, 9, 0, 400, true);
        let result = pair.run(&tagged(&[(0x8100, 5)], &first));
        assert_eq!((result.verdict, &result.frame), (ForwardNew, &carried_as(&first, &result.frame)));
        backend_of(&result.frame)
    };
    assert_eq!(carries(&mut pair, "untagged", &part(&ip, 9, 400, 400, true), ForwardFragment), owner);
    let mut stranger = part(&ip, 9, 400, 400, true);
    stranger[15] ^= 1;
    assert_eq!(pair.run(&framed(&stranger)).verdict, DropFragmentUnknown, "another client");
    let ip = datagram(VIP6, 50_000);
    let behind = |ip: Vec<u8>| extended(&ip, &[(HOP_BY_HOP, &padding(1)), (DESTINATION, &padding(1))]);
    let owner = carries(&mut pair, "first behind options", &behind(part(&ip, 9, 0, 400, true)), ForwardNew);
    assert_eq!(
        carries(&mut pair, "later behind options", &behind(part(&ip, 9, 400, 400, true)), ForwardFragment),
        owner
    );
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_backend_that_keeps_flows_keeps_their_fragments() {
    let state = with(Fragments::FirstFragment);
    let mut pair = Pair::new(&state);
    let ip = datagram(VIP4, 40_000);
    let owner = carries(&mut pair, "first", &part(&ip, 7, 0, 400, true), ForwardNew);
    let name =
        state.forwarding.pools["web4"].backends.iter().find(|(_, b)| b.address == owner).unwrap().0.clone();
    let later = part(&ip, 7, 400, 400, true);
    for keeps in [BackendState::Draining, BackendState::Failed] {
        pair.apply(&state.clone().backend_state("web4", &name, keeps));
        assert_eq!(carries(&mut pair, "kept", &later, ForwardFragment), owner, "{keeps:?}");
    }
    pair.apply(&state.clone().backend_state("web4", &name, BackendState::Disabled));
    assert_eq!(pair.run(&framed(&later)).verdict, DropNoBackend);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn fragments_that_lie_are_dropped_by_name_whatever_the_service_wants() {
    for fragments in [Fragments::Drop, Fragments::BySource, Fragments::FirstFragment] {
        let state = ["http4", "http6", "dns4", "dns6"]
            .iter()
            .fold(usual(), |state, service| state.edit_service(service, |s| s.fragments = fragments));
        let mut pair = Pair::new(&state);
        for (client, vip) in [(CLIENT4, VIP4), (CLIENT6, VIP6)] {
            let tcp = Frame::tcp(client, 40_000, vip, 80, SYN).with(|f| f.payload = vec![0; 1_204]).ip();
            let udp = datagram(vip, 40_000);
            let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
                // RFC 1858 §3.1: the flags lie in the second fragment.
                ("first with the ports alone", part(&tcp, 1, 0, 8, true), DropFragmentTiny),
                ("first one unit short", part(&tcp, 1, 0, 16, true), DropFragmentTiny),
                // RFC 1858 §3.2, RFC 3128: a later one rewrites the header.
                ("over the flags", part(&tcp, 1, 8, 400, true), DropFragmentOverlap),
                ("over the window", part(&tcp, 1, 16, 400, false), DropFragmentOverlap),
                ("first of uneven length", part(&udp, 1, 0, 401, true), DropBadLength),
                ("middle of uneven length", part(&udp, 1, 400, 399, true), DropBadLength),
                ("without content", part(&udp, 1, 400, 0, false), DropBadLength),
            ];
            for (name, ip, verdict) in &cases {
                assert_eq!(pair.run(&framed(ip)).verdict, *verdict, "{name} to {vip}, {fragments:?}");
            }
            // The "ping of death": past the largest datagram.
            let mut beyond = part(&udp, 1, 400, 400, false);
            let at = if vip == VIP4 { 6 } else { 42 };
            let bits: u16 = if vip == VIP4 { 0x1fff } else { 0xfff8 };
            beyond[at..at + 2].copy_from_slice(&bits.to_be_bytes());
            assert_eq!(pair.run(&framed(&beyond)).verdict, DropBadLength, "beyond the end, to {vip}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn fragments_for_the_host_are_the_hosts() {
    let mut pair = Pair::new(&with(Fragments::FirstFragment));
    for (client, host) in [(CLIENT4, "192.0.2.1"), (CLIENT6, "2001:db8:ffff::1")] {
        let ip = Frame::tcp(client, 1, host, 22, SYN).with(|f| f.payload = vec![0; 1_204]).ip();
        for (offset, len, more) in
            [(0, 8, true), (0, 400, true), (8, 400, true), (400, 399, true), (800, 400, false)]
        {
            let frame = framed(&part(&ip, 7, offset, len, more));
            let result = pair.run(&frame);
            assert_eq!((result.verdict, result.frame), (PassNotVip, frame), "{len} at {offset} to {host}");
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn later_fragments_to_a_vip_of_its_own_are_not_the_prefixes_around_it() {
    const PREFIX4: &str = "198.51.100.0";
    const PREFIX6: &str = "2001:db8:100::";
    let around = |own: Fragments, prefixes: Fragments| {
        [("wide4", PREFIX4, 24, "web4"), ("wide6", PREFIX6, 64, "web6")].into_iter().fold(
            with(own),
            |state, (name, prefix, length, pool)| {
                state.service(name, prefix, Protocol::Udp, 0, pool).edit_service(name, |service| {
                    service.prefix_length = Some(length);
                    service.fragments = prefixes;
                })
            },
        )
    };
    let to = |vip: &str, port| {
        let client = if vip.contains(':') { CLIENT6 } else { CLIENT4 };
        Frame::udp(client, 40_000, vip, port).with(|f| f.payload = vec![7; 1_200]).ip()
    };
    let mut pair = Pair::new(&around(Fragments::Drop, Fragments::BySource));
    for (own, other) in [(VIP4, "198.51.100.77"), (VIP6, "2001:db8:100::77")] {
        let later = |vip| framed(&part(&to(vip, 53), 7, 400, 400, true));
        assert_eq!(pair.run(&later(own)).verdict, DropFragment, "{own} says drop");
        assert_eq!(pair.run(&later(other)).verdict, ForwardNew, "{other} is the prefix's");
    }
    let mut pair = Pair::new(&around(Fragments::Drop, Fragments::FirstFragment));
    for vip in [VIP4, VIP6] {
        // Port 99 is the prefix's service also at an address of its own, and its datagrams are whole.
        let ip = to(vip, 99);
        let owner = carries(&mut pair, "first", &part(&ip, 8, 0, 400, true), ForwardNew);
        assert_eq!(carries(&mut pair, "later", &part(&ip, 8, 400, 400, true), ForwardFragment), owner);
        let ip = to(vip, 53);
        assert_eq!(pair.run(&framed(&part(&ip, 9, 0, 400, true))).verdict, DropFragment, "{vip}");
        assert_eq!(pair.run(&framed(&part(&ip, 9, 400, 400, true))).verdict, DropFragmentUnknown, "{vip}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_flood_of_first_fragments_at_one_vip_leaves_the_datagrams_of_another_whole() {
    let state = with(Fragments::FirstFragment).edit_limits(|limits| limits.fragments_per_second = 1_000);
    let mut pair = Pair::unrecorded();
    pair.apply(&state);
    let quiet = datagram(VIP6, 40_000);
    let owner = carries(&mut pair, "first", &part(&quiet, 7, 0, 400, true), ForwardNew);
    // One and a half times as many as there is room for.
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..u32::from(u16::MAX) / 8 * 3 {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        let ip = Frame::udp(&client, 1, VIP4, 53).with(|f| f.payload = vec![0; 64]).ip();
        let (result, _) = pair.compare(&framed(&part(&ip, 1, 0, 64, true))).unwrap();
        *seen.entry(result.verdict).or_insert(0) += 1;
    }
    let remembered: u32 = seen.iter().filter(|(v, _)| **v != DropFragmentLimited).map(|(_, n)| n).sum();
    assert_eq!(remembered, 1_000, "{seen:?}");
    assert_eq!(carries(&mut pair, "later", &part(&quiet, 7, 400, 400, true), ForwardFragment), owner);
    // What is turned away leaves nothing behind: neither a flow nor a way for its later fragments.
    let turned = Frame::udp("203.0.113.99", 9, VIP4, 53).with(|f| f.payload = vec![0; 1_200]).ip();
    assert_eq!(pair.run(&framed(&part(&turned, 3, 0, 400, true))).verdict, DropFragmentLimited);
    assert_eq!(pair.run(&framed(&part(&turned, 3, 400, 400, true))).verdict, DropFragmentUnknown);
    // The next second has a budget of its own.
    pair.pass(1);
    let owner = carries(&mut pair, "first", &part(&turned, 3, 0, 400, true), ForwardNew);
    assert_eq!(carries(&mut pair, "later", &part(&turned, 3, 400, 400, true), ForwardFragment), owner);
    assert!(pair.same_flows());
}
