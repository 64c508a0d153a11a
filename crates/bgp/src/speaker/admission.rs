// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose a connection is: by address, by interface and link-local address, or by range. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::advertise::Prefix;
use crate::config::Remote;

/// Where an unnumbered peer is to be expected now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expected {
    /// Index of its interface, while that is up.
    pub(super) index: Option<u32>,
    /// Its address. `None`: whoever connects first on that interface is it.
    pub(super) neighbour: Option<Ipv6Addr>,
}

/// Position of the peer that a connection from `from` belongs to; `None` for a stranger.
///
/// One address beats an interface beats a range; of several ranges the longest wins. A link-local address is nothing
/// without its interface: the same one on two interfaces is two peers, and ranges hold none.
pub(super) fn owner<'a>(
    from: SocketAddr,
    peers: impl IntoIterator<Item = (&'a Remote, Expected)>,
) -> Option<usize> {
    let scope = match from {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some((*v6.ip(), v6.scope_id())),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    let address = from.ip().to_canonical();
    let mut best: Option<(u16, usize)> = None;
    for (position, (remote, expected)) in peers.into_iter().enumerate() {
        let rank = match (remote, scope) {
            (Remote::Address(known), None) if *known == address => EXACT,
            (Remote::Interface { .. }, Some((source, index)))
                if expected.index == Some(index)
                    && expected.neighbour.is_none_or(|known| known == source) =>
            {
                // A known neighbour beats a peer of that interface that still waits for its own.
                if expected.neighbour.is_some() { EXACT } else { FIRST_COME }
            }
            (Remote::Range { prefix, .. }, None) if contains(prefix, address) => u16::from(prefix.length()),
            (Remote::Address(_) | Remote::Interface { .. } | Remote::Range { .. }, _) => continue,
        };
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, position));
        }
    }
    best.map(|(_, position)| position)
}

/// Above every length of a prefix.
const FIRST_COME: u16 = 200;
const EXACT: u16 = 201;

/// Whether an address lies within a prefix.
pub(super) fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    prefix.address().is_ipv4() == address.is_ipv4()
        && Prefix::truncated(address, prefix.length()).is_ok_and(|truncated| truncated == *prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(address: Option<&str>) -> Remote {
        Remote::Interface { interface: "eth".into(), address: address.map(|a| a.parse().unwrap()) }
    }

    fn range(prefix: &str) -> Remote {
        Remote::Range { prefix: prefix.parse().unwrap(), sessions_max: 4 }
    }

    fn at(index: u32, neighbour: Option<&str>) -> Expected {
        Expected { index: Some(index), neighbour: neighbour.map(|a| a.parse().unwrap()) }
    }

    fn from(text: &str, scope: u32) -> SocketAddr {
        match text.parse().unwrap() {
            IpAddr::V6(v6) => std::net::SocketAddrV6::new(v6, 40000, 0, scope).into(),
            v4 @ IpAddr::V4(_) => SocketAddr::new(v4, 40000),
        }
    }

    #[test]
    fn one_address_beats_ranges_and_the_longest_range_wins() {
        let none = Expected::default();
        let peers = [
            (range("10.0.0.0/8"), none),
            (range("10.1.0.0/16"), none),
            (Remote::Address("10.1.0.1".parse().unwrap()), none),
            (range("10.0.0.0/12"), none),
            (range("2001:db8::/32"), none),
            (range("0.0.0.0/0"), none),
        ];
        let whose = |text: &str| owner(from(text, 0), peers.iter().map(|(remote, at)| (remote, *at)));
        assert_eq!(whose("10.1.0.1"), Some(2));
        assert_eq!(whose("10.1.0.2"), Some(1));
        assert_eq!(whose("10.2.0.2"), Some(3));
        assert_eq!(whose("10.200.0.2"), Some(0));
        assert_eq!(whose("192.0.2.1"), Some(5));
        assert_eq!(whose("2001:db8::5"), Some(4));
        assert_eq!(whose("2001:db9::5"), None);
        assert_eq!(whose("fe80::1"), None, "ranges hold no link-local address");
    }

    #[test]
    fn the_same_link_local_on_two_interfaces_is_two_peers() {
        let peers = [
            (interface(None), at(2, Some("fe80::1"))),
            (interface(None), at(3, Some("fe80::1"))),
            (interface(None), at(4, None)),
            (interface(Some("fe80::7")), at(5, Some("fe80::7"))),
            (interface(None), Expected::default()),
        ];
        let whose =
            |text: &str, scope| owner(from(text, scope), peers.iter().map(|(remote, at)| (remote, *at)));
        assert_eq!(whose("fe80::1", 2), Some(0));
        assert_eq!(whose("fe80::1", 3), Some(1));
        assert_eq!(whose("fe80::2", 2), None, "a stranger on a known link");
        assert_eq!(whose("fe80::2", 4), Some(2), "nobody is known there yet");
        assert_eq!(whose("fe80::7", 5), Some(3));
        assert_eq!(whose("fe80::8", 5), None);
        assert_eq!(whose("fe80::1", 9), None, "no peer is on that interface");
        assert_eq!(whose("2001:db8::1", 2), None);
    }
}
