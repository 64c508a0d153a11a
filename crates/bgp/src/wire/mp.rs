// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), with the next-hop forms of RFC 2545 and RFC 8950.
//!
//! ```text
//!   MP_REACH    AFI(2) SAFI(1) next-hop length(1) next hop … reserved(1) NLRI …
//!   MP_UNREACH  AFI(2) SAFI(1) NLRI …
//!   next hop    4 (IPv4 only) │ 16 one IPv6 address │ 32 two: global, then link-local
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cursor::Cursor;
use super::nlri::{self, BadPrefix};
use crate::advertise::Prefix;
use crate::config::Family;

/// An address family as it stands on the wire, spoken or not. Prints `1/1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl AfiSafi {
    /// The family we speak that this is, if any.
    pub fn family(self) -> Option<Family> {
        match (self.afi, self.safi) {
            (1, 1) => Some(Family::Ipv4Unicast),
            (2, 1) => Some(Family::Ipv6Unicast),
            _ => None,
        }
    }

    pub(super) fn to_octets(self) -> [u8; 3] {
        let [a, b] = self.afi.to_be_bytes();
        [a, b, self.safi]
    }
}

impl From<Family> for AfiSafi {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => Self { afi: 1, safi: 1 },
            Family::Ipv6Unicast => Self { afi: 2, safi: 1 },
        }
    }
}

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.afi, self.safi)
    }
}

/// Prefixes announced with their own next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpReach {
    /// The family.
    pub family: AfiSafi,
    /// One or two addresses as sent, `::` included; none for a family we do not speak.
    pub next_hops: Vec<IpAddr>,
    /// The prefixes; none for a family we do not speak.
    pub nlri: Vec<Prefix>,
}

/// Prefixes withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpUnreach {
    /// The family.
    pub family: AfiSafi,
    /// The prefixes; none for a family we do not speak.
    pub nlri: Vec<Prefix>,
}

/// Why a multiprotocol attribute cannot be read; the two have different subcodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MpError {
    /// What stands before the prefixes.
    Attribute(&'static str),
    /// A prefix.
    Network(BadPrefix),
}

impl From<&'static str> for MpError {
    fn from(what: &'static str) -> Self {
        Self::Attribute(what)
    }
}

impl From<BadPrefix> for MpError {
    fn from(bad: BadPrefix) -> Self {
        Self::Network(bad)
    }
}

impl MpReach {
    /// Reads a value; every failure ends the session, for then the prefixes cannot be told (RFC 7606 §5.3).
    pub(super) fn decode(value: &[u8]) -> Result<Self, MpError> {
        let mut cursor = Cursor::new(value);
        let family = family(&mut cursor)?;
        let length = cursor.u8().ok_or("no next hop length")?;
        let next_hop = cursor.take(usize::from(length)).ok_or("next hop beyond the attribute")?;
        cursor.u8().ok_or("no reserved octet")?;
        let Some(known) = family.family() else {
            return Ok(Self { family, next_hops: Vec::new(), nlri: Vec::new() });
        };
        let next_hops = next_hops(known, next_hop)?;
        let nlri = nlri::decode(known, cursor.rest())?;
        Ok(Self { family, next_hops, nlri })
    }

    /// The addresses a route could use: all but `::`.
    pub fn usable_next_hops(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.next_hops.iter().copied().filter(|a| !a.is_unspecified())
    }

    /// The address to use: the link-local one if the session itself is between link-local addresses, else the global
    /// one; the other if there is but one kind. A link-local one is of the session's interface.
    pub fn preferred_next_hop(&self, is_link_local_session: bool) -> Option<IpAddr> {
        let is_wanted =
            |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local()) == is_link_local_session;
        self.usable_next_hops().find(is_wanted).or_else(|| self.usable_next_hops().next())
    }
}

impl MpUnreach {
    /// As [`MpReach::decode`].
    pub(super) fn decode(value: &[u8]) -> Result<Self, MpError> {
        let mut cursor = Cursor::new(value);
        let family = family(&mut cursor)?;
        let nlri = match family.family() {
            Some(known) => nlri::decode(known, cursor.rest())?,
            None => Vec::new(),
        };
        Ok(Self { family, nlri })
    }
}

fn family(cursor: &mut Cursor<'_>) -> Result<AfiSafi, &'static str> {
    let [a, b, safi] = cursor.array().ok_or("no address family")?;
    Ok(AfiSafi { afi: u16::from_be_bytes([a, b]), safi })
}

fn next_hops(family: Family, octets: &[u8]) -> Result<Vec<IpAddr>, &'static str> {
    match (family, octets.len()) {
        (Family::Ipv4Unicast, 4) => {
            Ok(octets.first_chunk::<4>().map(|o| IpAddr::V4(Ipv4Addr::from(*o))).into_iter().collect())
        }
        (Family::Ipv4Unicast | Family::Ipv6Unicast, 16 | 32) => {
            let (addresses, _) = octets.as_chunks::<16>();
            Ok(addresses.iter().map(|o| IpAddr::V6(Ipv6Addr::from(*o))).collect())
        }
        _ => Err("next hop length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hop_follows_the_session() {
        let prefer = |next_hops: &[&str]| {
            let next_hops = next_hops.iter().map(|a| a.parse().unwrap()).collect();
            let reach = MpReach { family: Family::Ipv4Unicast.into(), next_hops, nlri: vec![] };
            [true, false].map(|is_link_local| {
                reach.preferred_next_hop(is_link_local).map_or_else(String::new, |a| a.to_string())
            })
        };
        assert_eq!(prefer(&["2001:db8::1", "fe80::1"]), ["fe80::1", "2001:db8::1"]);
        assert_eq!(prefer(&["fe80::1", "fe80::1"]), ["fe80::1", "fe80::1"]);
        assert_eq!(prefer(&["::", "fe80::1"]), ["fe80::1", "fe80::1"]);
        assert_eq!(prefer(&["2001:db8::1"]), ["2001:db8::1", "2001:db8::1"]);
        assert_eq!(prefer(&["10.0.0.1"]), ["10.0.0.1", "10.0.0.1"]);
        assert_eq!(prefer(&["::"]), ["", ""]);
    }
}
