// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asking the live tables what would become of a service's packets, without a trace.

use weir_dataplane::VerifyError;
use weir_dataplane::forwarding::BackendState;
use weir_dataplane_core::Verdict;

use crate::support::bed::{PinDir, hop, open, usual};
use crate::support::build::{Frame, SYN};

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_service_in_force_is_verified_and_leaves_no_trace() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    let state = usual();
    state.apply(&mut dataplane);
    let before = format!("{:?}", dataplane.counters().unwrap());
    for (name, service) in &state.forwarding.services {
        let to = dataplane.verify(service).unwrap_or_else(|error| panic!("{name}: {error}"));
        let backends = &state.forwarding.pools[&service.pool].backends;
        assert!(backends.values().any(|backend| backend.address == to), "{name} goes to {to}");
        assert_eq!(dataplane.verify(service).unwrap(), to, "the same packet has the same answer");
    }
    assert_eq!(format!("{:?}", dataplane.counters().unwrap()), before, "nothing was counted");
    let swept = dataplane.sweep().unwrap();
    assert_eq!((swept.used, swept.cleared), (0, 0), "nothing was remembered");
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_known_flow_does_not_answer_for_its_service() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    let state = usual();
    state.apply(&mut dataplane);
    let service = state.forwarding.services["http4"].clone();
    // The very packet that is made up, as a real one: its flow is remembered.
    let to = dataplane.verify(&service).unwrap();
    dataplane.run(&Frame::tcp("203.0.113.1", 40_000, "198.51.100.10", 80, SYN).octets()).unwrap();
    let name = |address| {
        let backends = &state.forwarding.pools["web4"].backends;
        backends.iter().find(|(_, backend)| backend.address == address).unwrap().0.clone()
    };
    state.clone().backend_state("web4", &name(to), BackendState::Draining).apply(&mut dataplane);
    assert_ne!(dataplane.verify(&service).unwrap(), to, "the flow stays, a new one would go elsewhere");
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_wrong_is_named() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    let state = usual();
    let service = state.forwarding.services["http4"].clone();
    let not_forwarded = |error: VerifyError| match error {
        VerifyError::NotForwarded { verdict, .. } => verdict,
        other => panic!("{other}"),
    };
    assert_eq!(not_forwarded(dataplane.verify(&service).unwrap_err()), Verdict::PassNotVip);

    state.apply(&mut dataplane);
    let mut elsewhere = service.clone();
    elsewhere.port = 81;
    let error = dataplane.verify(&elsewhere).unwrap_err();
    assert_eq!(error.to_string(), "a packet to 198.51.100.10 port 81 ends as drop_no_service");

    // In force the service has pool `web4`; whoever believes in another one is told.
    let mut other_pool = service.clone();
    other_pool.pool = "web6".to_owned();
    let error = dataplane.verify(&other_pool).unwrap_err();
    assert!(matches!(error, VerifyError::WrongBackend { .. }), "{error}");
    assert!(error.to_string().contains("no backend of pool `web6`"), "{error}");

    let mut elsewhere = hop(1500);
    elsewhere.ifindex = 77;
    let backends = ["10.1.0.1", "10.1.0.2", "10.1.0.3"];
    let by_no_uplink = backends.iter().fold(state.clone(), |s, a| s.next_hop(a, Some(elsewhere)));
    by_no_uplink.apply(&mut dataplane);
    assert_eq!(not_forwarded(dataplane.verify(&service).unwrap_err()), Verdict::DropNoNextHop);
    state.apply(&mut dataplane);
    dataplane.verify(&service).expect("all is well again");

    let unresolved = backends.iter().fold(state, |s, a| s.next_hop(a, None));
    unresolved.apply(&mut dataplane);
    assert_eq!(not_forwarded(dataplane.verify(&service).unwrap_err()), Verdict::DropNoNextHop);
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_sweep_tells_the_flows_of_each_backend() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    assert!(dataplane.backend_ids().is_empty());
    usual().apply(&mut dataplane);
    let ids = dataplane.backend_ids();
    assert_eq!(ids.len(), 6);
    assert!(ids.values().all(|&id| id != 0));
    for port in 0..64 {
        let frame = Frame::tcp("203.0.113.7", 41_000 + port, "198.51.100.10", 80, SYN);
        dataplane.run(&frame.octets()).unwrap();
    }
    let swept = dataplane.sweep().unwrap();
    let of_pool = |pool: &str| -> Vec<u64> {
        let keys = ids.keys().filter(|(name, _)| name == pool);
        keys.map(|key| swept.flows.get(key).expect("a backend in force")).collect()
    };
    assert_eq!(of_pool("web4").iter().sum::<u64>(), 64);
    assert_eq!(swept.used, 64);
    assert!(of_pool("web4").iter().all(|&flows| flows > 5), "{:?}", swept.flows);
    assert_eq!(of_pool("web6"), [0, 0, 0]);
    assert_eq!(swept.flows.get(&("web6".to_owned(), "b9".to_owned())), None);
    dataplane.detach().unwrap();
}
