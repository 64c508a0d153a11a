// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accepting: one task per listening address, handing what comes to the speaker. Who the caller is, is not known here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Accepted connections waiting for the speaker task, which looks at each for microseconds. When full, accepting waits
/// and the kernel's backlog fills.
pub(super) const INCOMING_DEPTH: usize = 16;
/// Pause after the kernel refused to accept, out of descriptors as a rule; without it the loop would spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A connection and where it came from.
pub(super) type Incoming = (TcpStream, SocketAddr);

/// Accepts until the speaker has gone.
pub(super) async fn run(listener: Arc<TcpListener>, incoming: mpsc::Sender<Incoming>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if incoming.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}
