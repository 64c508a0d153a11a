// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[vips.*]`, `[services.*]` and `[pools.*]`: what clients reach and who serves it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::announce::{self, AnnounceDraft};
use super::check::{self, CheckDraft};
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, object_names};
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong};
use crate::model::{AdminState, Backend, Community, Mode, OnFailed, Pool, Protocol, Service, Vip};

const VIP: Shape = Shape {
    path: "vips.NAME",
    title: "an announced address",
    about: "",
    change: Change::Reload,
    keys: &[
        Key::required(
            "address",
            Values::Text("address"),
            "Announced as /32 or /128 while its services can be served; unique, no address of a backend or of this host",
        ),
        Key::section("announce"),
    ],
    later: &["prefix", "policy"],
};
const SERVICE: Shape = Shape {
    path: "services.NAME",
    title: "VIP, protocol and port",
    about: "VIP, protocol and port together occur once.",
    change: Change::Reload,
    keys: &[
        Key::required("vip", Values::Text("name of a VIP"), "What clients connect to"),
        Key::required(
            "protocol",
            Values::Words(|| words(PROTOCOLS)),
            "With the port, what clients connect to",
        ),
        Key::required(
            "port",
            Values::Number(1..=65_535),
            "Packets keep it: the backend listens on the VIP and this port",
        ),
        Key::required("pool", Values::Text("name of a pool"), "Who serves"),
        Key::or(
            "idle",
            Values::Seconds(limits::IDLE),
            "\"15m\"",
            "An established flow is forgotten after this silence, or up to 8 s later; the default of UDP services is `2m`",
        ),
        Key::or(
            "flow_table",
            Values::Text("boolean"),
            "true",
            "`false`: flows are not remembered, every packet goes by its row",
        ),
    ],
    later: &["affinity", "limits", "ports", "critical"],
};
const POOL: Shape = Shape {
    path: "pools.NAME",
    title: "backends that serve alike",
    about: "",
    change: Change::Reload,
    keys: &[
        Key::required(
            "mode",
            Values::Words(|| words(MODES)),
            "IPv4 in IPv4 or IPv6 in IPv6: VIPs and backends of a pool are of one family",
        ),
        Key::or(
            "max_backends",
            Values::Number(1..=limits::MAX_BACKENDS_MAX),
            "64",
            "The most backends this pool will ever have; fixes the number of rows, so changing it moves flows",
        ),
        Key::or(
            "on_failed",
            Values::Words(|| words(ON_FAILED)),
            "\"keep\"",
            "What established flows of a failed backend do: stay, so that a false alarm breaks none, or go to another, \
             which resets them",
        ),
        Key::section("check"),
        Key::section("backends"),
    ],
    later: &["gue", "l2", "algorithm", "epsilon", "seed", "affinity", "slow_start", "panic", "agent"],
};
const BACKEND: Shape = Shape {
    path: "pools.NAME.backends.NAME",
    title: "one server of a pool",
    about: "",
    change: Change::Reload,
    keys: &[
        Key::required(
            "address",
            Values::Text("address"),
            "Outer destination; unique in its pool. Another address is another backend: its flows do not follow",
        ),
        Key::or(
            "weight",
            Values::Number(0..=limits::WEIGHT_MAX),
            "100",
            "Share of new flows; 0: no new flows, as if draining. Some backend of a pool has more than 0",
        ),
        Key::or(
            "state",
            Values::Words(|| words(STATES)),
            "\"active\"",
            "`draining`: the flows it has, no new ones. `disabled`: nothing",
        ),
        Key::optional("zone", Values::Text("1 to 63 printable characters"), "none", "For display"),
    ],
    later: &["check", "mac", "port", "cap"],
};

const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
const MODES: &[(&str, Mode)] = &[("ipip", Mode::Ipip)];
const ON_FAILED: &[(&str, OnFailed)] = &[("keep", OnFailed::Keep), ("reset", OnFailed::Reset)];
const STATES: &[(&str, AdminState)] =
    &[("active", AdminState::Active), ("draining", AdminState::Draining), ("disabled", AdminState::Disabled)];

pub(super) const SHAPES: &[Shape] = &[VIP, announce::ANNOUNCE, SERVICE, POOL, check::CHECK, BACKEND];

/// A VIP as read.
#[derive(Debug)]
pub(in crate::config) struct VipDraft {
    pub(in crate::config) address: Option<IpAddr>,
    pub(in crate::config) announce: AnnounceDraft,
}

/// A service as read.
#[derive(Debug)]
pub(in crate::config) struct ServiceDraft {
    pub(in crate::config) vip: Option<String>,
    pub(in crate::config) protocol: Option<Protocol>,
    pub(in crate::config) port: Option<u16>,
    pub(in crate::config) pool: Option<String>,
    idle: Option<Option<Duration>>,
    flow_table: Option<bool>,
}

/// A pool as read.
#[derive(Debug)]
pub(in crate::config) struct PoolDraft {
    pub(in crate::config) mode: Option<Mode>,
    pub(in crate::config) max_backends: Option<u32>,
    on_failed: Option<OnFailed>,
    /// `None`: no check.
    pub(in crate::config) check: Option<CheckDraft>,
    pub(in crate::config) backends: BTreeMap<String, BackendDraft>,
}

/// A backend as read.
#[derive(Debug)]
pub(in crate::config) struct BackendDraft {
    pub(in crate::config) address: Option<IpAddr>,
    pub(in crate::config) weight: Option<u32>,
    state: Option<AdminState>,
    zone: Option<Option<String>>,
}

pub(super) fn read_vips(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, VipDraft> {
    let (is_well_formed, rule) = object_names();
    let mut vips = BTreeMap::new();
    for entry in root.entries(report, "vips", is_well_formed, rule) {
        let section = entry.open(report, VIP);
        let vip = VipDraft {
            address: section.required(report, "address", value::address),
            announce: announce::read(report, &section),
        };
        vips.insert(entry.name, vip);
    }
    vips
}

pub(super) fn read_services(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, ServiceDraft> {
    let (is_well_formed, rule) = object_names();
    let mut services = BTreeMap::new();
    for entry in root.entries(report, "services", is_well_formed, rule) {
        let section = entry.open(report, SERVICE);
        let service = ServiceDraft {
            vip: section.required(report, "vip", value::name),
            protocol: section.required(report, "protocol", value::choice(PROTOCOLS, &["sctp", "any"])),
            port: section.required(report, "port", value::port),
            pool: section.required(report, "pool", value::name),
            idle: section.optional(report, "idle", value::seconds(limits::IDLE)),
            flow_table: section.or(report, "flow_table", true, value::boolean),
        };
        services.insert(entry.name, service);
    }
    services
}

pub(super) fn read_pools(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, PoolDraft> {
    let (is_well_formed, rule) = object_names();
    let mut pools = BTreeMap::new();
    for entry in root.entries(report, "pools", is_well_formed, rule) {
        let section = entry.open(report, POOL);
        let max_backends = value::number(1..=limits::MAX_BACKENDS_MAX);
        let pool = PoolDraft {
            mode: section.required(report, "mode", value::choice(MODES, &["gue", "l2"])),
            max_backends: section.or(report, "max_backends", limits::MAX_BACKENDS_DEFAULT, max_backends),
            on_failed: section.or(report, "on_failed", OnFailed::Keep, value::choice(ON_FAILED, &[])),
            check: check::read(report, &section),
            backends: read_backends(report, &section),
        };
        pools.insert(entry.name, pool);
    }
    pools
}

fn read_backends(report: &mut Report, pool: &Section<'_>) -> BTreeMap<String, BackendDraft> {
    let (is_well_formed, rule) = object_names();
    let mut backends = BTreeMap::new();
    for entry in pool.entries(report, "backends", is_well_formed, rule) {
        let section = entry.open(report, BACKEND);
        let weight = value::number(0..=limits::WEIGHT_MAX);
        let backend = BackendDraft {
            address: section.required(report, "address", value::address),
            weight: section.or(report, "weight", limits::WEIGHT_DEFAULT, weight),
            state: section.or(report, "state", AdminState::Active, value::choice(STATES, &[])),
            zone: section.optional(report, "zone", zone),
        };
        backends.insert(entry.name, backend);
    }
    backends
}

impl VipDraft {
    pub(super) fn finish(self, names: &BTreeMap<String, Community>) -> Option<Vip> {
        Some(Vip { address: self.address?, announce: self.announce.finish(names)? })
    }
}

impl ServiceDraft {
    pub(super) fn finish(self) -> Option<Service> {
        let protocol = self.protocol?;
        let idle_default = match protocol {
            Protocol::Tcp => limits::IDLE_TCP_DEFAULT,
            Protocol::Udp => limits::IDLE_UDP_DEFAULT,
        };
        Some(Service {
            vip: self.vip?,
            protocol,
            port: self.port?,
            pool: self.pool?,
            idle: self.idle?.unwrap_or(idle_default),
            flow_table: self.flow_table?,
        })
    }
}

impl PoolDraft {
    pub(super) fn finish(self) -> Option<Pool> {
        Some(Pool {
            mode: self.mode?,
            max_backends: self.max_backends?,
            on_failed: self.on_failed?,
            check: match self.check {
                Some(check) => Some(check.finish()?),
                None => None,
            },
            backends: super::all(self.backends, BackendDraft::finish)?,
        })
    }
}

impl BackendDraft {
    fn finish(self) -> Option<Backend> {
        Some(Backend { address: self.address?, weight: self.weight?, state: self.state?, zone: self.zone? })
    }
}

fn zone(value: &DeValue<'_>) -> Result<String, Wrong> {
    let zone = value::text(value)?;
    let is_good = !zone.is_empty()
        && zone.chars().count() <= limits::ZONE_CHARS_MAX
        && zone.chars().all(|c| c.is_ascii_graphic());
    if is_good {
        return Ok(zone);
    }
    let message =
        format!("found {}, expected 1 to 63 printable characters without spaces", value::found(value));
    Err(Wrong::new(message, "write a short word like `rack-12`"))
}
