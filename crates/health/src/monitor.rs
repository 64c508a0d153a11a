// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The task that drives the checker: the only writer of health verdicts.
//!
//! ```text
//!  MonitorHandle ── mpsc, bounded ──► ┌─────────┐ ── spawn ──► one task per attempt (at most the in-flight budget)
//!                ◄── oneshot reply ── │ monitor │ ◄── result ──┘
//!  readers ◄─ watch<Arc<Snapshot>> ── └─────────┘
//! ```
//!
//! The task ends when the last handle is gone; attempts under way are then dropped, and their sockets with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::check::{Check, CheckKey};
use crate::checker::{CHECKS_MAX, Checker, CheckerConfig, Ticket, adopted_snapshot};
use crate::error::{MonitorGone, SetChecksError};
use crate::probe::{ProbeResult, Prober};
use crate::snapshot::{CheckStatus, HealthSnapshot, MonitorCounters};

/// Commands waiting for the monitor. Small on purpose: the callers are one reconciler and one API; when full, they wait.
const COMMAND_QUEUE_DEPTH: usize = 16;

/// Results taken before the next starts and the next snapshot. One snapshot then tells of all of them, and neither
/// starts nor commands starve.
const RESULTS_PER_TURN: usize = 256;

/// Longest sleep while nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

/// Starts the monitor's task.
#[derive(Debug)]
pub struct Monitor;

impl Monitor {
    /// A running monitor without checks, whose first snapshot has the adopted verdicts. Needs a runtime; the task ends once every
    /// handle is dropped.
    pub fn spawn<P: Prober>(config: CheckerConfig, prober: P) -> (MonitorHandle, JoinHandle<()>) {
        let (command_tx, commands) = mpsc::channel(COMMAND_QUEUE_DEPTH);
        let started = now();
        let first = adopted_snapshot(&config.adopted, started);
        let (snapshot_tx, snapshot) = watch::channel(Arc::new(first));
        let checker = Checker::new(config, started);
        let task = Task { checker, prober, commands, snapshot: snapshot_tx, attempts: JoinSet::new() };
        (MonitorHandle { commands: command_tx, snapshot }, tokio::spawn(task.run()))
    }
}

/// The way to a running monitor.
#[derive(Clone, Debug)]
pub struct MonitorHandle {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Arc<HealthSnapshot>>,
}

impl MonitorHandle {
    /// Replaces the whole set of checks and answers with its number, once a snapshot of the set is published.
    pub async fn set_checks(&self, checks: BTreeMap<CheckKey, Check>) -> Result<u64, SetChecksError> {
        if checks.len() > CHECKS_MAX {
            return Err(SetChecksError::TooMany { given: checks.len(), max: CHECKS_MAX });
        }
        Ok(self.ask(|reply| Command::SetChecks { checks, reply }).await?)
    }

    /// The verdicts: the latest, and a wake-up at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<HealthSnapshot>> {
        self.snapshot.clone()
    }

    /// The latest verdicts.
    pub fn snapshot(&self) -> Arc<HealthSnapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// State and the last results of all checks, or of those of one pool.
    pub async fn status(&self, pool: Option<&str>) -> Result<Vec<CheckStatus>, MonitorGone> {
        let pool = pool.map(str::to_owned);
        self.ask(|reply| Command::Status { pool, reply }).await
    }

    /// Counters since the start.
    pub async fn counters(&self) -> Result<MonitorCounters, MonitorGone> {
        self.ask(|reply| Command::Counters { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, MonitorGone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| MonitorGone)?;
        answer.await.map_err(|_closed| MonitorGone)
    }
}

#[derive(Debug)]
enum Command {
    SetChecks { checks: BTreeMap<CheckKey, Check>, reply: oneshot::Sender<u64> },
    Status { pool: Option<String>, reply: oneshot::Sender<Vec<CheckStatus>> },
    Counters { reply: oneshot::Sender<MonitorCounters> },
}

struct Task<P> {
    checker: Checker,
    prober: P,
    commands: mpsc::Receiver<Command>,
    snapshot: watch::Sender<Arc<HealthSnapshot>>,
    attempts: JoinSet<(Ticket, ProbeResult)>,
}

/// What ended a wait.
enum Woken {
    Command(Option<Command>),
    Result(Result<(Ticket, ProbeResult), JoinError>),
    Time,
}

impl<P: Prober> Task<P> {
    async fn run(mut self) {
        loop {
            let woken = self.wait().await;
            self.checker.handle_time(now());
            match woken {
                Woken::Time => {}
                Woken::Result(joined) => self.handle_results(joined),
                Woken::Command(Some(command)) => self.handle_command(command),
                Woken::Command(None) => return,
            }
            self.start_due();
            self.publish();
        }
    }

    async fn wait(&mut self) -> Woken {
        let wake = self.checker.poll_timeout().unwrap_or_else(|| now() + IDLE);
        tokio::select! {
            // CANCEL: `recv` takes nothing from the queue unless it completes.
            command = self.commands.recv() => Woken::Command(command),
            // CANCEL: `join_next` takes no task from the set unless it completes.
            Some(joined) = self.attempts.join_next() => Woken::Result(joined),
            // CANCEL: the deadline is computed anew.
            () = tokio::time::sleep_until(wake.into()) => Woken::Time,
        }
    }

    fn handle_results(&mut self, first: Result<(Ticket, ProbeResult), JoinError>) {
        let mut next = Some(first);
        for _ in 0..RESULTS_PER_TURN {
            let Some(joined) = next else { return };
            self.handle_result(joined);
            next = self.attempts.try_join_next();
        }
        // The last one taken is beyond the turn, but it has left the set.
        if let Some(joined) = next {
            self.handle_result(joined);
        }
    }

    fn handle_result(&mut self, joined: Result<(Ticket, ProbeResult), JoinError>) {
        match joined {
            Ok((ticket, result)) => self.checker.handle_result(ticket, result, now()),
            // Nobody aborts attempts, so this is a panic: a bug of a probe is a bug of the monitor.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn handle_command(&mut self, command: Command) {
        // A caller that has gone away needs no answer.
        match command {
            Command::SetChecks { checks, reply } => {
                let set = self.checker.handle_checks(checks, now());
                // Before the answer: who has it finds the set in the snapshot.
                self.publish();
                reply.send(set).ok();
            }
            Command::Status { pool, reply } => {
                reply.send(self.checker.status(pool.as_deref())).ok();
            }
            Command::Counters { reply } => {
                reply.send(self.checker.counters()).ok();
            }
        }
    }

    /// Bounded by the in-flight budget.
    fn start_due(&mut self) {
        while let Some(attempt) = self.checker.poll_start(now()) {
            let probe = self.prober.probe(attempt.check);
            self.attempts.spawn(async move { (attempt.ticket, probe.await) });
        }
    }

    fn publish(&mut self) {
        if let Some(snapshot) = self.checker.poll_snapshot(now()) {
            self.snapshot.send_replace(Arc::new(snapshot));
        }
    }
}

/// The runtime's clock, which tests can hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
