// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What of a packet decides where it goes: affinity, ports, prefixes, limits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;

use weir_dataplane::forwarding::{Affinity, BackendState, Protocol};
use weir_dataplane_core::Verdict::{self, *};

use crate::support::bed::{PinDir, State, open, usual};
use crate::support::build::{ACK, FIN, Frame, RST, SYN};
use crate::support::headers::{backend_of, carried_as};
use crate::support::pair::Pair;

const CLIENT: &str = "203.0.113.7";
const CLIENT6: &str = "2001:db8:c::7";
const VIP: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

/// Runs `frame` and demands verdict and frame; gives the backend.
fn carries(pair: &mut Pair, frame: &Frame, verdict: Verdict) -> IpAddr {
    let result = pair.run(&frame.octets());
    assert_eq!(result.verdict, verdict, "{frame:?}");
    assert_eq!(result.frame, carried_as(&frame.ip(), &result.frame), "{frame:?}");
    backend_of(&result.frame)
}

fn all(state: State, affinity: Affinity) -> State {
    ["http4", "dns4", "http6", "dns6"]
        .iter()
        .fold(state, |state, service| state.edit_service(service, |s| s.affinity = affinity))
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn all_of_a_clients_flows_to_a_vip_go_to_one_backend() {
    let mut pair = Pair::new(&all(usual(), Affinity::Source));
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let owner = carries(&mut pair, &Frame::tcp(client, 1_000, vip, 80, SYN), ForwardNew);
        for port in 1_001..1_020 {
            assert_eq!(carries(&mut pair, &Frame::tcp(client, port, vip, 80, SYN), ForwardFlow), owner);
            assert_eq!(carries(&mut pair, &Frame::udp(client, port, vip, 53), ForwardFlow), owner);
        }
    }
    let clients: BTreeSet<_> = (0..40)
        .map(|n| {
            carries(&mut pair, &Frame::tcp(&format!("203.0.113.{}", 100 + n), 1, VIP, 80, SYN), ForwardNew)
        })
        .collect();
    assert_eq!(clients.len(), 3, "clients spread over all backends");
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn services_of_two_pools_remember_a_client_each_for_itself() {
    let state = usual().pool("tls4", &[("c1", "10.2.0.1"), ("c2", "10.2.0.2"), ("c3", "10.2.0.3")]).service(
        "https4",
        VIP,
        Protocol::Tcp,
        443,
        "tls4",
    );
    let state = all(state, Affinity::Source).edit_service("https4", |s| s.affinity = Affinity::Source);
    let mut pair = Pair::new(&state);
    let tcp = |port, to, flags| Frame::tcp(CLIENT, port, VIP, to, flags);
    let http = carries(&mut pair, &tcp(1, 80, SYN), ForwardNew);
    let https = carries(&mut pair, &tcp(2, 443, SYN), ForwardNew);
    for _ in 0..3 {
        assert_eq!(carries(&mut pair, &tcp(1, 80, ACK), ForwardFlow), http);
        assert_eq!(carries(&mut pair, &tcp(2, 443, ACK), ForwardFlow), https);
    }
    let drained = |state: State, pool: &str, owner| {
        let name = state.forwarding.pools[pool].backends.iter().find(|(_, b)| b.address == owner).unwrap().0;
        let name = name.clone();
        state.backend_state(pool, &name, BackendState::Draining)
    };
    pair.apply(&drained(drained(state, "web4", http), "tls4", https));
    assert_eq!(carries(&mut pair, &tcp(1, 80, ACK), ForwardFlow), http, "a drain keeps what is open");
    assert_eq!(carries(&mut pair, &tcp(2, 443, ACK), ForwardFlow), https, "of either pool");
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_clients_flows_to_one_port_go_to_one_backend() {
    let state = usual().service("https4", VIP, Protocol::Tcp, 443, "web4");
    let state =
        all(state, Affinity::SourcePort).edit_service("https4", |s| s.affinity = Affinity::SourcePort);
    let mut pair = Pair::new(&state);
    let mut differ = 0;
    for n in 0..30 {
        let client = format!("203.0.113.{}", 100 + n);
        let http = carries(&mut pair, &Frame::tcp(&client, 1_000, VIP, 80, SYN), ForwardNew);
        let https = carries(&mut pair, &Frame::tcp(&client, 1_000, VIP, 443, SYN), ForwardNew);
        differ += u32::from(http != https);
        for port in 1_001..1_004 {
            assert_eq!(carries(&mut pair, &Frame::tcp(&client, port, VIP, 80, ACK), ForwardFlow), http);
            assert_eq!(carries(&mut pair, &Frame::tcp(&client, port, VIP, 443, ACK), ForwardFlow), https);
        }
    }
    assert!(differ > 5, "ports are chosen for by themselves: {differ} of 30");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn one_connections_end_or_beginning_says_nothing_about_the_clients_others() {
    let state = all(usual(), Affinity::Source);
    let mut pair = Pair::new(&state);
    let tcp = |port, flags| Frame::tcp(CLIENT, port, VIP, 80, flags);
    let owner = carries(&mut pair, &tcp(1, SYN), ForwardNew);
    carries(&mut pair, &tcp(1, ACK), ForwardFlow);
    carries(&mut pair, &tcp(1, ACK), ForwardFlow);
    let established = pair.kernel.sweep().unwrap().established;
    for ends in [ACK | FIN, RST] {
        assert_eq!(carries(&mut pair, &tcp(2, ends), ForwardFlow), owner);
    }
    assert_eq!(pair.kernel.sweep().unwrap().established, established, "the client's slot is not closing");

    let name =
        state.forwarding.pools["web4"].backends.iter().find(|(_, b)| b.address == owner).unwrap().0.clone();
    pair.apply(&state.clone().backend_state("web4", &name, BackendState::Draining));
    assert_eq!(
        carries(&mut pair, &tcp(3, SYN), ForwardFlow),
        owner,
        "else open connections would move with it"
    );
    assert_eq!(carries(&mut pair, &tcp(1, ACK), ForwardFlow), owner);
    pair.apply(&state.clone().backend_state("web4", &name, BackendState::Failed));
    assert_eq!(carries(&mut pair, &tcp(1, ACK), ForwardFlow), owner, "a false alarm breaks nothing");
    let other = carries(&mut pair, &tcp(4, SYN), ForwardRechosen);
    assert_ne!(other, owner, "a failed backend does not hold a client that comes again");
    assert_eq!(carries(&mut pair, &tcp(4, ACK), ForwardFlow), other);
    carries(&mut pair, &Frame::tcp("203.0.113.99", 1, VIP, 80, RST), ForwardEnding);
}

/// xvs looks for UDP flows where it keeps those of TCP, and so never finds one.
#[test]
#[ignore = "needs root and a private bpffs"]
fn a_udp_and_a_tcp_flow_of_the_same_addresses_and_ports_are_two_flows() {
    let state = usual().service("quic4", VIP, Protocol::Udp, 80, "web4").service(
        "quic6",
        VIP6,
        Protocol::Udp,
        80,
        "web6",
    );
    let mut pair = Pair::new(&state);
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut differ = 0;
        for port in 1_000..1_030 {
            let tcp = |flags| Frame::tcp(client, port, vip, 80, flags);
            let udp = Frame::udp(client, port, vip, 80);
            let of_tcp = carries(&mut pair, &tcp(SYN), ForwardNew);
            let of_udp = carries(&mut pair, &udp, ForwardNew);
            differ += u32::from(of_tcp != of_udp);
            assert_eq!(carries(&mut pair, &udp, ForwardFlow), of_udp);
            assert_eq!(carries(&mut pair, &tcp(ACK), ForwardFlow), of_tcp);
            // The end of one is not that of the other.
            assert_eq!(carries(&mut pair, &tcp(RST), ForwardFlow), of_tcp);
            assert_eq!(carries(&mut pair, &udp, ForwardFlow), of_udp);
        }
        assert!(differ > 5, "each is chosen for by itself: {differ} of 30");
    }
    assert_eq!(pair.kernel.sweep().unwrap().used, 120);
    assert!(pair.same_flows());
}

/// Services of a VIP and of prefixes around it, each with a pool of one backend, so that the backend tells the service.
fn nested() -> State {
    let service = |state: State, name: &str, vip: &str, length, port, backend: &str| {
        state
            .pool(name, &[("b", backend)])
            .service(name, vip, Protocol::Tcp, port, name)
            .edit_service(name, |s| s.prefix_length = length)
    };
    let state = service(State::default(), "own", VIP, None, 80, "10.1.0.1");
    let state = service(state, "own-any", VIP, None, 0, "10.1.0.2");
    let state = service(state, "net", "198.51.100.0", Some(24), 80, "10.1.0.3");
    let state = service(state, "net-https", "198.51.100.0", Some(24), 443, "10.1.0.4");
    let state = service(state, "net-any", "198.51.100.0", Some(24), 0, "10.1.0.5");
    let state = service(state, "longer", "198.51.100.32", Some(28), 80, "10.1.0.6");
    let state = service(state, "v6", "2001:db8:200::", Some(64), 80, "2001:db8:1::7");
    service(state, "v6-any", "2001:db8:300::1", None, 0, "2001:db8:1::8")
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn address_and_port_come_before_prefix_and_port_before_any_port() {
    let mut pair = Pair::new(&nested());
    for (name, to, port, backend) in [
        ("its own", VIP, 80, "10.1.0.1"),
        ("the prefix's port before its own any", VIP, 443, "10.1.0.4"),
        ("its own any before the prefix's", VIP, 8_080, "10.1.0.2"),
        ("port 0 is a port", VIP, 0, "10.1.0.2"),
        // GLB binds no more than 4,096 ports of a range.
        ("the last of 4,096 ports", VIP, 4_095, "10.1.0.2"),
        ("one more port", VIP, 4_096, "10.1.0.2"),
        ("a port far above", VIP, 48_211, "10.1.0.2"),
        ("the last port", VIP, 65_535, "10.1.0.2"),
        ("the prefix's any, the last port", "198.51.100.11", 65_535, "10.1.0.5"),
        ("the prefix's", "198.51.100.11", 80, "10.1.0.3"),
        ("the prefix's first address", "198.51.100.0", 80, "10.1.0.3"),
        ("the prefix's last address", "198.51.100.255", 80, "10.1.0.3"),
        ("the prefix's any", "198.51.100.11", 22, "10.1.0.5"),
        ("the longer prefix", "198.51.100.33", 80, "10.1.0.6"),
        ("the longer prefix's last", "198.51.100.47", 80, "10.1.0.6"),
        ("behind the longer prefix", "198.51.100.48", 80, "10.1.0.3"),
        ("v6 prefix", "2001:db8:200::1", 80, "2001:db8:1::7"),
        ("v6 prefix, far", "2001:db8:200::ffff:ffff:ffff:ffff", 80, "2001:db8:1::7"),
        ("v6 any port", "2001:db8:300::1", 9, "2001:db8:1::8"),
        ("v6 any port, far above", "2001:db8:300::1", 60_001, "2001:db8:1::8"),
    ] {
        let client = if to.contains(':') { CLIENT6 } else { CLIENT };
        for (flags, verdict) in [(SYN, ForwardNew), (ACK, ForwardFlow)] {
            let frame = Frame::tcp(client, u16::wrapping_add(port, 1_000), to, port, flags);
            assert_eq!(carries(&mut pair, &frame, verdict).to_string(), backend, "{name}");
        }
    }
    for (name, frame, verdict) in [
        ("longest alone counts", Frame::tcp(CLIENT, 1, "198.51.100.33", 443, SYN), DropNoService),
        ("no such port in v6", Frame::tcp(CLIENT6, 1, "2001:db8:200::1", 81, SYN), DropNoService),
        ("any port of another protocol", Frame::udp(CLIENT, 1, VIP, 53), DropNoService),
        ("outside", Frame::tcp(CLIENT, 1, "198.51.101.0", 80, SYN), PassNotVip),
        ("outside in v6", Frame::tcp(CLIENT6, 1, "2001:db8:201::1", 80, SYN), PassNotVip),
    ] {
        assert_eq!(pair.run(&frame.octets()).verdict, verdict, "{name}");
    }
    assert!(pair.same_flows());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn prefixes_come_and_go_and_are_adopted() {
    let pins = PinDir::new();
    let state = nested();
    let mut dataplane = open(&pins);
    state.apply(&mut dataplane);
    for (name, service) in &state.forwarding.services {
        let to = dataplane.verify(service).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            Some(&to),
            state.forwarding.pools[name].backends.values().map(|b| &b.address).next(),
            "{name}"
        );
    }
    assert_eq!(state.apply(&mut dataplane).writes, 0, "the same again writes nothing");
    drop(dataplane);
    let mut dataplane = open(&pins);
    assert!(dataplane.adopted());
    assert_eq!(state.apply(&mut dataplane).writes, 0, "nor does another process");

    let frame = |to: &str| Frame::tcp(CLIENT, 1, to, 80, SYN).octets();
    let mut without = state.clone();
    without.forwarding.services.remove("longer");
    without.apply(&mut dataplane);
    assert_eq!(backend_of(&dataplane.run(&frame("198.51.100.33")).unwrap().frame).to_string(), "10.1.0.3");
    for name in ["net", "net-https", "net-any", "v6"] {
        without.forwarding.services.remove(name);
    }
    without.apply(&mut dataplane);
    assert_eq!(dataplane.run(&frame("198.51.100.33")).unwrap().action, 2, "the host's again");
    assert_eq!(backend_of(&dataplane.run(&frame(VIP)).unwrap().frame).to_string(), "10.1.0.1");
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_cpu_that_had_its_new_flows_of_the_second_remembers_no_more() {
    let state = usual().edit_limits(|limits| limits.new_flows_per_cpu = NonZeroU32::new(3));
    let mut pair = Pair::new(&state);
    let known = Frame::tcp(CLIENT, 1, VIP, 80, SYN);
    carries(&mut pair, &known, ForwardNew);
    carries(&mut pair, &Frame::udp(CLIENT, 1, VIP, 53), ForwardNew);
    carries(&mut pair, &Frame::tcp(CLIENT, 2, VIP, 80, ACK), ForwardNew);
    for flags in [SYN, ACK] {
        let frame = Frame::tcp(CLIENT, 3, VIP, 80, flags);
        let first = carries(&mut pair, &frame, ForwardUnlearned);
        assert_eq!(carries(&mut pair, &frame, ForwardUnlearned), first, "by its row, again and again");
    }
    carries(&mut pair, &Frame::udp(CLIENT, 3, VIP, 53), ForwardUnlearned);
    carries(&mut pair, &known, ForwardFlow);
    carries(&mut pair, &Frame::tcp(CLIENT, 99, VIP, 80, RST), ForwardEnding);
    assert_eq!(pair.kernel.sweep().unwrap().used, 3, "what was turned away is not remembered");
    pair.pass(1);
    carries(&mut pair, &Frame::tcp(CLIENT, 3, VIP, 80, ACK), ForwardNew);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_a_service_is_refused_takes_nothing_from_the_others() {
    let state = usual()
        .edit_limits(|limits| limits.new_flows_per_cpu = NonZeroU32::new(2))
        .edit_service("http4", |s| s.new_flows_per_second = NonZeroU32::new(1));
    let mut pair = Pair::new(&state);
    carries(&mut pair, &Frame::tcp(CLIENT, 1, VIP, 80, SYN), ForwardNew);
    for port in 2..=4 {
        carries(&mut pair, &Frame::tcp(CLIENT, port, VIP, 80, SYN), ForwardLimited);
    }
    carries(&mut pair, &Frame::udp(CLIENT, 1, VIP, 53), ForwardNew);
    carries(&mut pair, &Frame::udp(CLIENT, 2, VIP, 53), ForwardUnlearned);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_service_that_had_its_new_flows_of_the_second_remembers_no_more() {
    let limit = NonZeroU32::new(5);
    let mut pair = Pair::new(&usual().edit_service("http4", |s| s.new_flows_per_second = limit));
    let known = Frame::tcp(CLIENT, 999, VIP, 80, SYN);
    carries(&mut pair, &known, ForwardNew);
    // The next second, so that all of it is left.
    pair.pass(1);
    for port in 1..=5 {
        carries(&mut pair, &Frame::tcp(CLIENT, port, VIP, 80, SYN), ForwardNew);
    }
    for port in 6..=8 {
        let frame = Frame::tcp(CLIENT, port, VIP, 80, SYN);
        let first = carries(&mut pair, &frame, ForwardLimited);
        assert_eq!(carries(&mut pair, &frame, ForwardLimited), first, "by its row, again and again");
    }
    carries(&mut pair, &known, ForwardFlow);
    carries(&mut pair, &Frame::udp(CLIENT, 1, VIP, 53), ForwardNew);
    carries(&mut pair, &Frame::tcp(CLIENT, 99, VIP, 80, RST), ForwardEnding);
    assert_eq!(pair.kernel.sweep().unwrap().used, 7, "what was limited is not remembered");
}
