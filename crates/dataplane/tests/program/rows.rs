// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows in the kernel: the last backend that goes, both algorithms, limits, and full tables.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::MapData;
use weir_dataplane::forwarding::{Algorithm, Backend, BackendState, Protocol};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane};
use weir_dataplane_core::limits::{
    BACKENDS_DEFAULT, BYTES_FIXED, BYTES_PER_BACKEND, BYTES_PER_CPU, BYTES_PER_FLOW_SLOT, BYTES_PER_ROW,
    BYTES_PER_SERVICE, SERVICES_DEFAULT,
};
use weir_dataplane_core::{Verdict, names};

use crate::support::bed::{PinDir, State, capacity, config, hop};
use crate::support::build::{ACK, Frame, SYN};
use crate::support::pair::Pair;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::BoundedRendezvous, Algorithm::Maglev];

/// Outer destination of an encapsulated IPv4 frame.
fn outer_destination(frame: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap())
}

fn pool_of(algorithm: Algorithm, backends: &[(&str, &str)]) -> State {
    State::default()
        .pool("a", backends)
        .service("s", "198.51.100.10", Protocol::Tcp, 80, "a")
        .edit_pool("a", |pool| pool.algorithm = algorithm)
}

/// Katran left the ring as it was when the last backend was removed, and gave its number to the next one that came, so that
/// packets went to who was gone, and flows of the one to the other.
#[test]
#[ignore = "needs root and a private bpffs"]
fn the_last_backend_that_goes_leaves_no_row_behind() {
    for algorithm in ALGORITHMS {
        let one = pool_of(algorithm, &[("b1", "10.1.0.1")]);
        let none = pool_of(algorithm, &[]);
        let other = pool_of(algorithm, &[("b2", "10.1.0.2")]);
        let new = |port| Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, SYN).octets();
        let known = Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, ACK).octets();

        let mut pair = Pair::new(&one);
        assert_eq!(pair.run(&new(1)).verdict, Verdict::ForwardNew);
        assert_eq!(outer_destination(&pair.run(&known).frame), Ipv4Addr::new(10, 1, 0, 1));
        pair.apply(&none);
        for frame in [new(2), known.clone()] {
            assert_eq!(pair.run(&frame).verdict, Verdict::DropNoBackend, "{algorithm:?}");
        }
        pair.apply(&other);
        for frame in [new(3), known] {
            let ran = pair.run(&frame);
            assert_eq!(outer_destination(&ran.frame), Ipv4Addr::new(10, 1, 0, 2), "{algorithm:?}");
        }
    }
}

/// A change of the algorithm and every kind of change after it reach the packets: no flow goes where no row leads.
#[test]
#[ignore = "needs root and a private bpffs"]
fn both_algorithms_forward_and_may_be_exchanged() {
    let backends = [("b1", "10.1.0.1"), ("b2", "10.1.0.2"), ("b3", "10.1.0.3"), ("b4", "10.1.0.4")];
    let mut pair = Pair::new(&pool_of(Algorithm::BoundedRendezvous, &backends));
    let mut port = 0;
    for algorithm in [Algorithm::BoundedRendezvous, Algorithm::Maglev, Algorithm::BoundedRendezvous] {
        let usual = pool_of(algorithm, &backends);
        let drained = usual.clone().backend_state("a", "b2", BackendState::Draining);
        let heavy = usual.clone().edit_pool("a", |pool| pool.backends.get_mut("b3").unwrap().weight = 300);
        let fewer = pool_of(algorithm, &backends[..3]);
        for state in [usual, drained, heavy, fewer] {
            pair.apply(&state);
            let mut seen = std::collections::BTreeMap::<Ipv4Addr, u32>::new();
            for _ in 0..120 {
                port += 1;
                let ran = pair.run(&Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, SYN).octets());
                assert_eq!(ran.verdict, Verdict::ForwardNew);
                *seen.entry(outer_destination(&ran.frame)).or_default() += 1;
            }
            for backend in state.forwarding.pools["a"].backends.values() {
                let IpAddr::V4(address) = backend.address else { unreachable!("all are IPv4") };
                let is_usable = backend.state == BackendState::Usable;
                assert_eq!(seen.remove(&address).is_some(), is_usable, "{algorithm:?}: {address}");
            }
            assert!(seen.is_empty(), "nobody else: {seen:?}");
        }
    }
}

/// A lowered cap takes rows from its backend, here two of three, and from nobody else; raised again it gives them back.
#[test]
#[ignore = "needs root and a private bpffs"]
fn a_cap_moves_only_what_its_backend_gives_up() {
    let pins = PinDir::new();
    let mut dataplane = Dataplane::open(config(&pins, capacity())).unwrap();
    let backends = [("b1", "10.1.0.1"), ("b2", "10.1.0.2"), ("b3", "10.1.0.3"), ("b4", "10.1.0.4")];
    // What is remembered stays where it is: rows alone decide here.
    let whole = pool_of(Algorithm::BoundedRendezvous, &backends).edit_service("s", |s| s.flow_table = false);
    let capped = whole.clone().edit_pool("a", |pool| {
        pool.backends.get_mut("b1").unwrap().cap_permille = 300;
    });
    let mut step = |state: &State| {
        let rows = state.apply(&mut dataplane).pools_rebuilt["a"];
        let owner = |port| {
            let flow = Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, SYN).octets();
            outer_destination(&dataplane.run(&flow).unwrap().frame)
        };
        (rows, (1..=2_000).map(owner).collect::<Vec<Ipv4Addr>>())
    };
    let (_, before) = step(&whole);
    let (lost, after) = step(&capped);
    // A quarter of 4,096 rows, then 0.3 of 3.3 parts.
    assert!((600..700).contains(&lost), "{lost}");
    let b1 = Ipv4Addr::new(10, 1, 0, 1);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
    assert!((200..450).contains(&moved.len()), "{}", moved.len());
    assert!(moved.iter().all(|(old, _)| **old == b1), "{moved:?}");
    assert_eq!(step(&whole), (lost, before));
    dataplane.detach().unwrap();
}

/// What can never fit is refused before anything is written, also for pools that come before it.
#[test]
#[ignore = "needs root and a private bpffs"]
fn pools_beyond_the_limits_are_refused_before_any_work() {
    let pins = PinDir::new();
    let mut dataplane = Dataplane::open(config(&pins, Capacity { backends: 4_000, ..capacity() })).unwrap();
    let usual = pool_of(Algorithm::BoundedRendezvous, &[("b1", "10.1.0.1")]);
    usual.apply(&mut dataplane);
    let with = |backends: u16, max_backends: u32| {
        let state = usual.clone().backend_state("a", "b1", BackendState::Draining).pool("z", &[]);
        state.edit_pool("z", |pool| {
            pool.max_backends = max_backends;
            pool.backends.extend((0..backends).map(|number| {
                let [high, low] = number.to_be_bytes();
                let address = IpAddr::from([10, 2, high, low]);
                let state = BackendState::Usable;
                (format!("b{number}"), Backend { address, weight: 1, cap_permille: 1_000, state })
            }));
        })
    };
    for (state, message, cause) in [
        (
            with(2_049, 4_000),
            "rows of pool `z`",
            "1048576 rows of 2049 members need 2148532224 scores, more than 2147483648",
        ),
        (with(9, 8), "rows of pool `z`", "9 members in a pool of at most 8"),
        (
            with(1, 128),
            "no room for the rows of pool `z`: raise `capacity.rows` and restart, or lower `max_backends`",
            "no 65536 rows in one piece are free of 65536",
        ),
    ] {
        let error = dataplane.set_forwarding(&state.forwarding, &state.next_hops).expect_err("refused");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!((error.to_string().as_str(), source.as_deref()), (message, Some(cause)));
        let applied = usual.apply(&mut dataplane);
        assert_eq!((applied.writes, applied.pools_rebuilt.len()), (0, 0), "nothing was written: {message}");
    }
    dataplane.detach().unwrap();
}

/// 16,384 services, each with its own VIP, and 16,384 backends, each on the link, at once: the last of each is served like the
/// first.
#[test]
#[ignore = "needs root and a private bpffs"]
fn full_tables_forward_to_the_last() {
    const POOLS: u32 = 2_048;
    let pins = PinDir::new();
    // The rows of all pools, and room for one change.
    let capacity = Capacity { flow_slots: 65_536, rows: (POOLS + 1) * 4_096, ..Capacity::default() };
    assert_eq!((capacity.services, capacity.backends), (16_384, 16_384));
    let mut dataplane = Dataplane::open(config(&pins, capacity)).unwrap();
    let address = |network: u8, number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        format!("10.{network}.{high}.{low}")
    };
    let mut state = State::default();
    for pool in 0..POOLS {
        let backends: Vec<_> = (0..8).map(|n| (format!("b{n}"), address(128, 8 * pool + n))).collect();
        let backends: Vec<_> = backends.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
        state = state.pool(&format!("p{pool}"), &backends);
        for (number, (_, at)) in (8 * pool..).zip(&backends) {
            let [_, _, high, low] = number.to_be_bytes();
            let hop = NextHop { destination_mac: [2, 0, 0, 2, high, low], ..hop(1_500) };
            state = state.next_hop(at, Some(hop));
        }
        for service in 8 * pool..8 * (pool + 1) {
            let vip = address(0, service);
            state = state.service(&format!("s{service}"), &vip, Protocol::Tcp, 443, &format!("p{pool}"));
        }
    }
    let applied = state.apply(&mut dataplane);
    assert_eq!(applied.pools_rebuilt.len(), POOLS as usize);

    let sees = |dataplane: &mut Dataplane, service: u32, port: u16| {
        let ran =
            dataplane.run(&Frame::tcp("203.0.113.7", port, &address(0, service), 443, SYN).octets()).unwrap();
        assert_eq!(ran.action, 3, "service {service}");
        let [_, network, high, low] = outer_destination(&ran.frame).octets();
        assert_eq!(network, 128);
        assert_eq!(ran.frame[..6], [2, 0, 0, 2, high, low], "by its own next hop");
        u32::from(high) << 8 | u32::from(low)
    };
    for service in (0..16_384).step_by(61).chain([16_383]) {
        let backend = sees(&mut dataplane, service, 1);
        assert_eq!(backend / 8, service / 8, "service {service} went to backend {backend}");
    }
    let last = state.backend_state("p2047", "b7", BackendState::Draining);
    last.apply(&mut dataplane);
    let others: std::collections::BTreeSet<u32> =
        (0..200).map(|port| sees(&mut dataplane, 16_383, 100 + port)).collect();
    assert_eq!(others, (16_376..16_383).collect(), "all but the last, which drains");
    let counters = dataplane.counters().unwrap();
    assert_eq!((counters.services.len(), counters.backends.len()), (16_384, 16_384));
    assert!(counters.services["s16383"].packets > 200);

    // One more of each is refused by name.
    let [services, backends] = [
        last.clone().service("t", "10.1.0.1", Protocol::Tcp, 443, "p0"),
        last.clone().pool("z", &[("y", "10.200.0.2")]),
    ];
    for (state, what) in [(services, "VIP (`10.1.0.1`)"), (backends, "backend (`z.y`)")] {
        let error =
            dataplane.set_forwarding(&state.forwarding, &state.next_hops).expect_err("full").to_string();
        assert!(error.contains(what), "{error}");
    }
    dataplane.detach().unwrap();
}

/// What the kernel says that the maps take, against what `limits.rs` and the capacity page say of each object.
#[test]
#[ignore = "needs root and a private bpffs"]
fn memory_is_what_is_said_of_each_object() {
    let pins = PinDir::new();
    let cpus = aya::util::nr_cpus().unwrap() as u64;
    let usual = Capacity { services: 1_024, backends: 1_024, flow_slots: 65_536, rows: 65_536 };
    let mut measured = Vec::new();
    for capacity in [
        usual,
        Capacity { services: SERVICES_DEFAULT, ..usual },
        Capacity { backends: BACKENDS_DEFAULT, ..usual },
        Capacity { flow_slots: 1 << 20, ..usual },
        Capacity { rows: 1 << 20, ..usual },
    ] {
        let dataplane = Dataplane::open(config(&pins, capacity)).unwrap();
        let version = fs::read_dir(pins.path()).unwrap().next().unwrap().unwrap().path();
        let bytes: u64 = names::PINNED_MAPS.iter().map(|name| memory(&version.join(name))).sum();
        let said = u64::from(capacity.services) * (BYTES_PER_SERVICE.0 + cpus * BYTES_PER_SERVICE.1)
            + u64::from(capacity.backends) * (BYTES_PER_BACKEND.0 + cpus * BYTES_PER_BACKEND.1)
            + u64::from(capacity.flow_slots) * BYTES_PER_FLOW_SLOT
            + u64::from(capacity.rows) * BYTES_PER_ROW
            + BYTES_FIXED
            + cpus * BYTES_PER_CPU;
        println!("{capacity:?}: {bytes} bytes, said {said}");
        measured.push((capacity, bytes, said));
        dataplane.detach().unwrap();
    }
    // Before Linux 6.4 the kernel told entries times key and value: more than an array takes, less than a hash does.
    if !is_memory_told() {
        return;
    }
    for (capacity, bytes, said) in measured {
        assert!(bytes <= said && bytes * 10 >= said * 8, "{capacity:?}: {bytes} bytes, said {said}");
    }
}

fn is_memory_told() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|word| word.parse().ok()).collect();
    numbers >= vec![6, 4]
}

/// Bytes that the kernel accounts for a pinned map.
fn memory(path: &std::path::Path) -> u64 {
    let map = MapData::from_pin(path).unwrap();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd())).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:")).expect("the kernel tells it");
    line.trim().parse().unwrap()
}
