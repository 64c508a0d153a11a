// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Import: from what peers have told to the default routes of this host.
//!
//! ```text
//!   PeerStatus of each peer ──► candidates (policy, session's interface) ──► import::select ──► fib::FibHandle::set
//!                           └─► has every importing peer told all it has since our start? ──► Completeness
//! ```
//!
//! Reads published states alone, so it sees what operators see. A route counts while its peer's Adj-RIB-In has it: the
//! session empties that when it ends, or marks it stale while the peer restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Ending, Families, Family, Remote, SpeakerConfig};
use crate::fib::{ADOPTION_MAX, AtEnd, Completeness, Fib, FibError, FibHandle, FibStatus};
use crate::import::{self, Candidate};
use crate::status::{PeerState, PeerStatus, ReceivedRoute};

/// The community of a peer that is about to leave (RFC 8326).
const GRACEFUL_SHUTDOWN: u32 = 0xFFFF_0000;

/// Keeps the default routes of this host by what peers tell.
pub(super) struct Import {
    fib: FibHandle,
    status: watch::Receiver<Arc<FibStatus>>,
    policy: Policy,
}

impl Import {
    /// Starts it if the configuration names a table. Also without an importing peer: an earlier run may have had some, whose
    /// routes have to go.
    pub(super) fn start(config: &SpeakerConfig) -> Result<Option<Self>, FibError> {
        let Some(fib) = config.fib else { return Ok(None) };
        let fib = Fib::start(fib, ADOPTION_MAX)?;
        let mut import = Self { status: fib.status(), fib, policy: Policy::new(config) };
        // Without an importing peer there is nothing to wait for.
        import.update(std::iter::empty::<(&str, &PeerStatus)>());
        Ok(Some(import))
    }

    /// Takes over what the states of the sessions say now. Cheap: nothing is copied of peers without a default route.
    pub(super) fn update<'a, S>(&mut self, sessions: impl IntoIterator<Item = (&'a str, S)>)
    where
        S: Deref<Target = PeerStatus>,
    {
        let (candidates, completeness) = self.policy.read(sessions);
        self.fib.set(import::select(&candidates), completeness);
    }

    /// What became of it.
    pub(super) fn status(&self) -> Arc<FibStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// Waits for another [`Import::status`]; for ever if there will be none. Cancelling loses nothing.
    pub(super) async fn changed(import: &mut Option<Self>) {
        if let Some(import) = import
            && import.status.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Ends it: a restart leaves the routes for the next process, a stop takes them away.
    pub(super) async fn end(self, ending: &Ending) {
        let at_end = match ending {
            Ending::Stop { .. } => AtEnd::Remove,
            Ending::Restart { .. } => AtEnd::Keep,
        };
        self.fib.end(at_end).await;
    }
}

/// Which peers' default routes are taken, and what is remembered of those peers.
struct Policy {
    /// Peers that import something, by configured name.
    families: BTreeMap<String, Families>,
    /// Families of numbered and unnumbered peers that have not told all they have since our start.
    awaited: BTreeSet<(String, Family)>,
    /// Whether peers that nobody can wait for, those of a range, import something.
    has_dynamic: bool,
    /// Interface of each peer's last session: a peer that restarts has none for a while, but routes.
    interfaces: BTreeMap<String, u32>,
}

impl Policy {
    fn new(config: &SpeakerConfig) -> Self {
        let importing = || config.peers.iter().filter(|peer| !peer.import_default.is_empty());
        let is_dynamic = |remote: &Remote| matches!(remote, Remote::Range { .. });
        let awaited = importing().filter(|peer| !is_dynamic(&peer.remote)).flat_map(|peer| {
            let families = peer.import_default.intersection(peer.families);
            families.iter().map(|family| (peer.name.clone(), family))
        });
        Self {
            families: importing().map(|peer| (peer.name.clone(), peer.import_default)).collect(),
            awaited: awaited.collect(),
            has_dynamic: importing().any(|peer| is_dynamic(&peer.remote)),
            interfaces: BTreeMap::new(),
        }
    }

    /// What may be taken from a peer by its name in the status: its own, or `NAME/ADDRESS` of a range.
    fn families_of(&self, name: &str) -> Families {
        let of_range = || name.split_once('/').and_then(|(range, _)| self.families.get(range));
        self.families.get(name).or_else(of_range).copied().unwrap_or_default()
    }

    /// The default routes that may be used, and whether every importing peer has told all it has. Once that is so it stays so,
    /// as the table's task knows.
    fn read<'a, S>(
        &mut self,
        sessions: impl IntoIterator<Item = (&'a str, S)>,
    ) -> (Vec<Candidate>, Completeness)
    where
        S: Deref<Target = PeerStatus>,
    {
        let mut candidates = Vec::new();
        let mut interfaces = BTreeMap::new();
        for (name, peer) in sessions {
            let families = self.families_of(name);
            if families.is_empty() {
                continue;
            }
            self.awaited.retain(|(awaited, family)| awaited != name || !has_told_all(&peer, *family));
            let interface = session_interface(&peer).or_else(|| self.interfaces.get(name).copied());
            if let Some(index) = interface {
                interfaces.insert(name.to_owned(), index);
            }
            for route in peer.adj_rib_in.iter() {
                let is_default = route.prefix.length() == 0 && families.contains(route.prefix.family());
                // A state may be published before the routes of a session that has ended are gone.
                if is_default && (route.is_stale || peer.state == PeerState::Established) {
                    candidates.extend(candidate(route, &peer, interface));
                }
            }
        }
        // Those of sessions that are not there any more are forgotten.
        self.interfaces = interfaces;
        let is_whole = self.awaited.is_empty() && !self.has_dynamic;
        (candidates, if is_whole { Completeness::Whole } else { Completeness::Partial })
    }
}

/// Whether the peer has sent End-of-RIB of `family` since our start, or does not speak the family.
fn has_told_all(peer: &PeerStatus, family: Family) -> bool {
    if peer.state != PeerState::Established {
        return false;
    }
    let counts = match family {
        Family::Ipv4Unicast => &peer.counters.received_ipv4,
        Family::Ipv6Unicast => &peer.counters.received_ipv6,
    };
    let is_spoken = peer.negotiated.as_ref().is_some_and(|n| n.families.contains(family));
    counts.end_of_rib > 0 || !is_spoken
}

fn candidate(route: &ReceivedRoute, peer: &PeerStatus, interface: Option<u32>) -> Option<Candidate> {
    let is_link_local = peer.address.is_some_and(import::is_link_local);
    let gateway = import::gateway(&route.next_hops, is_link_local)?;
    if peer.local_address.is_some_and(|own| own.ip() == gateway) {
        return None;
    }
    Some(Candidate {
        family: route.prefix.family(),
        gateway,
        interface,
        // An empty path has no first AS; such a route is the neighbour's all the same.
        neighbour_as: route.first_as.or(peer.remote_as).unwrap_or(0),
        as_path_length: usize::try_from(route.as_path_len).unwrap_or(usize::MAX),
        origin: route.origin,
        med: route.med,
        is_stale: route.is_stale,
        is_leaving: route.communities.contains(&GRACEFUL_SHUTDOWN),
    })
}

/// Index of the interface of a link-local session: the scope of our own end.
fn session_interface(peer: &PeerStatus) -> Option<u32> {
    match peer.local_address {
        Some(SocketAddr::V6(own)) if import::is_link_local(IpAddr::V6(*own.ip())) && own.scope_id() != 0 => {
            Some(own.scope_id())
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod netns_tests;
#[cfg(test)]
mod tests;
