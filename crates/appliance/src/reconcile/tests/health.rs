// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checks and operators: what a backend may receive, which checks run, and what a VIP makes of it all.

use std::time::Duration;

use weir_dataplane::forwarding::BackendState;
use weir_dataplane::next_hop::{NextHop, Unresolved};
use weir_health::{Adopted, CheckKey, Route, Verdict};

use super::model::{
    Bench, DRAIN_WAIT, backend_address, empty_document, hop, no_route, one_vip, vip_address, vip_prefix,
    with_check, with_pool, with_service, with_vip,
};
use crate::model::AdminState::{Active, Disabled, Draining};
use crate::model::{Document, Mode, OnAllDown};
use crate::overrides::{OverrideState, Target};
use crate::reconcile::checks;
use crate::reconcile::fake::Fate;
use crate::reconcile::memory::Made;
use crate::reconcile::plan::StepKind;

const HTTP: &str = "198.51.100.1:80";

fn backend(name: &str) -> Target {
    Target::Backend { pool: "p1".into(), backend: name.into() }
}

/// One VIP over two checked backends, both up, announced.
async fn checked() -> Bench {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    bench.calls().await;
    bench.all_checks(Verdict::Up);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
    bench
}

impl Bench {
    /// What the kernel holds of a backend of `p1`.
    fn in_kernel(&self, name: &str) -> BackendState {
        let world = self.shared.world();
        let (_, target) = world.kernel.values().next().expect("a service");
        target.state.pools["p1"].backends[name].state
    }
}

/// Three VIPs, each over a checked pool of its own.
fn three_pools() -> Document {
    (1..=3).fold(empty_document(), |document, n| {
        with_check(with_service(with_pool(with_vip(document, n), n, &[Active, Active]), n, 80, n), n)
    })
}

/// The comparison with what would be made from nothing is in [`Bench::desired`].
#[tokio::test]
async fn a_verdict_makes_its_pool_anew_and_no_other() {
    let mut bench = Bench::new(three_pools());
    bench.calls().await;
    assert_eq!(bench.made, Some(Made::All));
    bench.all_checks(Verdict::Up);
    bench.calls().await;
    let of = |pools: &[&str]| Some(Made::Of(pools.iter().map(|name| (*name).to_owned()).collect()));
    assert_eq!(bench.made, of(&["p1", "p2", "p3"]));
    bench.calls().await;
    assert_eq!(bench.made, of(&[]), "nothing was heard");
    bench.one_check("p2", "b1", "198.51.100.2:80", Verdict::Down);
    bench.calls().await;
    assert_eq!((bench.made.clone(), bench.condition("p2", "b1")), (of(&["p2"]), "failed"));
    // What all pools may hang on makes all anew.
    bench.set_override(backend("b0"), Some(OverrideState::Drain));
    bench.calls().await;
    assert_eq!(bench.made, Some(Made::All));
    bench.hops.insert(backend_address(3, 1), Err(no_route()));
    bench.calls().await;
    assert_eq!((bench.made.clone(), bench.condition("p3", "b1")), (Some(Made::All), "unresolved"));
    bench.document.vips.get_mut("v3").expect("there").announce.on_all_down = OnAllDown::Keep;
    bench.calls().await;
    assert_eq!(bench.made, Some(Made::All));
}

#[tokio::test]
async fn checks_run_before_anything_is_announced() {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    assert_eq!(
        bench.calls().await,
        [
            "forward v1-80",
            "attach",
            "verify v1-80",
            "advertise 192.0.2.1",
            "check p1/b0/198.51.100.1:80 p1/b1/198.51.100.1:80"
        ]
    );
    assert_eq!((bench.withheld("v1"), bench.condition("p1", "b0")), (vec!["first-results"], "unknown"));
    assert_eq!(bench.in_kernel("b0"), BackendState::Usable, "not asked yet is no answer");
    bench.one_check("p1", "b0", HTTP, Verdict::Up);
    assert_eq!(bench.calls().await, [""; 0], "one is missing");
    bench.one_check("p1", "b1", HTTP, Verdict::Down);
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80", "advertise 192.0.2.1 198.51.100.1"]);
    assert_eq!((bench.condition("p1", "b0"), bench.condition("p1", "b1")), ("usable", "failed"));
}

#[tokio::test]
async fn a_check_says_where_from_and_through_which_backend() {
    let mut bench = checked().await;
    bench.hops.insert(backend_address(1, 1), Err(no_route()));
    bench.calls().await;
    let world = bench.shared.world();
    let of = |name: &str| world.checks.iter().find(|(key, _)| &*key.backend == name).expect("checked").1;
    let (b0, b1) = (of("b0"), of("b1"));
    assert_eq!(b0.target.to_string(), HTTP);
    assert_eq!((b0.address, b0.route), (backend_address(1, 0), Route::Ready));
    assert_eq!(b0.socket.source, Some([192, 0, 2, 1].into()));
    assert_eq!((b0.socket.mark, b1.socket.mark), (Some(0x5765_0001), Some(0x5765_0002)));
    assert_eq!((b0.socket.max_segment, b1.route), (Some(1_440), Route::NoNextHop));
}

#[tokio::test]
async fn a_backend_behind_a_router_is_unresolved_where_no_header_is_put_on() {
    let mut bench = checked().await;
    let key = |name: &str| ("p1".to_owned(), name.to_owned());
    bench.document.pools.get_mut("p1").expect("there").mode = Mode::L2;
    // The first has a path of both kinds, the second one by a router alone.
    let router = hop(1)[0];
    let itself = NextHop { is_on_link: true, ..hop(2)[0] };
    bench.hops.insert(backend_address(1, 0), Ok(vec![router, itself]));
    bench.calls().await;
    let desired = bench.desired();
    assert_eq!(desired.backends[&key("b0")].next_hop, Some(Ok(vec![itself])));
    assert_eq!(desired.backends[&key("b1")].next_hop, Some(Err(Unresolved::NotOnLink)));
    assert_eq!((desired.pools["p1"].usable, desired.pools["p1"].active), (1, 2));
    assert!(!desired.pools["p1"].is_link_down);
    assert_eq!((bench.condition("p1", "b0"), bench.condition("p1", "b1")), ("usable", "unresolved"));
    let route = |bench: &Bench, name: &str| {
        let world = bench.shared.world();
        world.checks.iter().find(|(key, _)| &*key.backend == name).expect("checked").1.route
    };
    assert_eq!((route(&bench, "b0"), route(&bench, "b1")), (Route::Ready, Route::NoNextHop));
    assert_eq!(bench.withheld("v1"), [""; 0]);
    // With a router on every way nothing is left that could get a packet.
    bench.hops.insert(backend_address(1, 0), Ok(vec![router]));
    bench.calls().await;
    assert_eq!(bench.withheld("v1"), ["backends"]);
    assert!(bench.observed.advertised.iter().all(|one| one.prefix.address() != vip_address(1)));
    // A header on makes the same ways good.
    bench.document.pools.get_mut("p1").expect("there").mode = Mode::Ipip;
    assert_eq!((bench.condition("p1", "b0"), bench.condition("p1", "b1")), ("usable", "usable"));
}

#[tokio::test]
async fn silence_past_the_patience_is_an_answer() {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    bench.calls().await;
    assert_eq!(bench.wake_in(), None, "checks that do not run yet are waited for");
    bench.all_checks(Verdict::Unknown);
    bench.one_check("p1", "b0", HTTP, Verdict::Up);
    assert_eq!(bench.calls().await, [""; 0]);
    assert_eq!(bench.wake_in(), Some(Duration::from_secs(5)));
    bench.now += Duration::from_secs(5);
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80", "advertise 192.0.2.1 198.51.100.1"]);
    assert_eq!(bench.in_kernel("b1"), BackendState::Failed);
}

#[tokio::test]
async fn a_dead_backend_leaves_the_rows_and_the_last_one_takes_the_vip_along() {
    let mut bench = checked().await;
    bench.one_check("p1", "b0", HTTP, Verdict::Down);
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80"]);
    assert_eq!((bench.in_kernel("b0"), bench.in_kernel("b1")), (BackendState::Failed, BackendState::Usable));
    bench.one_check("p1", "b1", HTTP, Verdict::Down);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1", "forward v1-80"], "withdrawn first");
    assert_eq!(bench.withheld("v1"), ["backends"]);
    bench.all_checks(Verdict::Up);
    assert_eq!(bench.calls().await, ["forward v1-80", "verify v1-80"]);
    assert_eq!(bench.withheld("v1"), ["settle"]);
    assert_eq!(bench.wake_in(), Some(Duration::from_secs(5)));
    bench.now += Duration::from_secs(5);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn the_last_resort_is_announced_with_the_least_preference() {
    let mut bench = checked().await;
    bench.document.vips.get_mut("v1").expect("there").announce.on_all_down = OnAllDown::Deprioritise;
    bench.all_checks(Verdict::Down);
    // Told once, before and after the rows: nothing is withdrawn in between.
    assert_eq!(bench.calls().await, ["forward v1-80", "advertise 192.0.2.1 198.51.100.1"]);
    let community = |bench: &Bench| {
        let advertised = bench.observed.advertised.iter().find(|one| one.prefix.address() == vip_address(1));
        advertised.expect("announced").communities.clone()
    };
    assert_eq!(community(&bench), [0xffff_0000]);
    bench.all_checks(Verdict::Up);
    bench.calls().await;
    assert_eq!(community(&bench), [0xffff_0000], "until the hold ends");
    bench.now += Duration::from_secs(5);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
    assert_eq!(community(&bench), [0; 0]);
}

#[tokio::test]
async fn operators_come_before_checks_and_next_hops() {
    let mut bench = checked().await;
    bench.one_check("p1", "b0", HTTP, Verdict::Down);
    bench.set_override(backend("b0"), Some(OverrideState::Drain));
    assert_eq!(bench.condition("p1", "b0"), "draining");
    bench.calls().await;
    assert_eq!(
        bench.in_kernel("b0"),
        BackendState::Draining,
        "a failing check changes nothing for its flows"
    );
    bench.hops.insert(backend_address(1, 0), Err(no_route()));
    assert_eq!(bench.condition("p1", "b0"), "draining");
    bench.set_override(backend("b0"), Some(OverrideState::Disable));
    assert_eq!(bench.condition("p1", "b0"), "disabled");
    bench.set_override(backend("b0"), None);
    assert_eq!(bench.condition("p1", "b0"), "unresolved");
    bench.hops.insert(backend_address(1, 0), bench.hops[&backend_address(1, 1)].clone());
    assert_eq!(bench.condition("p1", "b0"), "failed", "no way back without a good check");
    bench.one_check("p1", "b0", HTTP, Verdict::Up);
    assert_eq!(bench.condition("p1", "b0"), "usable");
}

#[tokio::test]
async fn the_stronger_of_document_and_overrides_holds_and_is_named() {
    let document = with_pool(one_vip(), 1, &[Active, Draining, Disabled]);
    let mut bench = Bench::new(document);
    let seen = |bench: &mut Bench| {
        let desired = bench.desired();
        let of = |(key, one): (&(String, String), &crate::reconcile::desired::BackendWish)| {
            (key.1.clone(), one.condition.name(), one.by.as_ref().map(ToString::to_string))
        };
        desired.backends.iter().map(of).collect::<Vec<_>>()
    };
    let row = |name: &str, word, by: Option<&str>| (name.to_owned(), word, by.map(str::to_owned));
    bench.set_override(Target::Pool("p1".into()), Some(OverrideState::Drain));
    assert_eq!(
        seen(&mut bench),
        [row("b0", "draining", Some("pool/p1")), row("b1", "draining", None), row("b2", "disabled", None)]
    );
    bench.set_override(backend("b1"), Some(OverrideState::Disable));
    assert_eq!(seen(&mut bench)[1], row("b1", "disabled", Some("backend/p1/b1")));
}

#[tokio::test]
async fn draining_every_backend_withdraws_and_keeps_their_flows() {
    let mut bench = checked().await;
    bench.set_override(Target::Pool("p1".into()), Some(OverrideState::Drain));
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1", "forward v1-80"]);
    assert_eq!(bench.in_kernel("b0"), BackendState::Draining);
    let desired = bench.desired();
    let sentence = &desired.vips["v1"].whys[0].text;
    assert!(sentence.starts_with("service `v1-80`: all 2 backends are drained or disabled"), "{sentence}");
}

#[tokio::test]
async fn a_withheld_vip_goes_and_comes_at_once() {
    let mut bench = checked().await;
    bench.now += Duration::from_secs(60);
    bench.set_override(Target::Appliance, Some(OverrideState::Withhold));
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1"]);
    assert_eq!(bench.withheld("v1"), ["admin"]);
    bench.now += Duration::from_secs(60);
    bench.set_override(Target::Appliance, None);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn a_service_more_on_a_checked_pool_takes_nothing_away() {
    let mut bench = checked().await;
    bench.document = with_service(with_vip(bench.document.clone(), 2), 2, 443, 1);
    let calls = bench.calls().await;
    assert_eq!(calls[..2], ["forward v1-80 v2-443", "verify v2-443"], "{calls:?}");
    assert!(calls[2].starts_with("check p1/b0/198.51.100.1:80 p1/b0/198.51.100.2:443"), "{calls:?}");
    assert_eq!((bench.withheld("v1"), bench.withheld("v2")), (vec![], vec!["first-results"]));
    assert_eq!(bench.condition("p1", "b0"), "usable");
    bench.all_checks(Verdict::Up);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1 198.51.100.2"]);
}

#[tokio::test]
async fn what_an_earlier_process_found_holds_from_the_first_pass() {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    bench.one_check("p1", "b0", HTTP, Verdict::Down);
    bench.one_check("p1", "b1", HTTP, Verdict::Up);
    let calls = bench.calls().await;
    assert_eq!(calls[3], "advertise 192.0.2.1 198.51.100.1", "{calls:?}");
    assert_eq!((bench.in_kernel("b0"), bench.in_kernel("b1")), (BackendState::Failed, BackendState::Usable));
}

#[test]
fn only_what_a_check_would_take_over_is_believed() {
    let document = with_check(one_vip(), 1);
    let of = |n, age| Adopted { address: backend_address(1, n), verdict: Verdict::Up, age };
    let cases = [
        ("p1", "b0", HTTP, of(0, Duration::from_secs(9)), true),
        ("p1", "b0", HTTP, of(0, Duration::from_secs(10)), false),
        ("p1", "b0", HTTP, of(1, Duration::ZERO), false),
        ("p1", "b0", "198.51.100.1:81", of(0, Duration::ZERO), false),
        ("p1", "b9", HTTP, of(0, Duration::ZERO), false),
        ("p2", "b0", HTTP, of(0, Duration::ZERO), false),
    ];
    for (pool, backend, check, adopted, is_believed) in cases {
        let key = CheckKey::new(pool, backend, check);
        let believed = checks::believed(&document, [(key.clone(), adopted)].into());
        assert_eq!(believed.contains_key(&key), is_believed, "{key:?} {adopted:?}");
    }
}

#[tokio::test]
async fn another_address_under_an_old_name_waits_for_a_check_of_its_own() {
    let mut bench = checked().await;
    let moved = backend_address(1, 7);
    let pool = bench.document.pools.get_mut("p1").expect("there");
    pool.backends.get_mut("b0").expect("there").address = moved;
    bench.hops = super::model::all_resolved(&bench.document);
    bench.calls().await;
    assert_eq!((bench.condition("p1", "b0"), bench.in_kernel("b0")), ("unknown", BackendState::Failed));
    bench.one_check("p1", "b0", HTTP, Verdict::Up);
    bench.calls().await;
    assert_eq!((bench.condition("p1", "b0"), bench.in_kernel("b0")), ("usable", BackendState::Usable));
}

#[tokio::test]
async fn another_address_of_a_vip_waits_for_first_results_and_another_name_for_nothing() {
    let mut bench = checked().await;
    let vip = bench.document.vips.remove("v1").expect("there");
    bench.document.vips.insert("www".into(), vip);
    bench.document.services.get_mut("v1-80").expect("there").vip = "www".into();
    bench.now += DRAIN_WAIT;
    assert_eq!(bench.calls().await, [""; 0], "renamed");
    bench.document.vips.get_mut("www").expect("there").prefix = vip_prefix(2);
    let calls = bench.calls().await;
    assert_eq!(calls[0], "advertise 192.0.2.1", "the old one goes first: {calls:?}");
    assert!(!calls.iter().any(|call| call.contains("advertise 192.0.2.1 ")), "{calls:?}");
    assert_eq!(bench.withheld("www"), ["first-results"]);
    bench.all_checks(Verdict::Up);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.2"]);
}

#[tokio::test]
async fn checks_added_to_a_pool_that_serves_take_nothing_away() {
    let mut bench = Bench::new(one_vip());
    bench.calls().await;
    bench.document = with_check(one_vip(), 1);
    assert_eq!(bench.calls().await, ["check p1/b0/198.51.100.1:80 p1/b1/198.51.100.1:80"]);
    assert_eq!((bench.withheld("v1"), bench.condition("p1", "b0")), (vec![], "unknown"));
    bench.document = one_vip();
    assert_eq!(bench.calls().await, ["check "]);
    assert_eq!(bench.calls().await, [""; 0]);
}

#[tokio::test]
async fn a_new_backend_of_a_known_pool_waits_for_its_check() {
    let mut bench = checked().await;
    bench.document = with_check(with_pool(bench.document.clone(), 1, &[Active, Active, Active]), 1);
    bench.hops = super::model::all_resolved(&bench.document);
    bench.calls().await;
    assert_eq!((bench.condition("p1", "b2"), bench.in_kernel("b2")), ("unknown", BackendState::Failed));
    bench.one_check("p1", "b2", HTTP, Verdict::Up);
    bench.calls().await;
    assert_eq!((bench.condition("p1", "b2"), bench.in_kernel("b2")), ("usable", BackendState::Usable));
}

#[tokio::test]
async fn checks_that_cannot_be_set_hold_nothing_up_but_what_waits_for_them() {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    bench.shared.world().check_fate = Fate::Fails;
    let failed: Vec<StepKind> = bench.pass().await.into_iter().map(|(step, _)| step).collect();
    assert_eq!((failed, bench.withheld("v1")), (vec![StepKind::Check], vec!["first-results"]));
    bench.shared.world().check_fate = Fate::Works;
    assert_eq!(bench.calls().await, ["check p1/b0/198.51.100.1:80 p1/b1/198.51.100.1:80"]);
}

#[tokio::test]
async fn a_packet_that_does_not_come_through_withdraws_and_is_made_again() {
    let mut bench = checked().await;
    bench.shared.world().verify_fate = Fate::Fails;
    bench.one_check("p1", "b0", HTTP, Verdict::Down);
    let failed: Vec<StepKind> = bench.pass().await.into_iter().map(|(step, _)| step).collect();
    assert_eq!((failed, bench.withheld("v1")), (vec![StepKind::Verify], vec!["dataplane"]));
    assert!(!bench.shared.world().advertised.contains(&vip_prefix(1)));
    bench.shared.world().verify_fate = Fate::Works;
    assert_eq!(bench.calls().await, ["verify v1-80"]);
    assert_eq!(bench.withheld("v1"), ["settle"], "a fault under an announced VIP counts");
    bench.now += Duration::from_secs(5);
    assert_eq!(bench.calls().await, ["advertise 192.0.2.1 198.51.100.1"]);
}

#[tokio::test]
async fn nothing_is_announced_untried() {
    let mut bench = Bench::new(one_vip());
    bench.shared.world().verify_fate = Fate::Fails;
    bench.pass().await;
    assert_eq!(bench.withheld("v1"), ["dataplane"]);
    bench.shared.world().verify_fate = Fate::Works;
    assert_eq!(bench.calls().await, ["verify v1-80", "advertise 192.0.2.1 198.51.100.1"]);
}
