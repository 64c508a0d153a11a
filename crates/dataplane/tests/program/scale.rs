// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Work is bounded by what changes, and what fails for long uses nothing up.

use weir_dataplane::forwarding::{BackendState, GueVariant, Mode, Protocol};
use weir_dataplane::{ApplyError, Capacity, Dataplane, DataplaneConfig};
use weir_dataplane_core::limits::NEXT_HOPS_MAX;

use crate::support::bed::{PinDir, State, capacity, config, hop, usual};
use crate::support::build::{Frame, SYN};

/// Rows of a pool of eight.
const ROWS: u32 = 4_096;

/// `pools` pools of four backends and four services each.
fn many(pools: u8) -> State {
    let mut state = State::default();
    for pool in 0..pools {
        let addresses: Vec<(String, String)> =
            (0..4).map(|n| (format!("b{n}"), format!("10.1.{pool}.{n}"))).collect();
        let backends: Vec<(&str, &str)> =
            addresses.iter().map(|(name, address)| (name.as_str(), address.as_str())).collect();
        let name = format!("p{pool}");
        state = state.pool(&name, &backends);
        for n in 0..4 {
            let vip = format!("198.18.{pool}.{n}");
            state = state.service(&format!("s{pool}-{n}"), &vip, Protocol::Tcp, 80, &name);
        }
    }
    state
}

fn refused(dataplane: &mut Dataplane, state: &State) -> ApplyError {
    dataplane.set_forwarding(&state.forwarding, &state.next_hops).expect_err("refused")
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn only_what_changed_is_looked_at() {
    const POOLS: u32 = 40;
    let pins = PinDir::new();
    let sizes = Capacity { services: 256, rows: (POOLS + 2) * ROWS, ..capacity() };
    let mut dataplane = Dataplane::open(config(&pins, sizes)).unwrap();
    let state = many(POOLS as u8);
    let filled = state.apply(&mut dataplane);
    assert_eq!(filled.examined, POOLS * (1 + 4 + 4));
    let work = |dataplane: &mut Dataplane, state: &State| {
        let applied = state.apply(dataplane);
        (applied.examined, applied.pools_rebuilt.len(), applied.writes)
    };
    assert_eq!(work(&mut dataplane, &state.clone()), (0, 0, 0), "another state of the same words");

    // A pool and its four backends; one backend is written, and rows of the one pool.
    let failed = state.clone().backend_state("p7", "b1", BackendState::Failed);
    let (examined, rebuilt, writes) = work(&mut dataplane, &failed);
    assert_eq!((examined, rebuilt), (5, 1));
    assert!((2..=ROWS + 1).contains(&writes), "{writes}");
    // Another next hop, which three of that pool's backends do not have: an entry for it, and the backend's.
    let moved = failed.clone().next_hop("10.1.9.2", Some(hop(1_400)));
    assert_eq!(work(&mut dataplane, &moved), (5, 0, 2));
    // Without any: no rows lead to it.
    let unresolved = moved.clone().next_hop("10.1.9.2", None);
    let applied = unresolved.apply(&mut dataplane);
    assert_eq!((applied.examined, applied.pools_rebuilt.len(), applied.unresolved), (5, 1, 1));
    assert_eq!(unresolved.apply(&mut dataplane).unresolved, 1, "also when nothing is looked at");
    // A service, and so all of them, and no pool: it is written to its slot and to the map.
    let edited = unresolved.clone().edit_service("s3-1", |service| service.port = 81);
    let (examined, rebuilt, writes) = work(&mut dataplane, &edited);
    assert_eq!((examined, rebuilt), (4 * POOLS, 0));
    assert!((3..=6).contains(&writes), "{writes}");
    // A pool that no service has leaves: nothing else is looked at.
    let more = edited.clone().pool("spare", &[("b", "10.2.0.1")]);
    assert_eq!(work(&mut dataplane, &more).0, 2);
    let (examined, rebuilt, writes) = work(&mut dataplane, &edited);
    assert_eq!((examined, rebuilt, writes), (0, 0, 2), "the pool and its backend");
    dataplane.detach().unwrap();
}

/// What a failed apply left is finished by the next, and counts as in force only then.
#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_half_done_is_done_again() {
    let pins = PinDir::new();
    let mut dataplane = Dataplane::open(without_v6(&pins, capacity())).unwrap();
    let good = many(3);
    good.apply(&mut dataplane);
    let ids = dataplane.backend_ids();
    let bad = good
        .clone()
        .pool("p1", &[("b0", "10.1.1.0"), ("b9", "10.1.1.9")])
        .pool("p2", &[("b0", "10.1.2.0"), ("b9", "2001:db8::9")]);
    assert!(matches!(refused(&mut dataplane, &bad), ApplyError::NoSource { .. }));
    assert_eq!(dataplane.backend_ids(), ids, "of the last state that was wholly in force");
    let again = good.apply(&mut dataplane);
    assert_eq!(again.examined, 2 * 5, "p1, which was changed, and p2, of which nothing is known");
    assert_eq!(dataplane.backend_ids(), ids);
    let mended = bad.pool("p2", &[("b0", "10.1.2.0"), ("b9", "10.1.2.9")]);
    assert_eq!(mended.apply(&mut dataplane).examined, 2 * 3);
    let names: Vec<(String, String)> = dataplane.backend_ids().keys().cloned().collect();
    let of = |pool: &str, names: &[&str]| -> Vec<(String, String)> {
        names.iter().map(|name| (pool.to_owned(), (*name).to_owned())).collect()
    };
    let expected = [of("p0", &["b0", "b1", "b2", "b3"]), of("p1", &["b0", "b9"]), of("p2", &["b0", "b9"])];
    assert_eq!(names, expected.concat());
    dataplane.detach().unwrap();
}

/// What stands against a pool holds up no other pool, and no service but those that are new on it.
#[test]
#[ignore = "needs root and a private bpffs"]
fn what_stands_against_one_pool_holds_up_no_other() {
    let pins = PinDir::new();
    let mut dataplane = Dataplane::open(config(&pins, capacity())).unwrap();
    let good = many(3);
    good.apply(&mut dataplane);
    let action = |dataplane: &mut Dataplane, vip: &str| {
        dataplane.run(&Frame::tcp("203.0.113.7", 5, vip, 80, SYN).octets()).unwrap().action
    };
    let mixed = |state: State, name: &str| {
        state.pool(name, &[("b0", "10.9.0.1"), ("b6", "2001:db8::6")]).edit_pool(name, |pool| {
            pool.mode = Mode::Gue { port: 6_080, variant: GueVariant::Candidates };
        })
    };

    // A failed backend and another next hop in pools around one that cannot be, and a service of that one.
    let mended = good
        .clone()
        .backend_state("p0", "b1", BackendState::Failed)
        .next_hop("10.1.2.0", Some(hop(1_400)))
        .service("new", "198.18.9.1", Protocol::Tcp, 80, "p2")
        .service("more", "198.18.9.2", Protocol::Tcp, 80, "p1");
    let bad = mixed(mended.clone(), "p1");
    for _ in 0..2 {
        let error = refused(&mut dataplane, &bad);
        assert!(matches!(&error, ApplyError::MixedFamilies { pool } if pool == "p1"), "{error}");
        for vip in ["198.18.0.0", "198.18.1.0", "198.18.9.1"] {
            assert_eq!(action(&mut dataplane, vip), 3, "{vip}");
        }
        assert_eq!(action(&mut dataplane, "198.18.9.2"), 2, "new, and on the pool that cannot be");
    }
    let applied = mended.apply(&mut dataplane);
    assert!(applied.pools_rebuilt.is_empty(), "{applied:?}: all rows were in force");
    assert_eq!(action(&mut dataplane, "198.18.9.2"), 3);

    // A service of a pool that never had rows is left out; were it another's before, it stays so.
    let next = mended.clone().service("next", "198.18.9.3", Protocol::Tcp, 80, "p0");
    let bad = mixed(next.clone(), "z").service("lost", "198.18.9.4", Protocol::Tcp, 80, "z");
    assert!(matches!(refused(&mut dataplane, &bad), ApplyError::MixedFamilies { .. }));
    assert_eq!(["198.18.9.3", "198.18.9.4"].map(|vip| action(&mut dataplane, vip)), [3, 2]);
    let moved = bad.clone().edit_service("new", |service| service.pool = "z".to_owned());
    let moved = moved.service("later", "198.18.9.5", Protocol::Tcp, 80, "p0");
    assert!(matches!(refused(&mut dataplane, &moved), ApplyError::MixedFamilies { .. }));
    let vips = ["198.18.9.1", "198.18.9.3", "198.18.9.4", "198.18.9.5"];
    assert_eq!(vips.map(|vip| action(&mut dataplane, vip)), [3, 3, 2, 2]);
    let mended = moved.edit_pool("z", |pool| {
        pool.backends.remove("b6");
    });
    mended.apply(&mut dataplane);
    assert_eq!(vips.map(|vip| action(&mut dataplane, vip)), [3; 4]);
    dataplane.detach().unwrap();
}

fn without_v6(pins: &PinDir, capacity: Capacity) -> DataplaneConfig {
    DataplaneConfig { source_v6: None, ..config(pins, capacity) }
}

/// One document after the other fails half-way, each with pools and backends of its own: their ids come back, whatever is in
/// force stays so, and in the end there is room for what can be had.
#[test]
#[ignore = "needs root and a private bpffs"]
fn applies_that_fail_for_long_use_up_no_ids() {
    let pins = PinDir::new();
    // Beside what is in force, room for two attempts and a little: far less than all attempts take together.
    let sizes = Capacity { services: 10, backends: 20, ..capacity() };
    let mut dataplane = Dataplane::open(without_v6(&pins, sizes)).unwrap();
    let good = many(2);
    good.apply(&mut dataplane);
    let flow = Frame::tcp("203.0.113.7", 5, "198.18.1.0", 80, SYN).octets();
    let carried = dataplane.run(&flow).unwrap().frame;
    for attempt in 0..30 {
        let (name, spare) = (format!("q{attempt}"), format!("r{attempt}"));
        let [a, b] = [0, 1].map(|n| (format!("b{attempt}-{n}"), format!("10.9.{attempt}.{n}")));
        let mut bad = good
            .clone()
            .pool(&name, &[(&a.0, &a.1), (&b.0, &b.1)])
            .pool(&spare, &[(&a.0, &a.1)])
            .service("new", "198.18.9.9", Protocol::Tcp, 80, &name)
            .pool("z", &[("b", "2001:db8::1")]);
        // A backend of its own in a pool that is served, too.
        bad = bad.edit_pool("p1", |pool| {
            let new = pool.backends["b0"].clone();
            let address = format!("10.8.0.{attempt}").parse().unwrap();
            pool.backends
                .insert(format!("x{attempt}"), weir_dataplane::forwarding::Backend { address, ..new });
        });
        for time in ["first", "again"] {
            let error = refused(&mut dataplane, &bad);
            assert!(matches!(error, ApplyError::NoSource { .. }), "attempt {attempt}, {time}: {error}");
        }
        assert_eq!(dataplane.run(&flow).unwrap().frame, carried, "attempt {attempt}");
        dataplane.sweep().unwrap();
        dataplane.sweep().unwrap();
    }
    // Faster than the sweeper comes round the ids do run out, and it says so; they come back by themselves.
    let mut refusals = Vec::new();
    for attempt in 0..10 {
        let (name, at) = (format!("y{attempt}"), format!("10.7.0.{attempt}"));
        let bad =
            good.clone().pool("a", &[(&name, &at), ("same", "10.7.1.1")]).pool("z", &[("b", "2001:db8::1")]);
        refusals.push(matches!(refused(&mut dataplane, &bad), ApplyError::Full { what: "backend", .. }));
    }
    assert!(refusals.contains(&true), "{refusals:?}");
    dataplane.sweep().unwrap();
    dataplane.sweep().unwrap();
    let names: Vec<(String, String)> = (0..8).map(|n| (format!("n{n}"), format!("10.6.0.{n}"))).collect();
    let full: Vec<(&str, &str)> = names.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
    good.clone().pool("full", &full).apply(&mut dataplane);
    assert_eq!(dataplane.run(&flow).unwrap().frame, carried);
    dataplane.detach().unwrap();
}

/// Paths that change faster than grace times end, whoever makes them: the packets under way are waited for, and nothing is
/// refused, also while applies fail.
#[test]
#[ignore = "needs root and a private bpffs"]
fn next_hops_do_not_run_out_by_change() {
    /// Backends whose paths change together.
    const TOGETHER: u16 = 128;
    let pins = PinDir::new();
    let sizes = Capacity { rows: 262_144, ..capacity() };
    let mut dataplane = Dataplane::open(without_v6(&pins, sizes)).unwrap();
    let backends: Vec<(String, String)> =
        (0..TOGETHER).map(|n| (format!("c{n}"), format!("10.2.0.{n}"))).collect();
    let backends: Vec<(&str, &str)> =
        backends.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
    let usual = many(1).pool("c", &backends).edit_pool("c", |pool| pool.max_backends = TOGETHER.into());
    let bad = usual.clone().pool("z", &[("b", "2001:db8::1")]);
    let with = |state: &State, number: u32| {
        let mut state = state.clone();
        for (place, (_, address)) in (0..).zip(&backends) {
            let [_, a, b, c] = (number * u32::from(TOGETHER) + place).to_be_bytes();
            let hop = weir_dataplane::next_hop::NextHop { destination_mac: [2, 0, 0, a, b, c], ..hop(1_500) };
            state = state.next_hop(address, Some(hop));
        }
        state
    };
    let mut waited = 0;
    for number in 0..3 * NEXT_HOPS_MAX / u32::from(TOGETHER) {
        waited += with(&usual, number).apply(&mut dataplane).graces_waited;
    }
    println!("{} changes, packets under way waited for {waited} times", 3 * NEXT_HOPS_MAX);
    for number in 0..2 * NEXT_HOPS_MAX / u32::from(TOGETHER) {
        let error = refused(&mut dataplane, &with(&bad, number));
        assert!(matches!(error, ApplyError::NoSource { .. }), "{error}");
    }
    with(&usual, 77).apply(&mut dataplane);
    let service = &usual.forwarding.services["s0-0"];
    dataplane.verify(service).unwrap();
    dataplane.detach().unwrap();
}

/// What lies in a pool from before is not what a service wants that is to move there: it stays until the pool can be made.
#[test]
#[ignore = "needs root and a private bpffs"]
fn a_service_moves_to_no_pool_that_cannot_be_made() {
    let pins = PinDir::new();
    let mut dataplane = Dataplane::open(without_v6(&pins, capacity())).unwrap();
    let at = |green: &[(&str, &str)], pool| {
        let pools = many(1).pool("blue", &[("b", "10.3.0.1")]).pool("green", green);
        pools.service("w", "198.18.9.9", Protocol::Tcp, 80, pool)
    };
    let before = at(&[("g", "10.3.0.2")], "blue").backend_state("green", "g", BackendState::Disabled);
    before.apply(&mut dataplane);
    let goes_to = |dataplane: &mut Dataplane, port| {
        let ran = dataplane.run(&Frame::tcp("203.0.113.7", port, "198.18.9.9", 80, SYN).octets()).unwrap();
        assert_eq!(ran.action, 3, "{ran:?}");
        ran.frame[30..34].to_vec()
    };
    assert_eq!(goes_to(&mut dataplane, 1), [10, 3, 0, 1]);
    let bad = at(&[("g", "10.3.0.2"), ("h", "2001:db8::1")], "green");
    for port in 2..6 {
        assert!(matches!(refused(&mut dataplane, &bad), ApplyError::NoSource { .. }));
        assert_eq!(goes_to(&mut dataplane, port), [10, 3, 0, 1]);
    }
    at(&[("g", "10.3.0.2")], "green").apply(&mut dataplane);
    assert_eq!(goes_to(&mut dataplane, 7), [10, 3, 0, 2]);
    dataplane.detach().unwrap();
}

/// Services that come and go leave ids behind for others at once.
#[test]
#[ignore = "needs root and a private bpffs"]
fn services_of_failed_applies_leave_room() {
    let pins = PinDir::new();
    let sizes = Capacity { services: 6, ..capacity() };
    let mut dataplane = Dataplane::open(without_v6(&pins, sizes)).unwrap();
    usual_v4().apply(&mut dataplane);
    for attempt in 0..20 {
        let vip = format!("198.18.7.{attempt}");
        let bad = usual_v4().service("t", &vip, Protocol::Tcp, 80, "web4").pool("z", &[("b", "2001:db8::1")]);
        assert!(matches!(refused(&mut dataplane, &bad), ApplyError::NoSource { .. }));
        let good = usual_v4().service("t", &vip, Protocol::Tcp, 80, "web4");
        good.apply(&mut dataplane);
        assert_eq!(dataplane.run(&Frame::tcp("203.0.113.7", 1, &vip, 80, SYN).octets()).unwrap().action, 3);
    }
    dataplane.detach().unwrap();
}

fn usual_v4() -> State {
    let mut state = usual();
    state.forwarding.services.retain(|_, service| service.vip.is_ipv4());
    state.forwarding.pools.remove("web6");
    state
}
