// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a speaker and its peers are told at the start, and the rules these words must keep.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::advertise::Prefix;
use crate::error::ConfigError;
use crate::fib::FibConfig;

mod family;
mod peer;
mod policy;
mod restart;

pub use family::{Families, Family};
pub use peer::{PeerConfig, Remote, RemoteAs, Secret};
pub use policy::{ExportPolicy, LinkBandwidth};
pub use restart::{Ending, GracefulRestart, PathDown};

/// Most peers of one speaker; each costs a task, two receive buffers and a socket or two.
pub(crate) const PEERS_MAX: usize = 256;
/// Most characters of an interface's name (IFNAMSIZ without the end).
const INTERFACE_NAME_MAX: usize = 15;

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
    /// Name and version, such as `weir/0.1.0`, told by capability 75; not told if empty.
    pub software: String,
    /// Whether peers are asked to keep our routes while we restart.
    pub graceful_restart: Option<GracefulRestart>,
    /// Where default routes of peers go; without it they go nowhere.
    pub fib: Option<FibConfig>,
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
        if let Some(restart) = &self.graceful_restart
            && (restart.restart_time.subsec_nanos() != 0
                || restart.restart_time.is_zero()
                || restart.restart_time > GracefulRestart::RESTART_TIME_MAX)
        {
            faults.push(ConfigError::RestartTime { restart_time: restart.restart_time });
        }
        if let Some(Err(fault)) = self.fib.map(|fib| fib.validate()) {
            faults.push(ConfigError::Fib(fault));
        }
        let sessions = self.peers.iter().map(|peer| match peer.remote {
            Remote::Range { sessions_max, .. } => usize::from(sessions_max),
            Remote::Address(_) | Remote::Interface { .. } => 1,
        });
        let count = sessions.sum();
        if count > PEERS_MAX {
            faults.push(ConfigError::TooManyPeers { count, max: PEERS_MAX });
        }
        let mut addresses: BTreeMap<String, &str> = BTreeMap::new();
        let mut names: BTreeMap<&str, ()> = BTreeMap::new();
        for peer in &self.peers {
            self.validate_peer(peer, &mut faults);
            if names.insert(&peer.name, ()).is_some() {
                faults.push(ConfigError::PeerName { peer: peer.name.clone() });
            }
            self.validate_neighbours(peer, &mut faults);
            if let Some(other) = addresses.insert(peer.remote.to_string(), &peer.name) {
                faults.push(ConfigError::PeerAddressTwice {
                    peer: peer.name.clone(),
                    other: other.to_owned(),
                    remote: peer.remote.to_string(),
                });
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// What a peer may not have in common with another one.
    fn validate_neighbours(&self, peer: &PeerConfig, faults: &mut Vec<ConfigError>) {
        let other_names = |other: &PeerConfig| (peer.name.clone(), other.name.clone());
        for other in self.peers.iter().filter(|other| other.name != peer.name) {
            match (&peer.remote, &other.remote) {
                // Whoever is heard on an interface is its neighbour; there can be only one, unless both are named.
                (
                    Remote::Interface { interface, address: None },
                    Remote::Interface { interface: same, address },
                ) if interface == same && (address.is_some() || peer.name < other.name) => {
                    let (peer, other) = other_names(other);
                    faults.push(ConfigError::InterfaceTwice { peer, other, interface: interface.clone() });
                }
                // The kernel takes the key of the longest prefix that has one.
                (Remote::Address(_) | Remote::Range { .. }, Remote::Range { prefix, .. })
                    if peer.md5.is_none() && other.md5.is_some() && lies_within(&peer.remote, prefix) =>
                {
                    let (peer, other) = other_names(other);
                    faults.push(ConfigError::KeyOfRange { peer, other, range: prefix.to_string() });
                }
                (Remote::Address(_) | Remote::Interface { .. } | Remote::Range { .. }, _) => {}
            }
        }
    }

    fn validate_peer(&self, peer: &PeerConfig, faults: &mut Vec<ConfigError>) {
        let name = || peer.name.clone();
        validate_remote(peer, faults);
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
            && local.is_ipv4() != peer.remote.is_ipv4()
        {
            faults.push(ConfigError::LocalAddress { peer: name(), local, remote: peer.remote.to_string() });
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
        // An IPv4 address can be no next hop of IPv6 prefixes; the other way round RFC 8950 helps.
        if peer.families.ipv6 && peer.remote.is_ipv4() && peer.next_hop_v6.is_none() {
            faults.push(ConfigError::NextHopMissing { peer: name(), family: Family::Ipv6Unicast });
        }
        if peer.prefixes_max == 0 {
            faults.push(ConfigError::PrefixesMax { peer: name() });
        }
        let export = &peer.export;
        if export.communities.len().max(export.large_communities.len()) > ExportPolicy::MAX_COMMUNITIES {
            faults.push(ConfigError::ExportCommunities { peer: name(), max: ExportPolicy::MAX_COMMUNITIES });
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

fn lies_within(remote: &Remote, range: &Prefix) -> bool {
    let (address, length) = match remote {
        Remote::Address(address) => (*address, u8::MAX),
        Remote::Range { prefix, .. } => (prefix.address(), prefix.length()),
        Remote::Interface { .. } => return false,
    };
    length > range.length()
        && address.is_ipv4() == range.address().is_ipv4()
        && Prefix::truncated(address, range.length()).is_ok_and(|truncated| truncated == *range)
}

fn validate_remote(peer: &PeerConfig, faults: &mut Vec<ConfigError>) {
    let name = || peer.name.clone();
    let is_link_local = |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let remote = || peer.remote.to_string();
    let is_right = match &peer.remote {
        Remote::Address(address) => {
            !address.is_unspecified() && !address.is_multicast() && !is_link_local(address)
        }
        Remote::Interface { interface, address } => {
            (1..=INTERFACE_NAME_MAX).contains(&interface.len())
                && address.is_none_or(|address| address.is_unicast_link_local())
        }
        Remote::Range { sessions_max, prefix } => {
            *sessions_max > 0 && !is_link_local(&prefix.address()) && !prefix.address().is_multicast()
        }
    };
    if !is_right {
        faults.push(ConfigError::PeerAddress { peer: name(), remote: remote() });
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
            graceful_restart: None,
            fib: None,
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
            "peer `tor1`: fe80::1 is neither a unicast address, nor an interface, nor a range"
        );
    }

    #[test]
    fn sessions_of_ranges_count_as_peers() {
        let range = |sessions_max| PeerConfig {
            remote: Remote::Range { prefix: "10.0.0.0/8".parse().unwrap(), sessions_max },
            ..peer()
        };
        assert_eq!(speaker(range(256)).validate(), Ok(()));
        let faults = speaker(range(257)).validate().unwrap_err();
        assert_eq!(faults[0].to_string(), "257 peers are more than the 256 supported");
    }

    #[test]
    fn an_interface_has_one_neighbour_unless_they_are_named() {
        let on = |name: &str, address: Option<&str>| PeerConfig {
            remote: Remote::Interface {
                interface: "eth1".into(),
                address: address.map(|address| address.parse().unwrap()),
            },
            ..PeerConfig::unnumbered(name, "eth1", RemoteAs::External)
        };
        let check = |a: PeerConfig, b: PeerConfig| {
            let mut config = speaker(a);
            config.peers.push(b);
            config.validate().err().map(|faults| faults[0].to_string())
        };
        assert_eq!(check(on("a", Some("fe80::1")), on("b", Some("fe80::2"))), None);
        let twice = Some(
            "peer `a`: interface eth1 is already that of peer `b`, and only one neighbour can be learnt"
                .into(),
        );
        assert_eq!(check(on("b", Some("fe80::1")), on("a", None)), twice);
    }

    #[test]
    fn a_peer_without_a_key_may_not_lie_in_a_range_with_one() {
        let range = PeerConfig {
            name: "range".into(),
            remote: Remote::Range { prefix: "10.0.0.0/8".parse().unwrap(), sessions_max: 4 },
            md5: Secret::new("key"),
            ..peer()
        };
        let mut config = speaker(range);
        config.peers.push(peer());
        assert_eq!(
            config.validate().unwrap_err()[0].to_string(),
            "peer `tor1`: it has no MD5 key, but 10.0.0.0/8 of peer `range` has, and the kernel would require that"
        );
        config.peers[1].md5 = Secret::new("other");
        assert_eq!(config.validate(), Ok(()));
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
