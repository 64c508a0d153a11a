// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loop: what wakes it, what it answers, how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_dataplane::next_hop::NextHops;

use weir_health::HealthSnapshot;

use super::model::{all_resolved, desired_by, one_vip, vip_prefix, with_check};
use crate::model::{Document, Generation};
use crate::overrides::{Override, OverrideState, Overrides, Target};
use crate::reconcile::desired::{Admin, Desired};
use crate::reconcile::fake::{Fate, SLICES, Shared};
use crate::reconcile::plan::StepKind;
use crate::reconcile::ports::PortError;
use crate::reconcile::status::ReconcileStatus;
use crate::reconcile::{Command, Inputs, Reconciler, SWEEP_INTERVAL, retry_wait};
use crate::store::Accepted;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running loop and the ends that feed it.
struct Running {
    shared: Shared,
    documents: watch::Sender<Arc<Accepted>>,
    next_hops: watch::Sender<Arc<NextHops>>,
    health: watch::Sender<Arc<HealthSnapshot>>,
    overrides: watch::Sender<Arc<Overrides>>,
    admin: watch::Sender<Admin>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Arc<ReconcileStatus>>,
    task: JoinHandle<Result<(), PortError>>,
}

fn accepted(document: Document, generation: u64) -> Arc<Accepted> {
    Arc::new(Accepted { document, generation: Generation(generation), at: SystemTime::now() })
}

/// Starts a loop; the truth that the fake world checks against is that of `hops`.
fn start(hops: NextHops, truth: &Desired) -> Running {
    let shared = Shared::default();
    shared.prepare(truth, Instant::now());
    let documents = watch::Sender::new(accepted(one_vip(), 1));
    let next_hops = watch::Sender::new(Arc::new(hops));
    let health = watch::Sender::new(Arc::default());
    let overrides = watch::Sender::new(Arc::default());
    let admin = watch::Sender::new(Admin::default());
    let inputs = Inputs {
        documents: documents.subscribe(),
        next_hops: next_hops.subscribe(),
        health: health.subscribe(),
        overrides: overrides.subscribe(),
        admin: admin.subscribe(),
    };
    let mut reconciler = Reconciler::new(inputs, shared.clone(), shared.clone());
    reconciler.announce_through(shared.clone());
    let status = reconciler.status();
    let (commands, received) = mpsc::channel(4);
    let task = tokio::spawn(reconciler.run(received));
    Running { shared, documents, next_hops, health, overrides, admin, commands, status, task }
}

fn is_v1_told(status: &ReconcileStatus) -> bool {
    status.vips.get("v1").is_some_and(|vip| vip.is_told)
}

fn truth() -> (NextHops, Desired) {
    let hops = all_resolved(&one_vip());
    let desired = desired_by(&one_vip(), &hops);
    (hops, desired)
}

impl Running {
    async fn until(&mut self, what: &str, holds: impl Fn(&ReconcileStatus) -> bool) {
        let seen = tokio::time::timeout(PATIENCE, self.status.wait_for(|status| holds(status))).await;
        let is_seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(is_seen, "{what}: {:#?}", self.status.borrow());
    }
}

#[tokio::test]
async fn inputs_wake_the_loop() {
    let (hops, truth) = truth();
    let mut running = start(NextHops::new(), &truth);
    running.until("the first pass", |status| status.applied == Some(Generation(1))).await;
    assert!(!running.shared.world().advertised.contains(&vip_prefix(1)));
    running.next_hops.send_replace(Arc::new(hops));
    running.until("announced", is_v1_told).await;
    assert!(running.shared.world().advertised.contains(&vip_prefix(1)));
    running.documents.send_replace(accepted(one_vip(), 2));
    running.until("the same under another number", |status| status.applied == Some(Generation(2))).await;
    let withhold = Override {
        state: OverrideState::Withhold,
        author: "eve".into(),
        reason: String::new(),
        created: SystemTime::UNIX_EPOCH,
        until: None,
    };
    let overrides = Overrides { by_target: [(Target::Vip("v1".into()), withhold)].into() };
    running.overrides.send_replace(Arc::new(overrides));
    running.until("withheld", |status| !is_v1_told(status)).await;
    running.overrides.send_replace(Arc::default());
    running.until("announced again", is_v1_told).await;
    assert!(running.shared.world().is_complete && running.shared.world().is_preserved);
    running.admin.send_replace(Admin { is_stopping: true, is_hurried: false });
    running.until("withdrawn", |status| !is_v1_told(status)).await;
    let v1 = running.status.borrow().vips["v1"].clone();
    assert_eq!((v1.announced, v1.withdrawn), (2, 2));
    assert!(v1.decided_at <= v1.told_at && v1.told_at.is_some());
    let passes = running.status.borrow().passes;
    running.health.send_replace(Arc::default());
    running.until("a look at the verdicts", |status| status.passes > passes).await;
}

#[tokio::test]
async fn failed_steps_are_tried_again() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    running.shared.world().forwarding_fate = Fate::Fails;
    let mut document = one_vip();
    document.services.get_mut("v1-80").expect("it is there").idle = Duration::from_secs(17);
    running.documents.send_replace(accepted(document, 2));
    running.until("failed", |status| status.retry_in.is_some()).await;
    assert_eq!(running.status.borrow().applied, Some(Generation(1)));
    assert!(!running.shared.world().is_preserved, "nobody knows what the tables hold");
    running.shared.world().forwarding_fate = Fate::Works;
    running.until("tried again", |status| status.applied == Some(Generation(2))).await;
    assert!(running.status.borrow().failed_passes >= 1);
}

#[tokio::test]
async fn what_begins_to_fail_is_tried_again_soon_whatever_has_failed_for_long() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    running.shared.world().verify_fate = Fate::Fails;
    let document = |idle| {
        let mut document = one_vip();
        document.services.get_mut("v1-80").expect("it is there").idle = Duration::from_secs(idle);
        document
    };
    running.documents.send_replace(accepted(document(17), 2));
    for round in 2..=5 {
        // Each look is a failed pass more.
        running.until("failed again", |status| status.failed_passes >= round).await;
        running.health.send_replace(Arc::default());
    }
    running.until("waits for long", |status| status.retry_in >= Some(Duration::from_secs(2))).await;
    running.shared.world().forwarding_fate = Fate::Fails;
    running.documents.send_replace(accepted(document(18), 3));
    running.until("both fail", |status| status.failed.iter().any(|(step, _)| step.name() == "forward")).await;
    assert!(running.status.borrow().retry_in <= Some(Duration::from_millis(500)));
}

#[tokio::test]
async fn a_pass_without_news_makes_nothing_anew_and_still_sees_what_was_taken_away() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let passes = running.status.borrow().passes;
        running.health.send_replace(Arc::default());
        running.until("a look at the verdicts", |status| status.passes > passes).await;
        seen.push((Arc::clone(&running.status.borrow().vips), running.shared.world().log.len()));
    }
    assert!(Arc::ptr_eq(&seen[1].0, &seen[3].0), "the status was made anew");
    assert_eq!(seen[1].1, seen[3].1, "{:?}", running.shared.world().log);
    running.shared.world().is_attached = false;
    running.health.send_replace(Arc::default());
    let shared = running.shared.clone();
    running.until("attached again", |_| shared.world().is_attached).await;
    assert_eq!(running.shared.world().log.last().map(String::as_str), Some("attach"));
}

#[tokio::test]
async fn questions_are_answered_and_detach_ends_the_loop() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    running.until("swept to the end", |status| status.flows.slots_used == SLICES).await;
    let (reply, answer) = oneshot::channel();
    running.commands.send(Command::Traffic(reply)).await.expect("the loop runs");
    answer.await.expect("answered").expect("counted");
    let (reply, answer) = oneshot::channel();
    running.commands.send(Command::Detach(reply)).await.expect("the loop runs");
    answer.await.expect("answered").expect("detached");
    assert_eq!(
        tokio::time::timeout(PATIENCE, running.task).await.expect("in time").expect("no panic"),
        Ok(())
    );
    assert!(!running.shared.world().is_attached);
}

#[tokio::test]
async fn an_input_that_ends_ends_the_loop_and_leaves_forwarding() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    drop(running.next_hops);
    let outcome = tokio::time::timeout(PATIENCE, running.task).await.expect("in time").expect("no panic");
    assert_eq!(outcome, Err(PortError::Gone { part: "the next-hop resolver" }));
    assert!(running.shared.world().is_attached);
}

#[tokio::test]
async fn an_uplink_that_loses_its_program_is_attached_again() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    {
        let mut world = running.shared.world();
        world.is_attached = false;
        world.attach_fate = Fate::Fails;
    }
    // No input changes: the sweep's tick finds out.
    running.until("withdrawn", |status| !is_v1_told(status) && !status.is_attached).await;
    running.shared.world().attach_fate = Fate::Works;
    running.until("announced again", |status| is_v1_told(status) && status.is_attached).await;
    assert!(running.shared.world().is_attached);
}

#[tokio::test]
async fn the_copying_program_is_looked_after_while_nothing_changes() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    let before = running.shared.world().clones_kept;
    let deadline = tokio::time::Instant::now() + 3 * SWEEP_INTERVAL;
    // One look may be that of the start.
    while running.shared.world().clones_kept < before + 2 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_way_of_checks_that_is_lost_is_made_again() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    running.documents.send_replace(accepted(with_check(one_vip(), 1), 2));
    running.until("checked", |status| status.applied == Some(Generation(2))).await;
    assert_eq!(running.shared.world().checks.len(), 2);
    running.shared.world().path_fate = Fate::Fails;
    // No input changes: the sweep's tick finds out.
    let is_lost = |status: &ReconcileStatus| status.failed.iter().any(|(step, _)| *step == StepKind::Check);
    running.until("lost", is_lost).await;
    assert!(is_v1_told(&running.status.borrow()), "what is announced stays so");
    running.shared.world().path_fate = Fate::Works;
    running.until("made again", |status| status.failed.is_empty()).await;
}

#[tokio::test]
async fn a_speaker_that_ends_before_a_stop_is_through_does_not_keep_the_dataplane() {
    let (hops, truth) = truth();
    let mut running = start(hops, &truth);
    running.until("announced", is_v1_told).await;
    running.shared.world().announce_fate = Fate::Gone;
    running.admin.send_replace(Admin { is_stopping: true, is_hurried: false });
    running.until("failed", |status| !status.failed.is_empty()).await;
    let (reply, answer) = oneshot::channel();
    running.commands.send(Command::Detach(reply)).await.expect("the loop runs");
    answer.await.expect("answered").expect("detached");
    assert!(!running.shared.world().is_attached);
}

#[test]
fn retries_wait_longer_each_time_up_to_a_limit() {
    let waits: Vec<u128> = [1, 2, 3, 7, 8, 9, u32::MAX].map(|n| retry_wait(n).as_millis()).to_vec();
    assert_eq!(waits, [250, 500, 1000, 16_000, 30_000, 30_000, 30_000]);
}
