// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The task with a scripted prober and a clock that stands still until all wait.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;

use super::*;
use crate::check::{CheckKind, CheckSpec, Route, SocketOptions, Timing};
use crate::checker::Adopted;
use crate::failure::{Failure, Outcome};
use crate::state::Verdict;

const REFUSED: Outcome = Err(Failure::Refused);

/// Answers each attempt by the next line of a script, then always with success, after the time the script says.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Outcome>>>,
    duration: Duration,
    under_way: Arc<AtomicUsize>,
    attempts: Arc<AtomicUsize>,
}

/// Counts an attempt as long as its future lives.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Prober for Scripted {
    fn probe(&self, _check: Arc<Check>) -> impl Future<Output = ProbeResult> + Send + 'static {
        let outcome = self.script.lock().expect("unpoisoned").pop_front().unwrap_or(Ok(()));
        self.attempts.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let guard = UnderWay(Arc::clone(&self.under_way));
        let duration = self.duration;
        async move {
            tokio::time::sleep(duration).await;
            drop(guard);
            ProbeResult { outcome, duration }
        }
    }
}

fn scripted(script: impl IntoIterator<Item = Outcome>) -> Scripted {
    let script = Arc::new(Mutex::new(script.into_iter().collect()));
    Scripted { script, duration: Duration::from_millis(5), ..Scripted::default() }
}

fn key(backend: usize) -> CheckKey {
    CheckKey::new("web", &format!("b{backend}"), "tcp")
}

fn checks(count: usize) -> BTreeMap<CheckKey, Check> {
    let spec = Arc::new(CheckSpec::new(CheckKind::Tcp, Timing::default()).expect("valid"));
    let one = |number: usize| {
        let address = IpAddr::from([10, 1, 0, u8::try_from(number % 250).expect("small")]);
        let target = SocketAddr::new(address, 80);
        let socket = SocketOptions::default();
        (key(number), Check { spec: Arc::clone(&spec), target, address, route: Route::Ready, socket })
    };
    (0..count).map(one).collect()
}

/// Waits for a snapshot; the clock runs ahead while all wait, so the limit costs no time.
async fn wait_for(handle: &MonitorHandle, wanted: impl Fn(&HealthSnapshot) -> bool) -> Arc<HealthSnapshot> {
    let mut snapshots = handle.subscribe();
    let found = timeout(Duration::from_secs(600), snapshots.wait_for(|snapshot| wanted(snapshot))).await;
    Arc::clone(&found.expect("in time").expect("the monitor runs"))
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_is_down_in_time_and_comes_back() {
    let script = [Ok(()), Ok(()), REFUSED, REFUSED, REFUSED, REFUSED, Ok(()), Ok(())];
    let (handle, _task) = Monitor::spawn(CheckerConfig::default(), scripted(script));
    assert_eq!(handle.set_checks(checks(1)).await, Ok(1));
    assert_eq!(handle.snapshot().verdict(&key(0)), Verdict::Unknown, "published before the answer");

    let is = |verdict| move |snapshot: &HealthSnapshot| snapshot.verdict(&key(0)) == verdict;
    let up = wait_for(&handle, is(Verdict::Up)).await.checks[&key(0)];
    let down = wait_for(&handle, is(Verdict::Down)).await.checks[&key(0)];
    assert_eq!(down.cause, Some(Failure::Refused));
    // One more success, then three failures: an interval, and another up to the first failure, two fast ones.
    let after = down.since - up.since;
    assert!(after >= Duration::from_millis(4_400) && after <= Duration::from_millis(5_100), "{after:?}");

    wait_for(&handle, is(Verdict::Up)).await;
    let status = handle.status(Some("web")).await.expect("the monitor runs");
    let outcomes: Vec<_> = status[0].results.iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, script);
    let counters = handle.counters().await.expect("the monitor runs");
    assert_eq!((counters.successes, counters.failures[0], counters.transitions), (4, 4, 3));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_while_nothing_changes() {
    let prober = scripted([]);
    let (handle, _task) = Monitor::spawn(CheckerConfig::default(), prober.clone());
    handle.set_checks(checks(50)).await.expect("taken");
    wait_for(&handle, |snapshot| snapshot.counts() == [0, 50, 0]).await;
    let mut snapshots = handle.subscribe();
    snapshots.mark_unchanged();
    let before = prober.attempts.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!snapshots.has_changed().expect("the monitor runs"));
    let attempts = prober.attempts.load(Ordering::SeqCst) - before;
    assert!((1_500..1_700).contains(&attempts), "{attempts} attempts of 50 checks in 60 s");
}

#[tokio::test(start_paused = true)]
async fn a_set_replaces_the_one_before_as_a_whole() {
    let (handle, _task) = Monitor::spawn(CheckerConfig::default(), scripted([]));
    handle.set_checks(checks(3)).await.expect("taken");
    wait_for(&handle, |snapshot| snapshot.counts() == [0, 3, 0]).await;
    let mut next = checks(5);
    next.remove(&key(0));
    assert_eq!(handle.set_checks(next).await, Ok(2));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.set, snapshot.counts()), (2, [2, 2, 0]), "old ones keep their verdict");
    assert_eq!(handle.set_checks(BTreeMap::new()).await, Ok(3));
    assert!(handle.snapshot().checks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_many_checks_are_refused_and_the_old_set_stays() {
    let (handle, _task) = Monitor::spawn(CheckerConfig::default(), scripted([]));
    handle.set_checks(checks(1)).await.expect("taken");
    let refused = handle.set_checks(checks(CHECKS_MAX + 1)).await;
    assert_eq!(refused, Err(SetChecksError::TooMany { given: CHECKS_MAX + 1, max: CHECKS_MAX }));
    assert_eq!(handle.snapshot().checks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_last_handle_and_drops_what_is_under_way() {
    let prober = Scripted { duration: Duration::from_secs(3_600), ..Scripted::default() };
    let (handle, task) = Monitor::spawn(CheckerConfig::default(), prober.clone());
    handle.set_checks(checks(20)).await.expect("taken");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(prober.under_way.load(Ordering::SeqCst), 20);
    let second = handle.clone();
    drop(handle);
    assert_eq!(second.counters().await.map(|counters| counters.in_flight), Ok(20));
    drop(second);
    timeout(Duration::from_secs(1), task).await.expect("in time").expect("no panic");
    // Aborted tasks are dropped by the runtime when it gets to them.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(prober.under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_monitor_says_so() {
    let (handle, task) = Monitor::spawn(CheckerConfig::default(), scripted([]));
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert_eq!(handle.set_checks(checks(1)).await, Err(SetChecksError::Gone(MonitorGone)));
    assert_eq!(handle.counters().await, Err(MonitorGone));
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshot_has_what_an_earlier_run_found() {
    let address = IpAddr::from([10, 1, 0, 0]);
    let adopted = Adopted { address, verdict: Verdict::Down, age: Duration::from_secs(3) };
    let config = CheckerConfig { adopted: BTreeMap::from([(key(0), adopted)]), ..CheckerConfig::default() };
    let began = now();
    let (handle, _task) = Monitor::spawn(config, scripted([]));
    let first = handle.snapshot();
    let health = first.checks[&key(0)];
    assert_eq!((first.set, health.verdict, health.address), (0, Verdict::Down, address));
    assert_eq!(began.duration_since(health.since), adopted.age);
    handle.set_checks(checks(1)).await.expect("it runs");
    assert_eq!((handle.snapshot().set, handle.snapshot().verdict(&key(0))), (1, Verdict::Down));
    handle.set_checks(checks(0)).await.expect("it runs");
    assert!(handle.snapshot().checks.is_empty());
}
