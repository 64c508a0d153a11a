// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine as a table, and what must hold for any sequence of results.

use proptest::prelude::*;

use super::*;

const FAIL: Outcome = Err(Failure::Refused);
const LOCAL: Outcome = Err(Failure::Local);
const PASS: Outcome = Ok(());
const FULL: Confidence = Confidence::Full;
const LATE: Confidence = Confidence::Overloaded;

/// `fall` 3, `rise` 2.
fn timing() -> Timing {
    Timing::default()
}

/// A state without its times: `U`, `+n` is up with n failures, `-n` is down with n successes, `?` down by one failure.
fn short(state: &State) -> String {
    match state {
        State::Unknown { .. } => "U".to_owned(),
        State::Up { failures, .. } => format!("+{failures}"),
        State::Down { tentative: true, .. } => "?".to_owned(),
        State::Down { successes, .. } => format!("-{successes}"),
    }
}

fn long(short: &str, since: Instant) -> State {
    match short {
        "U" => State::Unknown { since },
        "+0" | "+1" | "+2" => State::Up { since, failures: short[1..].parse().expect("a digit") },
        "?" => State::Down { since, successes: 0, cause: Some(Failure::Body), tentative: true },
        "-0" | "-1" => {
            let successes = short[1..].parse().expect("a digit");
            State::Down { since, successes, cause: Some(Failure::Body), tentative: false }
        }
        other => panic!("no state {other}"),
    }
}

/// Every state with every event: before, outcome, confidence, after, next wait in milliseconds (`d` counts from due).
#[rustfmt::skip]
const TABLE: &[(&str, Outcome, Confidence, &str, &str)] = &[
    ("U",  PASS,  FULL, "+0", "d2000"), ("U",  FAIL,  FULL, "?",  "500"),
    ("U",  LOCAL, FULL, "U",  "d2000"), ("U",  PASS,  LATE, "+0", "d2000"),
    ("U",  FAIL,  LATE, "U",  "5000"),  ("U",  LOCAL, LATE, "U",  "5000"),

    ("+0", PASS,  FULL, "+0", "d2000"), ("+0", FAIL,  FULL, "+1", "500"),
    ("+0", LOCAL, FULL, "+0", "d2000"), ("+0", PASS,  LATE, "+0", "d2000"),
    ("+0", FAIL,  LATE, "+1", "5000"),  ("+0", LOCAL, LATE, "+0", "5000"),

    ("+1", PASS,  FULL, "+0", "d2000"), ("+1", FAIL,  FULL, "+2", "500"),
    ("+1", LOCAL, FULL, "+1", "500"),   ("+1", PASS,  LATE, "+0", "d2000"),
    ("+1", FAIL,  LATE, "+2", "5000"),  ("+1", LOCAL, LATE, "+1", "5000"),

    ("+2", PASS,  FULL, "+0", "d2000"), ("+2", FAIL,  FULL, "-0", "5000"),
    ("+2", LOCAL, FULL, "+2", "500"),   ("+2", PASS,  LATE, "+0", "d2000"),
    ("+2", FAIL,  LATE, "+2", "5000"),  ("+2", LOCAL, LATE, "+2", "5000"),

    ("?",  PASS,  FULL, "+0", "d2000"), ("?",  FAIL,  FULL, "-0", "5000"),
    ("?",  LOCAL, FULL, "?",  "500"),   ("?",  PASS,  LATE, "+0", "d2000"),
    ("?",  FAIL,  LATE, "-0", "5000"),  ("?",  LOCAL, LATE, "?",  "5000"),

    ("-0", PASS,  FULL, "-1", "500"),   ("-0", FAIL,  FULL, "-0", "5000"),
    ("-0", LOCAL, FULL, "-0", "5000"),  ("-0", PASS,  LATE, "-1", "500"),
    ("-0", FAIL,  LATE, "-0", "5000"),  ("-0", LOCAL, LATE, "-0", "5000"),

    ("-1", PASS,  FULL, "+0", "d2000"), ("-1", FAIL,  FULL, "-0", "5000"),
    ("-1", LOCAL, FULL, "-1", "500"),   ("-1", PASS,  LATE, "+0", "d2000"),
    ("-1", FAIL,  LATE, "-0", "5000"),  ("-1", LOCAL, LATE, "-1", "5000"),
];

#[test]
fn every_state_and_event_goes_where_the_table_says() {
    let start = Instant::now();
    let now = start + Duration::from_secs(10);
    for &(before, outcome, confidence, after, wait) in TABLE {
        let row = format!("{before} {outcome:?} {confidence:?}");
        let state = long(before, start);
        let (next, transition) = step(&state, &timing(), outcome, confidence, now);
        assert_eq!(short(&next), after, "{row}");

        let changed = state.verdict() != next.verdict();
        assert_eq!(transition.is_some(), changed, "{row}");
        assert_eq!(next.since(), if changed { now } else { start }, "{row}");
        if let Some(transition) = transition {
            assert_eq!((transition.from, transition.to), (state.verdict(), next.verdict()), "{row}");
            assert_eq!(transition.cause, outcome.err(), "{row}");
        }
        let waited = match delay(&next, &timing(), outcome, confidence, now) {
            Delay::FromDue(wait) => format!("d{}", wait.as_millis()),
            Delay::AfterResult(wait) => wait.as_millis().to_string(),
        };
        assert_eq!(waited, wait, "{row}");
    }
}

#[test]
fn table_is_whole() {
    let mut seen: Vec<String> = TABLE
        .iter()
        .map(|(before, outcome, confidence, ..)| format!("{before}{outcome:?}{confidence:?}"))
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7 * 3 * 2);
}

#[test]
fn a_long_outage_is_tried_rarely_and_a_success_fast_again() {
    let start = Instant::now();
    let (tentative, _) = step(&State::new(start), &timing(), FAIL, FULL, start);
    let (state, _) = step(&tentative, &timing(), FAIL, FULL, start);
    let wait = |after: Duration| delay(&state, &timing(), FAIL, FULL, start + after);
    assert_eq!(wait(Duration::from_secs(299)), Delay::AfterResult(Duration::from_secs(5)));
    assert_eq!(wait(Duration::from_secs(300)), Delay::AfterResult(Duration::from_secs(30)));
    let later = start + Duration::from_secs(400);
    let (state, _) = step(&state, &timing(), PASS, FULL, later);
    assert_eq!(delay(&state, &timing(), PASS, FULL, later), Delay::AfterResult(Duration::from_millis(500)));
}

#[test]
fn a_lowered_fall_decides_at_the_next_failure() {
    let now = Instant::now();
    let lowered = Timing { fall: 1, ..timing() };
    let (next, _) = step(&long("+2", now), &lowered, FAIL, FULL, now);
    assert_eq!(next.verdict(), Verdict::Down);
}

#[test]
fn an_adopted_verdict_is_left_only_by_counting() {
    let now = Instant::now();
    let up = State::adopted(Verdict::Up, now);
    assert_eq!(step(&up, &timing(), FAIL, FULL, now).1, None);
    let down = State::adopted(Verdict::Down, now);
    assert_eq!((down.cause(), step(&down, &timing(), PASS, FULL, now).1), (None, None));
}

#[derive(Clone, Copy, Debug)]
struct Step {
    outcome: Outcome,
    confidence: Confidence,
}

fn any_step() -> impl Strategy<Value = Step> {
    let outcome =
        prop_oneof![3 => Just(PASS), 4 => Just(FAIL), 1 => Just(Err(Failure::Status(503))), 1 => Just(LOCAL)];
    (outcome, prop_oneof![5 => Just(FULL), 1 => Just(LATE)])
        .prop_map(|(outcome, confidence)| Step { outcome, confidence })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// A naive reader of the whole history agrees with the machine at each step.
    #[test]
    fn verdict_is_what_the_last_results_in_a_row_say(
        steps in proptest::collection::vec(any_step(), 1..200), fall in 1u32..6, rise in 1u32..6,
    ) {
        let timing = Timing { fall, rise, ..timing() };
        let start = Instant::now();
        let mut state = State::new(start);
        let mut heard: Vec<Step> = Vec::new();
        // Failures from the one on that ended the unknown; 1 means that the verdict rests on it alone.
        let mut failures_since_unknown = 0;
        for (index, next) in steps.iter().enumerate() {
            let now = start + Duration::from_secs(index as u64);
            let before = state.verdict();
            let (after, transition) = step(&state, &timing, next.outcome, next.confidence, now);
            state = after;
            if next.outcome != LOCAL { heard.push(*next); }
            let needed = if failures_since_unknown == 1 { 1 } else { rise };
            let is_told = before != Verdict::Unknown || state.verdict() != Verdict::Unknown;
            if is_told && next.outcome != LOCAL && next.outcome.is_err() { failures_since_unknown += 1; }
            if state.verdict() == Verdict::Up { failures_since_unknown += 1; }

            let trailing = |wanted: fn(&Step) -> bool| {
                u32::try_from(heard.iter().rev().take_while(|step| wanted(step)).count()).expect("short")
            };
            let failures = trailing(|step| step.outcome.is_err());
            let successes = trailing(|step| step.outcome.is_ok());
            match (before, state.verdict()) {
                (Verdict::Up, Verdict::Down) => {
                    prop_assert!(failures >= fall, "down after {failures} of {fall}");
                    prop_assert_eq!(next.confidence, FULL);
                }
                (Verdict::Up, Verdict::Up) => {
                    prop_assert!(failures < fall || next.confidence == LATE || next.outcome == LOCAL);
                }
                (Verdict::Down, Verdict::Up) => {
                    prop_assert!(successes >= needed);
                }
                (Verdict::Down, Verdict::Down) => {
                    prop_assert!(successes < needed);
                }
                (Verdict::Unknown, Verdict::Unknown) => prop_assert!(next.outcome == LOCAL || next.confidence == LATE),
                (Verdict::Unknown, Verdict::Up) => prop_assert!(next.outcome.is_ok()),
                (Verdict::Unknown, Verdict::Down) => prop_assert!(next.outcome.is_err()),
                (Verdict::Up | Verdict::Down, Verdict::Unknown) => prop_assert!(false, "forgot"),
            }
            prop_assert_eq!(transition.is_some(), before != state.verdict());
            let (count, limit) = state.progress(&timing).unwrap_or((0, 1));
            prop_assert!(count < limit, "a full count decides");
        }
    }
}
