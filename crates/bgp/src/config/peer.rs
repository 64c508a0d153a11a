// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One neighbour: where it is, what it may be, how the session with it runs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{ExportPolicy, Families};
use crate::advertise::Prefix;

/// Where a peer is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// Numbered: at this address, not link-local.
    Address(IpAddr),
    /// Unnumbered: the neighbour on this interface.
    Interface {
        /// Name of the interface.
        interface: String,
        /// Its link-local address; `None`: learnt from its router advertisements (RFC 4861).
        address: Option<Ipv6Addr>,
    },
    /// Dynamic: whoever connects from this prefix, a session each. Never connected to. Its sessions are named `NAME/ADDRESS`.
    Range {
        /// The prefix.
        prefix: Prefix,
        /// Most sessions at once.
        sessions_max: u16,
    },
}

impl Remote {
    /// The address, where it is known without looking.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Interface { address, .. } => address.map(IpAddr::V6),
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
            Self::Address(address) => write!(f, "{address}"),
            Self::Interface { interface, address: None } => write!(f, "{interface}"),
            Self::Interface { interface, address: Some(address) } => write!(f, "{address}%{interface}"),
            Self::Range { prefix, .. } => write!(f, "{prefix}"),
        }
    }
}

/// A key; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Most octets of a key of `TCP_MD5SIG`.
    pub const LEN_MAX: usize = 80;

    /// The key, 1 to [`Self::LEN_MAX`] octets; `None` for any other length.
    pub fn new(key: impl Into<Vec<u8>>) -> Option<Self> {
        let key = key.into();
        (1..=Self::LEN_MAX).contains(&key.len()).then_some(Self(key))
    }

    /// Its octets, for the kernel alone.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
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
    /// Where it is found, unique.
    pub remote: Remote,
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
    /// Key of TCP's MD5 signatures (RFC 2385), the same at the peer.
    pub md5: Option<Secret>,
    /// TTL or hop limit 255 is sent and required (RFC 5082); the peer must do the same.
    pub has_gtsm: bool,
    /// Graceful restart is offered, if the speaker has it, and the peer's is helped.
    pub has_graceful_restart: bool,
    /// Most prefixes of one family that the peer may announce; one more ends the session (RFC 4486).
    pub prefixes_max: u32,
    /// Families whose default route is taken from this peer; nothing else ever is (RFC 8212).
    pub import_default: Families,
    /// What every advertisement gets on its way to this peer.
    pub export: ExportPolicy,
}

impl PeerConfig {
    /// Hold time proposed unless told otherwise.
    pub const HOLD_TIME_DEFAULT: Duration = Duration::from_secs(9);
    /// Wait between attempts to connect unless told otherwise.
    pub const CONNECT_RETRY_DEFAULT: Duration = Duration::from_secs(5);
    /// The port of BGP.
    pub const PORT_DEFAULT: u16 = 179;

    /// Prefixes of one family that a peer may announce unless told otherwise: a default route and room for mistakes.
    pub const PREFIXES_MAX_DEFAULT: u32 = 16;

    /// A numbered peer with every default: the families are the transport's own.
    pub fn new(name: impl Into<String>, address: IpAddr, remote_as: RemoteAs) -> Self {
        let families = Families::of(address);
        Self { families, ..Self::with(name.into(), Remote::Address(address), remote_as) }
    }

    /// An unnumbered peer with every default: whoever advertises itself on `interface`, both families.
    pub fn unnumbered(name: impl Into<String>, interface: impl Into<String>, remote_as: RemoteAs) -> Self {
        Self::with(name.into(), Remote::Interface { interface: interface.into(), address: None }, remote_as)
    }

    fn with(name: String, remote: Remote, remote_as: RemoteAs) -> Self {
        Self {
            name,
            remote,
            port: Self::PORT_DEFAULT,
            remote_as,
            local_address: None,
            hold_time: Self::HOLD_TIME_DEFAULT,
            connect_retry: Self::CONNECT_RETRY_DEFAULT,
            passive: false,
            families: Families::BOTH,
            next_hop_v4: None,
            next_hop_v6: None,
            md5: None,
            has_gtsm: false,
            has_graceful_restart: true,
            prefixes_max: Self::PREFIXES_MAX_DEFAULT,
            import_default: Families::default(),
            export: ExportPolicy::default(),
        }
    }
}
