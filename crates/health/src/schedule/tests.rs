// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The queue by script, and its budgets under random use.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(2);
const REGULAR: Delay = Delay::FromDue(INTERVAL);

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, last])
}

fn slot(last: u8, phase: Duration) -> Slot {
    Slot { address: address(last), interval: INTERVAL, phase }
}

/// Everything that starts at `now`.
fn starts(schedule: &mut Schedule, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| schedule.poll_start(now).map(|start| start.id.0)).collect()
}

fn schedule(budgets: Budgets) -> (Schedule, Instant) {
    (Schedule::new(budgets), Instant::now())
}

#[test]
fn a_check_starts_at_its_phase_and_then_every_interval() {
    let (mut schedule, t0) = schedule(Budgets::default());
    schedule.insert(CheckId(1), slot(1, 700 * MS), t0);
    assert_eq!(schedule.poll_timeout(), Some(t0 + 700 * MS));
    assert_eq!(starts(&mut schedule, t0 + 699 * MS), []);
    assert_eq!(starts(&mut schedule, t0 + 700 * MS), [1]);
    // Under way: not due again, whatever the time.
    assert_eq!(starts(&mut schedule, t0 + 60 * SEC), []);

    schedule.handle_finished(CheckId(1), REGULAR, Reach::Answered, 0, t0 + 900 * MS);
    assert_eq!(schedule.poll_timeout(), Some(t0 + 2_700 * MS), "from due, not from the result");
    assert_eq!(starts(&mut schedule, t0 + 2_700 * MS), [1]);
    schedule.handle_finished(CheckId(1), REGULAR, Reach::Answered, u64::MAX, t0 + 2_800 * MS);
    let next = schedule.poll_timeout().expect("queued");
    assert!(next > t0 + 4_499 * MS && next < t0 + 4_501 * MS, "a tenth earlier");
}

#[test]
fn a_wait_after_a_result_counts_from_the_result() {
    let (mut schedule, t0) = schedule(Budgets::default());
    schedule.insert(CheckId(1), slot(1, Duration::ZERO), t0);
    assert_eq!(starts(&mut schedule, t0), [1]);
    schedule.handle_finished(CheckId(1), Delay::AfterResult(500 * MS), Reach::Silent, 0, t0 + SEC);
    assert_eq!(schedule.poll_timeout(), Some(t0 + 1_500 * MS));
}

#[test]
fn in_flight_is_bounded_and_a_result_makes_room() {
    let (mut schedule, t0) = schedule(Budgets { in_flight: 2, ..Budgets::default() });
    for id in 0..3 {
        schedule.insert(CheckId(id), slot(u8::try_from(id).expect("small"), Duration::ZERO), t0);
    }
    assert_eq!(starts(&mut schedule, t0), [0, 1]);
    assert_eq!((schedule.in_flight(), schedule.poll_timeout()), (2, None), "only a result helps");
    schedule.handle_finished(CheckId(1), REGULAR, Reach::Answered, 0, t0 + MS);
    assert_eq!(starts(&mut schedule, t0 + MS), [2]);
}

#[test]
fn an_address_is_tried_twice_at_once_unless_it_is_silent() {
    let (mut schedule, t0) = schedule(Budgets { per_silent_address: 8, ..Budgets::default() });
    for id in 0..20 {
        schedule.insert(CheckId(id), slot(1, Duration::ZERO), t0);
    }
    schedule.insert(CheckId(99), slot(2, Duration::ZERO), t0);
    assert_eq!(starts(&mut schedule, t0), [0, 1, 99], "another address is not held up");

    // One answers: one more.
    schedule.handle_finished(CheckId(0), REGULAR, Reach::Answered, 0, t0 + MS);
    assert_eq!(starts(&mut schedule, t0 + MS).len(), 1);
    // One is silent: the dead host is asked for many checks at once.
    schedule.handle_finished(CheckId(1), REGULAR, Reach::Silent, 0, t0 + SEC);
    assert_eq!(starts(&mut schedule, t0 + SEC).len(), 7);
    // It answers again: no more until two are left.
    schedule.handle_finished(CheckId(2), REGULAR, Reach::Answered, 0, t0 + SEC);
    assert_eq!(starts(&mut schedule, t0 + SEC), []);
    assert!(!schedule.poll_overload(t0 + 1_001 * MS), "waiting for an address is not lateness");
    assert_eq!(schedule.lateness().max, Duration::ZERO);
    assert_eq!(schedule.lateness().held, 18);
}

#[test]
fn a_late_checker_is_overloaded_until_it_has_kept_its_times_for_a_while() {
    let (mut schedule, t0) = schedule(Budgets::default());
    schedule.insert(CheckId(1), slot(1, Duration::ZERO), t0);
    assert!(!schedule.poll_overload(t0 + SEC), "half an interval is not late");
    let t1 = t0 + SEC + MS;
    assert!(schedule.poll_overload(t1), "before anything starts");
    assert_eq!(starts(&mut schedule, t1), [1]);
    schedule.handle_finished(CheckId(1), Delay::AfterResult(60 * SEC), Reach::Answered, 0, t1 + MS);
    assert!(schedule.poll_overload(t1 + OVERLOAD_HOLD - MS));
    assert_eq!(schedule.poll_timeout(), Some(t1 + OVERLOAD_HOLD), "to say that it is over");
    assert!(!schedule.poll_overload(t1 + OVERLOAD_HOLD));
}

#[test]
fn after_a_pause_each_check_is_back_on_its_own_phase() {
    let (mut schedule, t0) = schedule(Budgets::default());
    for id in 0..10u64 {
        let last = u8::try_from(id).expect("small");
        schedule.insert(CheckId(id), slot(last, 190 * MS * u32::from(last)), t0);
    }
    let t1 = t0 + 30 * mean_period(INTERVAL);
    assert_eq!(starts(&mut schedule, t1).len(), 10, "all at once");
    for id in 0..10 {
        schedule.handle_finished(CheckId(id), REGULAR, Reach::Answered, 77 << 56, t1 + MS);
    }
    for (id, phase) in (1..10u64).zip(1u32..) {
        assert_eq!(starts(&mut schedule, t1 + 190 * MS * phase), [id]);
    }
    assert_eq!(starts(&mut schedule, t1 + mean_period(INTERVAL)), [0]);
}

#[test]
fn a_changed_check_keeps_its_time_and_comes_within_a_new_interval() {
    let (mut schedule, t0) = schedule(Budgets::default());
    schedule.insert(CheckId(1), slot(1, 1_500 * MS), t0);
    schedule.update(CheckId(1), slot(2, 300 * MS), t0 + SEC);
    assert_eq!(schedule.poll_timeout(), Some(t0 + 1_500 * MS));
    let short = Slot { interval: 100 * MS, ..slot(2, Duration::ZERO) };
    schedule.update(CheckId(1), short, t0 + SEC);
    assert_eq!(schedule.poll_timeout(), Some(t0 + 1_100 * MS));
}

#[test]
fn a_removed_check_never_starts_and_its_attempt_gives_its_room_back() {
    let (mut schedule, t0) = schedule(Budgets { in_flight: 1, ..Budgets::default() });
    schedule.insert(CheckId(1), slot(1, Duration::ZERO), t0);
    schedule.insert(CheckId(2), slot(1, Duration::ZERO), t0);
    schedule.insert(CheckId(3), slot(1, Duration::ZERO), t0);
    assert_eq!(starts(&mut schedule, t0), [1]);
    schedule.remove(CheckId(1));
    schedule.remove(CheckId(2));
    assert_eq!((starts(&mut schedule, t0), schedule.in_flight()), (vec![], 1));
    schedule.handle_finished(CheckId(1), REGULAR, Reach::Answered, 0, t0 + MS);
    schedule.handle_finished(CheckId(1), REGULAR, Reach::Answered, 0, t0 + MS);
    assert_eq!(starts(&mut schedule, t0 + MS), [3]);
    schedule.handle_finished(CheckId(3), REGULAR, Reach::Answered, 0, t0 + MS);
    schedule.remove(CheckId(3));
    assert_eq!((schedule.poll_timeout(), schedule.addresses.len(), schedule.entries.len()), (None, 0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u8, u16),
    Update(u64, u8, u16),
    Remove(u64),
    Finish(usize, bool, Reach, u64),
    Wait(u16),
}

fn any_step() -> impl Strategy<Value = Step> {
    let reach = prop_oneof![Just(Reach::Answered), Just(Reach::Silent), Just(Reach::Unsaid)];
    prop_oneof![
        2 => (0..60u64, 0..4u8, 0..2_000u16).prop_map(|(id, last, phase)| Step::Insert(id, last, phase)),
        1 => (0..60u64, 0..4u8, 100..4_000u16).prop_map(|(id, last, interval)| Step::Update(id, last, interval)),
        1 => (0..60u64).prop_map(Step::Remove),
        4 => (any::<usize>(), any::<bool>(), reach, any::<u64>())
            .prop_map(|(pick, regular, reach, random)| Step::Finish(pick, regular, reach, random)),
        3 => (0..1_500u16).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Budgets hold, nothing runs twice at once, nothing is lost: when all attempts end, every check starts again.
    #[test]
    fn budgets_hold_and_no_check_is_lost(steps in proptest::collection::vec(any_step(), 1..300)) {
        let budgets = Budgets { starts_per_second: 200, in_flight: 7, per_address: 2, per_silent_address: 4 };
        let (mut schedule, mut now) = schedule(budgets);
        let mut known: HashSet<u64> = HashSet::new();
        let mut under_way: Vec<(u64, IpAddr)> = Vec::new();
        let mut begun: Vec<Instant> = Vec::new();
        for step in steps {
            match step {
                // An id whose attempt is still under way is not given again: ids are never used twice.
                Step::Insert(id, last, phase) => {
                    if !under_way.iter().any(|&(other, _)| other == id) {
                        schedule.insert(CheckId(id), slot(last, MS * u32::from(phase)), now);
                        known.insert(id);
                    }
                }
                Step::Update(id, last, interval) => {
                    let interval = MS * u32::from(interval);
                    schedule.update(CheckId(id), Slot { interval, ..slot(last, Duration::ZERO) }, now);
                }
                Step::Remove(id) => {
                    schedule.remove(CheckId(id));
                    known.remove(&id);
                }
                Step::Finish(pick, is_regular, reach, random) if !under_way.is_empty() => {
                    let (id, _) = under_way.swap_remove(pick % under_way.len());
                    let delay = if is_regular { REGULAR } else { Delay::AfterResult(500 * MS) };
                    schedule.handle_finished(CheckId(id), delay, reach, random, now);
                }
                Step::Finish(..) => {}
                Step::Wait(ms) => now += MS * u32::from(ms),
            }
            while let Some(start) = schedule.poll_start(now) {
                let at = schedule.entries[&start.id].slot.address;
                prop_assert!(known.contains(&start.id.0), "started after its removal");
                prop_assert!(!under_way.iter().any(|&(other, _)| other == start.id.0), "twice at once");
                under_way.push((start.id.0, at));
                begun.push(now);
            }
            prop_assert!(under_way.len() <= budgets.in_flight);
            prop_assert_eq!(schedule.in_flight(), under_way.len());
            for last in 0..4 {
                let count = under_way.iter().filter(|&&(_, at)| at == address(last)).count();
                prop_assert!(count <= budgets.per_silent_address);
            }
            let recent = begun.iter().rev().take_while(|&&at| now.duration_since(at) < SEC).count();
            prop_assert!(recent <= 200 + 5, "{recent} starts in a second");
        }

        // Drain: finish everything, silence nothing, and see each known check start.
        let mut seen: HashSet<u64> = HashSet::new();
        for _ in 0..2_000 {
            for (id, _) in under_way.drain(..) {
                schedule.handle_finished(CheckId(id), REGULAR, Reach::Answered, 0, now);
            }
            while let Some(start) = schedule.poll_start(now) {
                seen.insert(start.id.0);
                under_way.push((start.id.0, schedule.entries[&start.id].slot.address));
            }
            now += 10 * MS;
        }
        prop_assert_eq!(seen, known);
        for (id, _) in under_way {
            schedule.handle_finished(CheckId(id), REGULAR, Reach::Answered, 0, now);
        }
        let places = schedule.queue.len() + schedule.addresses.values().map(|load| load.waiting.len()).sum::<usize>();
        prop_assert_eq!(places, schedule.entries.len());
        let checks: usize = schedule.addresses.values().map(|load| load.checks).sum();
        prop_assert_eq!(checks, schedule.entries.len());
    }
}
