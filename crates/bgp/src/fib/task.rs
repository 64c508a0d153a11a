// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loop: wait for a reason, read our routes, plan, apply, read again, publish.
//!
//! A pass ends when a reading agrees with the wish, or when it is known why it cannot. Next hops that the kernel refuses are
//! found out one by one and left aside, so that one bad router does not take the good ones with it; a later pass
//! tries them again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::adoption::{Adoption, Step};
use super::netlink::{Heard, Netlink, NetlinkError, Reading};
use super::outcome::{Outcome, Weighed};
use super::pace::Pace;
use super::plan::{Change, ObservedRoute, Route, is_same, plan};
use super::{AtEnd, FibConfig, FibFamily, FibProblem, FibStatus, InstalledNextHop, RefusedNextHop, Wish};
use crate::config::Family;
use crate::import::{Defaults, NEXT_HOPS_MAX};

/// Our routes are read again this often, whatever events said.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// Least time between a pass and the next one that events cause, so that a storm of them costs little.
const EVENT_PAUSE: Duration = Duration::from_millis(20);
/// Wait before sockets that closed are opened again.
const REOPEN_WAIT: Duration = Duration::from_secs(1);
/// Readings of one pass: the first, one after the changes, and one for every next hop that turns out to be refused.
const ROUNDS_MAX: usize = NEXT_HOPS_MAX + 4;
/// Attempts to remove everything at the end.
const END_ATTEMPTS_MAX: usize = 3;

/// State of the loop.
pub(super) struct Task {
    config: FibConfig,
    netlink: Netlink,
    wishes: watch::Receiver<Wish>,
    publish: watch::Sender<Arc<FibStatus>>,
    stopped: watch::Receiver<Option<AtEnd>>,
    adoption: Adoption,
    pace: Pace,
    /// The last pass ended with the kernel as wanted, and nobody has wished for anything else since.
    is_settled: bool,
    last_pass: Instant,
    /// What the last pass found, for the status.
    status: FibStatus,
}

/// Why the loop woke up.
enum Wake {
    Look,
    Closed,
    End(AtEnd),
}

impl Task {
    pub(super) fn new(
        config: FibConfig,
        adoption_max: Duration,
        wishes: watch::Receiver<Wish>,
        publish: watch::Sender<Arc<FibStatus>>,
        stopped: watch::Receiver<Option<AtEnd>>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            config,
            netlink: Netlink::open(config)?,
            wishes,
            publish,
            stopped,
            adoption: Adoption::Before { until: Instant::now() + adoption_max },
            pace: Pace::default(),
            is_settled: false,
            last_pass: Instant::now(),
            status: FibStatus::default(),
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            self.pass().await;
            match self.wait().await {
                Wake::Look => {}
                Wake::Closed => self.reopen().await,
                Wake::End(AtEnd::Keep) => return self.say_kept(),
                Wake::End(AtEnd::Remove) => return self.remove_all().await,
            }
        }
    }

    /// Waits until there is a reason to look.
    async fn wait(&mut self) -> Wake {
        let mut deadline = Instant::now() + RESYNC_INTERVAL;
        for other in [self.pace.retry_at(), self.adoption.ends_at()].into_iter().flatten() {
            deadline = deadline.min(other);
        }
        let mut pause_end: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                // CANCEL: a watch keeps the change for the next call.
                stopped = self.stopped.changed() => {
                    // A handle that was dropped says nothing: as after a crash, the routes stay.
                    let at_end = *self.stopped.borrow();
                    return Wake::End(at_end.filter(|_| stopped.is_ok()).unwrap_or(AtEnd::Keep));
                }
                // CANCEL: as above.
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return Wake::End(self.stopped.borrow().unwrap_or(AtEnd::Keep));
                    }
                    self.pace.handle_change();
                    self.is_settled = false;
                    return Wake::Look;
                }
                // CANCEL: `changed` takes events only when it returns them.
                heard = self.netlink.changed() => match heard {
                    Some(heard) => {
                        let now = Instant::now();
                        let earliest = self.earliest(heard, now);
                        pause_end = Some(pause_end.map_or(earliest, |end| end.min(earliest)));
                    }
                    None => return Wake::Closed,
                },
                // CANCEL: the timer is made anew each time from the same deadlines.
                () = tokio::time::sleep_until(pause_end.map_or(deadline, |end| end.min(deadline)).into()) => {
                    return Wake::Look;
                }
            }
        }
    }

    /// When to look after an event: soon, but against somebody who insists on another route ever later.
    fn earliest(&mut self, heard: Heard, now: Instant) -> Instant {
        if heard.is_link {
            self.pace.handle_change();
        }
        let earliest = now.max(self.last_pass + EVENT_PAUSE);
        self.pace.mend_at().map_or(earliest, |at| at.max(earliest))
    }

    async fn pass(&mut self) {
        // Wished while something else woke us: what changes now was not changed by others. The sender's end tells in `wait`.
        self.is_settled &= !self.wishes.has_changed().unwrap_or(false);
        let wish = self.wishes.borrow_and_update().clone();
        let mut outcome = Outcome::default();
        let was_settled = self.is_settled;
        let before = self.status.families.clone();
        match self.rounds(&wish, &mut outcome).await {
            // `is_settled` is gone by now if there was a reason of our own.
            Ok(true) if was_settled && self.is_settled => self.note_mend(),
            Ok(_) => {}
            Err(failure) => outcome.failure = Some(failure),
        }
        self.last_pass = Instant::now();
        let problem = outcome.problem(&self.config);
        self.is_settled = problem.is_none();
        match problem {
            Some(_) => self.pace.handle_failure(self.last_pass),
            None => self.pace.handle_success(),
        }
        self.note_problem(problem);
        for family in Family::ALL {
            let entry = self.status.families.entry(family).or_default();
            entry.is_blocked = outcome.blocked.contains(&family);
            let refused = outcome.refused.iter().filter(|((of, _), _)| *of == family);
            let refused = refused.map(|((_, hop), reason)| (*hop, reason.clone()));
            entry.refused = refused.map(|(next_hop, reason)| RefusedNextHop { next_hop, reason }).collect();
            note_change(family, before.get(&family), entry);
        }
        self.status.is_adopting = !self.adoption.is_over();
        self.publish.send_if_modified(|current| {
            let is_new = **current != self.status;
            if is_new {
                *current = Arc::new(self.status.clone());
            }
            is_new
        });
    }

    /// Reads, plans and applies until a reading needs no change. Whether anything was changed.
    async fn rounds(&mut self, wish: &Wish, outcome: &mut Outcome) -> Result<bool, NetlinkError> {
        let mut is_changed = false;
        let mut last_plan = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let reading = self.netlink.read().await?;
            self.note_reading(&reading);
            let wanted = outcome.possible(self.adopt(wish, &reading.routes));
            let changes = plan(&wanted, self.config.metric, &reading.routes);
            if changes.is_empty() {
                return Ok(is_changed);
            }
            if changes == last_plan {
                break;
            }
            for change in &changes {
                match self.netlink.apply(change).await {
                    Ok(()) => is_changed = true,
                    Err(error) => match outcome.weigh(change, error)? {
                        Weighed::Harmless => {}
                        Weighed::PlanAgain => break,
                        Weighed::Probe => {
                            let (Change::Add { route, .. } | Change::Remove(route)) = change;
                            self.probe(route, &reading.routes, outcome).await?;
                            break;
                        }
                    },
                }
            }
            last_plan = changes;
        }
        outcome.is_unsettled = true;
        Ok(is_changed)
    }

    /// The wish and the routes of an earlier run that are still kept; ends the adoption when it is time.
    fn adopt(&mut self, wish: &Wish, observed: &[ObservedRoute]) -> Defaults {
        loop {
            match self.adoption.handle_reading(wish, observed, Instant::now()) {
                Step::Going => return self.adoption.merged(&wish.defaults),
                Step::Begun(hops) => {
                    self.status.adopted = hops as u64;
                    if hops > 0 {
                        tracing::info!(next_hops = hops, "default routes of an earlier run are kept for now");
                    }
                }
                Step::Ended(hops) => {
                    // What goes now was not changed by others.
                    self.is_settled = false;
                    self.status.purged += hops as u64;
                    if hops > 0 {
                        tracing::info!(
                            next_hops = hops,
                            "default routes of an earlier run go, no peer claimed them"
                        );
                    }
                }
            }
        }
    }

    /// Finds out which next hops of a refused route are at fault: each that is not in use is added alone, behind what we have,
    /// and stays until the next round has made one route of the good ones.
    async fn probe(
        &mut self,
        route: &Route,
        observed: &[ObservedRoute],
        outcome: &mut Outcome,
    ) -> Result<(), NetlinkError> {
        let ours =
            observed.iter().filter(|o| o.route.family == route.family && o.route.metric == route.metric);
        let mut is_first = ours.clone().next().is_none();
        for hop in &route.hops {
            let mut present = ours.clone().flat_map(|o| o.route.hops.iter().zip(&o.dead));
            if present.any(|(other, is_dead)| is_same(hop, other) && !is_dead) {
                continue;
            }
            let change = Change::Add { route: Route { hops: vec![*hop], ..*route }, is_first };
            match self.netlink.apply(&change).await {
                Ok(()) => is_first = false,
                Err(error) => {
                    outcome.weigh(&change, error)?;
                    if outcome.blocked.contains(&route.family) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn note_reading(&mut self, reading: &Reading) {
        if reading.elsewhere > self.status.elsewhere {
            tracing::warn!(
                routes = reading.elsewhere,
                protocol = self.config.protocol,
                "default routes with our protocol number in other tables, not touched"
            );
        }
        self.status.elsewhere = reading.elsewhere;
        for family in Family::ALL {
            let ours = reading.routes.iter().filter(|observed| {
                observed.route.family == family && observed.route.metric == self.config.metric
            });
            let next_hops = ours.flat_map(|observed| observed.route.hops.iter().zip(&observed.dead));
            let next_hops = next_hops.map(|(next_hop, is_dead)| InstalledNextHop {
                next_hop: *next_hop,
                interface: next_hop.interface.and_then(interface_name),
                is_dead: *is_dead,
            });
            self.status.families.entry(family).or_default().next_hops = next_hops.collect();
        }
    }

    fn note_mend(&mut self) {
        self.status.mended += 1;
        self.pace.handle_mend(Instant::now());
        tracing::warn!(mended = self.status.mended, "default routes were changed by others and put right");
    }

    fn note_problem(&mut self, text: Option<String>) {
        let known = self.status.problem.take();
        match (&text, &known) {
            (Some(text), Some(known)) if *text == known.text => {}
            (Some(text), _) => {
                tracing::warn!(problem = text, "default routes are not as wanted, trying again")
            }
            (None, Some(_)) => tracing::info!("default routes are as wanted again"),
            (None, None) => {}
        }
        self.status.problem = text.map(|text| match known {
            Some(known) if known.text == text => known,
            _ => FibProblem { text, since: SystemTime::now() },
        });
    }

    async fn reopen(&mut self) {
        tokio::time::sleep(REOPEN_WAIT).await;
        match Netlink::open(self.config) {
            Ok(netlink) => self.netlink = netlink,
            Err(error) => tracing::error!(%error, "netlink sockets of the default routes not opened again"),
        }
    }

    fn say_kept(&self) {
        let next_hops: usize = self.status.families.values().map(|family| family.next_hops.len()).sum();
        if next_hops > 0 {
            tracing::info!(next_hops, "default routes stay for the next start");
        }
    }

    async fn remove_all(&mut self) {
        for _ in 0..END_ATTEMPTS_MAX {
            match self.remove_once().await {
                Ok(true) => return tracing::info!("default routes removed"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "default routes not removed"),
            }
        }
        tracing::error!("default routes are left behind");
    }

    /// Whether none was left to remove.
    async fn remove_once(&mut self) -> Result<bool, NetlinkError> {
        let reading = self.netlink.read().await?;
        let changes = plan(&Defaults::new(), self.config.metric, &reading.routes);
        for change in &changes {
            match self.netlink.apply(change).await {
                Err(error) if !matches!(error.code(), Some(libc::ESRCH | libc::ENOENT)) => return Err(error),
                // Gone in this moment is gone.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(changes.is_empty())
    }
}

fn interface_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// Stamps and tells a change of a family's installed next hops.
fn note_change(family: Family, before: Option<&FibFamily>, after: &mut FibFamily) {
    let hops = |family: &FibFamily| family.next_hops.iter().map(|hop| hop.next_hop).collect::<BTreeSet<_>>();
    let (old, new) = (before.map(hops).unwrap_or_default(), hops(after));
    if old == new {
        return;
    }
    let now = SystemTime::now();
    after.changed = Some(now);
    after.since = if new.is_empty() { None } else { after.since.filter(|_| !old.is_empty()).or(Some(now)) };
    let gateways: Vec<String> = new.iter().map(|hop| hop.gateway.to_string()).collect();
    tracing::info!(%family, gateways = gateways.join(" "), before = old.len(), "default route changed");
}
