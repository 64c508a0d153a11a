// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[pools.*]`: who serves, and how packets get there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::de::DeValue;

use super::check::{self, CheckDraft};
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, object_names};
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong};
use crate::model::{
    AdminState, Algorithm, Backend, Gue, GueVariant, Mode, OnFailed, OuterHeader, Percent, Pool,
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
            "`ipip`: IP in IP, of any two families. `gue`: GUE over UDP. `l2`: to the MAC address of the backend, which is on the \
             link; nothing is put on",
        ),
        Key::or(
            "algorithm",
            Values::Words(|| words(ALGORITHMS)),
            "\"rendezvous\"",
            "How rows are made. `rendezvous`: whom a flow had stays in its row through any single change. `maglev`: shares even to one \
             row, but a change moves a little more than it must. A change of this key moves flows",
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
        Key::section("gue"),
        Key::section("outer"),
        Key::section("check"),
        Key::section("backends"),
    ],
    later: &["l2", "epsilon", "seed", "affinity", "slow_start", "panic", "agent"],
};
const GUE: Shape = Shape {
    path: "pools.NAME.gue",
    title: "what GUE packets look like",
    about: "Of pools in mode `gue` only.",
    change: Change::Reload,
    keys: &[
        Key::or(
            "port",
            Values::Number(1..=65_535),
            "6080",
            "UDP destination port, on which backends decapsulate",
        ),
        Key::or(
            "variant",
            Values::Words(|| words(VARIANTS)),
            "\"header\"",
            "`header`: variant 0, 4 octets of GUE header. `candidates`: that, and the row's other backends in private data; they must \
             be of one address family. `direct`: variant 1, the inner packet right behind UDP",
        ),
        Key::or(
            "udp_checksum",
            Values::Text("boolean"),
            "false",
            "`true`: a UDP checksum where one can be made from header fields; `false`: zero (RFC 6935)",
        ),
        Key::or(
            "port_entropy",
            Values::Text("boolean"),
            "true",
            "Whether the UDP source port is made from the flow, so that it takes one path and one queue",
        ),
    ],
    later: &[],
};
const OUTER: Shape = Shape {
    path: "pools.NAME.outer",
    title: "how outer headers are made",
    about: "Not of pools in mode `l2`. ECN is always copied (RFC 6040), and DF is always set.",
    change: Change::Reload,
    keys: &[
        Key::or(
            "source_entropy",
            Values::Text("boolean"),
            "false",
            "`true`: the source is made from the flow, within `entropy_v4` or `entropy_v6` of `[dataplane.limits]`: for fabrics that \
             spread by addresses alone. What checks sources drops such packets",
        ),
        Key::or(
            "copy_dscp",
            Values::Text("boolean"),
            "true",
            "Whether DSCP of the client's packet is copied; otherwise 0",
        ),
        Key::or(
            "flow_label",
            Values::Text("boolean"),
            "true",
            "Over IPv6: whether the flow label is made from the flow (RFC 6437); otherwise 0",
        ),
    ],
    later: &[],
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
        Key::optional(
            "cap",
            Values::Text("`\"1%\"` to `\"100%\"`"),
            "`\"100%\"`",
            "How much of `weight` counts when new flows are shared out. Lowering it moves only what this backend gives up, where \
             another `weight` also moves rows between others; it has no say in `low` and `high` of VIPs",
        ),
        Key::or(
            "state",
            Values::Words(|| words(STATES)),
            "\"active\"",
            "`draining`: the flows it has, no new ones. `disabled`: nothing",
        ),
        Key::optional("zone", Values::Text("1 to 63 printable characters"), "none", "For display"),
    ],
    later: &["check", "mac", "port"],
};

const MODES: &[(&str, ModeWord)] = &[("ipip", ModeWord::Ipip), ("gue", ModeWord::Gue), ("l2", ModeWord::L2)];
const ALGORITHMS: &[(&str, Algorithm)] =
    &[("rendezvous", Algorithm::Rendezvous), ("maglev", Algorithm::Maglev)];
const VARIANTS: &[(&str, GueVariant)] =
    &[("header", GueVariant::Header), ("candidates", GueVariant::Candidates), ("direct", GueVariant::Direct)];
const ON_FAILED: &[(&str, OnFailed)] = &[("keep", OnFailed::Keep), ("reset", OnFailed::Reset)];
const STATES: &[(&str, AdminState)] =
    &[("active", AdminState::Active), ("draining", AdminState::Draining), ("disabled", AdminState::Disabled)];

pub(super) const SHAPES: &[Shape] = &[POOL, GUE, OUTER, check::CHECK, BACKEND];

/// The word of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum ModeWord {
    Ipip,
    Gue,
    L2,
}

/// What GUE packets look like, as read.
#[derive(Debug)]
pub(in crate::config) struct GueDraft {
    port: Option<u16>,
    pub(in crate::config) variant: Option<GueVariant>,
    udp_checksum: Option<bool>,
    port_entropy: Option<bool>,
}

/// How outer headers are made, as read.
#[derive(Debug)]
pub(in crate::config) struct OuterDraft {
    pub(in crate::config) source_entropy: Option<bool>,
    copy_dscp: Option<bool>,
    flow_label: Option<bool>,
}

/// A pool as read.
#[derive(Debug)]
pub(in crate::config) struct PoolDraft {
    pub(in crate::config) mode: Option<ModeWord>,
    pub(in crate::config) gue: GueDraft,
    /// The section is written.
    pub(in crate::config) has_gue: bool,
    pub(in crate::config) outer: OuterDraft,
    /// The section is written.
    pub(in crate::config) has_outer: bool,
    pub(in crate::config) algorithm: Option<Algorithm>,
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
    cap: Option<Percent>,
    state: Option<AdminState>,
    zone: Option<Option<String>>,
}

pub(super) fn read_pools(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, PoolDraft> {
    let (is_well_formed, rule) = object_names();
    let mut pools = BTreeMap::new();
    for entry in root.entries(report, "pools", is_well_formed, rule) {
        let section = entry.open(report, POOL);
        let max_backends = value::number(1..=limits::MAX_BACKENDS_MAX);
        let pool = PoolDraft {
            mode: section.required(report, "mode", value::choice(MODES, &["gre", "srv6", "dscp"])),
            gue: read_gue(report, &section),
            has_gue: section.has("gue"),
            outer: read_outer(report, &section),
            has_outer: section.has("outer"),
            algorithm: section.or(report, "algorithm", Algorithm::Rendezvous, value::choice(ALGORITHMS, &[])),
            max_backends: section.or(report, "max_backends", limits::MAX_BACKENDS_DEFAULT, max_backends),
            on_failed: section.or(report, "on_failed", OnFailed::Keep, value::choice(ON_FAILED, &[])),
            check: check::read(report, &section),
            backends: read_backends(report, &section),
        };
        pools.insert(entry.name, pool);
    }
    pools
}

fn read_gue(report: &mut Report, pool: &Section<'_>) -> GueDraft {
    let section = pool.section_or_default(report, "gue", GUE);
    GueDraft {
        port: section.or(report, "port", limits::GUE_PORT, value::port),
        variant: section.or(report, "variant", GueVariant::Header, value::choice(VARIANTS, &[])),
        udp_checksum: section.or(report, "udp_checksum", false, value::boolean),
        port_entropy: section.or(report, "port_entropy", true, value::boolean),
    }
}

fn read_outer(report: &mut Report, pool: &Section<'_>) -> OuterDraft {
    let section = pool.section_or_default(report, "outer", OUTER);
    let usual = OuterHeader::default();
    OuterDraft {
        source_entropy: section.or(report, "source_entropy", usual.source_entropy, value::boolean),
        copy_dscp: section.or(report, "copy_dscp", usual.copy_dscp, value::boolean),
        flow_label: section.or(report, "flow_label", usual.flow_label, value::boolean),
    }
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
            cap: section.or(report, "cap", Percent::ALL, cap),
            state: section.or(report, "state", AdminState::Active, value::choice(STATES, &[])),
            zone: section.optional(report, "zone", zone),
        };
        backends.insert(entry.name, backend);
    }
    backends
}

impl PoolDraft {
    pub(super) fn finish(self) -> Option<Pool> {
        Some(Pool {
            mode: match self.mode? {
                ModeWord::Ipip => Mode::Ipip,
                ModeWord::Gue => Mode::Gue(self.gue.finish()?),
                ModeWord::L2 => Mode::L2,
            },
            outer: self.outer.finish()?,
            algorithm: self.algorithm?,
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

impl GueDraft {
    fn finish(self) -> Option<Gue> {
        Some(Gue {
            port: self.port?,
            variant: self.variant?,
            udp_checksum: self.udp_checksum?,
            port_entropy: self.port_entropy?,
        })
    }
}

impl OuterDraft {
    fn finish(self) -> Option<OuterHeader> {
        Some(OuterHeader {
            source_entropy: self.source_entropy?,
            copy_dscp: self.copy_dscp?,
            flow_label: self.flow_label?,
        })
    }
}

impl BackendDraft {
    fn finish(self) -> Option<Backend> {
        Some(Backend {
            address: self.address?,
            weight: self.weight?,
            cap: self.cap?,
            state: self.state?,
            zone: self.zone?,
        })
    }
}

fn cap(value: &DeValue<'_>) -> Result<Percent, Wrong> {
    value::percent(value).ok_or_else(|| {
        let message = format!("found {}, expected `\"1%\"` to `\"100%\"`", value::found(value));
        Wrong::new(
            message,
            "write a share of `weight` like `\"50%\"`; for no new flows write `state = \"draining\"`",
        )
    })
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
