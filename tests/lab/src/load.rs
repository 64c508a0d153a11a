// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Traffic: a number of requests and what came of them, or a steady stream while something happens.
//!
//! Each request is one TCP connection; targets take turns. Workers are threads that live in the client's namespace.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::http::get;
use crate::netns::Netns;
use crate::wait::wait_until;

/// Requests in flight at once: enough to keep two cores busy, few enough to leave the daemons room.
const WORKERS: usize = 4;

/// A steady stream pauses so long between two requests of one worker: about 1,000 requests a second at most.
const PACE: Duration = Duration::from_millis(4);

/// A stream ends by itself here, should nobody stop it.
const OUTCOMES_MAX: usize = 200_000;

/// After this a request has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What came of one request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Where it went.
    pub to: SocketAddr,
    /// Name of the backend that answered, or why there was no answer.
    pub result: Result<String, String>,
}

/// Outcomes, counted.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests made.
    pub total: usize,
    /// Requests without a good answer.
    pub failed: usize,
    /// Answers by backend.
    pub spread: BTreeMap<String, usize>,
    /// The first few reasons of failure.
    pub reasons: Vec<String>,
}

impl Tally {
    /// Counts outcomes.
    pub fn of(outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally { total: outcomes.len(), ..Tally::default() };
        for outcome in outcomes {
            match &outcome.result {
                Ok(backend) => *tally.spread.entry(backend.clone()).or_default() += 1,
                Err(reason) => {
                    tally.failed += 1;
                    if tally.reasons.len() < 5 {
                        tally.reasons.push(format!("{}: {reason}", outcome.to));
                    }
                }
            }
        }
        tally
    }
}

/// Time from `from` to the end of the first of `run` successes in a row, none of which began before `from`.
///
/// `None` if there is no such run. The outcomes may come in any order.
pub fn recovery(outcomes: &[Outcome], from: Instant, run: usize) -> Option<Duration> {
    let mut after: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.started >= from).collect();
    after.sort_by_key(|outcome| outcome.started);
    let good = after.windows(run).find(|window| window.iter().all(|outcome| outcome.result.is_ok()))?;
    Some(good.first()?.ended - from)
}

/// Makes `count` requests from `client`, spread evenly over `targets`, and counts what came of them.
pub fn requests(client: &Netns, targets: &[SocketAddr], count: usize) -> Result<Tally> {
    let load = Load::begin(client, targets, count, Duration::ZERO)?;
    Ok(Tally::of(&load.finish()?))
}

/// A steady stream of requests in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Result<Vec<Outcome>>>>,
}

impl Load {
    /// Starts the stream; it goes on until `stop`.
    pub fn start(client: &Netns, targets: &[SocketAddr]) -> Result<Load> {
        Load::begin(client, targets, OUTCOMES_MAX, PACE)
    }

    fn begin(client: &Netns, targets: &[SocketAddr], count: usize, pace: Duration) -> Result<Load> {
        anyhow::ensure!(!targets.is_empty(), "requests need a target");
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicUsize::new(0));
        let workers = (0..WORKERS)
            .map(|_| {
                let (stop, begun, key) = (Arc::clone(&stop), Arc::clone(&begun), client.key());
                let targets = targets.to_vec();
                std::thread::spawn(move || {
                    key.switch()?;
                    let mut outcomes = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let number = begun.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        outcomes.push(request(targets[number % targets.len()]));
                        std::thread::sleep(pace);
                    }
                    Ok(outcomes)
                })
            })
            .collect();
        Ok(Load { stop, begun, workers })
    }

    /// Waits until so many more requests have begun.
    pub fn wait_more(&self, requests: usize, limit: Duration) -> Result<()> {
        let from = self.begun.load(Ordering::Relaxed);
        wait_until("more requests", limit, || {
            let made = self.begun.load(Ordering::Relaxed) - from;
            anyhow::ensure!(made >= requests, "{made} of {requests} begun");
            Ok(())
        })
    }

    /// Ends the stream after the requests in flight; outcomes in the order in which they ended.
    pub fn stop(self) -> Result<Vec<Outcome>> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    fn finish(mut self) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for worker in self.workers.drain(..) {
            let made = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
            outcomes.extend(made.context("make requests")?);
        }
        outcomes.sort_by_key(|outcome| outcome.ended);
        Ok(outcomes)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                eprintln!("lab: a worker panicked");
            }
        }
    }
}

fn request(to: SocketAddr) -> Outcome {
    let started = Instant::now();
    let result = match get(to, "/", TIMEOUT) {
        Ok(reply) if reply.status == 200 => Ok(reply.body),
        Ok(reply) => Err(format!("status {}", reply.status)),
        Err(error) => Err(format!("{error:#}")),
    };
    Outcome { started, ended: Instant::now(), to, result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_first_of_a_run_without_failure() {
        let (now, to) = (Instant::now(), SocketAddr::from(([198, 51, 100, 10], 80)));
        let at = |ms: u64, good: bool| {
            let started = now + Duration::from_millis(ms);
            let result = if good { Ok("b1".into()) } else { Err("timeout".into()) };
            Outcome { started, ended: started + Duration::from_millis(1), to, result }
        };
        let outcomes = [at(0, false), at(10, true), at(20, false), at(30, true), at(40, true), at(50, true)];
        assert_eq!(recovery(&outcomes, now, 3), Some(Duration::from_millis(31)));
        assert_eq!(recovery(&outcomes, now + Duration::from_millis(25), 2), Some(Duration::from_millis(6)));
        assert_eq!(recovery(&outcomes, now, 4), None);
    }

    #[test]
    fn outcomes_are_counted_by_backend() {
        let now = Instant::now();
        let to = SocketAddr::from(([198, 51, 100, 10], 80));
        let outcome = |result| Outcome { started: now, ended: now, to, result };
        let tally = Tally::of(&[
            outcome(Ok("b1".into())),
            outcome(Ok("b1".into())),
            outcome(Ok("b2".into())),
            outcome(Err("reset".into())),
        ]);
        assert_eq!((tally.total, tally.failed), (4, 1));
        assert_eq!(tally.spread, BTreeMap::from([("b1".into(), 2), ("b2".into(), 1)]));
        assert_eq!(tally.reasons, ["198.51.100.10:80: reset"]);
    }
}
