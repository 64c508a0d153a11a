// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random histories over siblings that fail: the fake world checks the promise at every call, and once nothing fails any
//! more the state converges to what the document says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use weir_bgp::Prefix;
use weir_dataplane::next_hop::NextHops;
use weir_health::{CheckKey, Verdict};

use super::model::{
    Bench, backend_address, empty_document, hop, link_down, no_route, vip_address, with_check, with_pool,
    with_service, with_vip,
};
use crate::model::{AdminState, AnnouncePolicy, Backend, Document, OnAllDown, Require, Service};
use crate::overrides::{OverrideState, Target};
use crate::reconcile::checks;
use crate::reconcile::fake::Fate;

/// Passes after the last failure within which everything must be in place: withdraw, drained, first results, the hold of
/// each of three VIPs.
const PASSES_TO_CONVERGE: usize = 8;

#[derive(Debug, Clone)]
enum Event {
    Document(Box<Document>),
    Hops(NextHops),
    Stopping(bool),
    Time(Duration),
    Fates([Fate; 5]),
    /// Verdicts of all checks, by the bits of two numbers: known or not, up or down.
    Health(u64, u64),
    Override(Target, Option<OverrideState>),
}

fn state() -> impl Strategy<Value = AdminState> {
    prop_oneof![4 => Just(AdminState::Active), 1 => Just(AdminState::Draining), 1 => Just(AdminState::Disabled)]
}

fn document() -> impl Strategy<Value = Document> {
    let pools = prop::collection::vec(prop::collection::vec(state(), 0..3), 2);
    let services = prop::collection::btree_map((0..3u8, prop_oneof![Just(80u16), Just(443)]), 0..2u8, 0..5);
    let vips = prop::collection::btree_map(0..3u8, policy(), 0..4);
    (vips, services, pools, any::<[bool; 2]>()).prop_map(|(vips, services, pools, are_checked)| {
        let mut document = empty_document();
        for ((pool, states), is_checked) in (0..).zip(&pools).zip(are_checked) {
            document = with_pool(document, pool, states);
            if is_checked {
                document = with_check(document, pool);
            }
        }
        for (vip, policy) in &vips {
            document = with_vip(document, *vip);
            let of_document = document.vips.get_mut(&format!("v{vip}")).expect("just put there");
            of_document.announce = policy.clone();
            of_document.echo = vip % 2 == 0;
            // One is a prefix that begins with the address of another and holds them all.
            if *vip == 2 {
                of_document.prefix = Prefix::new(vip_address(0), 30).expect("no host bits");
            }
        }
        for ((vip, port), pool) in services.into_iter().filter(|((vip, _), _)| vips.contains_key(vip)) {
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

fn over() -> impl Strategy<Value = (Target, Option<OverrideState>)> {
    let of_backend = (
        0..2u8,
        0..2u8,
        prop::option::of(prop_oneof![Just(OverrideState::Drain), Just(OverrideState::Disable)]),
    )
        .prop_map(|(pool, backend, state)| {
            (Target::Backend { pool: format!("p{pool}"), backend: format!("b{backend}") }, state)
        });
    let of_vip = (0..3u8, any::<bool>()).prop_map(|(vip, is_set)| {
        (Target::Vip(format!("v{vip}")), is_set.then_some(OverrideState::Withhold))
    });
    prop_oneof![2 => of_backend, 1 => of_vip]
}

fn policy() -> impl Strategy<Value = AnnouncePolicy> {
    let on_all_down = prop_oneof![
        3 => Just(OnAllDown::Withdraw),
        1 => Just(OnAllDown::Deprioritise),
        1 => Just(OnAllDown::Keep)
    ];
    let require = prop_oneof![3 => Just(Require::All), 1 => Just(Require::Any)];
    (on_all_down, require).prop_map(|(on_all_down, require)| AnnouncePolicy {
        on_all_down,
        require,
        ..AnnouncePolicy::default()
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => document().prop_map(|document| Event::Document(Box::new(document))),
        3 => hops().prop_map(Event::Hops),
        1 => any::<bool>().prop_map(Event::Stopping),
        2 => (0..4000u64).prop_map(|ms| Event::Time(Duration::from_millis(ms))),
        3 => any::<(u64, u64)>().prop_map(|(known, up)| Event::Health(known | known.rotate_left(7), up | up.rotate_left(5))),
        1 => over().prop_map(|(target, state)| Event::Override(target, state)),
        2 => prop::array::uniform5(fate()).prop_map(Event::Fates),
    ]
}

/// What must be advertised in the end, by everything that is known, time aside: what was kept by policy may stay.
fn expected(bench: &Bench, vip: &str) -> Expected {
    let document = &bench.document;
    let is_usable = |pool: &str, name: &str, backend: &Backend| {
        let over = bench.overrides.backend(pool, name);
        let is_checked_up = checks::targets(document).expect("good checks").get(pool).is_none_or(|targets| {
            targets
                .iter()
                .all(|target| bench.health.verdict(&CheckKey::new(pool, name, &target.name)) == Verdict::Up)
        });
        backend.state == AdminState::Active
            && over.is_none()
            && matches!(bench.hops.get(&backend.address), Some(Ok(_)))
            && is_checked_up
    };
    let is_served = |service: &Service| {
        let mut backends = document.pools[&service.pool].backends.iter();
        backends.any(|(name, backend)| is_usable(&service.pool, name, backend))
    };
    let services: Vec<&Service> = document.services.values().filter(|service| service.vip == vip).collect();
    let policy = &document.vips[vip].announce;
    let is_fit = match policy.require {
        Require::Any => services.iter().any(|one| is_served(one)),
        Require::All | Require::Services(_) => services.iter().all(|one| is_served(one)),
    };
    let is_withheld = bench.admin.is_stopping || bench.overrides.withheld(vip).is_some();
    match (is_withheld || services.is_empty(), is_fit, policy.on_all_down) {
        (true, _, _) => Expected::Never,
        (false, true, _) => Expected::Announced,
        (false, false, OnAllDown::Withdraw) => Expected::Never,
        (false, false, OnAllDown::Deprioritise | OnAllDown::Keep) => Expected::Either,
    }
}

#[derive(Debug, PartialEq)]
enum Expected {
    Announced,
    Never,
    /// By what was before.
    Either,
}

fn check_converged(bench: &mut Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    let world = bench.shared.world();
    for (name, vip) in &bench.document.vips {
        let is_told = world.advertised.contains(&vip.prefix);
        match expected(bench, name) {
            Expected::Announced => {
                prop_assert!(is_told, "{name} is not announced: {:#?}", desired.vips[name])
            }
            Expected::Never => prop_assert!(!is_told, "{name} is announced: {:#?}", desired.vips[name]),
            Expected::Either => {}
        }
    }
    let known = bench
        .document
        .vips
        .values()
        .map(|vip| vip.prefix)
        .chain([Prefix::host(IpAddr::from([192, 0, 2, 1]))]);
    prop_assert!(world.advertised.is_subset(&known.collect::<BTreeSet<_>>()));
    prop_assert!(world.advertised.contains(&Prefix::host(IpAddr::from([192, 0, 2, 1]))));
    let checked: BTreeSet<_> =
        world.checks.keys().map(|key| (&*key.pool, &*key.backend, &*key.check)).collect();
    let targets = checks::targets(&bench.document).expect("good checks");
    let to_check = targets.iter().flat_map(|(pool, targets)| {
        let backends = bench.document.pools[pool].backends.keys();
        backends.flat_map(move |one| targets.iter().map(move |at| (pool.as_str(), one.as_str(), &*at.name)))
    });
    prop_assert_eq!(checked, to_check.collect::<BTreeSet<_>>());
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
                Event::Health(known, up) => bench.random_health(known, up),
                Event::Override(target, state) => bench.set_override(target, state),
                Event::Fates(fates) => bench.shared.world().set_fates(fates),
            }
            runtime.block_on(bench.pass());
        }
        bench.shared.world().set_fates([Fate::Works; 5]);
        for _ in 0..PASSES_TO_CONVERGE {
            let failed = runtime.block_on(bench.pass());
            prop_assert!(failed.is_empty(), "{failed:?}");
            bench.answer_checks();
            let wait = bench.wake_in().unwrap_or_default();
            bench.now += wait;
        }
        check_converged(&mut bench)?;
        prop_assert_eq!(runtime.block_on(bench.calls()), Vec::<String>::new());
    }
}
