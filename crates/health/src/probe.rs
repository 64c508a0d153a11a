// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One attempt, one result: within its timeout whatever the other side does, and with its socket closed at the end.
//!
//! Each attempt has its own socket, which is closed by a reset (linger 0): no TIME_WAIT is left on either side. What is
//! read is bounded ([`response`]), and the deadline is that of the whole attempt, so that a peer that sends byte by byte
//! gains nothing.

mod http;
mod response;
mod tcp;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Check, CheckKind, Route};
use crate::failure::{Failure, Outcome};

pub use response::{BODY_MAX, HEAD_MAX};

/// An attempt that ends this much after its deadline was not timed out by the peer: this process did not run. Half the
/// timeout where that is longer.
const STALL_MARGIN: Duration = Duration::from_millis(250);

/// Result of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// Success, or why not.
    pub outcome: Outcome,
    /// From the start to the outcome.
    pub duration: Duration,
}

/// What makes attempts: sockets in production, a script in tests.
pub trait Prober: Send + 'static {
    /// One attempt, to be run as a task of its own. It ends within the check's timeout.
    fn probe(&self, check: Arc<Check>) -> impl Future<Output = ProbeResult> + Send + 'static;
}

/// Attempts over real sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketProber;

impl Prober for SocketProber {
    fn probe(&self, check: Arc<Check>) -> impl Future<Output = ProbeResult> + Send + 'static {
        attempt(check)
    }
}

/// Makes one attempt. Needs a runtime with time and network.
pub async fn attempt(check: Arc<Check>) -> ProbeResult {
    if check.route == Route::NoNextHop {
        return ProbeResult { outcome: Err(Failure::NoNextHop), duration: Duration::ZERO };
    }
    let started = Instant::now();
    let timeout = check.spec.timing().timeout;
    let outcome = outcome(&check, started + timeout).await;
    let duration = started.elapsed();
    let outcome = match outcome {
        Err(_) if duration > timeout + STALL_MARGIN.max(timeout / 2) => Err(Failure::Local),
        Ok(()) | Err(_) => outcome,
    };
    ProbeResult { outcome, duration }
}

async fn outcome(check: &Check, deadline: Instant) -> Outcome {
    let connect = tcp::connect(check.target, &check.socket);
    let stream =
        tokio::time::timeout_at(deadline, connect).await.map_err(|_elapsed| Failure::TimeoutConnect)??;
    match check.spec.kind() {
        // Dropping the stream resets the connection.
        CheckKind::Tcp => Ok(()),
        CheckKind::Http(http) => {
            let exchange = http::exchange(&stream, http);
            tokio::time::timeout_at(deadline, exchange).await.map_err(|_elapsed| Failure::TimeoutRead)?
        }
    }
}

#[cfg(test)]
mod tests;
