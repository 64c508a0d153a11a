// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker and its peers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// AS number (RFC 6793), never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bgp {
    /// Own AS number.
    pub asn: Asn,
    /// Addresses that accept sessions; may be empty, then Weir only connects.
    pub listen: Vec<SocketAddr>,
}

/// One BGP session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address.
    pub address: IpAddr,
    /// The peer's TCP port.
    pub port: u16,
    /// The AS number expected in its OPEN.
    pub remote_as: RemoteAs,
    /// Own address of the session; `None`: the kernel chooses. Of the family of [`Self::address`].
    pub source: Option<IpAddr>,
    /// Hold time offered: 0 (never expires) or 3 s to 65,535 s (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// Wait between two attempts to connect.
    pub connect_retry: Duration,
    /// Only accept, never connect.
    pub passive: bool,
    /// Address families of this session. One that is not the transport's own has its next hop given below.
    pub families: Families,
    /// Next hop of announced IPv4 prefixes; `None`: own address of the session.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of announced IPv6 prefixes; `None`: own address of the session.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// BFD on the path to it, if it is watched.
    pub bfd: Option<Bfd>,
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

/// Unicast families of a session; at least one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4 unicast.
    pub ipv4: bool,
    /// IPv6 unicast.
    pub ipv6: bool,
}
