// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What routers say about encapsulated packets: smaller MTUs of the paths to backends, and packets that do not arrive.
//!
//! ```text
//! raw ICMP, ICMPv6 ─► message (pure) ─► known (pure) ─► next hops with smaller MTUs ─► watch ─► whoever fills the tables
//! next hops of the resolver ────────────────┘   └─► what is known of which path ─► watch ─► status
//! ```
//!
//! Such a message is addressed to the source of the outer header, which is no VIP, so the program passes it to the host. The
//! kernel has no socket for it and forgets it. Told MTUs are believed within bounds ([`known::MTU_MIN`]) and for ten
//! minutes; clients are then told what fits. That something does not arrive is only said: health checks go the same way and
//! decide. With outer sources made from flows no message comes back, and so nothing is known.

pub mod known;
pub mod message;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::next_hop::NextHops;
use known::{Known, Ours, PathState};
use message::Told;
use socket::Ears;

/// What is known of paths, by backend address; one that nothing was heard of is missing.
pub type PathStatus = BTreeMap<IpAddr, PathState>;

/// Why nothing is heard.
#[derive(Debug, thiserror::Error)]
#[error("open a raw {family} socket")]
pub struct PathError {
    /// ICMP or ICMPv6.
    family: &'static str,
    #[source]
    source: io::Error,
}

/// A running listener. It ends when the resolver behind it ends, or with the last receiver of its answers.
#[derive(Debug)]
pub struct PathListener {
    ports: watch::Sender<BTreeSet<u16>>,
    next_hops: watch::Receiver<Arc<NextHops>>,
    status: watch::Receiver<Arc<PathStatus>>,
}

impl PathListener {
    /// Opens the sockets in the network namespace of the calling thread and spawns the listener on the current runtime.
    ///
    /// `sources` are those of outer headers, `next_hops` the resolver's answers.
    ///
    /// # Errors
    /// [`PathError`], without CAP_NET_RAW.
    pub fn start(
        sources: BTreeSet<IpAddr>,
        next_hops: watch::Receiver<Arc<NextHops>>,
    ) -> Result<Self, PathError> {
        let v4 = Ears::v4().map_err(|source| PathError { family: "ICMP", source })?;
        let v6 = Ears::v6().map_err(|source| PathError { family: "ICMPv6", source })?;
        let (ports, ports_seen) = watch::channel(BTreeSet::new());
        let first = Arc::clone(&next_hops.borrow());
        let (publish, published) = watch::channel(first);
        let (publish_status, status) = watch::channel(Arc::default());
        let task = Task { sources, ports: ports_seen, resolved: next_hops, publish, publish_status };
        tokio::spawn(task.run(v4, v6));
        Ok(Self { ports, next_hops: published, status })
    }

    /// Replaces the UDP destination ports of outer headers.
    pub fn set_ports(&self, ports: BTreeSet<u16>) {
        self.ports.send_replace(ports);
    }

    /// The resolver's answers, with the MTUs that paths were told to have. Follows the resolver within a turn of the loop.
    pub fn next_hops(&self) -> watch::Receiver<Arc<NextHops>> {
        self.next_hops.clone()
    }

    /// What is known of paths.
    pub fn status(&self) -> watch::Receiver<Arc<PathStatus>> {
        self.status.clone()
    }
}

/// The loop.
struct Task {
    sources: BTreeSet<IpAddr>,
    ports: watch::Receiver<BTreeSet<u16>>,
    resolved: watch::Receiver<Arc<NextHops>>,
    publish: watch::Sender<Arc<NextHops>>,
    publish_status: watch::Sender<Arc<PathStatus>>,
}

impl Task {
    async fn run(mut self, v4: Ears, v6: Ears) {
        let mut known = Known::default();
        loop {
            let hops = Arc::clone(&self.resolved.borrow_and_update());
            known.handle_destinations(&hops);
            known.handle_timeout(now());
            self.publish(&known, &hops);
            let heard = tokio::select! {
                // CANCEL: a change that was not seen is seen by the next turn.
                changed = self.resolved.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                // CANCEL: what was not taken waits in the socket.
                heard = v4.hear() => heard,
                heard = v6.hear() => heard,
                // CANCEL: the deadline is asked for again.
                () = until(known.poll_timeout()) => continue,
                () = self.publish.closed() => return,
            };
            match heard {
                Ok(reports) => {
                    let ours = Ours { sources: self.sources.clone(), ports: self.ports.borrow().clone() };
                    for report in &reports {
                        if known.handle_report(now(), report, &ours, &hops) {
                            log(report);
                        }
                    }
                }
                // An error that a socket had in store, of which raw ones have few: the next call goes on.
                Err(error) => tracing::debug!(%error, "hear ICMP"),
            }
        }
    }

    /// Tells what changed, if anything did.
    fn publish(&self, known: &Known, hops: &NextHops) {
        let applied = known.apply(hops);
        self.publish.send_if_modified(|current| {
            let is_new = **current != applied;
            if is_new {
                *current = Arc::new(applied);
            }
            is_new
        });
        let status = known.status();
        self.publish_status.send_if_modified(|current| {
            let is_new = **current != status;
            if is_new {
                *current = Arc::new(status);
            }
            is_new
        });
    }
}

/// One line for each thing that is new.
fn log(report: &message::Report) {
    let (backend, router) = (report.destination, report.router);
    match report.told {
        Told::Mtu(mtu) => tracing::info!(%backend, %router, mtu, "the path to a backend has a smaller MTU"),
        Told::Refused(why) => {
            tracing::warn!(%backend, %router, reason = why.words(), "packets do not reach a backend");
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
