// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The checker by script: what is published when, and what becomes of changed, removed and adopted checks.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::check::{CheckKind, CheckSpec, Route, SocketOptions};
use crate::failure::{Failure, Outcome};

const SEC: Duration = Duration::from_secs(1);
const REFUSED: Outcome = Err(Failure::Refused);

fn key(backend: &str) -> CheckKey {
    CheckKey::new("web", backend, "tcp")
}

fn check(port: u16) -> Check {
    let spec = Arc::new(CheckSpec::new(CheckKind::Tcp, Timing::default()).expect("valid"));
    let address = IpAddr::from([10, 1, 0, 1]);
    let target = SocketAddr::new(address, port);
    Check { spec, target, address, route: Route::Ready, socket: SocketOptions::default() }
}

fn set(names: &[&str]) -> BTreeMap<CheckKey, Check> {
    names.iter().map(|name| (key(name), check(80))).collect()
}

fn checker(names: &[&str]) -> (Checker, Instant) {
    let now = Instant::now();
    let mut checker = Checker::new(CheckerConfig::default(), now);
    assert_eq!(checker.handle_checks(set(names), now), 1);
    (checker, now)
}

/// Waits for the next attempt, as a driver would.
fn next_attempt(checker: &mut Checker, now: &mut Instant) -> Attempt {
    loop {
        *now = (*now).max(checker.schedule.poll_timeout().expect("something is due"));
        checker.handle_time(*now);
        if let Some(attempt) = checker.poll_start(*now) {
            return attempt;
        }
    }
}

/// One attempt of the only check, with this outcome.
fn round(checker: &mut Checker, now: &mut Instant, outcome: Outcome) {
    let attempt = next_attempt(checker, now);
    checker.handle_result(attempt.ticket, ProbeResult { outcome, duration: Duration::ZERO }, *now);
}

#[test]
fn a_snapshot_comes_with_a_change_and_only_then() {
    let (mut checker, mut now) = checker(&["b1"]);
    let first = checker.poll_snapshot(now).expect("the set is new");
    assert_eq!((first.set, first.verdict(&key("b1"))), (1, Verdict::Unknown));
    assert_eq!(first.verdict(&key("b2")), Verdict::Unknown, "not in the set");

    // Outcome, and the verdict that is published with it.
    let script = [
        (Ok(()), Some(Verdict::Up)),
        (Ok(()), None),
        (REFUSED, None),
        (REFUSED, None),
        (Ok(()), None),
        (REFUSED, None),
        (REFUSED, None),
        (REFUSED, Some(Verdict::Down)),
        (REFUSED, None),
        (Ok(()), None),
        (REFUSED, None),
        (Ok(()), None),
        (Err(Failure::Local), None),
        (Ok(()), Some(Verdict::Up)),
    ];
    for (index, (outcome, wanted)) in script.into_iter().enumerate() {
        round(&mut checker, &mut now, outcome);
        let published = checker.poll_snapshot(now);
        assert_eq!(published.as_ref().map(|snapshot| snapshot.verdict(&key("b1"))), wanted, "step {index}");
        if let Some(health) = published.and_then(|snapshot| snapshot.checks.get(&key("b1")).copied()) {
            assert_eq!(health.since, now);
            assert_eq!(health.cause, (health.verdict == Verdict::Down).then_some(Failure::Refused));
        }
    }
    let counters = checker.counters();
    assert_eq!((counters.successes, counters.transitions), (6, 3));
    assert_eq!(
        (counters.failures[Failure::Refused.index()], counters.failures[Failure::Local.index()]),
        (7, 1)
    );
}

#[test]
fn status_keeps_the_last_ten_results() {
    let (mut checker, mut now) = checker(&["b1"]);
    for _ in 0..12 {
        round(&mut checker, &mut now, Ok(()));
    }
    round(&mut checker, &mut now, REFUSED);
    let status = checker.status(Some("web"));
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].results.len(), PastResult::KEPT);
    assert_eq!(status[0].results[9], PastResult { at: now, duration: Duration::ZERO, outcome: REFUSED });
    assert!(status[0].results.is_sorted_by_key(|result| result.at));
    assert_eq!(status[0].state.progress(&Timing::default()), Some((1, 3)));
    assert!(checker.status(Some("api")).is_empty());
}

#[test]
fn a_changed_check_keeps_its_verdict_and_does_not_hear_old_results() {
    let (mut checker, mut now) = checker(&["b1"]);
    round(&mut checker, &mut now, Ok(()));
    let since = now;
    round(&mut checker, &mut now, REFUSED);
    round(&mut checker, &mut now, REFUSED);
    let old = next_attempt(&mut checker, &mut now);
    checker.handle_checks(BTreeMap::from([(key("b1"), check(81))]), now);
    checker.handle_result(old.ticket, ProbeResult { outcome: REFUSED, duration: Duration::ZERO }, now);
    assert_eq!(checker.status(None)[0].state, State::Up { since, failures: 2 });
    assert_eq!(checker.counters().stale, 1);
    let new = next_attempt(&mut checker, &mut now);
    assert_eq!(new.check.target.port(), 81);
    checker.handle_result(new.ticket, ProbeResult { outcome: REFUSED, duration: Duration::ZERO }, now);
    assert_eq!(checker.status(None)[0].state.verdict(), Verdict::Down);
}

#[test]
fn another_address_under_an_old_name_is_another_backend() {
    let (mut checker, mut now) = checker(&["b1"]);
    round(&mut checker, &mut now, Ok(()));
    let old = next_attempt(&mut checker, &mut now);
    let moved = Check { address: IpAddr::from([10, 1, 0, 2]), ..check(80) };
    checker.handle_checks(BTreeMap::from([(key("b1"), moved.clone())]), now);
    checker.handle_result(old.ticket, ProbeResult { outcome: Ok(()), duration: Duration::ZERO }, now);
    let snapshot = checker.poll_snapshot(now).expect("the set is new");
    let health = snapshot.checks[&key("b1")];
    assert_eq!((health.verdict, health.address), (Verdict::Unknown, moved.address));
    assert!(checker.status(None)[0].results.is_empty());
    round(&mut checker, &mut now, REFUSED);
    assert_eq!(checker.status(None)[0].state.verdict(), Verdict::Down);
}

#[test]
fn a_check_that_comes_back_is_a_new_one() {
    let (mut checker, mut now) = checker(&["b1"]);
    round(&mut checker, &mut now, REFUSED);
    let old = {
        now += 10 * SEC;
        next_attempt(&mut checker, &mut now)
    };
    checker.handle_checks(set(&["b2"]), now);
    let set = checker.handle_checks(set(&["b1"]), now);
    checker.handle_result(old.ticket, ProbeResult { outcome: REFUSED, duration: Duration::ZERO }, now);
    let snapshot = checker.poll_snapshot(now).expect("the set is new");
    assert_eq!((set, snapshot.set, snapshot.checks.len()), (3, 3, 1));
    assert_eq!(snapshot.verdict(&key("b1")), Verdict::Unknown, "no stale failed mark");
    assert_eq!(checker.counters().in_flight, 0);
}

#[test]
fn a_young_verdict_of_an_earlier_run_is_taken_over_once() {
    let now = Instant::now();
    let address = check(80).address;
    let of = |verdict, age| Adopted { address, verdict, age };
    let elsewhere = Adopted { address: IpAddr::from([10, 1, 0, 2]), ..of(Verdict::Up, SEC) };
    let adopted = BTreeMap::from([
        (key("up"), of(Verdict::Up, 4 * SEC)),
        (key("down"), of(Verdict::Down, 9 * SEC)),
        (key("moved"), elsewhere),
        (key("old"), of(Verdict::Up, 10 * SEC)),
        (key("late"), of(Verdict::Up, 9 * SEC)),
    ]);
    let mut checker = Checker::new(CheckerConfig { adopted, ..CheckerConfig::default() }, now);
    checker.handle_checks(set(&["up", "down", "old", "moved"]), now);
    let snapshot = checker.poll_snapshot(now).expect("the set is new");
    let verdicts = ["up", "down", "old", "moved"].map(|name| snapshot.verdict(&key(name)));
    assert_eq!(verdicts, [Verdict::Up, Verdict::Down, Verdict::Unknown, Verdict::Unknown]);

    // Two seconds later "late" is too old, and "up" was taken over before.
    checker.handle_checks(BTreeMap::new(), now + SEC);
    checker.handle_checks(set(&["late", "up"]), now + 2 * SEC);
    let snapshot = checker.poll_snapshot(now).expect("the set is new");
    assert_eq!(snapshot.counts(), [2, 0, 0]);
}

#[test]
fn verdicts_that_change_together_are_told_together() {
    let (mut checker, mut now) = checker(&["b1", "b2", "b3"]);
    checker.poll_snapshot(now).expect("the set is new");
    now += 10 * SEC;
    checker.handle_time(now);
    // Two at once, as one address allows; the third when one of them has ended.
    let mut attempts: Vec<_> = std::iter::from_fn(|| checker.poll_start(now)).collect();
    let mut pass = |checker: &mut Checker, now| {
        let attempt = attempts.pop().unwrap_or_else(|| checker.poll_start(now).expect("due"));
        checker.handle_result(attempt.ticket, ProbeResult { outcome: Ok(()), duration: Duration::ZERO }, now);
    };
    pass(&mut checker, now);
    let first = checker.poll_snapshot(now).expect("told at once");
    assert_eq!(first.counts(), [2, 1, 0]);
    pass(&mut checker, now);
    pass(&mut checker, now + SNAPSHOT_SPACING / 2);
    assert_eq!(checker.poll_snapshot(now + SNAPSHOT_SPACING / 2), None);
    let told_at = checker.poll_timeout().expect("something to tell");
    assert_eq!(told_at, now + SNAPSHOT_SPACING);
    assert_eq!(checker.poll_snapshot(told_at).expect("told").counts(), [0, 3, 0]);
    assert_eq!(checker.poll_snapshot(told_at + SEC), None);
}

#[test]
fn counters_of_a_pool_follow_the_set() {
    let (mut checker, mut now) = checker(&["b1"]);
    round(&mut checker, &mut now, Ok(()));
    round(&mut checker, &mut now, REFUSED);
    let attempt = next_attempt(&mut checker, &mut now);
    let slow = ProbeResult { outcome: Err(Failure::TimeoutRead), duration: 9 * SEC };
    checker.handle_result(attempt.ticket, slow, now);
    let web = (Arc::from("web"), "tcp");
    let counted = checker.counters().pools.remove(&web).expect("the pool has a check");
    assert_eq!((counted.successes, counted.failures.iter().sum::<u64>()), (1, 2));
    assert_eq!(counted.failures[Failure::Refused.index()], 1);
    assert_eq!((counted.durations[0], counted.durations.last()), (2, Some(&1)));
    assert_eq!(counted.duration_sum, 9 * SEC);
    // Another check of the pool takes the place of the first: the counters stay, since the pool does.
    checker.handle_checks(set(&["b2"]), now);
    assert_eq!(checker.counters().pools[&web], counted);
    checker.handle_checks(BTreeMap::new(), now);
    assert!(checker.counters().pools.is_empty());
}

#[test]
fn the_bounds_of_durations_double() {
    let bounds = crate::snapshot::PoolCounters::BOUNDS;
    assert_eq!((bounds[0], bounds[13]), (Duration::from_micros(500), Duration::from_micros(4_096_000)));
    assert!(bounds.windows(2).all(|pair| pair[1] == 2 * pair[0]));
}
