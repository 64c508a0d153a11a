// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Applying, refusing, sweeping: what user space does to the tables.

use std::time::Duration;

use weir_dataplane::forwarding::{BackendState, Protocol};
use weir_dataplane::{ApplyError, Capacity, Dataplane};
use weir_dataplane_core::Verdict;

use crate::support::bed::{PinDir, State, config, open, usual};
use crate::support::build::{ACK, Frame, SYN};
use crate::support::pair::Pair;

fn refused(dataplane: &mut Dataplane, state: &State) -> ApplyError {
    dataplane.set_forwarding(&state.forwarding, &state.next_hops).expect_err("refused")
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_cannot_be_put_in_force_is_refused_in_words() {
    let pins = PinDir::new();
    let small = Capacity { services: 2, backends: 3, flow_slots: 64, rows: 8_192 };
    let mut dataplane = Dataplane::open(config(&pins, small)).unwrap();
    let one = State::default().pool("a", &[("b1", "10.1.0.1")]).service(
        "s",
        "198.51.100.10",
        Protocol::Tcp,
        80,
        "a",
    );
    one.apply(&mut dataplane);

    let cases: Vec<(State, &str)> = vec![
        (
            one.clone().service("t", "198.51.100.10", Protocol::Tcp, 81, "nosuch"),
            "service `t` names pool `nosuch`, which does not exist",
        ),
        (
            one.clone().pool("c", &[("1", "10.2.0.1"), ("2", "10.2.0.2"), ("3", "10.2.0.3")]),
            "no room for another backend (`c.3`): raise `capacity.backends` and restart",
        ),
        (
            one.clone().pool("c", &[]).pool("d", &[]),
            "no room for another pool (`d`): raise `capacity.services` and restart",
        ),
        (
            one.clone().service("t", "198.51.100.11", Protocol::Tcp, 80, "a").service(
                "u",
                "198.51.100.12",
                Protocol::Tcp,
                80,
                "a",
            ),
            "no room for another VIP (`198.51.100.12`): raise `capacity.services` and restart",
        ),
        (
            one.clone().service("t", "198.51.100.10", Protocol::Tcp, 81, "a").service(
                "u",
                "198.51.100.10",
                Protocol::Tcp,
                82,
                "a",
            ),
            "no room for another service (`u`): raise `capacity.services` and restart",
        ),
        (
            one.clone().edit_service("s", |s| s.idle = Duration::from_secs(20_000)),
            "service `s` has an idle time of 20000s; 1 s to 10800 s are possible",
        ),
        (
            one.clone().edit_service("s", |s| s.idle = Duration::ZERO),
            "service `s` has an idle time of 0ns; 1 s to 10800 s are possible",
        ),
        (
            one.clone().edit_pool("a", |p| p.max_backends = 16),
            "no room for the rows of pool `a`: raise `capacity.rows` and restart, or lower `max_backends`",
        ),
    ];
    let frame = Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, SYN).octets();
    for (state, message) in &cases {
        let error = refused(&mut dataplane, state);
        assert_eq!(error.to_string(), *message);
        assert_eq!(dataplane.run(&frame).unwrap().action, 3, "what was in force goes on after: {message}");
    }
    one.apply(&mut dataplane);
    dataplane.detach().unwrap();
}

/// Twice the rows of the pool are enough, however fast its backends come and go.
#[test]
#[ignore = "needs root and a private bpffs"]
fn changes_in_quick_succession_need_no_further_rows() {
    let pins = PinDir::new();
    let capacity = Capacity { rows: 8_192, ..crate::support::bed::capacity() };
    let mut dataplane = Dataplane::open(config(&pins, capacity)).unwrap();
    let both = State::default().pool("a", &[("b1", "10.1.0.1"), ("b2", "10.1.0.2")]);
    let one = both.clone().backend_state("a", "b2", BackendState::Draining);
    for round in 0..10 {
        let applied = if round % 2 == 0 { &both } else { &one }.apply(&mut dataplane);
        assert!(applied.pools_rebuilt.contains_key("a"), "round {round}: {applied:?}");
    }
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn all_services_can_be_replaced_at_once_at_full_capacity() {
    let pins = PinDir::new();
    let small = Capacity { services: 2, backends: 3, flow_slots: 64, rows: 8_192 };
    let mut dataplane = Dataplane::open(config(&pins, small)).unwrap();
    for (vip, other) in [("198.51.100.10", "198.51.100.20"), ("198.51.100.20", "198.51.100.10")] {
        let state = State::default()
            .pool("a", &[("b1", "10.1.0.1")])
            .service("s", vip, Protocol::Tcp, 80, "a")
            .service("t", vip, Protocol::Tcp, 81, "a");
        state.apply(&mut dataplane);
        let action = |dataplane: &mut Dataplane, vip: &str, port| {
            dataplane.run(&Frame::tcp("203.0.113.7", 1, vip, port, SYN).octets()).unwrap().action
        };
        assert_eq!([action(&mut dataplane, vip, 80), action(&mut dataplane, vip, 81)], [3, 3]);
        assert_eq!(action(&mut dataplane, other, 80), 2, "the other VIP is nobody's");
        let counters = dataplane.counters().unwrap();
        assert_eq!(counters.services["s"].packets + counters.services["t"].packets, 2, "counters start anew");
    }
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_address_family_without_source_is_refused() {
    let pins = PinDir::new();
    let mut config = config(&pins, crate::support::bed::capacity());
    config.source_v6 = None;
    let mut dataplane = Dataplane::open(config).unwrap();
    let error = refused(&mut dataplane, &usual());
    assert!(matches!(error, ApplyError::NoSource { .. }), "{error:?}");
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_service_that_is_removed_is_nobodys_and_its_vip_the_hosts() {
    let mut pair = Pair::new(&usual());
    let (http, dns) = (
        Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, SYN).octets(),
        Frame::udp("203.0.113.7", 1, "198.51.100.10", 53).octets(),
    );
    assert_eq!(pair.run(&http).verdict, Verdict::ForwardNew);
    let mut state = usual();
    state.forwarding.services.remove("http4");
    pair.apply(&state);
    assert_eq!(pair.run(&http).verdict, Verdict::DropNoService, "still a VIP, for DNS");
    assert_eq!(pair.run(&dns).verdict, Verdict::ForwardNew);
    state.forwarding.services.remove("dns4");
    pair.apply(&state);
    assert_eq!(pair.run(&http).verdict, Verdict::PassNotVip);
    pair.apply(&usual());
    assert_eq!(pair.run(&http).verdict, Verdict::ForwardFlow, "the flow table still knew it");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_id_is_given_to_another_backend_only_when_no_slot_names_it() {
    let pins = PinDir::new();
    // Room for exactly the three backends of each pool of `usual`.
    let mut dataplane =
        Dataplane::open(config(&pins, Capacity { backends: 6, ..crate::support::bed::capacity() })).unwrap();
    usual().apply(&mut dataplane);
    for port in 0..200 {
        dataplane.run(&Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, SYN).octets()).unwrap();
    }
    let swept = dataplane.sweep().unwrap();
    assert_eq!((swept.slots, swept.used, swept.established, swept.cleared), (4_096, 200, 0, 0));

    // b1 leaves, b4 wants to come: but flows of b1 are still remembered.
    let without = usual().edit_pool("web4", |pool| {
        pool.backends.remove("b1").unwrap();
    });
    let with_b4 = without.clone().pool("web4", &[("b2", "10.1.0.2"), ("b3", "10.1.0.3"), ("b4", "10.1.0.4")]);
    without.apply(&mut dataplane);
    for _ in 0..3 {
        assert_eq!(dataplane.sweep().unwrap().ids_freed, 0);
        assert!(matches!(refused(&mut dataplane, &with_b4), ApplyError::Full { what: "backend", .. }));
        without.apply(&mut dataplane);
    }
    // Each flow is heard of again and moves on; then nothing names b1.
    for port in 0..200 {
        dataplane.run(&Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, ACK).octets()).unwrap();
    }
    let freed: u32 = (0..2).map(|_| dataplane.sweep().unwrap().ids_freed).sum();
    assert_eq!(freed, 1);
    with_b4.apply(&mut dataplane);
    dataplane.detach().unwrap();
}

/// A sweep under way when an id retires does not see slots that packets are storing at that moment, so the next one decides;
/// also for an id that had been retired before and came back.
#[test]
#[ignore = "needs root and a private bpffs"]
fn an_id_is_freed_by_the_second_sweep_since_it_last_retired() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    let without = usual().edit_pool("web4", |pool| {
        pool.backends.remove("b1").unwrap();
    });
    usual().apply(&mut dataplane);
    without.apply(&mut dataplane);
    assert_eq!(dataplane.sweep().unwrap().ids_freed, 0, "the first");
    usual().apply(&mut dataplane);
    without.apply(&mut dataplane);
    assert_eq!(dataplane.sweep().unwrap().ids_freed, 0, "the first since it came back");
    assert_eq!(dataplane.sweep().unwrap().ids_freed, 1);
    dataplane.detach().unwrap();
}
