// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The peers of a speaker: who is configured, whose driver runs, who came by a range and who has to go again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::admission::{Expected, owner};
use super::keys::{self, Keyed, Keys};
use super::near::{Rule, Whom};
use super::pace::Pace;
use super::peer::{self, Accepted, DiscoveryPorts, Orders, Ports};
use crate::advertise::Prefix;
use crate::config::{PeerConfig, Remote, SpeakerConfig};
use crate::discovery::links::Links;
use crate::discovery::task::{self as discovery, Found};
use crate::session::{SessionConfig, State};
use crate::status::PeerStatus;

/// How long a peer of a range is remembered after its session ended, so that its last word can be read.
const DYNAMIC_KEPT: Duration = Duration::from_secs(60);
/// Connections that one peer may make at once, and the time until it may make another. A peer dials once in a second or
/// less often; more than that is a flood, and must not cost the others.
const CONNECTIONS_BURST: u32 = 8;
const CONNECTIONS_INTERVAL: Duration = Duration::from_secs(1);
/// Peers of a full range that may take the place of dead ones at once, and the time until another may: each costs a task and
/// a line in the log, and who changes addresses is strange.
const REPLACED_BURST: u32 = 8;
const REPLACED_INTERVAL: Duration = Duration::from_secs(1);

/// What starting a driver needs.
pub(super) struct Starter {
    /// The speaker's own words; its list of peers is not used.
    pub(super) config: SpeakerConfig,
    /// End of the time in which we count as restarting, if we are.
    pub(super) restarting_until: Option<Instant>,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) changed: Arc<Notify>,
    pub(super) drivers: JoinSet<()>,
    pub(super) links: watch::Sender<Links>,
}

/// The speaker's ends of one driver's channels.
struct Port {
    name: String,
    accepted: mpsc::Sender<Accepted>,
    status: watch::Receiver<PeerStatus>,
    handed_over: watch::Receiver<u64>,
    pace: Pace,
}

/// One configured peer.
struct Member {
    config: PeerConfig,
    /// None of a range.
    port: Option<Port>,
    /// Of an unnumbered peer.
    found: Option<watch::Receiver<Found>>,
    /// Of a range: how often a dead session makes room for a new one.
    replaced: Pace,
}

/// One session of a range.
struct Dynamic {
    /// Position of the range.
    range: usize,
    address: IpAddr,
    port: Port,
    dead_since: Option<Instant>,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// The driver has it.
    Yes,
    /// Nobody's, closed.
    Stranger,
    /// Too many at once, of its peer or its range; closed.
    TooMany,
}

/// All peers.
pub(super) struct Roster {
    members: Vec<Member>,
    dynamic: Vec<Dynamic>,
}

impl Roster {
    /// Starts a driver for every peer that is not a range.
    pub(super) fn start(starter: &mut Starter, peers: &[PeerConfig]) -> Self {
        let members = peers.iter().map(|config| {
            let mut found = None;
            let port = match &config.remote {
                Remote::Range { .. } => None,
                Remote::Address(_) | Remote::Interface { .. } => {
                    let ports = starter.discover(config);
                    found = ports.as_ref().map(|ports| ports.found.clone());
                    Some(starter.drive(config.clone(), PeerStatus::new(config), ports))
                }
            };
            let replaced = Pace::new(REPLACED_BURST, REPLACED_INTERVAL);
            Member { config: config.clone(), port, found, replaced }
        });
        Self { members: members.collect(), dynamic: Vec::new() }
    }

    /// Hands a connection to its peer's driver, which is started if the peer came by a range.
    pub(super) fn admit(
        &mut self,
        starter: &mut Starter,
        now: Instant,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Admitted {
        let peers = self.members.iter().map(|member| (&member.config.remote, member.expected()));
        let Some(position) = owner(from, peers) else { return Admitted::Stranger };
        let port = match self.members[position].config.remote {
            Remote::Address(_) | Remote::Interface { .. } => self.members[position].port.as_mut(),
            Remote::Range { sessions_max, .. } => {
                self.dynamic_port(starter, now, position, usize::from(sessions_max), from.ip())
            }
        };
        let Some(port) = port else { return Admitted::TooMany };
        if !port.pace.take(now) || port.accepted.try_send(Accepted { stream, from }).is_err() {
            tracing::debug!(peer = %port.name, "too many connections at once");
            return Admitted::TooMany;
        }
        Admitted::Yes
    }

    fn dynamic_port(
        &mut self,
        starter: &mut Starter,
        now: Instant,
        range: usize,
        sessions_max: usize,
        address: IpAddr,
    ) -> Option<&mut Port> {
        let known = self.dynamic.iter().position(|one| one.range == range && one.address == address);
        let position = match known {
            Some(position) => position,
            None => {
                let of_range = || self.dynamic.iter().enumerate().filter(|(_, one)| one.range == range);
                if of_range().count() >= sessions_max {
                    // The one that has been dead for longest makes room.
                    let dead = of_range().filter_map(|(at, one)| Some((one.dead_since?, at))).min()?.1;
                    if !self.members[range].replaced.take(now) {
                        return None;
                    }
                    self.dynamic.swap_remove(dead);
                }
                let port = starter.drive_dynamic(&self.members[range].config, address);
                self.dynamic.push(Dynamic { range, address, port, dead_since: None });
                self.dynamic.len() - 1
            }
        };
        let one = self.dynamic.get_mut(position)?;
        // It lives again, whatever its last status says: it must not be forgotten before the driver has seen the connection.
        one.dead_since = None;
        Some(&mut one.port)
    }

    /// Forgets peers of ranges that were gone for long. Their drivers end when their channel does.
    pub(super) fn tend(&mut self, now: Instant) {
        for one in &mut self.dynamic {
            // A connection that waits for the driver counts as alive.
            let is_idle = one.port.accepted.capacity() == one.port.accepted.max_capacity();
            let status = one.port.status.borrow();
            let is_dead = is_idle && !status.state.is_connected();
            let since = one.dead_since.unwrap_or_else(|| dead_from(now, status.stale_until));
            one.dead_since = is_dead.then_some(since);
        }
        self.dynamic.retain(|one| one.dead_since.is_none_or(|since| since + DYNAMIC_KEPT > now));
    }

    /// When [`Roster::tend`] has something to forget.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dynamic.iter().filter_map(|one| one.dead_since).min().map(|since| since + DYNAMIC_KEPT)
    }

    /// Status of every peer, and of every session of a range.
    pub(super) fn statuses(&self) -> BTreeMap<String, PeerStatus> {
        let mut all = BTreeMap::new();
        for (position, member) in self.members.iter().enumerate() {
            let status = match &member.port {
                Some(port) => port.status.borrow().clone(),
                None => self.status_of_range(position, &member.config),
            };
            all.insert(member.config.name.clone(), status);
        }
        all.extend(self.dynamic.iter().map(|one| (one.port.name.clone(), one.port.status.borrow().clone())));
        all
    }

    /// Name and status of every session, borrowed: not to be held over anything that waits.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (&str, watch::Ref<'_, PeerStatus>)> {
        let members = self.members.iter().filter_map(|member| member.port.as_ref());
        let ports = members.chain(self.dynamic.iter().map(|one| &one.port));
        ports.map(|port| (port.name.as_str(), port.status.borrow()))
    }

    /// A range has no session of its own: it listens, or it is as far as the furthest of its sessions.
    fn status_of_range(&self, position: usize, config: &PeerConfig) -> PeerStatus {
        let sessions = self.dynamic.iter().filter(|one| one.range == position);
        let furthest = sessions.map(|one| one.port.status.borrow().state).max();
        PeerStatus { state: furthest.unwrap_or(State::Active).max(State::Active), ..PeerStatus::new(config) }
    }

    /// How far each driver has handed over what is wanted.
    pub(super) fn handed_over(&self) -> Vec<watch::Receiver<u64>> {
        let members = self.members.iter().filter_map(|member| member.port.as_ref());
        members.chain(self.dynamic.iter().map(|one| &one.port)).map(|port| port.handed_over.clone()).collect()
    }

    /// The MD5 keys that the listeners need now, and what cannot be.
    pub(super) fn keys(&self) -> (Keys, Vec<String>) {
        let members = self.members.iter();
        keys::wanted(members.map(|one| Keyed { config: &one.config, learnt: one.expected().neighbour }))
    }

    /// Who must be near, now.
    pub(super) fn rules(&self) -> Vec<Rule> {
        self.members.iter().filter_map(|one| rule(&one.config, one.expected().index)).collect()
    }

    /// Whether an interface or a neighbour is another one since this was asked last.
    pub(super) fn has_moved(&mut self) -> bool {
        let mut has_moved = false;
        for found in self.members.iter_mut().filter_map(|member| member.found.as_mut()) {
            // Its sender lives as long as its driver does, and then nothing moves any more.
            if found.has_changed().unwrap_or(false) {
                found.mark_unchanged();
                has_moved = true;
            }
        }
        has_moved
    }
}

/// Whether a peer must be near. Of an unnumbered one that must, this holds before its interface is known; one that need
/// not is an exception to that, once it is.
pub(super) fn rule(config: &PeerConfig, index: Option<u32>) -> Option<Rule> {
    let whom = match &config.remote {
        Remote::Address(address) => Whom::Prefix(Prefix::host(*address)),
        Remote::Interface { .. } if config.has_gtsm => Whom::LinkLocal,
        Remote::Interface { .. } => Whom::Interface(index?),
        Remote::Range { prefix, .. } => Whom::Prefix(*prefix),
    };
    Some(Rule { whom, must_be_near: config.has_gtsm })
}

/// A peer that restarts is dead when its routes are: until then they are kept, and its driver keeps them.
fn dead_from(now: Instant, stale_until: Option<Instant>) -> Instant {
    stale_until.map_or(now, |until| until.max(now))
}

impl Member {
    fn expected(&self) -> Expected {
        let Some(found) = &self.found else { return Expected::default() };
        let found = found.borrow();
        Expected { index: found.index, neighbour: found.neighbour }
    }
}

impl Starter {
    /// Starts discovery for an unnumbered peer.
    fn discover(&self, config: &PeerConfig) -> Option<DiscoveryPorts> {
        let Remote::Interface { interface, address } = &config.remote else { return None };
        let (found_tx, found) = watch::channel(Found::default());
        let (in_use, in_use_rx) = watch::channel(None);
        let ports = discovery::Ports { links: self.links.subscribe(), in_use: in_use_rx, found: found_tx };
        // It ends with the driver, which holds the other end of `in_use`.
        tokio::spawn(discovery::run(interface.clone(), *address, seed(), ports));
        Some(DiscoveryPorts { found, in_use })
    }

    fn drive_dynamic(&mut self, range: &PeerConfig, address: IpAddr) -> Port {
        let name = format!("{}/{address}", range.name);
        tracing::info!(peer = %name, "peer of a range");
        let config = PeerConfig { name, passive: true, ..range.clone() };
        let status = PeerStatus { address: Some(address), ..PeerStatus::new(&config) };
        self.drive(config, status, None)
    }

    fn drive(&mut self, config: PeerConfig, status: PeerStatus, discovery: Option<DiscoveryPorts>) -> Port {
        while self.drivers.try_join_next().is_some() {}
        let (accepted_tx, accepted) = mpsc::channel(peer::ACCEPTED_DEPTH);
        let (status_tx, status) = watch::channel(status);
        let (handed_over_tx, handed_over) = watch::channel(0);
        let name = config.name.clone();
        let session = SessionConfig {
            asn: self.config.asn,
            router_id: self.config.router_id,
            hostname: self.config.hostname.clone(),
            software: self.config.software.clone(),
            graceful_restart: self.config.graceful_restart,
            restarting_until: self.restarting_until,
            peer: config,
        };
        let ports = Ports {
            orders: self.orders.subscribe(),
            accepted,
            status: status_tx,
            changed: Arc::clone(&self.changed),
            handed_over: handed_over_tx,
            discovery,
        };
        self.drivers.spawn(peer::run(session, seed(), ports));
        let pace = Pace::new(CONNECTIONS_BURST, CONNECTIONS_INTERVAL);
        Port { name, accepted: accepted_tx, status, handed_over, pace }
    }
}

/// A seed for jitter that differs between speakers and runs; the hasher's keys are random.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarting_peer_is_not_forgotten_before_its_routes() {
        let now = Instant::now();
        let later = now + 2 * DYNAMIC_KEPT;
        assert_eq!(dead_from(now, None), now);
        assert_eq!(dead_from(now, Some(later)), later);
        assert_eq!(dead_from(later, Some(now)), later);
    }
}
