// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a speaker and its peers are told at the start, and the rules these words must keep.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::error::ConfigError;

/// Most peers of one speaker; each costs a task, two receive buffers and a socket or two.
pub(crate) const PEERS_MAX: usize = 256;

/// An address family that is spoken: AFI and SAFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// All of them, in the order they are offered.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4Unicast => "ipv4-unicast",
            Family::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// A set of [`Family`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4 unicast is in it.
    pub ipv4: bool,
    /// IPv6 unicast is in it.
    pub ipv6: bool,
}

impl Families {
    /// Both families.
    pub const BOTH: Families = Families { ipv4: true, ipv6: true };

    /// The family of a transport address alone.
    pub fn of(address: IpAddr) -> Self {
        Self { ipv4: address.is_ipv4(), ipv6: address.is_ipv6() }
    }

    /// Whether `family` is in it.
    pub fn contains(&self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.ipv4,
            Family::Ipv6Unicast => self.ipv6,
        }
    }

    /// Puts `family` in.
    pub fn insert(&mut self, family: Family) {
        match family {
            Family::Ipv4Unicast => self.ipv4 = true,
            Family::Ipv6Unicast => self.ipv6 = true,
        }
    }

    /// What both sets hold.
    pub fn intersection(&self, other: Families) -> Families {
        Families { ipv4: self.ipv4 && other.ipv4, ipv6: self.ipv6 && other.ipv6 }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.ipv4 && !self.ipv6
    }

    /// Its members in offering order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.contains(*f))
    }
}

/// Which AS a peer may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteAs {
    /// Just this one.
    Exact(u32),
    /// Any but ours.
    External,
}

impl RemoteAs {
    /// Whether a peer that says it is of AS `remote` is welcome to us of AS `local`.
    pub fn accepts(&self, remote: u32, local: u32) -> bool {
        match self {
            RemoteAs::Exact(asn) => remote == *asn,
            RemoteAs::External => remote != 0 && remote != local,
        }
    }
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name in status and logs, unique.
    pub name: String,
    /// Its address, unique; not link-local.
    pub address: IpAddr,
    /// Where we connect to, 179 as a rule.
    pub port: u16,
    /// Its AS.
    pub remote_as: RemoteAs,
    /// Source of our connections; the kernel's choice if `None`. Of the peer's family.
    pub local_address: Option<IpAddr>,
    /// Proposed hold time: whole seconds, 0 (none) or 3 to 65535.
    pub hold_time: Duration,
    /// Wait between attempts to connect, jittered to 0.75–1.0 of it; at least 1 s.
    pub connect_retry: Duration,
    /// Only listen, never connect.
    pub passive: bool,
    /// Families to negotiate.
    pub families: Families,
    /// Next hop of IPv4 prefixes; by default the session's local address if that is IPv4.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 prefixes; by default the session's local address if that is IPv6.
    pub next_hop_v6: Option<Ipv6Addr>,
}

impl PeerConfig {
    /// Hold time proposed unless told otherwise.
    pub const HOLD_TIME_DEFAULT: Duration = Duration::from_secs(9);
    /// Wait between attempts to connect unless told otherwise.
    pub const CONNECT_RETRY_DEFAULT: Duration = Duration::from_secs(5);
    /// The port of BGP.
    pub const PORT_DEFAULT: u16 = 179;

    /// A peer with every default: the families are the transport's own.
    pub fn new(name: impl Into<String>, address: IpAddr, remote_as: RemoteAs) -> Self {
        Self {
            name: name.into(),
            address,
            port: Self::PORT_DEFAULT,
            remote_as,
            local_address: None,
            hold_time: Self::HOLD_TIME_DEFAULT,
            connect_retry: Self::CONNECT_RETRY_DEFAULT,
            passive: false,
            families: Families::of(address),
            next_hop_v4: None,
            next_hop_v6: None,
        }
    }
}

/// The speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS number, 1 to 4294967294, neither 23456 nor 65535.
    pub asn: u32,
    /// BGP identifier, not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Where peers may connect to; may be empty if every peer is connected to.
    pub listen: Vec<SocketAddr>,
    /// Host name told by capability 73; not told if empty.
    pub hostname: String,
    /// Name and version for logs and status, such as `weir/0.1.0`; not told to peers yet.
    pub software: String,
    /// The neighbours, at most 256.
    pub peers: Vec<PeerConfig>,
}

impl SpeakerConfig {
    /// Checks everything that can be checked without a socket and names all faults.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let mut faults = Vec::new();
        if !is_usable_asn(self.asn) {
            faults.push(ConfigError::Asn { asn: self.asn });
        }
        if self.router_id.is_unspecified() {
            faults.push(ConfigError::RouterId);
        }
        if self.peers.len() > PEERS_MAX {
            faults.push(ConfigError::TooManyPeers { count: self.peers.len(), max: PEERS_MAX });
        }
        let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
        let mut names: BTreeMap<&str, ()> = BTreeMap::new();
        for peer in &self.peers {
            self.validate_peer(peer, &mut faults);
            if names.insert(&peer.name, ()).is_some() {
                faults.push(ConfigError::PeerName { peer: peer.name.clone() });
            }
            if let Some(other) = addresses.insert(peer.address, &peer.name) {
                faults.push(ConfigError::PeerAddressTwice {
                    peer: peer.name.clone(),
                    other: other.to_owned(),
                    address: peer.address,
                });
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn validate_peer(&self, peer: &PeerConfig, faults: &mut Vec<ConfigError>) {
        let name = || peer.name.clone();
        let is_link_local = matches!(peer.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if peer.address.is_unspecified() || peer.address.is_multicast() || is_link_local {
            faults.push(ConfigError::PeerAddress { peer: name(), address: peer.address });
        }
        if peer.port == 0 {
            faults.push(ConfigError::PeerPort { peer: name() });
        }
        match peer.remote_as {
            RemoteAs::Exact(asn) if asn == self.asn => faults.push(ConfigError::SameAs { peer: name(), asn }),
            RemoteAs::Exact(asn) if !is_usable_asn(asn) => {
                faults.push(ConfigError::RemoteAs { peer: name(), asn });
            }
            RemoteAs::Exact(_) | RemoteAs::External => {}
        }
        if let Some(local) = peer.local_address
            && local.is_ipv4() != peer.address.is_ipv4()
        {
            faults.push(ConfigError::LocalAddress { peer: name(), local, address: peer.address });
        }
        let hold = peer.hold_time.as_secs();
        if peer.hold_time.subsec_nanos() != 0 || (1..3).contains(&hold) || hold > u64::from(u16::MAX) {
            faults.push(ConfigError::HoldTime { peer: name(), hold_time: peer.hold_time });
        }
        if peer.connect_retry < Duration::from_secs(1) || peer.connect_retry > Duration::from_secs(65535) {
            faults.push(ConfigError::ConnectRetry { peer: name(), connect_retry: peer.connect_retry });
        }
        if peer.families.is_empty() {
            faults.push(ConfigError::NoFamily { peer: name() });
        }
        for family in peer.families.iter() {
            // The other family's prefixes need a next hop that the session's own address cannot be.
            let has_next_hop = match family {
                Family::Ipv4Unicast => peer.address.is_ipv4() || peer.next_hop_v4.is_some(),
                Family::Ipv6Unicast => peer.address.is_ipv6() || peer.next_hop_v6.is_some(),
            };
            if !has_next_hop {
                faults.push(ConfigError::NextHopMissing { peer: name(), family });
            }
        }
        if peer.next_hop_v4.is_some_and(|a| a.is_unspecified() || a.is_multicast())
            || peer.next_hop_v6.is_some_and(|a| {
                a.is_unspecified() || a.is_multicast() || a.is_loopback() || a.is_unicast_link_local()
            })
        {
            faults.push(ConfigError::NextHop { peer: name() });
        }
    }
}

/// Neither zero (RFC 7607) nor AS_TRANS (RFC 6793) nor the last of either width (RFC 7300).
fn is_usable_asn(asn: u32) -> bool {
    !matches!(asn, 0 | 23456 | 65535 | u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(peer: PeerConfig) -> SpeakerConfig {
        SpeakerConfig {
            asn: 65010,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            listen: vec![],
            hostname: "lb1".into(),
            software: "weir/0".into(),
            peers: vec![peer],
        }
    }

    fn peer() -> PeerConfig {
        PeerConfig::new("tor1", "10.0.0.1".parse().unwrap(), RemoteAs::Exact(65000))
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(speaker(peer()).validate(), Ok(()));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut config = speaker(PeerConfig { families: Families::BOTH, port: 0, ..peer() });
        config.asn = 0;
        config.router_id = Ipv4Addr::UNSPECIFIED;
        let faults = config.validate().unwrap_err();
        let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "AS number 0 cannot be used",
                "router id 0.0.0.0 cannot be used",
                "peer `tor1`: port 0 cannot be connected to",
                "peer `tor1`: ipv6-unicast needs a next hop, the session's own address is of the other family",
            ]
        );
    }

    #[test]
    fn a_peer_with_bad_words_is_refused() {
        let check = |peer: PeerConfig| speaker(peer).validate().unwrap_err().remove(0).to_string();
        assert_eq!(
            check(PeerConfig { hold_time: Duration::from_secs(2), ..peer() }),
            "peer `tor1`: hold time 2s is neither 0 nor 3 to 65535 whole seconds"
        );
        assert_eq!(
            check(PeerConfig { remote_as: RemoteAs::Exact(65010), ..peer() }),
            "peer `tor1`: AS 65010 is our own, internal sessions are not spoken"
        );
        assert_eq!(
            check(PeerConfig { local_address: Some("2001:db8::1".parse().unwrap()), ..peer() }),
            "peer `tor1`: local address 2001:db8::1 is of another family than 10.0.0.1"
        );
        assert_eq!(
            check(PeerConfig::new("tor1", "fe80::1".parse().unwrap(), RemoteAs::External)),
            "peer `tor1`: fe80::1 is not a numbered unicast address"
        );
    }

    #[test]
    fn two_peers_of_one_address_are_refused() {
        let mut config = speaker(peer());
        config.peers.push(PeerConfig { name: "tor2".into(), ..peer() });
        assert_eq!(
            config.validate().unwrap_err()[0].to_string(),
            "peer `tor2`: address 10.0.0.1 is already that of peer `tor1`"
        );
    }
}
