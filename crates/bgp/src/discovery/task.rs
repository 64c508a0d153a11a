// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Discovery on one interface: wait, feed the core, send what it says, publish. No rule of discovery is here.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::links::{LinkState, Links};
use super::neighbour::{Discovery, Ours};
use super::socket::{Incoming, RouterSocket};
use crate::status::DiscoveryStatus;

/// Wait before a socket that could not be had, or failed, is opened again.
const RETRY: Duration = Duration::from_secs(2);
/// Least time between two publications that only differ in counters.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// What others go by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Index of the interface while it is up; the scope of both addresses.
    pub(crate) index: Option<u32>,
    /// The address that we speak with.
    pub(crate) own: Option<Ipv6Addr>,
    /// Every link-local address of ours on the interface.
    pub(crate) all_own: Arc<[Ipv6Addr]>,
    /// The neighbour: where to connect to and who may connect. `None`: nobody, and whoever connects first may be it.
    pub(crate) neighbour: Option<Ipv6Addr>,
    /// How it came to that.
    pub(crate) status: DiscoveryStatus,
}

impl Found {
    /// Whether a session from `local` has lost its link: it is down, our address is gone, or it is another interface of the
    /// same name and address, made so fast that nothing between was seen.
    pub(crate) fn has_lost(&self, local: &SocketAddrV6) -> bool {
        self.index != Some(local.scope_id()) || !self.all_own.contains(local.ip())
    }
}

/// The ends of its channels.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) links: watch::Receiver<Links>,
    /// The neighbour with which a session lives or begins to.
    pub(crate) in_use: watch::Receiver<Option<Ipv6Addr>>,
    pub(crate) found: watch::Sender<Found>,
}

struct Task {
    interface: String,
    ports: Ports,
    discovery: Discovery,
    /// What the interface is now, if it is up.
    link: Option<LinkState>,
    own: Option<Ipv6Addr>,
    socket: Option<RouterSocket>,
    retry_at: Option<Instant>,
    error: Option<String>,
    /// Whether there is such an interface, as far as is known.
    exists: bool,
    published_at: Option<Instant>,
}

/// Runs on `interface` until the peer's driver has gone. `fixed` is a configured neighbour.
pub(crate) async fn run(interface: String, fixed: Option<Ipv6Addr>, seed: u64, ports: Ports) {
    let mut task = Task {
        interface,
        ports,
        discovery: Discovery::new(fixed, seed),
        link: None,
        own: None,
        socket: None,
        retry_at: None,
        error: None,
        exists: true,
        published_at: None,
    };
    task.look();
    task.serve().await;
}

impl Task {
    async fn serve(&mut self) {
        loop {
            self.send();
            self.publish();
            let deadline =
                [self.discovery.poll_timeout(), self.retry_at, self.recount_at()].into_iter().flatten().min();
            let now = Instant::now;
            // CANCEL: watches keep what an arm that lost did not take; messages stay in the socket.
            tokio::select! {
                changed = self.ports.links.changed() => match changed {
                    Ok(()) => self.look(),
                    Err(_) => return,
                },
                changed = self.ports.in_use.changed() => match changed {
                    Ok(()) => {
                        let in_use = *self.ports.in_use.borrow_and_update();
                        self.discovery.handle_in_use(now(), in_use);
                    }
                    Err(_) => return,
                },
                result = receive(self.socket.as_ref(), &mut self.discovery) => {
                    if let Err(error) = result {
                        self.fail(format!("receive: {error}"));
                    }
                }
                () = sleep_until(deadline) => {
                    self.discovery.handle_timeout(now());
                    if self.retry_at.is_some_and(|at| at <= now()) {
                        self.open();
                    }
                }
            }
        }
    }

    /// Takes over what the interface is now.
    fn look(&mut self) {
        let links = self.ports.links.borrow_and_update().clone();
        let link = links.as_ref().and_then(|links| links.get(&self.interface));
        // Unknown is not missing.
        self.exists = links.is_none() || link.is_some();
        let link = link.filter(|link| link.is_up);
        if link == self.link.as_ref() {
            return;
        }
        let index_before = self.link.as_ref().map(|link| link.index);
        let own_before = self.own;
        self.link = link.cloned();
        // The address we speak with stays for as long as the interface has it.
        self.own = self.link.as_ref().and_then(|link| {
            let kept = self.own.filter(|own| link.link_locals.contains(own));
            kept.or_else(|| link.link_locals.first().copied())
        });
        let is_other_interface = self.link.as_ref().map(|link| link.index) != index_before;
        let now = Instant::now();
        if is_other_interface {
            // Another one of the same name is another link.
            self.discovery.handle_link(now, None);
        }
        self.discovery.handle_link(now, self.ours());
        if is_other_interface || self.own != own_before {
            tracing::info!(interface = %self.interface, index = self.link.as_ref().map(|link| link.index),
                own = self.own.map(tracing::field::display), "interface of a peer changed");
            self.open();
        }
    }

    fn ours(&self) -> Option<Ours> {
        let (link, own) = (self.link.as_ref()?, self.own?);
        let others = link.link_locals.iter().copied().filter(|address| *address != own);
        Some(Ours { addresses: [own].into_iter().chain(others).collect(), link_layer: link.link_layer })
    }

    fn open(&mut self) {
        self.socket = None;
        self.retry_at = None;
        self.error = None;
        let (Some(link), Some(own)) = (&self.link, self.own) else { return };
        match RouterSocket::open(&self.interface, link.index, own) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => self.fail(format!("raw ICMPv6 socket: {error}")),
        }
    }

    fn fail(&mut self, error: String) {
        tracing::warn!(interface = %self.interface, %error, "router advertisements");
        self.error = Some(error);
        self.socket = None;
        self.retry_at = Some(Instant::now() + RETRY);
    }

    fn send(&mut self) {
        while let Some(outgoing) = self.discovery.poll_transmit(Instant::now()) {
            let Some(socket) = &self.socket else { continue };
            if let Err(error) = socket.send(&outgoing) {
                self.fail(format!("send: {error}"));
            }
        }
    }

    fn found(&self) -> Found {
        let mut status = self.discovery.status();
        // Without an address the link is up all the same, and that is what an operator looks at.
        status.is_link_up = self.link.is_some();
        status.error.clone_from(&self.error);
        if !self.exists {
            status.error = Some(format!("there is no interface `{}`", self.interface));
        }
        Found {
            index: self.link.as_ref().map(|link| link.index),
            own: self.own,
            all_own: self.link.iter().flat_map(|link| link.link_locals.iter().copied()).collect(),
            neighbour: self.discovery.neighbour(),
            status,
        }
    }

    /// Publishes what changed; counters alone not more often than [`COUNT_INTERVAL`].
    fn publish(&mut self) {
        let found = self.found();
        let (is_other, differs) = {
            let before = self.ports.found.borrow();
            let is_other =
                (before.index, before.own, before.neighbour, &before.all_own, &before.status.error)
                    != (found.index, found.own, found.neighbour, &found.all_own, &found.status.error);
            (is_other, *before != found)
        };
        let now = Instant::now();
        if is_other || (differs && self.published_at.is_none_or(|at| at + COUNT_INTERVAL <= now)) {
            if found.neighbour != self.ports.found.borrow().neighbour {
                let neighbour = found.neighbour.map(tracing::field::display);
                tracing::info!(interface = %self.interface, neighbour, is_found = neighbour.is_some(), "neighbour");
            }
            self.published_at = Some(now);
            self.ports.found.send_replace(found);
        }
    }

    /// When counters that were held back are due.
    fn recount_at(&self) -> Option<Instant> {
        let before = self.ports.found.borrow();
        let is_behind = before.status != self.found().status;
        is_behind.then(|| self.published_at.map(|at| at + COUNT_INTERVAL)).flatten()
    }
}

async fn receive(socket: Option<&RouterSocket>, discovery: &mut Discovery) -> std::io::Result<()> {
    let Some(socket) = socket else { return std::future::pending().await };
    let take = |incoming: &Incoming<'_>| {
        discovery.handle_message(Instant::now(), incoming.source, incoming.hop_limit, incoming.octets);
    };
    socket.receive(take).await
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_lost_with_its_link_its_address_or_its_interface() {
        let own: Ipv6Addr = "fe80::a".parse().unwrap();
        let found = |index, own: &[Ipv6Addr]| Found { index, all_own: own.into(), ..Found::default() };
        let local = SocketAddrV6::new(own, 179, 0, 3);
        assert!(!found(Some(3), &["fe80::b".parse().unwrap(), own]).has_lost(&local));
        assert!(found(None, &[]).has_lost(&local), "the link is down");
        assert!(found(Some(3), &["fe80::b".parse().unwrap()]).has_lost(&local), "the address is gone");
        assert!(found(Some(4), &[own]).has_lost(&local), "another interface of the same name and address");
    }
}
