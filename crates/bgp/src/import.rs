// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which default routes of the peers are used: a small, pure decision process.
//!
//! A host has little to decide: which of its switches know a way out, and which of those ways are equally good. Of
//! RFC 4271 §9.1.2.2 what is left is the length of AS_PATH, ORIGIN and MED; LOCAL_PREF, internal routes and the
//! cost towards the next hop do not exist here, and the ties that remain are not broken but shared (ECMP).
//!
//! ```text
//!   candidates of a family ─► usable next hop ─► fresh before stale ─► before leaving (RFC 8326) ─► shortest AS_PATH
//!                          ─► lowest ORIGIN ─► lowest MED of each neighbour AS ─► at most 16 next hops
//! ```
//!
//! Nothing is known here of sessions or of the kernel; `fib` makes the answer true.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Family;

/// Most next hops of one default route; of more, the lowest addresses are taken. A host has two or four switches.
pub const NEXT_HOPS_MAX: usize = 16;

/// One way out: a router and, where its address alone does not say it, the interface it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultNextHop {
    /// The router. For an IPv4 route also an IPv6 address (RFC 8950).
    pub gateway: IpAddr,
    /// Index of the interface; always there for a link-local gateway, else the kernel finds it by its routes.
    pub interface: Option<u32>,
    /// Share of the flows relative to the others' weights, 1 to 255.
    pub weight: u8,
}

/// The next hops of the default route of each family; a family that is missing or empty has none.
pub type Defaults = BTreeMap<Family, BTreeSet<DefaultNextHop>>;

/// A default route that a peer announced and that its import policy takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Of which family it is the default route.
    pub family: Family,
    /// The router to use.
    pub gateway: IpAddr,
    /// Index of the session's interface, wanted for a link-local `gateway`.
    pub interface: Option<u32>,
    /// AS the path begins with, the peer's.
    pub neighbour_as: u32,
    /// AS numbers in AS_PATH, a set counting as one (RFC 4271 §9.1.2.2 a).
    pub as_path_length: usize,
    /// ORIGIN as on the wire: 0 IGP, 1 EGP, 2 INCOMPLETE.
    pub origin: u8,
    /// MULTI_EXIT_DISC; a route without one counts as 0.
    pub med: Option<u32>,
    /// The peer restarts and has not said it again (RFC 4724).
    pub is_stale: bool,
    /// It carries GRACEFUL_SHUTDOWN: the peer is about to leave (RFC 8326).
    pub is_leaving: bool,
}

/// The next hops in use for each family. Families without a route are not in it.
pub fn select<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> Defaults {
    let mut by_family: BTreeMap<Family, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        if is_usable(candidate) {
            by_family.entry(candidate.family).or_default().push(candidate);
        }
    }
    by_family.into_iter().map(|(family, candidates)| (family, best(candidates))).collect()
}

/// The candidate's way out among the addresses of a next hop as sent: `::` means nothing, and of a global and a
/// link-local one the session's own kind is taken, for that one is known to answer.
pub fn gateway(next_hops: &[IpAddr], is_session_link_local: bool) -> Option<IpAddr> {
    let mut usable = next_hops.iter().copied().filter(|address| !address.is_unspecified());
    let first = usable.next()?;
    let preferred = |address: &IpAddr| is_link_local(*address) == is_session_link_local;
    if preferred(&first) {
        return Some(first);
    }
    Some(usable.find(preferred).unwrap_or(first))
}

/// Whether an address means something on one interface only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(&v6))
}

fn is_usable(candidate: &Candidate) -> bool {
    let gateway = candidate.gateway;
    let is_unicast = !gateway.is_unspecified() && !gateway.is_multicast() && !gateway.is_loopback();
    // The kernel has no IPv6 route over an IPv4 router.
    let fits = candidate.family == Family::Ipv4Unicast || gateway.is_ipv6();
    is_unicast && fits && (candidate.interface.is_some() || !is_link_local(gateway))
}

/// What is compared between all paths, the better first.
fn rank(candidate: &Candidate) -> (bool, bool, usize, u8) {
    (candidate.is_stale, candidate.is_leaving, candidate.as_path_length, candidate.origin)
}

fn best(mut candidates: Vec<&Candidate>) -> BTreeSet<DefaultNextHop> {
    let Some(best) = candidates.iter().map(|c| rank(c)).min() else { return BTreeSet::new() };
    candidates.retain(|c| rank(c) == best);
    // MEDs of different neighbour ASes were not written by one hand: each AS's own lowest stay (§9.1.2.2 c).
    let mut lowest: BTreeMap<u32, u32> = BTreeMap::new();
    for candidate in &candidates {
        let med = candidate.med.unwrap_or(0);
        let known = lowest.entry(candidate.neighbour_as).or_insert(med);
        *known = med.min(*known);
    }
    candidates.retain(|c| lowest.get(&c.neighbour_as) == Some(&c.med.unwrap_or(0)));
    let hops = candidates.into_iter().map(|c| DefaultNextHop {
        gateway: c.gateway,
        // A global address is found by the kernel's routes, which may name another interface than the session's.
        interface: c.interface.filter(|_| is_link_local(c.gateway)),
        weight: 1,
    });
    let hops: BTreeSet<DefaultNextHop> = hops.collect();
    hops.into_iter().take(NEXT_HOPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(gateway: &str) -> Candidate {
        Candidate {
            family: Family::Ipv4Unicast,
            gateway: gateway.parse().unwrap(),
            interface: Some(7),
            neighbour_as: 65000,
            as_path_length: 1,
            origin: 0,
            med: None,
            is_stale: false,
            is_leaving: false,
        }
    }

    fn chosen(candidates: &[Candidate]) -> Vec<String> {
        let defaults = select(candidates);
        let hops = defaults.values().flatten();
        hops.map(|h| match h.interface {
            Some(index) => format!("{}%{index}", h.gateway),
            None => h.gateway.to_string(),
        })
        .collect()
    }

    #[test]
    fn equal_paths_share_the_load() {
        let second = Candidate { neighbour_as: 65001, ..candidate("10.0.1.1") };
        assert_eq!(chosen(&[candidate("10.0.0.1"), second]), ["10.0.0.1", "10.0.1.1"]);
    }

    #[test]
    fn a_shorter_path_wins_and_a_lower_origin_after_it() {
        let far = Candidate { as_path_length: 2, ..candidate("10.0.0.1") };
        let incomplete = Candidate { origin: 2, ..candidate("10.0.0.2") };
        assert_eq!(chosen(&[far.clone(), incomplete.clone()]), ["10.0.0.2"]);
        assert_eq!(chosen(&[far, incomplete, candidate("10.0.0.3")]), ["10.0.0.3"]);
    }

    #[test]
    fn med_is_compared_within_one_neighbour_as_alone() {
        let costly = Candidate { med: Some(50), ..candidate("10.0.0.1") };
        let cheap = Candidate { med: Some(10), ..candidate("10.0.0.2") };
        let other_as = Candidate { med: Some(90), neighbour_as: 65001, ..candidate("10.0.0.3") };
        assert_eq!(chosen(&[costly.clone(), cheap.clone(), other_as]), ["10.0.0.2", "10.0.0.3"]);
        let none = candidate("10.0.0.4");
        assert_eq!(chosen(&[costly, cheap, none]), ["10.0.0.4"], "no MED is the lowest");
    }

    #[test]
    fn a_stale_path_is_used_only_while_there_is_no_fresh_one() {
        let stale = Candidate { is_stale: true, ..candidate("10.0.0.1") };
        assert_eq!(chosen(std::slice::from_ref(&stale)), ["10.0.0.1"]);
        let longer = Candidate { as_path_length: 9, ..candidate("10.0.0.2") };
        assert_eq!(chosen(&[stale, longer]), ["10.0.0.2"]);
    }

    #[test]
    fn a_leaving_peer_is_used_only_while_nobody_stays() {
        let leaving = Candidate { is_leaving: true, ..candidate("10.0.0.1") };
        assert_eq!(chosen(std::slice::from_ref(&leaving)), ["10.0.0.1"]);
        assert_eq!(chosen(&[leaving, candidate("10.0.0.2")]), ["10.0.0.2"]);
    }

    #[test]
    fn one_link_local_address_behind_two_interfaces_is_two_next_hops() {
        let left = candidate("fe80::1");
        let right = Candidate { interface: Some(8), ..candidate("fe80::1") };
        assert_eq!(chosen(&[left.clone(), right, left]), ["fe80::1%7", "fe80::1%8"]);
    }

    #[test]
    fn families_are_apart() {
        let v6 = Candidate { family: Family::Ipv6Unicast, as_path_length: 5, ..candidate("fe80::1") };
        let defaults = select(&[candidate("10.0.0.1"), v6]);
        assert_eq!(defaults.len(), 2);
        assert!(defaults.values().all(|hops| hops.len() == 1));
    }

    #[test]
    fn what_no_packet_could_use_is_no_candidate() {
        let nowhere = Candidate { interface: None, ..candidate("fe80::1") };
        let crossed = Candidate { family: Family::Ipv6Unicast, ..candidate("10.0.0.1") };
        let group = candidate("ff02::1");
        let own = candidate("127.0.0.1");
        assert_eq!(select(&[nowhere, crossed, group, own, candidate("::")]), Defaults::new());
    }

    #[test]
    fn the_next_hop_of_the_sessions_kind_is_taken() {
        let parse = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|t| t.parse().unwrap()).collect() };
        let pick = |texts: &[&str], local| gateway(&parse(texts), local).map(|a| a.to_string());
        assert_eq!(pick(&["2001:db8::1", "fe80::1"], true).as_deref(), Some("fe80::1"));
        assert_eq!(pick(&["2001:db8::1", "fe80::1"], false).as_deref(), Some("2001:db8::1"));
        assert_eq!(pick(&["fe80::1", "fe80::1"], true).as_deref(), Some("fe80::1"), "FRR");
        assert_eq!(pick(&["::", "fe80::1"], true).as_deref(), Some("fe80::1"), "BIRD");
        assert_eq!(pick(&["::", "fe80::1"], false).as_deref(), Some("fe80::1"));
        assert_eq!(pick(&["10.0.0.1"], false).as_deref(), Some("10.0.0.1"));
        assert_eq!(pick(&["::"], true), None);
        assert_eq!(pick(&[], true), None);
    }

    prop_compose! {
        fn any_candidate()(
            octet in 1u8..40, neighbour_as in 1u32..4, as_path_length in 0usize..3, origin in 0u8..3,
            med in proptest::option::of(0u32..3), is_stale: bool, is_leaving: bool, is_v6: bool, interface in 1u32..3,
        ) -> Candidate {
            let (family, gateway) = if is_v6 {
                (Family::Ipv6Unicast, format!("fe80::{octet}"))
            } else {
                (Family::Ipv4Unicast, format!("10.0.0.{octet}"))
            };
            Candidate {
                family, gateway: gateway.parse().unwrap(), interface: Some(interface), neighbour_as, as_path_length,
                origin, med, is_stale, is_leaving,
            }
        }
    }

    proptest! {
        #[test]
        fn the_answer_depends_on_no_order_and_is_empty_only_without_candidates(
            candidates in proptest::collection::vec(any_candidate(), 0..60), turn in 0usize..60,
        ) {
            let chosen = select(&candidates);
            let mut turned = candidates.clone();
            turned.rotate_left(turn % candidates.len().max(1));
            turned.reverse();
            prop_assert_eq!(&chosen, &select(&turned));
            for family in Family::ALL {
                let hops = chosen.get(&family).map_or(0, BTreeSet::len);
                prop_assert!(hops <= NEXT_HOPS_MAX);
                prop_assert_eq!(hops > 0, candidates.iter().any(|c| c.family == family));
            }
        }

        #[test]
        fn no_candidate_that_was_left_out_is_better_than_one_that_is_used(
            candidates in proptest::collection::vec(any_candidate(), 1..20),
        ) {
            let chosen = select(&candidates);
            let is_used = |c: &Candidate| chosen[&c.family].iter().any(|h| {
                h.gateway == c.gateway && h.interface.is_none_or(|index| Some(index) == c.interface)
            });
            for used in candidates.iter().filter(|c| is_used(c)) {
                let family: Vec<&Candidate> = candidates.iter().filter(|c| c.family == used.family).collect();
                let same_hop = family.iter().filter(|c| c.gateway == used.gateway);
                let best_of_hop = same_hop.map(|c| rank(c)).min().unwrap();
                prop_assert!(family.iter().all(|c| rank(c) >= best_of_hop));
            }
        }
    }
}
