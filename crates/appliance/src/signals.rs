// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as values: stop (SIGTERM, SIGINT) and reload (SIGHUP).

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What the operator or the service manager asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Go down cleanly; the second one: without waiting.
    Stop,
    /// Read the document again.
    Reload,
}

/// The process's signals.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Takes the signals over: from now on they do not end the process by themselves.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
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
            // The runtime delivers no more signals: it is being shut down.
            else => Request::Stop,
        }
    }

    /// The next request to stop; others are dropped.
    pub async fn stop(&mut self) {
        while self.next().await != Request::Stop {}
    }
}
