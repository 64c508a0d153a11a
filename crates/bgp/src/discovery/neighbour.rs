// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who the neighbour on one interface is, and when we speak: no socket, no clock.
//!
//! ```text
//!   handle_link ─────┐                                ┌─► poll_transmit   advertisement or solicitation, all multicast
//!   handle_message ──┼─► Discovery: neighbour, others ┼─► poll_timeout
//!   handle_in_use ───┘                                └─► neighbour
//! ```
//!
//! Advertisements: three soon after each other when the link comes, then one every ten seconds; at once, but not more often
//! than once a second, when somebody asks or is new. Solicitations: when the link comes and while nobody is known.
//!
//! Which router is *the* neighbour, if there are several although the link should be point-to-point:
//! - the one a session lives with, whatever else is heard;
//! - without a session, one that was never heard before the neighbour was heard last: that is how a changed address looks;
//!   once a second at the most;
//! - without a session, one that was heard before only if the present one is silent or was tried in vain for a while,
//!   so that two routers do not make the target swing with each of their advertisements.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::message::{Message, RouterAdvertisement, encode_solicitation};
use crate::session::Random;
use crate::status::DiscoveryStatus;

/// Advertisements sent soon after each other when the link comes (RFC 4861 §10: 3).
const INITIAL_ADVERTISEMENTS: u8 = 3;
/// Between those, before jitter.
const INITIAL_INTERVAL: Duration = Duration::from_secs(3);
/// Between all others, before jitter. FRR's default on such interfaces too.
const INTERVAL: Duration = Duration::from_secs(10);
/// Least time between two advertisements, whoever asks.
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);
/// Between solicitations while nobody is known, before jitter (RFC 4861 §10: 4 s).
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Time after which a router that is not heard, and with which no session lives, is forgotten: four of its intervals.
const SILENT_AFTER: Duration = Duration::from_secs(40);
/// Time in which a neighbour is tried before another one that is heard as well gets its turn.
const TRIED_AFTER: Duration = Duration::from_secs(30);
/// Least time between two changes of the neighbour to one that came up since: whoever invents addresses must not make us
/// connect to each of them.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Other routers that are remembered; further ones are not, the link is misused anyway.
const OTHERS_MAX: usize = 8;

/// Our end of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ours {
    /// Every link-local address of the interface, the one we speak with first.
    pub(super) addresses: Vec<Ipv6Addr>,
    /// Its link-layer address, if it is one of Ethernet.
    pub(super) link_layer: Option<[u8; 6]>,
}

/// What is to be sent, with the hop limit of 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) destination: Ipv6Addr,
    pub(super) octets: Vec<u8>,
}

/// A router heard on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Router {
    address: Ipv6Addr,
    /// First heard, or first spoken with.
    since: Instant,
    /// Last heard.
    heard: Instant,
}

impl Router {
    fn new(address: Ipv6Addr, now: Instant) -> Self {
        Self { address, since: now, heard: now }
    }
}

/// The neighbour on one interface.
#[derive(Debug)]
pub(super) struct Discovery {
    random: Random,
    /// Configured: nothing has to be learnt.
    fixed: Option<Ipv6Addr>,
    ours: Option<Ours>,
    neighbour: Option<Router>,
    /// Since when the neighbour is the one, or is tried again.
    chosen: Option<Instant>,
    /// When the neighbour was exchanged for another one last.
    changed: Option<Instant>,
    /// End of the last session.
    released: Option<Instant>,
    last_heard: Option<Instant>,
    others: Vec<Router>,
    in_use: Option<Ipv6Addr>,
    initial_left: u8,
    advertised: Option<Instant>,
    advertise_at: Option<Instant>,
    solicit_at: Option<Instant>,
    sent: u64,
    received: u64,
    ignored: u64,
}

impl Discovery {
    /// Discovery without a link yet. `fixed` is a configured neighbour: we speak, but learn nothing.
    pub(super) fn new(fixed: Option<Ipv6Addr>, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            fixed,
            ours: None,
            neighbour: None,
            chosen: None,
            changed: None,
            released: None,
            last_heard: None,
            others: Vec::new(),
            in_use: None,
            initial_left: 0,
            advertised: None,
            advertise_at: None,
            solicit_at: None,
            sent: 0,
            received: 0,
            ignored: 0,
        }
    }

    /// The link is up with these addresses, or down. Another first address begins everything anew but the neighbour, who
    /// did not change; a link that was down forgets the neighbour, for it may have been plugged elsewhere.
    pub(super) fn handle_link(&mut self, now: Instant, ours: Option<Ours>) {
        let own = |ours: &Option<Ours>| ours.as_ref().and_then(|ours| ours.addresses.first().copied());
        let is_same = own(&self.ours) == own(&ours);
        self.ours = ours.filter(|ours| !ours.addresses.is_empty());
        if self.ours.is_none() {
            self.neighbour = None;
            self.chosen = None;
            self.released = None;
            self.others.clear();
            self.advertise_at = None;
            self.solicit_at = None;
        } else if !is_same {
            self.initial_left = INITIAL_ADVERTISEMENTS;
            self.advertise_at = Some(now);
            self.solicit_at = Some(now);
        }
    }

    /// A session lives, or begins to, with this neighbour; or none does any more. Whoever connected while nobody was known
    /// is the neighbour.
    pub(super) fn handle_in_use(&mut self, now: Instant, in_use: Option<Ipv6Addr>) {
        if self.in_use.is_some() && in_use.is_none() {
            self.released = Some(now);
            self.chosen = Some(now);
        }
        self.in_use = in_use;
        if in_use.is_none() {
            self.follow(now);
        }
        if let Some(address) = in_use
            && self.fixed.is_none()
            && self.neighbour.map(|router| router.address) != in_use
        {
            self.choose(now, Router::new(address, now));
        }
    }

    /// Without a session, follows a router that came up since the neighbour was heard last: it may be the same one with
    /// another address.
    fn follow(&mut self, now: Instant) {
        let Some(neighbour) = self.neighbour.filter(|_| self.fixed.is_none()) else { return };
        let newer = self.others.iter().filter(|other| other.since > neighbour.heard);
        if let Some(newest) = newer.max_by_key(|other| other.heard).copied() {
            self.choose(now, newest);
        }
    }

    /// A message heard on the link.
    pub(super) fn handle_message(&mut self, now: Instant, source: Ipv6Addr, hop_limit: u8, octets: &[u8]) {
        let Some(ours) = &self.ours else { return };
        if ours.addresses.contains(&source) {
            return;
        }
        match Message::decode(octets, source, hop_limit) {
            Ok(Message::Solicitation) => self.answer(now),
            Ok(Message::Advertisement(_)) => {
                self.received += 1;
                self.heard(now, source);
            }
            Err(error) => {
                self.ignored += 1;
                tracing::debug!(%source, %error, "router message ignored");
            }
        }
    }

    fn heard(&mut self, now: Instant, source: Ipv6Addr) {
        if self.neighbour().is_some_and(|address| address == source) {
            self.last_heard = Some(now);
            self.neighbour.iter_mut().for_each(|router| router.heard = now);
            return;
        }
        let known = self.others.iter_mut().find(|router| router.address == source);
        let is_new = known.is_none();
        let mut came_since = true;
        if let Some(router) = known {
            router.heard = now;
            came_since = self.neighbour.is_some_and(|neighbour| router.since > neighbour.heard);
        }
        let may_change = self.fixed.is_none() && self.in_use.is_none();
        let was_tried = self.chosen.is_none_or(|at| at + TRIED_AFTER <= now);
        let is_calm = self.changed.is_none_or(|at| at + CHANGE_INTERVAL <= now);
        if may_change && (self.neighbour.is_none() || (came_since && is_calm) || was_tried) {
            self.last_heard = Some(now);
            self.choose(now, Router::new(source, now));
            // It may be new here, and then waits for our word.
            self.answer(now);
        } else if is_new && self.others.len() < OTHERS_MAX {
            tracing::warn!(%source, "another router on a link that should be point-to-point");
            self.others.push(Router::new(source, now));
        }
    }

    fn choose(&mut self, now: Instant, router: Router) {
        self.others.retain(|other| other.address != router.address);
        if let Some(before) = self.neighbour.replace(router)
            && before.address != router.address
        {
            self.changed = Some(now);
            if self.others.len() < OTHERS_MAX {
                self.others.push(before);
            }
        }
        self.chosen = Some(now);
        self.solicit_at = None;
    }

    /// Advertises now, or as soon as it is not too often.
    fn answer(&mut self, now: Instant) {
        let soonest = self.advertised.map_or(now, |at| (at + ANSWER_INTERVAL).max(now));
        self.advertise_at = self.advertise_at.map(|at| at.min(soonest));
    }

    /// Something in [`Discovery::poll_timeout`] is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.others.retain(|router| router.heard + SILENT_AFTER > now);
        if self.silent_at().is_some_and(|at| at <= now) {
            let neighbour = self.neighbour.map(|router| tracing::field::display(router.address));
            tracing::info!(neighbour, "neighbour is silent and forgotten");
            self.neighbour = None;
            self.chosen = None;
            self.solicit_at = Some(now);
        }
    }

    /// When a neighbour that goes on being silent is forgotten.
    fn silent_at(&self) -> Option<Instant> {
        let neighbour = self.neighbour.filter(|_| self.in_use.is_none())?;
        // One that a session lived with has its time from the session's end on.
        Some(self.released.map_or(neighbour.heard, |at| at.max(neighbour.heard)) + SILENT_AFTER)
    }

    /// The next message to send. May change after every `handle_*`.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        let link_layer = self.ours.as_ref()?.link_layer;
        if self.advertise_at.is_some_and(|at| at <= now) {
            self.initial_left = self.initial_left.saturating_sub(1);
            let interval = if self.initial_left > 0 { INITIAL_INTERVAL } else { INTERVAL };
            self.advertise_at = Some(now + self.random.jittered(interval));
            self.advertised = Some(now);
            self.sent += 1;
            let octets = RouterAdvertisement::ours(link_layer).encode();
            return Some(Outgoing { destination: ALL_NODES, octets });
        }
        if self.solicit_at.is_some_and(|at| at <= now) {
            let is_known = self.neighbour().is_some();
            self.solicit_at = (!is_known).then(|| now + self.random.jittered(SOLICITATION_INTERVAL));
            let octets = encode_solicitation(link_layer);
            return Some(Outgoing { destination: ALL_ROUTERS, octets });
        }
        None
    }

    /// When to call [`Discovery::handle_timeout`] and then [`Discovery::poll_transmit`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.advertise_at, self.solicit_at, self.silent_at()].into_iter().flatten().min()
    }

    /// The neighbour: where to connect to, and who may connect.
    pub(super) fn neighbour(&self) -> Option<Ipv6Addr> {
        self.ours.as_ref()?;
        self.fixed.or(self.neighbour.map(|router| router.address))
    }

    /// What is known, to be read by others.
    pub(super) fn status(&self) -> DiscoveryStatus {
        DiscoveryStatus {
            is_link_up: self.ours.is_some(),
            own: self.ours.as_ref().and_then(|ours| ours.addresses.first().copied()),
            neighbour: self.neighbour(),
            others: self.others.iter().map(|router| router.address).collect(),
            sent: self.sent,
            received: self.received,
            ignored: self.ignored,
            last_heard: self.last_heard,
            error: None,
        }
    }
}

/// ff02::1, who hears advertisements.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// ff02::2, who hears solicitations.
pub(super) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

#[cfg(test)]
mod tests;
