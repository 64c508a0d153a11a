// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which BFD sessions there shall be: from the document and from what the speaker knows of its peers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_bfd::config::SESSIONS_MAX;
use weir_bfd::{SessionConfig, Timing, Wanted};
use weir_bgp::{PeerStatus, Remote, SpeakerStatus};

use crate::model::{Bfd, Peer};

/// What the document asks for with a peer of the speaker's status, whose name may be that of a range's session.
pub(super) fn asked_for<'p>(peers: &'p BTreeMap<String, Peer>, name: &str) -> Option<(&'p Peer, Bfd)> {
    let section = name.split_once('/').map_or(name, |(section, _)| section);
    let peer = peers.get(section)?;
    Some((peer, peer.bfd?))
}

/// The sessions, by the names that the speaker's status has.
///
/// A session begins when both addresses are known, ours from the document or from the first connection, and then stays:
/// `before` gives what is not known just now, since a session must outlive the BGP session that it watches. It changes when
/// an address has become another one. Those of a range end with their BGP session.
pub(super) fn wanted(
    peers: &BTreeMap<String, Peer>,
    status: &SpeakerStatus,
    before: &BTreeMap<String, SessionConfig>,
    purpose: Wanted,
) -> BTreeMap<String, SessionConfig> {
    let mut sessions = BTreeMap::new();
    // Two sessions with one neighbour would hear the same packets, and the whole set would be refused for it.
    let mut neighbours: BTreeSet<(IpAddr, Option<String>)> = BTreeSet::new();
    for (name, peer) in &status.peers {
        let Some((document, bfd)) = asked_for(peers, name) else { continue };
        let timing = Timing {
            desired_min_tx: bfd.interval,
            required_min_rx: bfd.interval,
            detect_mult: bfd.multiplier,
        };
        let Some(path) = path(document.source, peer, before.get(name)) else { continue };
        if sessions.len() < SESSIONS_MAX && neighbours.insert((path.remote, path.interface.clone())) {
            sessions.insert(name.clone(), SessionConfig { timing, wanted: purpose, ..path });
        }
    }
    sessions
}

/// Between which addresses, and on which interface.
fn path(source: Option<IpAddr>, peer: &PeerStatus, before: Option<&SessionConfig>) -> Option<SessionConfig> {
    let remote = peer.address.or(before.map(|before| before.remote))?;
    let before = before.filter(|before| before.remote == remote);
    let discovered = peer.discovery.as_ref().and_then(|discovery| discovery.own).map(IpAddr::V6);
    let connected = peer.local_address.map(|address| address.ip());
    let own = match peer.remote {
        // The kernel tells of a connection which of our addresses it uses; discovery only which one there is.
        Remote::Interface { .. } => connected.or(discovered),
        Remote::Address(_) | Remote::Range { .. } => source.or(connected),
    };
    let local =
        own.filter(|own| own.is_ipv4() == remote.is_ipv4()).or(before.and_then(|before| before.local))?;
    let interface = match &peer.interface {
        Some(interface) => Some(interface.clone()),
        None => before.and_then(|before| before.interface.clone()),
    };
    let is_complete = interface.is_some() || !is_link_local(remote);
    is_complete.then(|| SessionConfig { local: Some(local), interface, ..SessionConfig::new(remote) })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
