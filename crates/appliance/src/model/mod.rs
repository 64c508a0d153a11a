// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the operator wants, in domain types: the validated [`Document`].
//!
//! A `Document` exists only after every rule of `config::validate` held, so its readers need not check again: each
//! service names a VIP and a pool of this document, families fit, sources exist, names are well formed. Nothing here is
//! serialisable and nothing here knows files, lines, kernel or network; `config` makes these values and `reconcile`
//! reads them.
//!
//! ```text
//! vip 1 ── n service n ── 1 pool 1 ── n backend          peer n ── 1 bgp          uplink (one or more)
//! ```

mod announce;
mod appliance;
mod attributes;
mod bgp;
mod bootstrap;
mod check;
mod dataplane;
mod generation;
mod peer;
mod pool;
mod service;

use std::collections::BTreeMap;

pub use self::announce::{AnnouncePolicy, High, Mark, OnAllDown, Require};
pub use self::appliance::{Appliance, Uplink, XdpMode};
pub use self::attributes::{Attributes, Community};
pub use self::bgp::{Asn, Bgp, Drain, Import};
pub use self::bootstrap::{Bootstrap, Capacity, CheckPath, Log, LogFormat, LogLevel, Owner};
pub use self::check::{CheckKind, HttpCheck, HttpMethod, PoolCheck};
pub use self::dataplane::Limits;
pub use self::generation::{DocumentHash, Generation};
pub use self::peer::{Bfd, Families, LinkBandwidth, Peer, Remote, RemoteAs};
pub use self::pool::{
    AdminState, Algorithm, Backend, Gue, GueVariant, Mode, OnFailed, OuterHeader, Percent, Pool,
};
pub use self::service::{Affinity, Fragments, Protocol, Service, Vip, address_text, contains};

/// The whole desired state, valid as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What is fixed for the life of the process.
    pub bootstrap: Bootstrap,
    /// Who this appliance is.
    pub appliance: Appliance,
    /// Interfaces that carry service traffic, by interface name.
    pub uplinks: BTreeMap<String, Uplink>,
    /// Settings of the packet path for all services.
    pub limits: Limits,
    /// The speaker.
    pub bgp: Bgp,
    /// BGP peers by name.
    pub peers: BTreeMap<String, Peer>,
    /// Announced addresses by name.
    pub vips: BTreeMap<String, Vip>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Pools by name.
    pub pools: BTreeMap<String, Pool>,
    /// SHA-256 over the canonical form: equal content, equal hash, whatever the file looks like.
    pub hash: DocumentHash,
}
