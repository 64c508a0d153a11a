// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as values: stop (SIGTERM, SIGINT), restart (SIGUSR2) and reload (SIGHUP).
//!
//! A service manager sends the same signal whether it stops or restarts a unit, so the unit's hook sends SIGUSR2 when
//! another process follows (`cli::service_stop`).

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What the operator or the service manager asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Go down cleanly; the second one: without waiting.
    Stop,
    /// Go down and leave forwarding and routes to the next process.
    Restart,
    /// Read the document again.
    Reload,
}

/// The process's signals.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    user: unix::Signal,
}

impl Signals {
    /// Takes the signals over: from now on they do not end the process by themselves.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            user: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// The next request. Safe to cancel: a signal not seen stays pending.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            // CANCEL: every arm only waits, a pending signal stays so.
            Some(()) = self.terminate.recv() => Request::Stop,
            // CANCEL: as above.
            Some(()) = self.interrupt.recv() => Request::Stop,
            // CANCEL: as above.
            Some(()) = self.hang_up.recv() => Request::Reload,
            // CANCEL: as above.
            Some(()) = self.user.recv() => Request::Restart,
            // The runtime delivers no more signals: it is being shut down.
            else => Request::Stop,
        }
    }

    /// The next request to stop; others are dropped.
    pub async fn stop(&mut self) {
        while self.next().await != Request::Stop {}
    }
}
