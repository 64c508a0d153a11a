// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The order of steps, one story a test.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::forwarding::VipPrefix;

use super::model::{
    Bench, DRAIN_WAIT, address, all_resolved, backend_address, empty_document, hop, link_down, no_route,
    one_vip, vip_address, vip_prefix, with_pool, with_service, with_vip,
};
use crate::model::AdminState::{Active, Disabled, Draining};
use crate::model::{Attributes, Community, Drain, Percent};
use crate::reconcile::desired::{Condition, Desired};
use crate::reconcile::doubt::POSSIBLE_MAX;
use crate::reconcile::fake::Fate;
use crate::reconcile::plan::StepKind;

#[tokio::test]
async fn going_up_announces_last() {
    let mut bench = Bench::new(one_vip());
    assert_eq!(
        bench.calls().await,
        ["forward v1-80", "attach", "verify v1-80", "advertise 192.0.2.1 198.51.100.1"]
    );
    assert_eq!(bench.calls().await, [""; 0], "an unchanged state does nothing");
    assert_eq!(bench.withheld("v1"), [""; 0]);
}

#[tokio::test]
async fn echo_requests_are_answered_while_a_vip_is_up() {
    let mut bench = Bench::new(one_vip());
    bench.document.vips.get_mut("v1").expect("it is there").echo = true;
    let is_answering = |bench: &Bench| {
        let world = bench.shared.world();
        let (_, target) = &world.kernel["v1-80"];
        let vip = VipPrefix::from(vip_address(1));
        target.state.vips.get(&vip).is_some_and(|vip| vip.answers_echo)
    };
    bench.hops.clear();
    bench.calls().await;
    assert!(!is_answering(&bench), "nothing serves it");
    bench.hops.insert(backend_address(1, 1), Ok(hop(1)));
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80", "advertise 192.0.2.1 198.51.100.1"]);
    assert!(is_answering(&bench));
    bench.hops.clear();
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1", "forward v1-80"], "silent once it is withdrawn");
    assert!(!is_answering(&bench));
}

#[tokio::test]
async fn a_prefix_is_announced_and_drained_as_such() {
    let mut bench = Bench::new(one_vip());
    let prefix: Prefix = "198.51.100.0/28".parse().expect("a prefix");
    bench.document.vips.get_mut("v1").expect("it is there").prefix = prefix;
    assert_eq!(
        bench.calls().await,
        ["forward v1-80", "attach", "verify v1-80", "advertise 192.0.2.1 198.51.100.0/28"]
    );
    assert_eq!(bench.shared.world().kernel["v1-80"].0.prefix_length, Some(28));
    // The first address of it by itself is another VIP.
    bench.document.vips.get_mut("v1").expect("it is there").prefix = Prefix::host(prefix.address());
    assert_eq!(
        bench.calls().await,
        ["advertise 192.0.2.1", "forward v1-80 v1-80~", "verify v1-80", "advertise 192.0.2.1 198.51.100.0"]
    );
    bench.now += DRAIN_WAIT;
    assert_eq!(bench.calls().await, ["forward v1-80"]);
}

#[tokio::test]
async fn a_vip_without_a_next_hop_is_withheld_until_it_has_one() {
    let mut bench = Bench::new(one_vip());
    bench.hops.clear();
    assert_eq!(bench.calls().await, ["forward v1-80", "attach", "advertise 192.0.2.1"]);
    assert_eq!(bench.withheld("v1"), ["backends"]);
    bench.hops.insert(backend_address(1, 1), Ok(hop(1)));
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80", "advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn losing_the_last_next_hop_withdraws_first() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    bench.hops.insert(backend_address(1, 0), Err(no_route()));
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80"], "one backend is left");
    bench.hops.insert(backend_address(1, 1), Err(link_down()));
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1", "forward v1-80"]);
    assert_eq!(bench.withheld("v1"), ["backends"]);
    bench.hops.insert(backend_address(1, 0), Err(link_down()));
    assert_eq!(bench.calls().await, [""; 0]);
    assert_eq!(bench.withheld("v1"), ["uplink"]);
}

#[tokio::test]
async fn a_removed_vip_is_withdrawn_then_drained_then_removed() {
    let mut bench = Bench::new(with_service(with_vip(one_vip(), 2), 2, 443, 1));
    bench.calls().await;
    bench.document = one_vip();
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"], "v2-443 stays while it drains");
    assert_eq!(bench.wake_in(), Some(DRAIN_WAIT));
    bench.now += DRAIN_WAIT / 2;
    assert_eq!(bench.calls().await, [""; 0]);
    assert_eq!(bench.wake_in(), Some(DRAIN_WAIT / 2));
    bench.now += DRAIN_WAIT / 2;
    assert_eq!(bench.calls().await, ["forward v1-80"]);
    assert_eq!(bench.wake_in(), None);
}

#[tokio::test]
async fn a_draining_vip_keeps_its_removed_pool_and_next_hops() {
    let mut bench = Bench::new(with_service(with_pool(with_vip(one_vip(), 2), 2, &[Active]), 2, 443, 2));
    bench.calls().await;
    bench.document = one_vip();
    bench.hops = all_resolved(&bench.document);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
    // Another change while it drains writes the dataplane again.
    bench.hops.insert(backend_address(1, 0), Ok(hop(2)));
    assert_eq!(bench.calls().await, ["forward v1-80 v2-443", "verify v1-80"]);
    let world = bench.shared.world();
    let (service, target) = &world.kernel["v2-443"];
    assert!(target.carries(service, |at, to| (at, to) == (backend_address(2, 0), &hop(1)[..])));
}

#[tokio::test]
async fn a_vip_that_returns_while_it_drains_is_announced_again() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    bench.document = empty_document();
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1"]);
    bench.document = one_vip();
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
    assert_eq!(bench.wake_in(), None);
}

#[tokio::test]
async fn a_name_taken_over_does_not_cut_what_drains() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    // `v1` now is another address, its service has the old name.
    bench.document.vips.get_mut("v1").expect("it is there").prefix = vip_prefix(9);
    assert_eq!(
        bench.calls().await,
        ["advertise 192.0.2.1", "forward v1-80 v1-80~", "verify v1-80", "advertise 192.0.2.1 198.51.100.9"]
    );
    bench.now += DRAIN_WAIT;
    assert_eq!(bench.calls().await, ["forward v1-80"]);
}

#[tokio::test]
async fn a_service_whose_removal_failed_drains_with_its_vip() {
    let mut bench = Bench::new(with_service(one_vip(), 1, 443, 1));
    bench.calls().await;
    bench.document = one_vip();
    bench.shared.world().forwarding_fate = Fate::Fails;
    bench.pass().await;
    bench.shared.world().forwarding_fate = Fate::Works;
    bench.document = empty_document();
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1", "forward v1-443 v1-80"]);
    bench.now += DRAIN_WAIT;
    assert_eq!(bench.calls().await, ["forward "]);
}

#[tokio::test]
async fn a_changed_next_hop_does_not_withdraw() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    for n in 0..2 {
        bench.hops.insert(backend_address(1, n), Ok(hop(7)));
    }
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80"]);
}

#[tokio::test]
async fn stopping_withdraws_vips_and_keeps_forwarding() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    bench.admin.is_stopping = true;
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1"]);
    assert_eq!(bench.withheld("v1"), ["admin"]);
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.calls().await, [""; 0]);
}

#[tokio::test]
async fn a_vip_that_leaves_is_told_so_and_goes_when_its_time_is_over() {
    let mut document = one_vip();
    document.bgp.drain = Drain { time: Duration::from_secs(2), prepend: 3, med: Some(1000) };
    let attributes = &mut document.vips.get_mut("v1").expect("it is there").announce.attributes;
    *attributes =
        Attributes { med: Some(10), prepend: 1, communities: BTreeSet::from([Community::Large([1, 2, 3])]) };
    document.uplinks.get_mut("eth0").expect("it is there").capacity = Some(25_000_000_000);
    let mut bench = Bench::new(document);
    bench.calls().await;
    let told = |bench: &Bench| {
        let of_v1 = |one: &&Advertisement| one.prefix.address() == vip_address(1);
        bench.observed.advertised.iter().find(of_v1).cloned()
    };
    let usual = Advertisement {
        med: Some(10),
        prepend: 1,
        large_communities: vec![[1, 2, 3]],
        link_bandwidth: Some(3_125_000_000),
        ..Advertisement::plain(Prefix::host(vip_address(1)))
    };
    assert_eq!(told(&bench), Some(usual.clone()));
    bench.admin.is_stopping = true;
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
    let leaving = Advertisement { med: Some(1000), prepend: 4, communities: vec![0xffff_0000], ..usual };
    assert_eq!(told(&bench), Some(leaving));
    bench.now += Duration::from_secs(2);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1"]);
    assert_eq!(bench.withheld("v1"), ["admin"]);
}

#[tokio::test]
async fn a_failed_apply_withholds_new_vips_and_keeps_old_ones() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    bench.document = with_service(with_vip(one_vip(), 2), 2, 443, 1);
    bench.shared.world().forwarding_fate = Fate::FailsHalfWay(u64::MAX);
    let failed = bench.pass().await;
    assert_eq!(failed.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [StepKind::Forward]);
    assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec![], vec!["dataplane"]));
    assert!(bench.shared.world().advertised.contains(&vip_prefix(1)));
    assert!(!bench.shared.world().advertised.contains(&vip_prefix(2)));
    bench.shared.world().forwarding_fate = Fate::Works;
    assert_eq!(
        bench.calls().await,
        ["forward v1-80 v2-443", "verify v1-80 v2-443", "advertise 192.0.2.1 198.51.100.1 198.51.100.2"]
    );
}

#[tokio::test]
async fn a_failed_apply_takes_back_a_vip_that_only_the_new_state_could_serve() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    // The pool's two backends are replaced by a third; the old ones lose their next hops with the document.
    let mut document = with_pool(one_vip(), 1, &[Disabled, Disabled, Active]);
    document.pools.get_mut("p1").expect("it is there").backends.retain(|name, _| name == "b2");
    bench.hops = all_resolved(&document);
    bench.document = document;
    bench.shared.world().forwarding_fate = Fate::Fails;
    bench.pass().await;
    assert_eq!(bench.withheld("v1"), ["dataplane"]);
    assert!(!bench.shared.world().advertised.contains(&vip_prefix(1)));
}

#[tokio::test]
async fn applies_that_fail_for_long_withdraw_only_what_may_be_gone() {
    let backends =
        |pool, states: &[_]| with_service(with_pool(with_vip(one_vip(), pool), pool, states), pool, 80, pool);
    let document = backends(2, &[Active; 8]);
    let mut bench = Bench::new(document.clone());
    bench.calls().await;
    bench.shared.world().forwarding_fate = Fate::Fails;
    // Three backends of the pool come and go, in states that are never the same; the others stay.
    for pass in 0..3 * POSSIBLE_MAX {
        let backends = &mut bench.document.pools.get_mut("p2").expect("there").backends;
        for (number, name) in ["b0", "b1", "b2"].into_iter().enumerate() {
            let backend = backends.get_mut(name).expect("there");
            backend.state = if pass >> number & 1 == 0 { Draining } else { Active };
            backend.weight = 1 + u32::try_from(pass).expect("few");
        }
        bench.pass().await;
        assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec![], vec![]), "pass {pass}");
    }
    assert!(bench.shared.world().advertised.contains(&vip_prefix(2)));
    // One of the others after another goes for a while: what is usable now was not in some state, and so it may not be there.
    for number in 3..8 {
        let backends = &mut bench.document.pools.get_mut("p2").expect("there").backends;
        for (name, backend) in backends {
            backend.state = if *name == format!("b{number}") { Draining } else { Active };
        }
        bench.pass().await;
    }
    assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec![], vec![]), "states told apart");
    for pass in 0..POSSIBLE_MAX {
        let backend =
            bench.document.pools.get_mut("p2").expect("there").backends.get_mut("b0").expect("there");
        backend.weight = 1_000 + u32::try_from(pass).expect("few");
        bench.pass().await;
    }
    assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec![], vec!["dataplane"]));
    assert!(!bench.shared.world().advertised.contains(&vip_prefix(2)));
    bench.shared.world().forwarding_fate = Fate::Works;
    bench.calls().await;
    assert_eq!(bench.withheld("v2"), ["settle"]);
    let settles_in = bench.wake_in().expect("it settles");
    bench.now += settles_in;
    bench.calls().await;
    assert!(bench.shared.world().advertised.contains(&vip_prefix(2)));
}

#[tokio::test]
async fn without_attachment_only_own_addresses_are_announced() {
    let mut bench = Bench::new(one_vip());
    bench.shared.world().attach_fate = Fate::Fails;
    assert_eq!(bench.pass().await.len(), 1);
    assert_eq!(bench.withheld("v1"), ["dataplane"]);
    assert_eq!(bench.shared.world().advertised, [Prefix::host(address("192.0.2.1"))].into());
    bench.shared.world().attach_fate = Fate::Works;
    assert_eq!(bench.calls().await, ["attach", "advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn nothing_is_attached_before_forwarding_is_in_place() {
    let mut bench = Bench::new(one_vip());
    bench.shared.world().forwarding_fate = Fate::Fails;
    bench.pass().await;
    assert_eq!(bench.shared.world().log, ["forward v1-80", "advertise 192.0.2.1"]);
}

#[tokio::test]
async fn a_speaker_that_told_and_failed_is_asked_to_withdraw_before_anything_is_removed() {
    let mut bench = Bench::new(one_vip());
    bench.shared.world().announce_fate = Fate::FailsHalfWay(1);
    bench.pass().await;
    assert!(bench.shared.world().advertised.contains(&vip_prefix(1)));
    bench.document = empty_document();
    bench.shared.world().announce_fate = Fate::Works;
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1"]);
    bench.now += DRAIN_WAIT;
    assert_eq!(bench.calls().await, ["forward "]);
}

#[tokio::test]
async fn a_vip_needs_every_service_and_at_least_one() {
    let mut document = with_service(with_pool(one_vip(), 2, &[Draining, Disabled]), 1, 443, 2);
    let mut bench = Bench::new(with_vip(document.clone(), 2));
    bench.calls().await;
    assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec!["backends"], vec!["backends"]));
    document.services.remove("v1-443");
    bench.document = document;
    assert_eq!(bench.calls().await, ["forward v1-80", "advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn a_cap_reaches_the_tables_and_nothing_else() {
    let mut document = one_vip();
    let mut bench = Bench::new(document.clone());
    bench.calls().await;
    let before = bench.desired();
    let backends = &mut document.pools.get_mut("p1").expect("it is there").backends;
    backends.get_mut("b0").expect("there").cap = Percent::new(30).expect("in range");
    bench.document = document;
    let after = bench.desired();
    let caps = |desired: &Desired| -> Vec<(u32, u16)> {
        desired.target.state.pools["p1"].backends.values().map(|one| (one.weight, one.cap_permille)).collect()
    };
    assert_eq!((caps(&before), caps(&after)), (vec![(100, 1_000); 2], vec![(100, 300), (100, 1_000)]));
    // Marks go by the weight.
    assert_eq!(after.pools, before.pools);
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80"]);
}

#[tokio::test]
async fn weight_zero_takes_no_new_flows() {
    let mut document = one_vip();
    for (name, weight) in [("b0", 0), ("b1", 5)] {
        document.pools.get_mut("p1").expect("it is there").backends.get_mut(name).expect("there").weight =
            weight;
    }
    let mut bench = Bench::new(document);
    let desired = bench.desired();
    assert_eq!(desired.backends[&("p1".into(), "b0".into())].condition, Condition::Draining);
    assert_eq!(desired.backends[&("p1".into(), "b1".into())].condition, Condition::Usable);
    bench.hops.insert(backend_address(1, 1), Err(no_route()));
    bench.calls().await;
    assert_eq!(bench.withheld("v1"), ["backends"]);
}
