// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ten thousand checks in simulated time: phases, budgets, lateness, detection times, and what must not happen.
//!
//! Time goes in steps of a millisecond, as a timer does; attempts end when the world says. Run with `--nocapture` to see the
//! figures.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::check::{CheckKind, CheckSpec, Route, SocketOptions};
use crate::failure::{Failure, Outcome};

const CHECKS: usize = 10_000;
const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);
const TIMEOUT: Outcome = Err(Failure::TimeoutConnect);
const REFUSED: Outcome = Err(Failure::Refused);

/// How the world answers an attempt of a check (by its number) at a time since the start: after how long, and what.
type World = fn(number: usize, at: Duration) -> (Duration, Outcome);

fn healthy(number: usize, _: Duration) -> (Duration, Outcome) {
    (MS * u32::try_from(1 + number % 3).expect("small"), Ok(()))
}

/// Checks `0..count`, `per_address` of them at each address; the port is the number.
fn checks(count: usize, per_address: usize) -> BTreeMap<CheckKey, Check> {
    let spec = Arc::new(CheckSpec::new(CheckKind::Tcp, Timing::default()).expect("valid"));
    let one = |number: usize| {
        let host = u32::try_from(number / per_address).expect("small");
        let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + host));
        let target = SocketAddr::new(address, u16::try_from(number).expect("a port"));
        let check = Check {
            spec: Arc::clone(&spec),
            target,
            address,
            route: Route::Ready,
            socket: SocketOptions::default(),
        };
        (CheckKey::new("pool", &format!("b{number}"), "tcp"), check)
    };
    (0..count).map(one).collect()
}

struct Simulation {
    checker: Checker,
    t0: Instant,
    now: Instant,
    under_way: BTreeMap<(Instant, u64), (Ticket, usize, ProbeResult)>,
    serial: u64,
    /// Starts in each tenth of a second.
    starts: Vec<u32>,
    started_at: Vec<Option<Instant>>,
    /// Longest time between two starts of one check.
    gap_max: Duration,
    in_flight_max: usize,
    snapshot: HealthSnapshot,
    snapshots: u32,
    /// When each check was first seen down.
    down_at: BTreeMap<usize, Duration>,
}

impl Simulation {
    fn new(checks: BTreeMap<CheckKey, Check>) -> Self {
        let t0 = Instant::now();
        let mut checker =
            Checker::new(CheckerConfig { appliance: "lb1".into(), ..CheckerConfig::default() }, t0);
        let count = checks.len();
        checker.handle_checks(checks, t0);
        Self {
            checker,
            t0,
            now: t0,
            under_way: BTreeMap::new(),
            serial: 0,
            starts: Vec::new(),
            started_at: vec![None; count],
            gap_max: Duration::ZERO,
            in_flight_max: 0,
            snapshot: HealthSnapshot::default(),
            snapshots: 0,
            down_at: BTreeMap::new(),
        }
    }

    /// Runs until `end` after the start.
    fn run(&mut self, end: Duration, world: World) {
        while self.now < self.t0 + end {
            self.turn(world);
            let result = self.under_way.keys().next().map(|&(at, _)| at);
            let next =
                [result, self.checker.poll_timeout()].into_iter().flatten().min().unwrap_or(self.t0 + end);
            let ms = next.saturating_duration_since(self.t0).as_nanos().div_ceil(1_000_000);
            let tick = self.t0 + MS * u32::try_from(ms).expect("short");
            self.now = tick.max(self.now + MS).min(self.t0 + end);
        }
    }

    /// The process stands still; whatever was under way then fails.
    fn stall(&mut self, time: Duration) {
        self.now += time;
        for (_, _, result) in self.under_way.values_mut() {
            result.outcome = TIMEOUT;
        }
    }

    fn turn(&mut self, world: World) {
        let now = self.now;
        self.checker.handle_time(now);
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (ticket, _, result) = entry.remove();
            self.checker.handle_result(ticket, result, now);
        }
        while let Some(Attempt { check, ticket }) = self.checker.poll_start(now) {
            let number = usize::from(check.target.port());
            let (duration, outcome) = world(number, now - self.t0);
            self.serial += 1;
            self.under_way
                .insert((now + duration, self.serial), (ticket, number, ProbeResult { outcome, duration }));
            self.note_start(number);
        }
        self.in_flight_max = self.in_flight_max.max(self.under_way.len());
        assert_eq!(self.checker.counters().in_flight, self.under_way.len());
        if let Some(snapshot) = self.checker.poll_snapshot(now) {
            assert_ne!(snapshot, self.snapshot, "published without a change");
            for (key, health) in &snapshot.checks {
                if health.verdict == Verdict::Down {
                    let number = key.backend[1..].parse().expect("a number");
                    self.down_at.entry(number).or_insert(now - self.t0);
                }
            }
            self.snapshot = snapshot;
            self.snapshots += 1;
        }
    }

    fn note_start(&mut self, number: usize) {
        let tenth = usize::try_from((self.now - self.t0).as_millis() / 100).expect("short");
        self.starts.resize(self.starts.len().max(tenth + 1), 0);
        self.starts[tenth] += 1;
        if let Some(before) = self.started_at[number].replace(self.now) {
            self.gap_max = self.gap_max.max(self.now - before);
        }
    }

    fn report(&self, name: &str) {
        let counters = self.checker.counters();
        println!(
            "{name}: {} starts, worst lateness {:?}, mean {:?}, in flight at most {}, {} held, {} snapshots",
            counters.lateness.starts(),
            counters.lateness.max,
            counters.lateness.sum / u32::try_from(counters.lateness.starts()).expect("fits"),
            self.in_flight_max,
            counters.lateness.held,
            self.snapshots,
        );
    }
}

#[test]
fn ten_thousand_healthy_checks_are_spread_and_on_time() {
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    simulation.run(10 * SEC, healthy);
    simulation.report("healthy");
    assert_eq!(simulation.snapshot.counts(), [0, CHECKS, 0]);

    // 5,263 a second, 526 expected a tenth; five standard deviations are 115.
    // The first rounds are left out: nobody runs early into the first tenth, and that dent takes a round or two to fade.
    let whole = &simulation.starts[40..simulation.starts.len() - 1];
    let (least, most) = (whole.iter().min().expect("some"), whole.iter().max().expect("some"));
    println!("healthy: {least} to {most} starts a tenth of a second, longest gap {:?}", simulation.gap_max);
    assert!(*least >= 411 && *most <= 641, "{least} to {most}");

    let counters = simulation.checker.counters();
    assert!(counters.lateness.max <= 5 * MS, "{:?}", counters.lateness.max);
    assert!(simulation.gap_max <= 2 * SEC + 5 * MS, "{:?}", simulation.gap_max);
    assert!(simulation.in_flight_max < 40, "{}", simulation.in_flight_max);
    assert_eq!(counters.failures, [0; Failure::CODES.len()]);
}

#[test]
fn a_tenth_of_the_backends_dying_is_detected_in_the_time_promised() {
    // At 5 s every twentieth refuses and every twentieth is silent; two checks share an address.
    fn world(number: usize, at: Duration) -> (Duration, Outcome) {
        match (number / 2) % 20 {
            7 if at >= 5 * SEC => (MS, REFUSED),
            8 if at >= 5 * SEC => (SEC, TIMEOUT),
            _ => healthy(number, at),
        }
    }
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    simulation.run(15 * SEC, world);
    simulation.report("a tenth dies");
    assert_eq!(simulation.snapshot.counts(), [0, CHECKS * 18 / 20, CHECKS * 2 / 20]);
    let detection = |kind: usize| {
        let times =
            simulation.down_at.iter().filter(|&(number, _)| (number / 2) % 20 == kind).map(|(_, &at)| at);
        times.fold((Duration::MAX, Duration::ZERO), |(least, most), at| (least.min(at), most.max(at)))
    };
    for (name, kind, promise) in [("refused", 7, 3 * SEC), ("silent", 8, 6 * SEC)] {
        let (least, most) = detection(kind);
        let (least, most) = (least - 5 * SEC, most - 5 * SEC);
        println!("a tenth dies: {name} detected after {least:?} to {most:?}");
        // Lateness and the millisecond steps of three attempts, and the spacing of snapshots.
        assert!(most <= promise + 10 * MS + SNAPSHOT_SPACING, "{name}: {most:?}");
        assert!(least >= 900 * MS, "{name}: {least:?}, before three attempts");
    }
    assert!(!simulation.snapshot.is_overloaded);
}

#[test]
fn a_dead_host_with_a_hundred_services_is_noticed_and_disturbs_nobody() {
    fn world(number: usize, at: Duration) -> (Duration, Outcome) {
        if number < 100 && at >= 5 * SEC { (SEC, TIMEOUT) } else { healthy(number, at) }
    }
    let mut simulation = Simulation::new(checks(2_000, 100));
    simulation.run(16 * SEC, world);
    simulation.report("one dead host");
    assert_eq!(simulation.snapshot.counts(), [0, 1_900, 100]);
    let last = *simulation.down_at.values().max().expect("some") - 5 * SEC;
    println!("one dead host: the last of its hundred services is down after {last:?}");
    assert!(last <= 9 * SEC, "{last:?}");
    assert_eq!(simulation.checker.counters().transitions, 2_000 + 100);
}

#[test]
fn everything_silent_at_once_overloads_for_a_while_and_is_then_decided() {
    fn world(number: usize, at: Duration) -> (Duration, Outcome) {
        if at >= 5 * SEC { (SEC, TIMEOUT) } else { healthy(number, at) }
    }
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    simulation.run(8 * SEC, world);
    assert!(simulation.snapshot.is_overloaded);
    simulation.run(30 * SEC, world);
    simulation.report("all silent");
    let last = *simulation.down_at.values().max().expect("some") - 5 * SEC;
    println!("all silent: the last of {} down after {last:?}", simulation.snapshot.counts()[2]);
    assert_eq!(simulation.in_flight_max, Budgets::default().in_flight);
    assert_eq!(simulation.snapshot.counts(), [0, 0, CHECKS]);
    assert!(!simulation.snapshot.is_overloaded);
}

#[test]
fn a_start_with_everything_silent_is_decided_too() {
    fn silent(_: usize, _: Duration) -> (Duration, Outcome) {
        (SEC, TIMEOUT)
    }
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    // 20,000 attempts of a second each, 2,048 at once, some of them repeated for being late.
    simulation.run(45 * SEC, silent);
    simulation.report("silent start");
    assert_eq!(simulation.snapshot.counts(), [0, 0, CHECKS]);
}

#[test]
fn a_checker_that_stood_still_takes_nobody_out() {
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    simulation.run(5 * SEC, healthy);
    for _ in 0..4 {
        simulation.stall(10 * SEC);
        let end = simulation.now - simulation.t0 + SEC;
        simulation.run(end, healthy);
    }
    assert!(simulation.snapshot.is_overloaded);
    let end = simulation.now - simulation.t0 + 10 * SEC;
    simulation.run(end, healthy);
    simulation.report("stalls");
    assert_eq!((simulation.down_at.len(), simulation.snapshot.is_overloaded), (0, false));
    // Spread again: the last whole second, tenth by tenth.
    let tenths = simulation.starts.len();
    let last = &simulation.starts[tenths - 11..tenths - 1];
    println!("stalls: {last:?} starts in the tenths of the last second");
    assert!(last.iter().all(|&count| (350..=700).contains(&count)), "{last:?}");
}

#[test]
fn a_reload_keeps_phase_state_and_history_of_what_did_not_change() {
    let mut simulation = Simulation::new(checks(CHECKS, 2));
    simulation.run(5 * SEC, healthy);
    let before = simulation.checker.status(None);
    let due = simulation.checker.schedule.poll_timeout();

    let mut set = checks(CHECKS, 2);
    let changed = CheckKey::new("pool", "b77", "tcp");
    let timing = Timing { fall: 5, ..Timing::default() };
    set.get_mut(&changed).expect("there").spec =
        Arc::new(CheckSpec::new(CheckKind::Tcp, timing).expect("valid"));
    set.remove(&CheckKey::new("pool", "b78", "tcp"));
    simulation.checker.handle_checks(set, simulation.now);

    assert_eq!(simulation.checker.schedule.poll_timeout(), due);
    let after = simulation.checker.status(None);
    assert_eq!(after.len(), CHECKS - 1);
    for (old, new) in before.iter().filter(|old| *old.key.backend != *"b78").zip(&after) {
        assert_eq!((&old.key, old.state, &old.results), (&new.key, new.state, &new.results));
        assert_eq!(Arc::ptr_eq(&old.check, &new.check), *new.key != changed, "replaced only if changed");
    }
    simulation.run(10 * SEC, healthy);
    assert!(simulation.gap_max <= 2 * SEC + 5 * MS, "{:?}: a phase was lost", simulation.gap_max);
    assert_eq!(simulation.snapshot.counts(), [0, CHECKS - 1, 0]);
}
