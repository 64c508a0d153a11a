// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our OPEN, and what follows from it and the peer's.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::SessionConfig;
use crate::config::{Families, Family};
use crate::status::{CapabilityWords, NegotiatedRestart, NegotiatedStatus};
use crate::wire::capability::ExtendedNextHop;
use crate::wire::{AfiSafi, Capability, Open, OpenError};

/// What both sides agreed on; settled once the peer's OPEN is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The smaller of both hold times, `None` when either is zero: then neither keepalives nor expiry.
    pub hold_time: Option<Duration>,
    /// Families both offered.
    pub families: Families,
    /// AS numbers have four octets in both directions.
    pub four_octet_as: bool,
    /// The peer may ask for everything again, and we may.
    pub has_refresh: bool,
    /// Refreshes have borders.
    pub has_enhanced_refresh: bool,
    /// The peer's AS.
    pub remote_as: u32,
    /// The peer's identifier.
    pub remote_router_id: Ipv4Addr,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub has_extended_next_hop: bool,
    /// Messages but OPEN and KEEPALIVE may have 65,535 octets (RFC 8654).
    pub has_extended_message: bool,
    /// Graceful restart, if both sides sent the capability.
    pub restart: Option<NegotiatedRestart>,
    /// Families whose forwarding the peer says it has preserved (F bits).
    pub preserved_by_peer: Families,
}

impl Negotiated {
    /// Wait between KEEPALIVEs before jitter: a third of the hold time.
    pub fn keepalive_interval(&self) -> Option<Duration> {
        self.hold_time.map(|hold| hold / 3)
    }
}

/// The OPEN we send over this transport, with the word on graceful restart that holds now.
pub(super) fn our_open(config: &SessionConfig, is_over_ipv6: bool, restart: Option<Capability>) -> Open {
    let families = config.peer.families;
    let mut capabilities: Vec<Capability> = multiprotocol(families).collect();
    capabilities.push(Capability::RouteRefresh);
    // Over IPv4 our own address is the next hop of IPv4 prefixes, and there is nothing to extend.
    if is_over_ipv6 && families.ipv4 {
        capabilities.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
    }
    capabilities.push(Capability::ExtendedMessage);
    capabilities.extend(restart);
    capabilities.push(Capability::FourOctetAs(config.asn));
    capabilities.push(Capability::EnhancedRouteRefresh);
    if !config.hostname.is_empty() {
        capabilities.push(Capability::Fqdn { host: config.hostname.clone(), domain: String::new() });
    }
    if !config.software.is_empty() {
        capabilities.push(Capability::SoftwareVersion(config.software.clone()));
    }
    Open {
        two_octet_as: Open::two_octet(config.asn),
        hold_time_s: u16::try_from(config.peer.hold_time.as_secs()).unwrap_or(u16::MAX),
        router_id: config.router_id,
        capabilities,
    }
}

/// IPv4 unicast with a next hop of AFI 2.
const IPV4_OVER_IPV6: ExtendedNextHop =
    ExtendedNextHop { family: AfiSafi { afi: 1, safi: 1 }, next_hop_afi: 2 };

fn multiprotocol(families: Families) -> impl Iterator<Item = Capability> {
    families.iter().map(|family| Capability::Multiprotocol(family.into()))
}

/// Judges the peer's OPEN against what was configured and against ours.
pub(super) fn negotiate(config: &SessionConfig, ours: &Open, theirs: &Open) -> Result<Negotiated, OpenError> {
    let asn = theirs.asn();
    // AS 0 is nobody (RFC 7607); our own would be an internal session, which is not spoken.
    if asn == 0 || asn == config.asn || !config.peer.remote_as.accepts(asn, config.asn) {
        return Err(OpenError::PeerAs { asn });
    }
    // An equal identifier of another AS is fine (RFC 6286), and the AS is another one here.
    let mut offered = Families::default();
    theirs.families().filter_map(|f| f.family()).for_each(|f: Family| offered.insert(f));
    let families = config.peer.families.intersection(offered);
    if families.is_empty() {
        let mut wanted = Vec::new();
        multiprotocol(config.peer.families).for_each(|c| c.encode(&mut wanted));
        return Err(OpenError::NoCommonFamily { wanted });
    }
    let has = |wanted: &Capability| theirs.capabilities.contains(wanted);
    let have_both = |wanted: &Capability| has(wanted) && ours.capabilities.contains(wanted);
    let (restart, preserved_by_peer) = negotiate_restart(ours, theirs, families);
    let hold = config.peer.hold_time.min(Duration::from_secs(u64::from(theirs.hold_time_s)));
    Ok(Negotiated {
        hold_time: (!hold.is_zero()).then_some(hold),
        families,
        four_octet_as: theirs.has_four_octet_as(),
        has_refresh: has(&Capability::RouteRefresh) || has(&Capability::EnhancedRouteRefresh),
        has_enhanced_refresh: has(&Capability::EnhancedRouteRefresh),
        remote_as: asn,
        remote_router_id: theirs.router_id,
        has_extended_next_hop: families.ipv4 && extends_next_hop(ours) && extends_next_hop(theirs),
        has_extended_message: have_both(&Capability::ExtendedMessage),
        restart,
        preserved_by_peer,
    })
}

fn extends_next_hop(open: &Open) -> bool {
    let is_ours =
        |c: &Capability| matches!(c, Capability::ExtendedNextHop(list) if list.contains(&IPV4_OVER_IPV6));
    open.capabilities.iter().any(is_ours)
}

/// What a graceful restart capability says; of several the last (RFC 4724 §3).
struct Offered {
    is_restarting: bool,
    has_notification: bool,
    time: Duration,
    families: Families,
    preserved: Families,
}

fn offered_restart(open: &Open, spoken: Families) -> Option<Offered> {
    open.capabilities.iter().rev().find_map(|capability| {
        let Capability::GracefulRestart { is_restarting, has_notification, time_s, families } = capability
        else {
            return None;
        };
        let (mut named, mut preserved) = (Families::default(), Families::default());
        for (family, is_preserved) in families {
            if let Some(family) = family.family() {
                named.insert(family);
                if *is_preserved {
                    preserved.insert(family);
                }
            }
        }
        Some(Offered {
            is_restarting: *is_restarting,
            has_notification: *has_notification,
            time: Duration::from_secs(u64::from(*time_s)),
            families: named.intersection(spoken),
            preserved: preserved.intersection(spoken),
        })
    })
}

fn negotiate_restart(ours: &Open, theirs: &Open, spoken: Families) -> (Option<NegotiatedRestart>, Families) {
    match (offered_restart(ours, spoken), offered_restart(theirs, spoken)) {
        (Some(ours), Some(theirs)) => {
            let restart = NegotiatedRestart {
                peer_time: theirs.time,
                peer_is_restarting: theirs.is_restarting,
                has_notification: ours.has_notification && theirs.has_notification,
                kept_by_peer: ours.families,
                kept_for_peer: theirs.families,
            };
            (Some(restart), theirs.preserved)
        }
        (None, _) | (_, None) => (None, Families::default()),
    }
}

/// What both OPENs say, in words.
pub(super) fn in_words(negotiated: &Negotiated, ours: &Open, theirs: &[Capability]) -> NegotiatedStatus {
    NegotiatedStatus {
        hold_time: negotiated.hold_time,
        families: negotiated.families,
        capabilities: theirs.iter().map(CapabilityWords::from).collect(),
        offered: ours.capabilities.iter().map(CapabilityWords::from).collect(),
        has_extended_next_hop: negotiated.has_extended_next_hop,
        has_refresh: negotiated.has_refresh,
        has_enhanced_refresh: negotiated.has_enhanced_refresh,
        four_octet_as: negotiated.four_octet_as,
        has_extended_message: negotiated.has_extended_message,
        graceful_restart: negotiated.restart.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PeerConfig, RemoteAs};

    fn config(families: Families) -> SessionConfig {
        let peer = PeerConfig::new("tor1", "10.0.0.1".parse().unwrap(), RemoteAs::Exact(65000));
        SessionConfig {
            asn: 4_200_000_010,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            hostname: "lb1".into(),
            software: "weir/0.1".into(),
            graceful_restart: None,
            restarting_until: None,
            peer: PeerConfig { families, ..peer },
        }
    }

    fn open(asn: u32, hold_time_s: u16, mut capabilities: Vec<Capability>) -> Open {
        capabilities.push(Capability::FourOctetAs(asn));
        Open {
            two_octet_as: Open::two_octet(asn),
            hold_time_s,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities,
        }
    }

    /// Over IPv6, graceful restart offered.
    fn judged(config: &SessionConfig, theirs: &Open) -> Result<Negotiated, OpenError> {
        negotiate(config, &our_open(config, true, Some(restart(true, &[true, true]))), theirs)
    }

    fn restart(has_notification: bool, preserved: &[bool]) -> Capability {
        let families = Family::ALL.into_iter().zip(preserved);
        Capability::GracefulRestart {
            is_restarting: false,
            has_notification,
            time_s: 60,
            families: families.map(|(family, is_preserved)| (family.into(), *is_preserved)).collect(),
        }
    }

    #[test]
    fn our_open_offers_what_it_should_and_nothing_else() {
        let words = |is_over_ipv6, families| -> Vec<String> {
            let open = our_open(&config(families), is_over_ipv6, Some(restart(true, &[true, false])));
            assert_eq!((open.two_octet_as, open.hold_time_s), (23456, 9));
            open.capabilities.iter().map(ToString::to_string).collect()
        };
        let all = [
            "MP 1/1",
            "MP 2/1",
            "route-refresh",
            "ENHE 1/1->2",
            "extended-message",
            "GR R=0 N=1 time=60 1/1:F=1 2/1:F=0",
            "AS4 4200000010",
            "enhanced-route-refresh",
            "FQDN host='lb1' domain=''",
            "software-version 'weir/0.1'",
        ];
        assert_eq!(words(true, Families::BOTH), all);
        let is_other = |word: &&str| !word.starts_with("ENHE");
        assert_eq!(words(false, Families::BOTH), all.into_iter().filter(is_other).collect::<Vec<_>>());
        let v6 = Families { ipv4: false, ipv6: true };
        let is_v6 = |word: &&str| is_other(word) && *word != "MP 1/1";
        assert_eq!(words(true, v6), all.into_iter().filter(is_v6).collect::<Vec<_>>());
    }

    #[test]
    fn extensions_need_both_sides() {
        let enhe = || Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]);
        let both: Vec<_> = multiprotocol(Families::BOTH).collect();
        let judge = |is_over_ipv6, more: Vec<Capability>| {
            let ours = our_open(&config(Families::BOTH), is_over_ipv6, None);
            let theirs = open(65000, 9, [both.clone(), more].concat());
            let negotiated = negotiate(&config(Families::BOTH), &ours, &theirs).unwrap();
            (negotiated.has_extended_next_hop, negotiated.has_extended_message)
        };
        assert_eq!(judge(true, vec![enhe(), Capability::ExtendedMessage]), (true, true));
        assert_eq!(judge(false, vec![enhe()]), (false, false), "not offered over IPv4");
        assert_eq!(judge(true, vec![]), (false, false));
        let v6 = AfiSafi { afi: 2, safi: 1 };
        let other = ExtendedNextHop { family: v6, next_hop_afi: 1 };
        assert_eq!(judge(true, vec![Capability::ExtendedNextHop(vec![other])]), (false, false));
        // Without the family there is nothing to extend.
        let theirs = open(65000, 9, vec![enhe(), Capability::Multiprotocol(v6)]);
        assert!(!judged(&config(Families::BOTH), &theirs).unwrap().has_extended_next_hop);
    }

    #[test]
    fn graceful_restart_is_agreed_for_the_families_each_names() {
        let judge = |ours: Option<Capability>, theirs: Vec<Capability>| {
            let ours = our_open(&config(Families::BOTH), false, ours);
            let both = multiprotocol(Families::BOTH).chain(theirs).collect();
            let negotiated = negotiate(&config(Families::BOTH), &ours, &open(65000, 9, both)).unwrap();
            (negotiated.restart, negotiated.preserved_by_peer)
        };
        let (ipv4, none) = (Families { ipv4: true, ipv6: false }, Families::default());
        let (agreed, preserved) = judge(Some(restart(true, &[false, false])), vec![restart(true, &[true])]);
        let wanted = NegotiatedRestart {
            peer_time: Duration::from_secs(60),
            peer_is_restarting: false,
            has_notification: true,
            kept_by_peer: Families::BOTH,
            kept_for_peer: ipv4,
        };
        assert_eq!((agreed.as_ref(), preserved), (Some(&wanted), ipv4));
        let (helper, _) = judge(Some(restart(true, &[true])), vec![restart(false, &[])]);
        let helper = helper.unwrap();
        assert_eq!((helper.has_notification, helper.kept_by_peer, helper.kept_for_peer), (false, ipv4, none));
        assert_eq!(judge(None, vec![restart(true, &[true])]), (None, none));
        assert_eq!(judge(Some(restart(true, &[true])), vec![]), (None, none));
    }

    #[test]
    fn the_smaller_hold_time_stands_and_zero_means_none() {
        let hold = |theirs| judged(&config(Families::BOTH), &open(65000, theirs, vec![])).unwrap().hold_time;
        assert_eq!(hold(180), Some(Duration::from_secs(9)));
        assert_eq!(hold(3), Some(Duration::from_secs(3)));
        assert_eq!(hold(0), None);
    }

    #[test]
    fn only_the_configured_as_is_welcome() {
        let judge = |asn| judged(&config(Families::BOTH), &open(asn, 9, vec![]));
        assert!(judge(65000).is_ok());
        for asn in [65001, 0, 4_200_000_010] {
            assert_eq!(judge(asn), Err(OpenError::PeerAs { asn }));
        }
        let mut external = config(Families::BOTH);
        external.peer.remote_as = RemoteAs::External;
        assert!(judged(&external, &open(65001, 9, vec![])).is_ok());
        for asn in [0, 4_200_000_010] {
            assert_eq!(judged(&external, &open(asn, 9, vec![])), Err(OpenError::PeerAs { asn }));
        }
    }

    #[test]
    fn a_peer_without_capabilities_speaks_classic_ipv4() {
        let mut classic = open(65000, 9, vec![]);
        classic.capabilities.clear();
        let negotiated = judged(&config(Families::BOTH), &classic).unwrap();
        assert_eq!(negotiated.families, Families { ipv4: true, ipv6: false });
        assert!(!negotiated.four_octet_as && !negotiated.has_refresh);
    }

    #[test]
    fn no_common_family_names_what_we_need() {
        let v6 = Families { ipv4: false, ipv6: true };
        let theirs = open(65000, 9, vec![Capability::Multiprotocol(Family::Ipv4Unicast.into())]);
        let error = judged(&config(v6), &theirs).unwrap_err();
        let answer = crate::wire::WireError::from(error).answer().unwrap();
        assert_eq!((answer.code(), answer.subcode(), answer.data()), (2, 7, &[1, 4, 0, 2, 0, 1][..]));
    }
}
