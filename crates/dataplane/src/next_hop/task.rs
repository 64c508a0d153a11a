// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loop: wait for a reason, read what may have changed, resolve, publish, ask for missing neighbours.
//!
//! Nothing is decided here; what an event says is never applied, it only tells which tables to read again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::watch;
use tokio::time::Instant;

use super::netlink::{Dirty, Netlink, NetlinkError};
use super::table::{NeighbourState, RouteTable, Tables};
use super::{NextHops, StartError, decode, resolve, wanted_neighbours};

/// Everything is read again this often, whatever events said.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// Wait before trying again after the kernel could not be read.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// A pass is followed by a pause of this many times its length, so that a storm of route changes costs a quarter of a
/// core at most; single changes come long after the pause and are answered at once.
const PAUSE_FACTOR: u32 = 3;
/// Neighbour requests in one pass; further ones wait for the next, which follows at once.
const NEIGHBOUR_REQUESTS_MAX: usize = 1024;

/// State of the loop.
pub(super) struct Task {
    netlink: Netlink,
    tables: Tables,
    dirty: Dirty,
    destinations: watch::Receiver<BTreeSet<IpAddr>>,
    publish: watch::Sender<Arc<NextHops>>,
    stopped: watch::Receiver<bool>,
    /// Neighbours that the kernel refused to make; said once each.
    refused: BTreeSet<(u32, IpAddr)>,
}

/// Why the loop woke up.
enum Wake {
    Work,
    Closed,
    Stop { remove_neighbours: bool },
}

impl Task {
    pub(super) fn new(
        uplinks: Vec<String>,
        destinations: watch::Receiver<BTreeSet<IpAddr>>,
        publish: watch::Sender<Arc<NextHops>>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let tables = Tables { uplinks: uplinks.into_iter().collect(), ..Tables::default() };
        let netlink = Netlink::open().map_err(StartError::Socket)?;
        Ok(Self {
            netlink,
            tables,
            dirty: Dirty::ALL,
            destinations,
            publish,
            stopped,
            refused: BTreeSet::new(),
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            let started = Instant::now();
            let wait = match self.pass().await {
                Ok(Next::Idle) => RESYNC_INTERVAL,
                Ok(Next::More) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "next hops not read, trying again");
                    self.dirty = Dirty::ALL;
                    RETRY_INTERVAL
                }
            };
            let pause = started.elapsed() * PAUSE_FACTOR;
            match self.wait(pause, wait).await {
                Wake::Work => {}
                Wake::Closed => self.reopen().await,
                Wake::Stop { remove_neighbours } => {
                    if remove_neighbours {
                        self.remove_neighbours().await;
                    }
                    return;
                }
            }
        }
    }

    /// Waits for an event, new destinations, the end of `wait`, or the end; then lets `pause` pass.
    async fn wait(&mut self, pause: Duration, wait: Duration) -> Wake {
        let pause_end = Instant::now() + pause;
        tokio::select! {
            // CANCEL: `changed` takes events only when it returns them.
            dirty = self.netlink.changed() => match dirty {
                Some(dirty) => self.dirty.merge(dirty),
                None => return Wake::Closed,
            },
            // CANCEL: a watch keeps the change for the next call.
            changed = self.destinations.changed() => if changed.is_err() {
                return Wake::Stop { remove_neighbours: false };
            },
            // CANCEL: as above.
            stopped = self.stopped.changed() => {
                return Wake::Stop { remove_neighbours: stopped.is_ok() && *self.stopped.borrow() };
            }
            // CANCEL: the timer is made anew on each round; every pass reads what is dirty.
            () = tokio::time::sleep(wait) => if wait == RESYNC_INTERVAL {
                self.dirty = Dirty::ALL;
            },
        }
        tokio::time::sleep_until(pause_end).await;
        Wake::Work
    }

    /// Reads, publishes, then asks for neighbours.
    async fn pass(&mut self) -> Result<Next, NetlinkError> {
        if self.dirty.any() {
            self.read().await?;
        }
        let destinations = self.destinations.borrow_and_update().clone();
        self.publish(&destinations);
        self.ask(&destinations).await
    }

    async fn read(&mut self) -> Result<(), NetlinkError> {
        // Cleared before reading: an event that arrives meanwhile marks its table again.
        let dirty = std::mem::take(&mut self.dirty);
        let read = self.read_tables(dirty).await;
        if read.is_err() {
            self.dirty.merge(dirty);
        }
        read
    }

    async fn read_tables(&mut self, dirty: Dirty) -> Result<(), NetlinkError> {
        if dirty.links || dirty.routes {
            self.refused.clear();
        }
        if dirty.links {
            let messages = self.netlink.links().await?;
            self.tables.links = messages
                .iter()
                .filter_map(|m| {
                    if let RouteNetlinkMessage::NewLink(link) = m { decode::link(link) } else { None }
                })
                .collect();
        }
        if dirty.routes {
            let mut routes = RouteTable::default();
            for message in self.netlink.routes().await? {
                if let RouteNetlinkMessage::NewRoute(route) = message
                    && let Some(route) = decode::route(&route)
                {
                    routes.insert(route);
                }
            }
            self.tables.routes = routes;
        }
        if dirty.neighbours {
            let messages = self.netlink.neighbours().await?;
            self.tables.neighbours = messages
                .iter()
                .filter_map(|m| match m {
                    RouteNetlinkMessage::NewNeighbour(neighbour) => decode::neighbour(neighbour),
                    _ => None,
                })
                .collect();
        }
        Ok(())
    }

    fn publish(&self, destinations: &BTreeSet<IpAddr>) {
        let answers: NextHops = destinations
            .iter()
            .map(|&destination| (destination, resolve(&self.tables, destination)))
            .collect();
        self.publish.send_if_modified(|current| {
            if **current == answers {
                return false;
            }
            log_changes(current, &answers);
            *current = Arc::new(answers);
            true
        });
    }

    /// Makes the neighbours that are wanted managed, and removes ours that no longer are.
    async fn ask(&mut self, destinations: &BTreeSet<IpAddr>) -> Result<Next, NetlinkError> {
        let wanted = wanted_neighbours(&self.tables, destinations);
        let missing: Vec<_> = wanted
            .iter()
            .filter(|key| !self.refused.contains(*key))
            .filter(|key| {
                self.tables.neighbours.get(*key).is_none_or(|known| {
                    known.state != NeighbourState::Permanent && !(known.is_managed && known.is_ours)
                })
            })
            .copied()
            .collect();
        let stale: Vec<_> = self.ours().filter(|key| !wanted.contains(key)).collect();
        let requests = missing.len() + stale.len();
        for &(ifindex, address) in missing.iter().take(NEIGHBOUR_REQUESTS_MAX) {
            match self.netlink.manage_neighbour(ifindex, address).await {
                Err(NetlinkError::Refused(error)) => {
                    // Asked again at the next change of links or routes; a loop here would spin.
                    tracing::warn!(%address, ifindex, %error, "neighbour not made");
                    self.refused.insert((ifindex, address));
                }
                other => other?,
            }
        }
        for (ifindex, address) in stale.into_iter().take(NEIGHBOUR_REQUESTS_MAX) {
            self.netlink.remove_neighbour(ifindex, address).await?;
        }
        Ok(if requests > 2 * NEIGHBOUR_REQUESTS_MAX { Next::More } else { Next::Idle })
    }

    /// Entries that carry our mark, on our uplinks and the 802.1Q devices on them.
    fn ours(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        let is_uplink = |ifindex: &u32| {
            self.tables.links.get(ifindex).is_some_and(|link| self.tables.uplinks.contains(&link.name))
        };
        self.tables.neighbours.iter().filter(|(_, neighbour)| neighbour.is_ours).map(|(key, _)| *key).filter(
            move |(ifindex, _)| {
                let lower = self.tables.links.get(ifindex).and_then(|link| link.vlan).map(|vlan| vlan.lower);
                is_uplink(ifindex) || lower.as_ref().is_some_and(is_uplink)
            },
        )
    }

    async fn remove_neighbours(&mut self) {
        // Read once more: an entry may have been made since.
        self.dirty = Dirty::ALL;
        if let Err(error) = self.read().await {
            tracing::warn!(%error, "neighbour entries left behind");
            return;
        }
        let ours: Vec<_> = self.ours().collect();
        for (ifindex, address) in ours {
            if let Err(error) = self.netlink.remove_neighbour(ifindex, address).await {
                tracing::warn!(%address, ifindex, %error, "neighbour entry left behind");
            }
        }
    }

    /// A closed socket is opened again; until that succeeds the last answers stand.
    async fn reopen(&mut self) {
        tracing::warn!("netlink socket closed, opening it again");
        match Netlink::open() {
            Ok(netlink) => self.netlink = netlink,
            Err(error) => {
                tracing::error!(%error, "netlink socket not opened");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
        self.dirty = Dirty::ALL;
    }
}

/// Whether the pass left work.
enum Next {
    Idle,
    More,
}

/// One line for each destination that gained or lost its next hop.
fn log_changes(before: &NextHops, after: &NextHops) {
    for (destination, answer) in after {
        match (before.get(destination), answer) {
            (Some(Ok(old)), Ok(new)) if old != new => tracing::debug!(%destination, ?new, "next hop changed"),
            (Some(Ok(_)), Ok(_)) | (Some(Err(_)), Err(_)) => {}
            (_, Ok(new)) => tracing::info!(%destination, paths = new.len(), "next hop resolved"),
            (_, Err(reason)) => tracing::info!(%destination, %reason, "next hop unresolved"),
        }
    }
}
