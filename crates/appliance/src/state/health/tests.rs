// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Verdicts over two processes, and how old they are.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use weir_health::{
    Check, CheckKind, CheckSpec, CheckerConfig, Failure, Monitor, Outcome, ProbeResult, Prober, Route,
    SocketOptions, Timing, state::State,
};

use super::*;
use crate::state::Conditions;

const DOWN: Outcome = Err(Failure::Refused);

fn check() -> Arc<Check> {
    let target: SocketAddr = "198.51.100.10:80".parse().unwrap();
    Arc::new(Check {
        spec: Arc::new(CheckSpec::new(CheckKind::Tcp, Timing::default()).unwrap()),
        target,
        address: "10.1.0.1".parse().unwrap(),
        route: Route::Ready,
        socket: SocketOptions::default(),
    })
}

fn key(backend: &str) -> CheckKey {
    CheckKey::new("web", backend, "198.51.100.10:80")
}

/// A check with these results, one a second, the last one a second ago.
fn status(state: State, results: &[Outcome], now: Instant) -> CheckStatus {
    let ages = (1..=results.len() as u64).rev();
    let past = results.iter().zip(ages).map(|(outcome, age)| PastResult {
        at: now - Duration::from_secs(age),
        duration: Duration::ZERO,
        outcome: *outcome,
    });
    CheckStatus { key: Arc::new(key("b1")), check: check(), state, results: past.collect() }
}

#[test]
fn a_verdict_is_confirmed_up_to_the_last_result_that_agrees() {
    let now = Instant::now();
    let wall = UNIX_EPOCH + Duration::from_secs(1_000);
    let since = now - Duration::from_secs(100);
    let (up, down) = (
        State::Up { since, failures: 0 },
        State::Down { since, successes: 0, cause: None, tentative: false },
    );
    let line = |state, results: &[Outcome]| {
        let line = line(&status(state, results, now), (now, wall))?;
        Some((line.is_up, wall.duration_since(line.confirmed_ms.time().unwrap()).unwrap().as_secs()))
    };
    assert_eq!(line(State::Unknown { since }, &[]), None);
    assert_eq!(line(up, &[DOWN, Ok(())]), Some((true, 0)));
    assert_eq!(line(up, &[Ok(()), DOWN, DOWN]), Some((true, 3)));
    assert_eq!(line(down, &[DOWN, Ok(())]), Some((false, 2)));
    assert_eq!(line(down, &[DOWN, DOWN]), Some((false, 0)));
    assert_eq!(line(up, &[]), Some((true, 100)), "adopted, and not tried since");
}

#[test]
fn ages_are_by_the_wall_clock_and_the_future_is_refused() {
    let at = |seconds| Moment::from(UNIX_EPOCH + Duration::from_secs(seconds));
    let line = |backend: &str, seconds| {
        let (pool, check) = ("web".to_owned(), "198.51.100.10:80".to_owned());
        let (backend, address) = (backend.to_owned(), "10.1.0.1".parse().unwrap());
        Line { pool, backend, check, address, is_up: false, confirmed_ms: at(seconds) }
    };
    let lines = vec![line("b1", 93), line("b2", 100), line("b3", 101), line("b4", u64::MAX / 1_000)];
    let adopted = adopt(lines, UNIX_EPOCH + Duration::from_secs(100));
    let ages: Vec<_> = adopted.iter().map(|(key, one)| (&*key.backend, one.age.as_secs())).collect();
    assert_eq!(ages, [("b1", 7), ("b2", 0)]);
    assert!(adopted.values().all(|one| one.verdict == Verdict::Down));
}

/// Says up of even targets' ports and refuses odd ones.
struct ByPort;

impl Prober for ByPort {
    fn probe(&self, check: Arc<Check>) -> impl Future<Output = ProbeResult> + Send + 'static {
        let outcome = if check.target.port().is_multiple_of(2) { Ok(()) } else { DOWN };
        async move { ProbeResult { outcome, duration: Duration::ZERO } }
    }
}

#[tokio::test(start_paused = true)]
async fn verdicts_are_adopted_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path(), &Conditions::new()).unwrap();
    assert!(HealthFile::load(&state).is_empty());
    let (monitor, _task) = Monitor::spawn(CheckerConfig::default(), ByPort);
    let mut file = HealthFile::new(&state, monitor.clone());
    let [b1, b2] = [("b1", 80), ("b2", 81)].map(|(backend, port)| {
        let mut one = (*check()).clone();
        one.target.set_port(port);
        (key(backend), one)
    });
    monitor.set_checks([b1.clone(), b2.clone()].into()).await.unwrap();
    let mut snapshots = monitor.subscribe();
    snapshots.wait_for(|snapshot| snapshot.counts() == [0, 1, 1]).await.unwrap();
    file.write().await.unwrap();

    let config = CheckerConfig { adopted: HealthFile::load(&state), ..CheckerConfig::default() };
    let (next, _task) = Monitor::spawn(config, ByPort);
    next.set_checks([b1, b2].into()).await.unwrap();
    assert_eq!(next.snapshot().counts(), [0, 1, 1], "before any attempt");
}

#[tokio::test]
async fn without_checks_an_old_file_is_emptied_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path(), &Conditions::new()).unwrap();
    let (monitor, task) = Monitor::spawn(CheckerConfig::default(), ByPort);
    let mut file = HealthFile::new(&state, monitor.clone());
    file.write().await.unwrap();
    let path = folder.path().join(NAME);
    assert!(read(&fs::read(&path).unwrap()).unwrap().is_empty());
    fs::remove_file(&path).unwrap();
    file.write().await.unwrap();
    assert!(!path.exists(), "nothing new to tell");
    drop(monitor);
    task.abort();
    tokio::time::timeout(Duration::from_secs(60), async { while file.write().await.is_ok() {} })
        .await
        .expect("the end of the monitor is seen");
}
