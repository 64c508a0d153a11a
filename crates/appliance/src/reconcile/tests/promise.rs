// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random histories over siblings that fail: the fake world checks the promise at every call, and once nothing fails any
//! more the state converges to what the document says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use weir_dataplane::next_hop::NextHops;

use super::model::{
    Bench, backend_address, empty_document, hop, link_down, no_route, with_pool, with_service, with_vip,
};
use crate::model::{AdminState, Document};
use crate::reconcile::fake::Fate;

/// Passes after the last failure within which everything must be in place: withdraw, drained, settled.
const PASSES_TO_CONVERGE: usize = 4;

#[derive(Debug, Clone)]
enum Event {
    Document(Box<Document>),
    Hops(NextHops),
    Stopping(bool),
    Time(Duration),
    Fates([Fate; 5]),
}

fn state() -> impl Strategy<Value = AdminState> {
    prop_oneof![4 => Just(AdminState::Active), 1 => Just(AdminState::Draining), 1 => Just(AdminState::Disabled)]
}

fn document() -> impl Strategy<Value = Document> {
    let pools = prop::collection::vec(prop::collection::vec(state(), 0..3), 2);
    let services = prop::collection::btree_map((0..3u8, prop_oneof![Just(80u16), Just(443)]), 0..2u8, 0..5);
    (prop::collection::btree_set(0..3u8, 0..4), services, pools).prop_map(|(vips, services, pools)| {
        let mut document = empty_document();
        for (pool, states) in (0..).zip(&pools) {
            document = with_pool(document, pool, states);
        }
        for vip in &vips {
            document = with_vip(document, *vip);
        }
        for ((vip, port), pool) in services.into_iter().filter(|((vip, _), _)| vips.contains(vip)) {
            document = with_service(document, vip, port, pool);
        }
        document
    })
}

fn hops() -> impl Strategy<Value = NextHops> {
    let answer = prop_oneof![
        4 => Just(Some(Ok(hop(1)))),
        1 => Just(Some(Ok(hop(2)))),
        1 => Just(Some(Err(no_route()))),
        1 => Just(Some(Err(link_down()))),
        1 => Just(None),
    ];
    prop::collection::vec(answer, 4).prop_map(|answers| {
        let addresses =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(pool, backend)| backend_address(pool, backend));
        addresses.into_iter().zip(answers).filter_map(|(address, answer)| Some((address, answer?))).collect()
    })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![2 => Just(Fate::Works), 1 => Just(Fate::Fails), 1 => any::<u64>().prop_map(Fate::FailsHalfWay)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => document().prop_map(|document| Event::Document(Box::new(document))),
        3 => hops().prop_map(Event::Hops),
        1 => any::<bool>().prop_map(Event::Stopping),
        2 => (0..4000u64).prop_map(|ms| Event::Time(Duration::from_millis(ms))),
        2 => prop::array::uniform5(fate()).prop_map(Event::Fates),
    ]
}

/// What must be advertised in the end, by the document and the next hops alone.
fn expected(bench: &Bench) -> BTreeSet<IpAddr> {
    let is_served = |vip: &str| {
        let mut services = bench.document.services.values().filter(|service| service.vip == vip).peekable();
        services.peek().is_some()
            && services.all(|service| {
                bench.document.pools[&service.pool].backends.values().any(|backend| {
                    backend.state == AdminState::Active
                        && matches!(bench.hops.get(&backend.address), Some(Ok(_)))
                })
            })
    };
    let vips = bench.document.vips.iter().filter(|(name, _)| !bench.admin.is_stopping && is_served(name));
    vips.map(|(_, vip)| vip.address).chain([IpAddr::from([192, 0, 2, 1])]).collect()
}

fn check_converged(bench: &mut Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    let world = bench.shared.world();
    prop_assert_eq!(&world.advertised, &expected(bench));
    prop_assert!(world.is_attached);
    let kernel: Vec<_> = world.kernel.iter().map(|(name, (service, _))| (name, service)).collect();
    let wanted: Vec<_> = desired.target.state.services.iter().collect();
    prop_assert_eq!(kernel, wanted);
    for (_, target) in world.kernel.values() {
        prop_assert_eq!(&target.state.pools, &desired.target.state.pools);
        prop_assert_eq!(&target.next_hops, &desired.target.next_hops);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_announced_without_forwarding_and_all_converges(events in prop::collection::vec(event(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut bench = Bench::new(empty_document());
        for event in events {
            match event {
                Event::Document(document) => bench.document = *document,
                Event::Hops(hops) => bench.hops = hops,
                Event::Stopping(is_stopping) => bench.admin.is_stopping = is_stopping,
                Event::Time(step) => bench.now += step,
                Event::Fates(fates) => bench.shared.world().set_fates(fates),
            }
            runtime.block_on(bench.pass());
        }
        bench.shared.world().set_fates([Fate::Works; 5]);
        for _ in 0..PASSES_TO_CONVERGE {
            let failed = runtime.block_on(bench.pass());
            prop_assert!(failed.is_empty(), "{failed:?}");
            let wait = bench.wake_in().unwrap_or_default();
            bench.now += wait;
        }
        check_converged(&mut bench)?;
        prop_assert_eq!(runtime.block_on(bench.calls()), Vec::<String>::new());
    }
}
