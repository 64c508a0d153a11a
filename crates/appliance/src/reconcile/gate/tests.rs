// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The gate by stories, by a table of all reasons, and by random health over simulated time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::model::{AnnouncePolicy, High, Mark, Require};
use crate::overrides::Target;

const SECOND: Duration = Duration::from_secs(1);

/// A service with `usable` of `backends` backends of weight 100, checked.
fn service(name: &str, usable: u32, backends: u32) -> ServiceFacts {
    ServiceFacts {
        name: name.into(),
        usable,
        backends,
        all: backends,
        usable_weight: u64::from(usable) * 100,
        weight: u64::from(backends) * 100,
        is_link_down: false,
        has_first_results: true,
    }
}

fn facts(usable: u32, backends: u32) -> Facts {
    Facts { services: vec![service("web", usable, backends)], ..Facts::default() }
}

fn with(mut facts: Facts, change: impl FnOnce(&mut AnnouncePolicy)) -> Facts {
    change(&mut facts.policy);
    facts
}

fn withheld_by_operator(facts: Facts) -> Facts {
    let by = WithheldBy::Override {
        target: Target::Vip("www".into()),
        author: "eve".into(),
        reason: "maintenance".into(),
        until: None,
    };
    Facts { withheld_by: Some(by), ..facts }
}

/// A gate, a clock, and peers that are told whatever the gate says.
struct Bench {
    gate: Gate,
    now: Instant,
    is_told: bool,
}

impl Bench {
    fn new() -> Self {
        Self { gate: Gate::default(), now: Instant::now(), is_told: false }
    }

    /// A gate that has announced its VIP.
    fn up() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.decide(&facts(3, 3)), Verdict::Announce);
        bench
    }

    fn decision(&mut self, facts: &Facts) -> Decision {
        let decision = self.gate.decide(facts, self.now);
        let was_told = std::mem::replace(&mut self.is_told, decision.verdict != Verdict::Withhold);
        let outcome = Outcome { was_told, is_told: self.is_told, is_in_place: true };
        self.gate.handle_outcome(outcome, self.now);
        decision
    }

    fn decide(&mut self, facts: &Facts) -> Verdict {
        self.decision(facts).verdict
    }

    fn after(&mut self, wait: Duration, facts: &Facts) -> Verdict {
        self.now += wait;
        self.decide(facts)
    }

    /// Forwarding is lost under the decision, and the VIP withdrawn for it.
    fn lose_forwarding(&mut self) {
        let was_told = std::mem::replace(&mut self.is_told, false);
        self.gate.handle_outcome(Outcome { was_told, is_told: false, is_in_place: false }, self.now);
    }
}

#[test]
fn a_restart_loses_nothing_that_was_borne() {
    let now = Instant::now();
    let vip = "198.51.100.10/32".parse().unwrap();
    // One of five: more than `low`, less than the usual `high`.
    let (borne, nothing) = (facts(1, 5), facts(0, 5));
    let mut unchecked = borne.clone();
    unchecked.services[0].has_first_results = false;
    let verdict =
        |gates: &mut Gates, facts: &Facts| gates.decide([(vip, facts)].into_iter(), now)[0].1.verdict;

    let mut first = Gates::default();
    assert_eq!(verdict(&mut first, &borne), Verdict::Withhold, "nobody holds it yet");

    let mut gates = Gates::default();
    gates.resume();
    for facts in [&nothing, &unchecked] {
        assert_eq!(verdict(&mut gates, facts), Verdict::Withhold);
    }
    assert_eq!(verdict(&mut gates, &borne), Verdict::Announce);
    gates.handle_complete();
    assert_eq!(verdict(&mut gates, &borne), Verdict::Announce, "as before the restart");

    let mut late = Gates::default();
    late.resume();
    assert_eq!(verdict(&mut late, &nothing), Verdict::Withhold);
    late.handle_complete();
    assert_eq!(verdict(&mut late, &borne), Verdict::Withhold, "peers have let go of it");
}

fn reasons(decision: &Decision) -> Vec<&'static str> {
    let reasons: BTreeSet<Reason> = decision.whys.iter().map(|why| why.reason).collect();
    reasons.into_iter().map(Reason::name).collect()
}

/// The sentences, by a calendar in which the test's clock starts at noon.
fn messages(decision: &Decision, noon: Instant) -> Vec<String> {
    let wall = |at: Instant| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3_600) + at.saturating_duration_since(noon)
    };
    decision.whys.iter().map(|why| why.message(wall)).collect()
}

#[test]
fn the_first_announcement_needs_results_but_no_hold() {
    let mut bench = Bench::new();
    let mut waiting = facts(3, 3);
    waiting.services[0].has_first_results = false;
    let decision = bench.decision(&waiting);
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["first-results"]));
    assert_eq!(bench.decide(&facts(3, 3)), Verdict::Announce);
}

#[test]
fn nothing_usable_withdraws_at_once_and_coming_back_takes_the_hold() {
    let mut bench = Bench::up();
    let noon = bench.now;
    let decision = bench.decision(&facts(0, 3));
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["backends"]));
    assert_eq!(bench.after(SECOND, &facts(0, 3)), Verdict::Withhold);
    bench.now += SECOND;
    let decision = bench.decision(&facts(3, 3));
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["settle"]));
    assert_eq!(decision.wake_at, Some(bench.now + 5 * SECOND));
    assert_eq!(messages(&decision, noon), ["held until 12:00:07 UTC after 1 withdrawal in 5 min"]);
    assert_eq!(bench.after(5 * SECOND - Duration::from_millis(1), &facts(3, 3)), Verdict::Withhold);
    assert_eq!(bench.after(Duration::from_millis(1), &facts(3, 3)), Verdict::Announce);
}

#[test]
fn less_than_low_is_tolerated_for_the_down_hold() {
    let short = with(facts(1, 5), |policy| policy.low = Mark::Backends(2));
    let enough = with(facts(2, 5), |policy| policy.low = Mark::Backends(2));
    let mut bench = Bench::up();
    let noon = bench.now;
    let decision = bench.decision(&short);
    assert_eq!((decision.verdict, decision.wake_at), (Verdict::Announce, Some(bench.now + 3 * SECOND)));
    let sentence = "service `web`: 1 of 5 backends usable (20 % of the weight), 2 needed; tolerated until ";
    assert_eq!(messages(&decision, noon), [format!("{sentence}12:00:03 UTC")]);
    assert_eq!(bench.after(2 * SECOND, &enough), Verdict::Announce);
    // The time begins anew.
    assert_eq!(bench.after(SECOND, &short), Verdict::Announce);
    assert_eq!(bench.after(3 * SECOND, &short), Verdict::Withhold);
}

#[test]
fn between_the_marks_nothing_changes() {
    let between = |usable| {
        with(facts(usable, 10), |policy| {
            policy.low = Mark::Percent(20);
            policy.high = High::Mark(Mark::Percent(50));
        })
    };
    let mut bench = Bench::up();
    assert_eq!(bench.after(60 * SECOND, &between(2)), Verdict::Announce);
    assert_eq!(bench.after(60 * SECOND, &between(1)), Verdict::Announce);
    assert_eq!(bench.after(3 * SECOND, &between(1)), Verdict::Withhold);
    assert_eq!(bench.after(60 * SECOND, &between(4)), Verdict::Withhold);
    assert_eq!(bench.decide(&between(5)), Verdict::Withhold);
    assert_eq!(bench.after(5 * SECOND, &between(5)), Verdict::Announce);
}

#[test]
fn the_usual_upper_mark_is_two_backends_or_three_tenths() {
    for (usable, backends, expected) in [
        (1, 1, Verdict::Announce),
        (1, 3, Verdict::Announce),
        (1, 4, Verdict::Withhold),
        (2, 1_000, Verdict::Announce),
        (0, 0, Verdict::Withhold),
    ] {
        assert_eq!(Bench::new().decide(&facts(usable, backends)), expected, "{usable} of {backends}");
    }
}

#[test]
fn the_brake_holds_longer_each_time_and_says_so() {
    let mut bench = Bench::up();
    let mut holds = Vec::new();
    for _ in 0..4 {
        assert_eq!(bench.decide(&facts(0, 3)), Verdict::Withhold);
        let noon = bench.now;
        let decision = bench.decision(&facts(3, 3));
        let held_until = decision.wake_at.expect("it is held");
        holds.push(held_until.duration_since(bench.now).as_secs());
        if holds.len() == 4 {
            let message = messages(&decision, noon).remove(0);
            assert!(message.ends_with(" after 4 withdrawals in 5 min"), "{message}");
        }
        bench.now = held_until;
        assert_eq!(bench.decide(&facts(3, 3)), Verdict::Announce);
    }
    // Each withdrawal doubles the hold, less what the ones before have lost meanwhile.
    assert_eq!(holds, [5, 9, 16, 23]);
}

#[test]
fn what_operators_do_is_no_flap() {
    let mut bench = Bench::up();
    let decision = bench.decision(&withheld_by_operator(facts(3, 3)));
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["admin"]));
    assert_eq!(messages(&decision, bench.now), ["withheld by eve: maintenance"]);
    assert_eq!(bench.after(5 * SECOND, &facts(3, 3)), Verdict::Announce, "it was fit all the time");
    bench.decide(&withheld_by_operator(facts(0, 3)));
    let decision = bench.decision(&facts(3, 3));
    assert_eq!(reasons(&decision), ["settle"], "it was not");
    assert_eq!(decision.wake_at, Some(bench.now + 5 * SECOND), "and the brake does not know of either");
}

#[test]
fn a_stop_withdraws_at_once() {
    let mut bench = Bench::up();
    let stopping = Facts { withheld_by: Some(WithheldBy::Stopping), ..facts(3, 3) };
    assert_eq!(bench.decide(&stopping), Verdict::Withhold);
}

#[test]
fn with_a_drain_time_peers_get_to_turn_away_first() {
    let leaving = |usable| Facts { drain_time: 2 * SECOND, ..withheld_by_operator(facts(usable, 3)) };
    let mut bench = Bench::up();
    let noon = bench.now;
    let decision = bench.decision(&leaving(3));
    assert_eq!((decision.verdict, decision.wake_at), (Verdict::Leave, Some(noon + 2 * SECOND)));
    let told = [
        "withheld by eve: maintenance",
        "announced with the least preference (GRACEFUL_SHUTDOWN) until 12:00:02 UTC, then withdrawn",
    ];
    assert_eq!(messages(&decision, noon), told);
    assert_eq!(bench.after(SECOND, &leaving(1)), Verdict::Leave, "the time is not begun anew");
    assert_eq!(bench.after(SECOND, &leaving(3)), Verdict::Withhold);
    assert_eq!(bench.after(3 * SECOND, &leaving(3)), Verdict::Withhold, "not again");
    assert_eq!(bench.decide(&facts(3, 3)), Verdict::Announce, "it was fit all the time");
}

#[test]
fn a_vip_that_leaves_stays_when_it_is_taken_back() {
    let leaving = Facts { drain_time: 2 * SECOND, ..withheld_by_operator(facts(3, 3)) };
    let mut bench = Bench::up();
    assert_eq!(bench.decide(&leaving), Verdict::Leave);
    assert_eq!(bench.after(SECOND, &facts(3, 3)), Verdict::Announce);
    assert_eq!(bench.decide(&leaving), Verdict::Leave);
    assert_eq!(bench.decide(&facts(0, 3)), Verdict::Withhold, "but not whatever became of its backends");
}

#[test]
fn what_cannot_serve_does_not_linger() {
    let leaving = |usable| Facts { drain_time: 2 * SECOND, ..withheld_by_operator(facts(usable, 3)) };
    let mut bench = Bench::up();
    assert_eq!(bench.decide(&leaving(3)), Verdict::Leave);
    assert_eq!(bench.decide(&leaving(0)), Verdict::Withhold, "nothing usable");
    let mut bench = Bench::up();
    assert_eq!(bench.decide(&leaving(3)), Verdict::Leave);
    bench.lose_forwarding();
    assert_eq!(bench.decide(&leaving(3)), Verdict::Withhold, "no forwarding");
    assert_eq!(bench.decide(&facts(3, 3)), Verdict::Withhold, "the hold of what was lost");
    assert_eq!(bench.after(5 * SECOND, &facts(3, 3)), Verdict::Announce, "which the brake does not lengthen");
    let mut bench = Bench::up();
    assert_eq!(bench.decide(&leaving(3)), Verdict::Leave);
    let hurried = Facts { drain_time: Duration::ZERO, ..leaving(3) };
    assert_eq!(bench.decide(&hurried), Verdict::Withhold, "a second signal");
    let mut bench = Bench::new();
    assert_eq!(bench.decide(&leaving(3)), Verdict::Withhold, "what was never announced");
}

#[test]
fn our_own_faults_withdraw_at_once_whatever_the_policy_is() {
    for on_all_down in [OnAllDown::Withdraw, OnAllDown::Deprioritise, OnAllDown::Keep] {
        let mut down = with(facts(0, 3), |policy| policy.on_all_down = on_all_down);
        down.services[0].is_link_down = true;
        let decision = Bench::up().decision(&down);
        assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["uplink"]));
    }
}

#[test]
fn lost_forwarding_counts_as_a_withdrawal() {
    let mut bench = Bench::up();
    bench.lose_forwarding();
    let decision = bench.decision(&facts(3, 3));
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Withhold, vec!["settle"]));
    // As long as it is not in place again, the hold does not begin.
    bench.now += 4 * SECOND;
    bench.lose_forwarding();
    assert_eq!(bench.after(4 * SECOND, &facts(3, 3)), Verdict::Withhold);
    assert_eq!(bench.after(5 * SECOND, &facts(3, 3)), Verdict::Announce);
    // Before the first announcement it is no withdrawal.
    let mut bench = Bench::new();
    let decision = bench.gate.decide(&facts(3, 3), bench.now);
    assert_eq!(decision.verdict, Verdict::Announce);
    bench.lose_forwarding();
    assert_eq!(bench.decide(&facts(3, 3)), Verdict::Announce);
}

#[test]
fn all_down_goes_three_ways() {
    let all_down = |usable, on_all_down| with(facts(usable, 3), |policy| policy.on_all_down = on_all_down);
    let mut keeping = Bench::up();
    let decision = keeping.decision(&all_down(0, OnAllDown::Keep));
    assert_eq!((decision.verdict, reasons(&decision)), (Verdict::Announce, vec!["backends"]));
    assert!(messages(&decision, keeping.now)[1].contains("`keep`"));
    assert_eq!(keeping.after(600 * SECOND, &all_down(3, OnAllDown::Keep)), Verdict::Announce);

    let mut last_resort = Bench::up();
    let decision = last_resort.decision(&all_down(0, OnAllDown::Deprioritise));
    assert_eq!(decision.verdict, Verdict::Deprioritise);
    assert!(messages(&decision, last_resort.now)[0].contains("GRACEFUL_SHUTDOWN"));
    assert_eq!(last_resort.decide(&all_down(3, OnAllDown::Deprioritise)), Verdict::Deprioritise);
    assert_eq!(last_resort.after(5 * SECOND, &all_down(3, OnAllDown::Deprioritise)), Verdict::Announce);

    // Neither brings up what was not announced.
    assert_eq!(Bench::new().decide(&all_down(0, OnAllDown::Keep)), Verdict::Withhold);
    assert_eq!(Bench::new().decide(&all_down(0, OnAllDown::Deprioritise)), Verdict::Withhold);
}

#[test]
fn less_than_low_is_no_worse_than_nothing() {
    let short = with(facts(1, 5), |policy| {
        policy.low = Mark::Backends(2);
        policy.on_all_down = OnAllDown::Keep;
    });
    let mut bench = Bench::up();
    bench.decide(&short);
    assert_eq!(bench.after(600 * SECOND, &short), Verdict::Announce);
}

#[test]
fn which_services_matter_is_for_the_policy_to_say() {
    let two = |web, dns, require: Require| {
        let mut facts = with(facts(web, 3), |policy| policy.require = require);
        facts.services.push(service("dns", dns, 3));
        facts
    };
    let named = Require::Services(BTreeSet::from(["dns".to_owned()]));
    for (web, dns, require, expected) in [
        (3, 0, Require::All, Verdict::Withhold),
        (3, 0, Require::Any, Verdict::Announce),
        (0, 0, Require::Any, Verdict::Withhold),
        (3, 0, named.clone(), Verdict::Withhold),
        (0, 3, named.clone(), Verdict::Announce),
    ] {
        assert_eq!(Bench::new().decide(&two(web, dns, require.clone())), expected, "first {require:?}");
        assert_eq!(Bench::up().decide(&two(web, dns, require.clone())), expected, "later {require:?}");
    }
    let decision = Bench::new().decision(&two(0, 0, Require::Any));
    assert_eq!(decision.whys.len(), 2, "any of both would do");
}

#[test]
fn missing_first_results_do_not_withdraw() {
    let mut again = facts(3, 3);
    again.services[0].has_first_results = false;
    assert_eq!(Bench::up().decide(&again), Verdict::Announce);
}

#[test]
fn another_policy_keeps_the_memory() {
    let mut gates = Gates::default();
    let (www, now) = (Prefix::host(IpAddr::from([198, 51, 100, 10])), Instant::now());
    let mut decide = |facts: &Facts, at| gates.decide([(www, facts)].into_iter(), at).remove(0).1;
    assert_eq!(decide(&facts(3, 3), now).verdict, Verdict::Announce);
    let stricter = with(facts(2, 3), |policy| policy.high = High::Mark(Mark::Backends(3)));
    assert_eq!(decide(&stricter, now).verdict, Verdict::Announce, "still above `low`");
}

#[test]
fn another_word_on_all_down_holds_for_who_is_down_already() {
    let by = |usable, on_all_down| with(facts(usable, 3), |policy| policy.on_all_down = on_all_down);
    let last_resort = || {
        let mut bench = Bench::up();
        assert_eq!(bench.decide(&by(0, OnAllDown::Deprioritise)), Verdict::Deprioritise);
        bench
    };
    assert_eq!(last_resort().decide(&by(0, OnAllDown::Withdraw)), Verdict::Withhold);
    assert_eq!(last_resort().decide(&by(0, OnAllDown::Keep)), Verdict::Announce);
    assert_eq!(
        last_resort().decide(&by(3, OnAllDown::Withdraw)),
        Verdict::Deprioritise,
        "about to come back"
    );
}

/// Every reason has a state of affairs that leads to it, and a sentence.
#[test]
fn every_reason_is_reached_and_says_what_is_missing() {
    let noon = Instant::now();
    let changed = |change: fn(&mut ServiceFacts)| {
        let mut facts = facts(0, 3);
        change(&mut facts.services[0]);
        facts
    };
    let cases: Vec<(Facts, Reason, &str)> = vec![
        (
            Facts { withheld_by: Some(WithheldBy::Stopping), ..facts(3, 3) },
            Reason::Admin,
            "the appliance is stopping",
        ),
        (withheld_by_operator(facts(3, 3)), Reason::Admin, "withheld by eve: maintenance"),
        (Facts::default(), Reason::Backends, "no service uses this VIP"),
        (
            facts(0, 3),
            Reason::Backends,
            "service `web`: 0 of 3 backends usable, 2 (or 30 % of the weight) needed to be announced",
        ),
        (facts(0, 1), Reason::Backends, "service `web`: 0 of 1 backends usable, 1 needed to be announced"),
        (
            with(facts(1, 3), |policy| policy.high = High::Mark(Mark::Percent(50))),
            Reason::Backends,
            "service `web`: 1 of 3 backends usable (33 % of the weight), 50 % of the weight needed to be announced",
        ),
        (
            changed(|service| (service.backends, service.weight) = (0, 0)),
            Reason::Backends,
            "service `web`: all 3 backends are drained or disabled, 2 (or 30 % of the weight) needed to be announced",
        ),
        (
            changed(|service| service.is_link_down = true),
            Reason::Uplink,
            "service `web`: every backend is behind an interface that is down or gone",
        ),
        (
            changed(|service| (service.usable, service.has_first_results) = (3, false)),
            Reason::FirstResults,
            "service `web`: waiting for the first health checks",
        ),
    ];
    let mut reached = BTreeSet::new();
    for (facts, reason, sentence) in cases {
        let decision = Gate::default().decide(&facts, noon);
        assert_eq!(decision.verdict, Verdict::Withhold);
        assert_eq!(decision.whys.iter().map(|why| why.reason).collect::<Vec<_>>(), [reason]);
        assert_eq!(messages(&decision, noon), [sentence]);
        reached.insert(reason);
    }
    let mut bench = Bench::up();
    bench.decide(&facts(0, 3));
    reached.extend(bench.decision(&facts(3, 3)).whys.iter().map(|why| why.reason));
    // What `plan` adds, told in its own tests.
    reached.insert(Reason::Dataplane);
    assert_eq!(reached, Reason::ALL.into());
}

/// One moment of random health.
#[derive(Debug, Clone)]
struct Moment {
    wait: Duration,
    usable: u32,
    is_withheld: bool,
    drain_time: Duration,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let drain_time = prop_oneof![Just(0_u64), 1..3_000_u64];
    let moment = (0..4_000_u64, 0..6_u32, prop::bool::weighted(0.05), drain_time).prop_map(
        |(ms, usable, is_withheld, drain_ms)| Moment {
            wait: Duration::from_millis(ms),
            usable,
            is_withheld,
            drain_time: Duration::from_millis(drain_ms),
        },
    );
    prop::collection::vec(moment, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Down is never later than the hold, up never earlier; what is withheld says why; an announced VIP has enough.
    #[test]
    fn random_health_flaps_no_faster_than_the_holds(moments in moments()) {
        let policy = AnnouncePolicy { low: Mark::Backends(2), ..AnnouncePolicy::default() };
        let mut bench = Bench::new();
        let mut before = Verdict::Withhold;
        let (mut fit_since, mut short_since): (Option<Instant>, Option<Instant>) = (None, None);
        let mut is_first = true;
        for Moment { wait, usable, is_withheld, drain_time } in moments {
            let mut now = with(facts(usable, 5), |of| *of = policy.clone());
            if is_withheld {
                now = withheld_by_operator(now);
            }
            now.drain_time = drain_time;
            // As the reconciler does: it also looks when a gate asked for it.
            bench.now += wait;
            let decision = bench.decision(&now);
            fit_since = if usable >= 2 { fit_since.or(Some(bench.now)) } else { None };
            short_since = if usable < 2 { short_since.or(Some(bench.now)) } else { None };
            let fit = fit_since.map(|since| bench.now.duration_since(since));
            let short = short_since.map(|since| bench.now.duration_since(since));
            match decision.verdict {
                Verdict::Announce => {
                    prop_assert!(!is_withheld && usable > 0);
                    prop_assert!(short.is_none_or(|short| short < policy.down_hold));
                    if before == Verdict::Withhold {
                        prop_assert!(is_first || fit >= Some(policy.up_hold), "{fit:?}");
                        is_first = false;
                    }
                }
                Verdict::Withhold => prop_assert!(!decision.whys.is_empty()),
                Verdict::Deprioritise => prop_assert!(false, "not by this policy"),
                Verdict::Leave => {
                    prop_assert!(is_withheld && usable > 0 && before != Verdict::Withhold);
                    prop_assert!(decision.wake_at.is_some_and(|at| at <= bench.now + now.drain_time));
                }
            }
            prop_assert!(decision.wake_at.is_none_or(|at| at > bench.now), "a wake-up in the past would spin");
            prop_assert!(fit.is_none_or(|fit| fit < HOLD_MAX || is_withheld || decision.verdict == Verdict::Announce));
            before = decision.verdict;
        }
    }
}
