// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One BGP neighbour.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use weir_bgp::Prefix;

use super::{Asn, Attributes};

/// One BGP neighbour, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is found.
    pub remote: Remote,
    /// The peer's TCP port.
    pub port: u16,
    /// The AS number expected in its OPEN.
    pub remote_as: RemoteAs,
    /// Own address of the session; `None`: the kernel chooses. Of the peer's family; none on an interface.
    pub source: Option<IpAddr>,
    /// Hold time offered: 0 (never expires) or 3 s to 65,535 s (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// Wait between two attempts to connect.
    pub connect_retry: Duration,
    /// Only accept, never connect.
    pub passive: bool,
    /// Address families of this session.
    pub families: Families,
    /// Next hop of announced IPv4 prefixes; `None`: own address of the session.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of announced IPv6 prefixes; `None`: own address of the session. Given where the session is over IPv4.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// File with the key of TCP's MD5 signatures (RFC 2385). Never printed.
    pub md5_file: Option<PathBuf>,
    /// TTL 255 is sent and required (RFC 5082).
    pub ttl_security: bool,
    /// BFD on the path to it, if it is watched.
    pub bfd: Option<Bfd>,
    /// Routes are kept over a restart of either side, where both agree.
    pub graceful_restart: bool,
    /// Most prefixes of one family that it may announce.
    pub prefixes_max: u32,
    /// Families whose default route is taken from it; each is one of [`Self::families`].
    pub import_default: Families,
    /// Added to every announcement to it.
    pub export: Attributes,
    /// Whether and how the capacity of the uplinks is told.
    pub link_bandwidth: LinkBandwidth,
}

/// Where a peer is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// At this address.
    Address(IpAddr),
    /// On the other side of this interface (unnumbered).
    Interface {
        /// Its name.
        interface: String,
        /// The peer's link-local address; `None`: learnt from its router advertisements.
        link_local: Option<Ipv6Addr>,
    },
    /// Whoever connects from this prefix.
    Range {
        /// The prefix.
        prefix: Prefix,
        /// Most sessions at once.
        sessions_max: u16,
    },
}

impl Remote {
    /// The address, where the document says it.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Interface { link_local, .. } => link_local.map(IpAddr::V6),
            Self::Range { .. } => None,
        }
    }

    /// The interface of an unnumbered peer.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Interface { interface, .. } => Some(interface),
            Self::Address(_) | Self::Range { .. } => None,
        }
    }

    /// Whether sessions run over IPv4.
    pub fn is_ipv4(&self) -> bool {
        match self {
            Self::Address(address) => address.is_ipv4(),
            Self::Interface { .. } => false,
            Self::Range { prefix, .. } => prefix.address().is_ipv4(),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface { interface, link_local: None } => f.write_str(interface),
            Self::Interface { interface, link_local: Some(address) } => write!(f, "{address}%{interface}"),
            Self::Range { prefix, .. } => prefix.fmt(f),
        }
    }
}

/// How a path is watched by BFD (RFC 5880), both ways alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bfd {
    /// Time between two packets that is asked for; the slower side decides.
    pub interval: Duration,
    /// Packets in a row whose loss is the end, 2 to 255.
    pub multiplier: u8,
}

impl Default for Bfd {
    /// 3 × 100 ms.
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), multiplier: 3 }
    }
}

/// The AS number expected of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteAs {
    /// This one, which is not ours.
    Number(Asn),
    /// Any but ours.
    External,
}

/// A set of unicast families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4 unicast.
    pub ipv4: bool,
    /// IPv6 unicast.
    pub ipv6: bool,
}

impl Families {
    /// Both.
    pub const BOTH: Self = Self { ipv4: true, ipv6: true };

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        !self.ipv4 && !self.ipv6
    }
}

/// Form of the link bandwidth extended community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkBandwidth {
    /// The form that speakers keep on eBGP sessions.
    #[default]
    Transitive,
    /// The standard form.
    NonTransitive,
    /// Not told.
    Off,
}
