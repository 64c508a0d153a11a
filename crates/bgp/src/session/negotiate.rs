// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our OPEN, and what follows from it and the peer's.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::SessionConfig;
use crate::config::{Families, Family};
use crate::wire::{Capability, Open, OpenError};

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
}

impl Negotiated {
    /// Wait between KEEPALIVEs before jitter: a third of the hold time.
    pub fn keepalive_interval(&self) -> Option<Duration> {
        self.hold_time.map(|hold| hold / 3)
    }
}

/// The OPEN we send.
///
/// No graceful restart: a peer must drop our routes at once when we die. No extended next hop, no extended messages.
pub(super) fn our_open(config: &SessionConfig) -> Open {
    let mut capabilities: Vec<Capability> = multiprotocol(config.peer.families).collect();
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::FourOctetAs(config.asn));
    capabilities.push(Capability::EnhancedRouteRefresh);
    if !config.hostname.is_empty() {
        capabilities.push(Capability::Fqdn { host: config.hostname.clone(), domain: String::new() });
    }
    Open {
        two_octet_as: Open::two_octet(config.asn),
        hold_time_s: u16::try_from(config.peer.hold_time.as_secs()).unwrap_or(u16::MAX),
        router_id: config.router_id,
        capabilities,
    }
}

fn multiprotocol(families: Families) -> impl Iterator<Item = Capability> {
    families.iter().map(|family| Capability::Multiprotocol(family.into()))
}

/// Judges the peer's OPEN against what was configured.
pub(super) fn negotiate(config: &SessionConfig, theirs: &Open) -> Result<Negotiated, OpenError> {
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
    let hold = config.peer.hold_time.min(Duration::from_secs(u64::from(theirs.hold_time_s)));
    Ok(Negotiated {
        hold_time: (!hold.is_zero()).then_some(hold),
        families,
        four_octet_as: theirs.has_four_octet_as(),
        has_refresh: has(&Capability::RouteRefresh) || has(&Capability::EnhancedRouteRefresh),
        has_enhanced_refresh: has(&Capability::EnhancedRouteRefresh),
        remote_as: asn,
        remote_router_id: theirs.router_id,
    })
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

    #[test]
    fn our_open_offers_what_it_should_and_nothing_else() {
        let open = our_open(&config(Families::BOTH));
        assert_eq!((open.two_octet_as, open.hold_time_s), (23456, 9));
        let words: Vec<String> = open.capabilities.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "MP 1/1",
                "MP 2/1",
                "route-refresh",
                "AS4 4200000010",
                "enhanced-route-refresh",
                "FQDN host='lb1' domain=''"
            ]
        );
    }

    #[test]
    fn the_smaller_hold_time_stands_and_zero_means_none() {
        let hold =
            |theirs| negotiate(&config(Families::BOTH), &open(65000, theirs, vec![])).unwrap().hold_time;
        assert_eq!(hold(180), Some(Duration::from_secs(9)));
        assert_eq!(hold(3), Some(Duration::from_secs(3)));
        assert_eq!(hold(0), None);
    }

    #[test]
    fn only_the_configured_as_is_welcome() {
        let judge = |asn| negotiate(&config(Families::BOTH), &open(asn, 9, vec![]));
        assert!(judge(65000).is_ok());
        for asn in [65001, 0, 4_200_000_010] {
            assert_eq!(judge(asn), Err(OpenError::PeerAs { asn }));
        }
        let mut external = config(Families::BOTH);
        external.peer.remote_as = RemoteAs::External;
        assert!(negotiate(&external, &open(65001, 9, vec![])).is_ok());
        for asn in [0, 4_200_000_010] {
            assert_eq!(negotiate(&external, &open(asn, 9, vec![])), Err(OpenError::PeerAs { asn }));
        }
    }

    #[test]
    fn a_peer_without_capabilities_speaks_classic_ipv4() {
        let mut classic = open(65000, 9, vec![]);
        classic.capabilities.clear();
        let negotiated = negotiate(&config(Families::BOTH), &classic).unwrap();
        assert_eq!(negotiated.families, Families { ipv4: true, ipv6: false });
        assert!(!negotiated.four_octet_as && !negotiated.has_refresh);
    }

    #[test]
    fn no_common_family_names_what_we_need() {
        let v6 = Families { ipv4: false, ipv6: true };
        let theirs = open(65000, 9, vec![Capability::Multiprotocol(Family::Ipv4Unicast.into())]);
        let error = negotiate(&config(v6), &theirs).unwrap_err();
        let answer = crate::wire::WireError::from(error).answer().unwrap();
        assert_eq!((answer.code(), answer.subcode(), answer.data()), (2, 7, &[1, 4, 0, 2, 0, 1][..]));
    }
}
