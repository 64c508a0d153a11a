// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The status that readers see: since when, when decided, when in force, and what changed from one to the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use weir_health::Verdict;

use super::model::{Bench, one_vip, vip_prefix, with_check};
use crate::reconcile::apply::{Pass, Telling};
use crate::reconcile::plan;
use crate::reconcile::publish::{Calendar, Report};
use crate::reconcile::status::{ChangeKind, CheckSummary, ReconcileStatus, changes};

/// The status after a pass that did `pass`, and the one before it.
fn publish(bench: &mut Bench, calendar: Calendar, before: &ReconcileStatus, pass: &Pass) -> ReconcileStatus {
    let desired = bench.desired();
    let against = plan::against(&desired, &bench.observed);
    let report = Report {
        desired: &desired,
        pass,
        against: &against,
        is_in_force: plan::is_in_force(&desired, &bench.observed, bench.now),
        ended: bench.now,
        calendar,
    };
    let told = bench.shared.world().advertised.clone();
    ReconcileStatus {
        vips: report.vips(before, |vip| told.contains(&vip.prefix)).into(),
        pools: desired.pools.clone(),
        backends: report.backends(before).into(),
        ..ReconcileStatus::default()
    }
}

#[tokio::test]
async fn a_backend_says_when_it_was_judged_and_when_the_rows_followed() {
    let mut bench = Bench::new(with_check(one_vip(), 1));
    let calendar = Calendar::new(bench.now, SystemTime::UNIX_EPOCH);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    bench.calls().await;
    bench.all_checks(Verdict::Up);
    bench.calls().await;
    let before = publish(&mut bench, calendar, &ReconcileStatus::default(), &Pass::default());
    let key = ("p1".to_owned(), "b0".to_owned());
    assert_eq!((before.backends[&key].since, before.backends[&key].in_force_at), (at(0), Some(at(0))));
    assert_eq!(before.pools["p1"].usable, 2);
    bench.now += Duration::from_secs(10);
    bench.one_check("p1", "b0", "198.51.100.1:80", Verdict::Down);
    bench.now += Duration::from_secs(1);
    // Judged, not in force yet.
    let between = publish(&mut bench, calendar, &before, &Pass::default());
    let b0 = &between.backends[&key];
    assert_eq!((b0.verdict_at, b0.since, b0.in_force_at), (Some(at(10)), at(11), None));
    assert_eq!(b0.check, CheckSummary::Down { cause: "refused".into() });
    bench.calls().await;
    let pass = Pass { forwarded_at: Some(bench.now), ..Pass::default() };
    bench.now += Duration::from_secs(1);
    let after = publish(&mut bench, calendar, &between, &pass);
    assert_eq!((after.backends[&key].since, after.backends[&key].in_force_at), (at(11), Some(at(11))));
    bench.now += Duration::from_secs(100);
    let later = publish(&mut bench, calendar, &after, &Pass::default());
    assert_eq!(later.backends[&key], after.backends[&key], "nothing changed");
    let edges = changes(&before, &after);
    assert_eq!(edges.len(), 1);
    let edge = &edges[0];
    assert_eq!((edge.kind, edge.object.as_str()), (ChangeKind::Backend, "p1/b0"));
    assert_eq!(
        (edge.from, edge.to, edge.message.as_deref()),
        (Some("usable"), Some("failed"), Some("refused"))
    );
}

#[tokio::test]
async fn a_vip_says_when_it_was_decided_and_when_peers_were_told() {
    let mut bench = Bench::new(one_vip());
    let calendar = Calendar::new(bench.now, SystemTime::UNIX_EPOCH);
    bench.calls().await;
    let telling = Telling { decided_at: bench.now, told_at: bench.now + Duration::from_micros(700) };
    let pass = Pass { told: BTreeMap::from([(vip_prefix(1), telling)]), ..Pass::default() };
    let announced = publish(&mut bench, calendar, &ReconcileStatus::default(), &pass);
    let v1 = &announced.vips["v1"];
    assert!(v1.is_told && v1.wanted && v1.conditions.is_empty());
    assert_eq!(v1.told_at.zip(v1.decided_at).map(|(told, decided)| told.duration_since(decided).unwrap()), {
        Some(Duration::from_micros(700))
    });
    bench.hops.clear();
    bench.now += Duration::from_secs(5);
    bench.calls().await;
    let withdrawn = publish(&mut bench, calendar, &announced, &Pass::default());
    let v1 = &withdrawn.vips["v1"];
    assert_eq!((v1.announced, v1.withdrawn, v1.is_told), (1, 1, false));
    let why = &v1.conditions[0];
    assert!(why.message.starts_with("service `v1-80`: 0 of 2 backends usable"), "{}", why.message);
    assert_eq!(why.since, SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    let of_vip: Vec<_> =
        changes(&announced, &withdrawn).into_iter().filter(|one| one.kind == ChangeKind::Vip).collect();
    assert_eq!(of_vip.len(), 1);
    assert_eq!((of_vip[0].from, of_vip[0].to), (Some("announced"), Some("withheld")));
    assert_eq!(of_vip[0].code.as_deref(), Some("backends"));
    let gone = changes(&announced, &ReconcileStatus::default());
    assert!(gone.iter().any(|one| one.kind == ChangeKind::Vip && one.to.is_none()));
}

#[test]
fn the_calendar_follows_a_clock_that_was_set_and_no_jitter() {
    let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let mut calendar = Calendar::new(start, wall);
    let later = start + Duration::from_secs(10);
    calendar.handle_reading(later, wall + Duration::from_millis(10_150));
    assert_eq!(calendar.wall(later), wall + Duration::from_secs(10));
    calendar.handle_reading(later, wall - Duration::from_secs(500));
    assert_eq!(calendar.wall(later), wall - Duration::from_secs(500));
    assert_eq!(calendar.wall(start), wall - Duration::from_secs(510));
}
