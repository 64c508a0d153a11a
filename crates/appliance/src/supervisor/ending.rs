// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a process that is told to end goes: for good, or for another one that follows.
//!
//! ```text
//!  stop     GRACEFUL_SHUTDOWN ► withdraw ► wait the drain ► Hard Reset or Cease ► BFD AdminDown ► verdicts ► detach
//!  restart                                       verdicts ► connections end     ► BFD AdminDown
//!                                                           routes at the peers, program, tables, neighbours stay
//! ```
//! A restart keeps routes only where forwarding goes on: with the program off its uplink it says goodbye as a stop does.

use std::future::Future;

use weir_bgp::Ending;

use super::*;

/// How long the rest of a clean stop may take: the goodbye to the peers, the verdicts, the detach.
const GOODBYE_MAX: Duration = Duration::from_secs(20);
/// How long a clean stop waits for the VIPs to be withdrawn, besides the time they are given to leave.
const WITHDRAW_WAIT_MAX: Duration = Duration::from_secs(5);
/// The same after a second signal.
const WITHDRAW_HURRIED_MAX: Duration = Duration::from_secs(1);
/// What peers read in the NOTIFICATION of a clean stop (RFC 9003).
const SHUTDOWN_TEXT: &str = "weir is stopping";
/// What peers read that keep no routes over a restart.
const RESTART_TEXT: &str = "weir is restarting";

impl Running {
    /// Lets peers turn away, withdraws, waits, says goodbye, detaches. A second signal cuts the waits short.
    pub(super) async fn stop(&mut self, signals: &mut Signals, state: &StateDir) -> Result<(), RunError> {
        let Times { leave, drain_wait } = self.times;
        tracing::info!(
            leave_s = leave.as_secs_f64(),
            drain_wait_s = drain_wait.as_secs_f64(),
            "stopping: withdrawing"
        );
        let longest = leave + WITHDRAW_WAIT_MAX + drain_wait + GOODBYE_MAX;
        systemd::stopping(longest, "withdrawn, waiting for the drain");
        // Before the reconciler hears of the stop: a moment later the answer may be gone.
        let before = Told::of(&self.status.borrow());
        self.admin.send_replace(Admin { is_stopping: true, is_hurried: false });
        let wait_max = leave + WITHDRAW_WAIT_MAX;
        let withdrawn = unless_stopped(signals, withdrawn(&mut self.status, wait_max)).await;
        let is_withdrawn = match withdrawn {
            Some(is_withdrawn) => is_withdrawn,
            None => {
                tracing::warn!("second signal: withdrawing at once, not waiting for the drain");
                self.admin.send_replace(Admin { is_stopping: true, is_hurried: true });
                self::withdrawn(&mut self.status, WITHDRAW_HURRIED_MAX).await
            }
        };
        if !is_withdrawn {
            tracing::warn!("not waiting for the withdraw any longer");
        }
        // Also what was announced by a pass that was under way when the stop came.
        let was_announced = before.is_any || Told::of(&self.status.borrow()).withdrawn > before.withdrawn;
        if withdrawn.is_some() && was_announced {
            let drained = tokio::time::sleep(drain_wait);
            if unless_stopped(signals, drained).await.is_none() {
                tracing::warn!("second signal: not waiting for the drain");
            }
        }
        self.speaker.end(Ending::Stop { text: SHUTDOWN_TEXT.to_owned() }).await;
        // Never before: peers take AdminDown for a failure, and then neither our words nor graceful restart count.
        self.bfd.admin_down().await;
        // The detach takes the checks' way through the tunnel: what they say after it means nothing.
        self.keep_verdicts(state).await;
        let (reply, detached) = oneshot::channel();
        let gone = || RunError::Detach(PortError::Gone { part: "the reconciler" });
        self.commands.send(Command::Detach(reply)).await.map_err(|_| gone())?;
        detached.await.map_err(|_| gone())?.map_err(RunError::Detach)?;
        tracing::info!("stopped: withdrawn and detached");
        Ok(())
    }

    /// Leaves forwarding and, with peers that agreed to keep them, routes to the next process.
    pub(super) async fn restart(&mut self, state: &StateDir) {
        let is_forwarding = self.status.borrow().is_attached;
        tracing::info!(is_forwarding, "restarting: program and tables stay");
        systemd::stopping(GOODBYE_MAX, "restarting, packets flow on");
        // The way of the checks through the tunnel goes with the reconciler: what they say after it means nothing.
        self.keep_verdicts(state).await;
        // That the reconciler hears the speaker go is no failure of it, and nothing is announced any more.
        self.reconcile.abort();
        let text = RESTART_TEXT.to_owned();
        let ending = if is_forwarding { Ending::Restart { text } } else { Ending::Stop { text } };
        self.speaker.end(ending).await;
        // After BGP, as with a stop.
        self.bfd.admin_down().await;
        tracing::info!("ended for a restart: packets flow on");
    }

    /// For the next start, whatever becomes of this one.
    pub(super) async fn keep_verdicts(&self, state: &StateDir) {
        self.verdicts.abort();
        if let Err(error) = HealthFile::new(state, self.monitor.clone()).write().await {
            tracing::warn!(%error, "verdicts of checks are not kept");
        }
    }
}

/// What the speaker was told of VIPs.
struct Told {
    /// Whether any is announced.
    is_any: bool,
    /// Withdraws so far.
    withdrawn: u64,
}

impl Told {
    fn of(status: &ReconcileStatus) -> Self {
        Self {
            is_any: status.vips.values().any(|vip| vip.is_told),
            withdrawn: status.vips.values().map(|vip| vip.withdrawn).sum(),
        }
    }
}

/// Waits until every VIP is withdrawn; answers whether that is so.
async fn withdrawn(status: &mut watch::Receiver<Arc<ReconcileStatus>>, wait_max: Duration) -> bool {
    let withdrawn = async {
        // The answer of `wait_for` holds the reconciler off its status: it must not outlive this block. An error means that
        // the reconciler has ended: then there is nothing to wait for.
        status.wait_for(|status| is_withdrawn(status)).await.is_ok()
    };
    tokio::time::timeout(wait_max, withdrawn).await == Ok(true)
}

/// Whether the reconciler has heard of the stop and withdrawn every VIP.
fn is_withdrawn(status: &ReconcileStatus) -> bool {
    status.vips.values().all(|vip| !vip.is_told && vip.withheld.contains(&Reason::Admin))
}

/// Waits for `done`; `None` when a signal to stop came first.
async fn unless_stopped<T>(signals: &mut Signals, done: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // CANCEL: only a wait is lost.
        done = done => Some(done),
        // CANCEL: a signal not seen stays pending.
        () = signals.stop() => None,
    }
}
