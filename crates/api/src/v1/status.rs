// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The status document: what is wanted, what is in force, and what keeps them apart.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::{Counter, Timestamp};

/// `GET /v1/status`: everything, by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// This process.
    pub appliance: ApplianceStatus,
    /// What an operator should look at, in words; empty when all is as wanted.
    pub problems: Vec<String>,
    /// Which document is wanted and which is in force.
    pub document: DocumentStatus,
    /// The last pass of the reconciler.
    pub reconcile: ReconcileStatus,
    /// Announced addresses by name.
    pub vips: BTreeMap<String, VipStatus>,
    /// Services by name.
    pub services: BTreeMap<String, ServiceStatus>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolStatus>,
    /// BGP peers by name.
    pub peers: BTreeMap<String, PeerStatus>,
    /// The packet path.
    pub dataplane: DataplaneStatus,
}

/// This process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApplianceStatus {
    /// Name in the document.
    pub name: String,
    /// BGP identifier.
    pub router_id: String,
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, or `unknown`.
    pub commit: String,
    /// Compiler it was built with.
    pub rustc: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Where in its life it is.
    pub state: Lifecycle,
    /// Parts that are not up yet.
    pub waiting_for: Vec<&'static str>,
    /// When it started.
    pub started_at: Timestamp,
}

/// Where in its life the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Parts are still coming up.
    Starting,
    /// All parts are up.
    Running,
    /// Everything is being withdrawn and detached.
    Stopping,
}

/// Which document is wanted and which is in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentStatus {
    /// The one source that may change it.
    pub owner: &'static str,
    /// SHA-256 of the accepted document's canonical form.
    pub hash: String,
    /// Generation accepted last.
    pub accepted_generation: u64,
    /// Generation in force, 0 when none is yet.
    pub applied_generation: u64,
    /// When the last document was accepted.
    pub accepted_at: Timestamp,
    /// The last document that was refused since then.
    pub last_rejected: Option<Rejection>,
}

/// A document that was refused; the one before stays in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejection {
    /// When.
    pub at: Timestamp,
    /// Why, one line an error.
    pub errors: Vec<String>,
}

/// The last pass of the reconciler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReconcileStatus {
    /// Passes since the start.
    pub passes_total: Counter,
    /// Passes in which a step failed.
    pub failed_passes_total: Counter,
    /// When the last pass ended.
    pub last_pass_at: Option<Timestamp>,
    /// How long it took.
    pub last_pass_seconds: f64,
    /// What failed in it, one line a step; empty when desired and observed are in step.
    pub errors: Vec<String>,
    /// Time from the end of the pass to the next try, when something waits for one.
    pub retry_in_seconds: Option<f64>,
}

/// One announced address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// Whether it shall be announced now.
    pub announce_desired: bool,
    /// Whether at least one Established peer was told.
    pub announced: bool,
    /// Why it is withheld; empty when it is not.
    pub withheld: Vec<WithheldReason>,
    /// Times it began and ceased to be wanted announced.
    pub transitions: BTreeMap<&'static str, Counter>,
}

/// Why a VIP is not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WithheldReason {
    /// An operator, or the stop of this appliance, withholds it.
    Admin,
    /// Its forwarding is not in place.
    Dataplane,
    /// The uplink is down.
    Uplink,
    /// A service has no usable backend, or the VIP no service.
    Backends,
}

impl WithheldReason {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Dataplane, Self::Uplink, Self::Backends];

    /// The word in status, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dataplane => "dataplane",
            Self::Uplink => "uplink",
            Self::Backends => "backends",
        }
    }
}

/// One service and what it carried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Name of its VIP.
    pub vip: String,
    /// The VIP's address.
    pub address: IpAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Destination port.
    pub port: u16,
    /// Name of its pool.
    pub pool: String,
    /// Packets from clients.
    pub packets_total: Counter,
    /// Bytes of those packets.
    pub bytes_total: Counter,
    /// Flows that began.
    pub flows_created_total: Counter,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolStatus {
    /// Forwarding mode.
    pub mode: &'static str,
    /// The most backends it will ever have.
    pub max_backends: u32,
    /// Backends by name.
    pub backends: BTreeMap<String, BackendStatus>,
}

/// One backend of a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendStatus {
    /// Outer destination.
    pub address: IpAddr,
    /// Base weight.
    pub weight: u32,
    /// What it may receive, all things considered.
    pub state: BackendState,
    /// How it is reached.
    pub next_hop: NextHopStatus,
    /// Packets sent to it.
    pub packets_total: Counter,
    /// Bytes of those packets.
    pub bytes_total: Counter,
    /// Flows that began on it.
    pub flows_created_total: Counter,
}

/// What a backend may receive, all things considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Everything.
    Usable,
    /// The flows it has, no new ones.
    Draining,
    /// Nothing: there is no way to it.
    Unresolved,
    /// Nothing: an operator says so.
    Disabled,
}

impl BackendState {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Usable, Self::Draining, Self::Unresolved, Self::Disabled];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Draining => "draining",
            Self::Unresolved => "unresolved",
            Self::Disabled => "disabled",
        }
    }
}

/// How a backend is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextHopStatus {
    /// Whether packets can be sent to it.
    pub resolved: bool,
    /// The next hop in words, or why there is none.
    pub detail: String,
}

/// One BGP session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerStatus {
    /// The peer's address.
    pub address: IpAddr,
    /// State of the session.
    pub state: SessionState,
    /// AS number: the peer's once known, else the expected one, 0 when any is.
    pub remote_as: u32,
    /// The peer's BGP identifier, once known.
    pub remote_router_id: Option<String>,
    /// Own address of the session.
    pub local_address: Option<IpAddr>,
    /// When the session became Established.
    pub established_at: Option<Timestamp>,
    /// Hold time in use, in seconds.
    pub hold_time_seconds: Option<f64>,
    /// Capabilities the peer offered, in words.
    pub capabilities: Vec<String>,
    /// Prefixes of the session by family.
    pub prefixes: BTreeMap<&'static str, FamilyPrefixes>,
    /// Messages of the session's life by type.
    pub messages: BTreeMap<&'static str, MessageCounts>,
    /// The last NOTIFICATION sent, in words.
    pub last_sent: Option<Remark>,
    /// The last NOTIFICATION received, in words, with the peer's text (RFC 9003) made printable.
    pub last_received: Option<Remark>,
    /// The last failure of the transport: connecting, reading, writing, or the peer closing.
    pub last_transport: Option<Remark>,
    /// Times the session became Established.
    pub established_total: Counter,
    /// Times an Established session went down.
    pub down_total: Counter,
    /// UPDATE messages treated as a withdraw (RFC 7606).
    pub treat_as_withdraw_total: Counter,
}

/// State of a session (RFC 4271 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Nothing is tried.
    Idle,
    /// A connection is being made.
    Connect,
    /// Between two attempts, or waiting for the peer.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl SessionState {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Connect, Self::Active, Self::OpenSent, Self::OpenConfirm, Self::Established];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open_sent",
            Self::OpenConfirm => "open_confirm",
            Self::Established => "established",
        }
    }
}

/// Prefixes of one family on one session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FamilyPrefixes {
    /// What the peer was told and not yet told to forget.
    pub advertised: Vec<String>,
    /// Prefixes that the peer announced to us; none is used.
    pub announced_to_us_total: Counter,
    /// Prefixes that the peer withdrew.
    pub withdrawn_from_us_total: Counter,
}

/// Messages of one type, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MessageCounts {
    /// Sent.
    pub sent: Counter,
    /// Received.
    pub received: Counter,
}

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// The packet path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataplaneStatus {
    /// Uplinks by interface name.
    pub uplinks: BTreeMap<String, UplinkStatus>,
    /// Slots of the flow table.
    pub flow_slots: u64,
    /// Slots in use when last counted.
    pub flow_slots_used: u64,
}

/// One interface with the program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UplinkStatus {
    /// Where in the receive path the program runs.
    pub mode: XdpMode,
    /// Whether it does.
    pub attached: bool,
    /// Packets by the way they left the program.
    pub verdicts: BTreeMap<&'static str, Counter>,
}

/// Where in the receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the kernel made its packet buffer.
    Generic,
}

impl XdpMode {
    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}
