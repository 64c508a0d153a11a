// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker as a whole in the API's words. Pure.

use std::collections::BTreeMap;

use weir_api::v1::{BgpStatus, Counter, ImportedNextHop, ImportedRoute, PeerStatus, SessionState, Timestamp};
use weir_bgp::{Family, FibStatus, SpeakerStatus};

use super::peers::family_name;
use crate::model::Document;

/// `peers` are those of the same moment.
pub(super) fn speaker(
    document: &Document,
    speaker: Option<&SpeakerStatus>,
    peers: &BTreeMap<String, PeerStatus>,
) -> BgpStatus {
    let fib = speaker.and_then(|speaker| speaker.fib.as_deref());
    let sessions = || peers.values().filter(|peer| !peer.is_range());
    let has = |family: Family| {
        document.peers.values().any(|peer| match family {
            Family::Ipv4Unicast => peer.families.ipv4,
            Family::Ipv6Unicast => peer.families.ipv6,
        })
    };
    BgpStatus {
        asn: document.bgp.asn.0,
        router_id: document.appliance.router_id.to_string(),
        listen: document.bgp.listen.iter().map(ToString::to_string).collect(),
        families: Family::ALL
            .into_iter()
            .filter(|one| has(*one))
            .map(|one| family_name(one).to_owned())
            .collect(),
        established: sessions().filter(|peer| peer.state == SessionState::Established).count() as u64,
        sessions: sessions().count() as u64,
        strangers_total: Counter(speaker.map_or(0, |speaker| speaker.strangers)),
        refused_total: Counter(speaker.map_or(0, |speaker| speaker.refused)),
        rejected: speaker.iter().flat_map(|one| one.rejected.iter()).map(ToString::to_string).collect(),
        imported: imported(document, fib),
        faults: speaker.iter().flat_map(|one| one.faults.iter().cloned()).chain(refused(fib)).collect(),
    }
}

/// Default routes of the families that some peer may give.
fn imported(document: &Document, fib: Option<&FibStatus>) -> BTreeMap<String, ImportedRoute> {
    let is_wanted = |family: &Family| {
        document.peers.values().any(|peer| match family {
            Family::Ipv4Unicast => peer.import_default.ipv4,
            Family::Ipv6Unicast => peer.import_default.ipv6,
        })
    };
    let route = |family: Family| {
        let Some(known) = fib.and_then(|fib| fib.families.get(&family)) else {
            return ImportedRoute::default();
        };
        let hops = known.next_hops.iter().map(|hop| ImportedNextHop {
            gateway: hop.next_hop.gateway,
            interface: hop.interface.clone(),
            in_use: !hop.is_dead,
        });
        ImportedRoute {
            installed: !known.next_hops.is_empty(),
            since: known.since.map(Timestamp),
            next_hops: hops.collect(),
        }
    };
    let wanted = Family::ALL.into_iter().filter(is_wanted);
    wanted.map(|family| (family_name(family).to_owned(), route(family))).collect()
}

/// What the kernel does not take, and why.
fn refused(fib: Option<&FibStatus>) -> Vec<String> {
    let Some(fib) = fib else { return Vec::new() };
    let of_family = fib.families.iter().flat_map(|(family, known)| {
        let name = family_name(*family);
        let blocked = known.is_blocked.then(|| {
            format!("default route of {name}: another one has our metric, so ours is not installed")
        });
        let refused = known
            .refused
            .iter()
            .map(move |hop| format!("default route of {name} via {}: {}", hop.next_hop.gateway, hop.reason));
        blocked.into_iter().chain(refused)
    });
    let problem = fib.problem.as_ref().map(|problem| format!("default routes: {}", problem.text));
    problem.into_iter().chain(of_family).collect()
}
