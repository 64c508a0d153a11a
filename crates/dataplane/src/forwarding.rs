// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words this crate is told what to do in: a whole desired [`ForwardingState`], never a delta.
//!
//! The caller says which services exist, which pool each uses, and for each backend of a pool who it is and what it may
//! receive. It does not know ids, maps, rows or programs; this crate does not know health checks, documents or BGP.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

pub use weir_dataplane_core::Protocol;
use weir_dataplane_core::bytes::BackendMode;

use crate::next_hop::NextHop;
pub use crate::rows::Algorithm;

/// Everything the dataplane shall do. Applying the same state twice changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardingState {
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Pools by name; a pool that no service names is kept ready all the same.
    pub pools: BTreeMap<String, Pool>,
    /// What concerns a VIP as a whole; an address or prefix of a service that is missing here has the default.
    pub vips: BTreeMap<VipPrefix, Vip>,
    /// Settings for all packets.
    pub limits: Limits,
}

/// A VIP: one address, or all of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipPrefix {
    /// The address, or the first of the prefix.
    pub address: IpAddr,
    /// Length of the prefix, 1 to 32 or 128; as many bits as the address has for one address.
    pub length: u8,
}

impl From<IpAddr> for VipPrefix {
    fn from(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl VipPrefix {
    /// Whether it is one address.
    pub fn is_host(&self) -> bool {
        *self == Self::from(self.address)
    }
}

/// What concerns a VIP as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vip {
    /// Whether echo requests are answered; the caller says so only while the VIP is up.
    pub answers_echo: bool,
}

/// Settings for all packets. Rates are of the whole appliance, for each VIP by itself, in a second, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Echo replies.
    pub echo_per_second: u32,
    /// ICMP errors passed on to backends.
    pub icmp_errors_per_second: u32,
    /// "Too big" messages sent to clients.
    pub too_big_per_second: u32,
    /// Flows of all services that one CPU remembers anew, further ones go by their rows; `None`: no bound.
    pub new_flows_per_cpu: Option<NonZeroU32>,
    /// First fragments whose way is remembered for the later ones; further ones are dropped. All VIPs share
    /// [`weir_dataplane_core::limits::FRAGMENTS_MAX`] records.
    pub fragments_per_second: u32,
    /// Least MTU that an ICMP error may tell a backend over IPv4, in bytes; of IPv6 it is 1,280 (RFC 8201 §4).
    pub min_mtu_v4: u16,
    /// Prefix (/16) of outer IPv4 sources where a pool wants them made from flows.
    pub entropy_v4: Option<Ipv4Addr>,
    /// Prefix (/64) of outer IPv6 sources where a pool wants them made from flows.
    pub entropy_v6: Option<Ipv6Addr>,
}

/// New flows that a CPU remembers in a second by default: more than a CPU's share of what whole fleets open, and few enough that
/// learning them is no part worth naming of what a flood costs.
const NEW_FLOWS_PER_CPU: NonZeroU32 = NonZeroU32::new(125_000).expect("not zero");

impl Limits {
    /// Length of the prefix of [`Self::entropy_v4`].
    pub const ENTROPY_LENGTH_V4: u8 = 16;
    /// Length of the prefix of [`Self::entropy_v6`].
    pub const ENTROPY_LENGTH_V6: u8 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            echo_per_second: 1_000,
            icmp_errors_per_second: 1_000,
            too_big_per_second: 1_000,
            new_flows_per_cpu: Some(NEW_FLOWS_PER_CPU),
            fragments_per_second: 1_000,
            min_mtu_v4: 552,
            entropy_v4: None,
            entropy_v6: None,
        }
    }
}

/// One VIP, protocol and port, and the pool that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Address that clients send to, or the first of a prefix.
    pub vip: IpAddr,
    /// Length of the prefix whose every address is the VIP; `None`: the one address.
    pub prefix_length: Option<u8>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port, host order; 0: every port of the protocol that no other service of the VIP has.
    pub port: u16,
    /// Name of the pool in [`ForwardingState::pools`].
    pub pool: String,
    /// Idle time after which an established flow is forgotten; 1 s to [`weir_dataplane_core::limits::IDLE_S_MAX`].
    pub idle: Duration,
    /// Whether flows are remembered. `false`: every packet goes by its row alone.
    pub flow_table: bool,
    /// What of a packet decides which backend it goes to.
    pub affinity: Affinity,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// Most new flows remembered in a second on the whole appliance, further ones go by their rows; `None`: no bound.
    pub new_flows_per_second: Option<NonZeroU32>,
}

impl Service {
    /// The VIP.
    pub fn vip(&self) -> VipPrefix {
        let host = VipPrefix::from(self.vip);
        VipPrefix { length: self.prefix_length.unwrap_or(host.length), ..host }
    }
}

/// What of a packet decides which backend it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Affinity {
    /// Both addresses, both ports and the protocol: each flow by itself.
    #[default]
    Flow,
    /// Client address and VIP: all of a client's flows to the VIP go to one backend, whatever the port.
    Source,
    /// Client address, VIP, protocol and destination port.
    SourcePort,
}

/// What becomes of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fragments {
    /// Dropped and counted.
    #[default]
    Drop,
    /// Client address, VIP and protocol decide for every packet of the service, so fragments go along.
    BySource,
    /// They go where the first fragment of their datagram went; those that come before it are dropped.
    FirstFragment,
}

/// Backends that serve alike, and how packets reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// How packets are carried to the backends.
    pub mode: Mode,
    /// How outer headers are made.
    pub outer: OuterHeader,
    /// How rows are made.
    pub algorithm: Algorithm,
    /// The most backends this pool will ever have; fixes the number of rows (DESIGN §5.3), so changing it moves flows.
    pub max_backends: u32,
    /// What an established flow does when its backend fails.
    pub on_failed: OnFailed,
    /// Backends by name.
    pub backends: BTreeMap<String, Backend>,
}

/// Forwarding mode of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// IP in IP of any two families (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// GUE over UDP.
    Gue {
        /// UDP destination port, host order.
        port: u16,
        /// What stands behind the UDP header.
        variant: GueVariant,
    },
    /// The frame goes to the backend's own MAC address, which is on the link; nothing is put on.
    L2,
}

/// What stands behind the UDP header in GUE (draft-ietf-intarea-gue).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GueVariant {
    /// Variant 0: four octets of GUE header.
    Header,
    /// Variant 0 with the row's other candidates in private data, for the second chance.
    Candidates,
    /// Variant 1: the inner IP header itself.
    Direct,
}

/// How outer headers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OuterHeader {
    /// GUE: a UDP checksum instead of zero, made from header fields.
    pub udp_checksum: bool,
    /// Whether the source address is made from the flow, in the prefix of [`Limits`]. Fabrics that check sources drop it.
    pub source_entropy: bool,
    /// Whether DSCP is copied; ECN always is (RFC 6040).
    pub copies_dscp: bool,
    /// Whether the IPv6 flow label is made from the flow (RFC 6437).
    pub flow_label: bool,
    /// GUE: whether the UDP source port is made from the flow.
    pub port_entropy: bool,
}

impl Default for OuterHeader {
    fn default() -> Self {
        Self {
            udp_checksum: false,
            source_entropy: false,
            copies_dscp: true,
            flow_label: true,
            port_entropy: true,
        }
    }
}

impl Mode {
    /// Whether packets of this mode may go by `hop`: without an outer header only the backend itself may get the frame.
    pub fn can_use(self, hop: &NextHop) -> bool {
        self != Self::L2 || hop.is_on_link
    }

    /// The number in the backend table.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipip => BackendMode::IPIP,
            Self::Gue { variant: GueVariant::Header, .. } => BackendMode::GUE,
            Self::Gue { variant: GueVariant::Candidates, .. } => BackendMode::GUE_CANDIDATES,
            Self::Gue { variant: GueVariant::Direct, .. } => BackendMode::GUE_DIRECT,
            Self::L2 => BackendMode::L2,
        }
    }
}

/// What an established flow does when its backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailed {
    /// It stays, so that a false alarm breaks nothing.
    #[default]
    Keep,
    /// It goes to another backend, which resets it at once.
    Reset,
}

/// One server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Outer destination address.
    pub address: IpAddr,
    /// Base weight, at least 1: decides membership and order of the rows.
    pub weight: u32,
    /// Share of the base weight it may carry now, in 1/1000 (1000 = all): lowers its cap and nothing else.
    pub cap_permille: u16,
    /// What it may receive.
    pub state: BackendState,
}

/// What a backend may receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// Everything.
    Usable,
    /// Flows it has, no new ones.
    Draining,
    /// Established flows as the pool's [`OnFailed`] says, no new ones.
    Failed,
    /// Nothing.
    Disabled,
}
