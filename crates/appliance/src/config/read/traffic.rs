// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[vips.*]` and `[services.*]`: what clients reach.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;
use weir_bgp::Prefix;

use super::announce::{self, AnnounceDraft};
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, object_names};
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{Affinity, Community, Fragments, Protocol, Service, Vip};

const VIP: Shape = Shape {
    path: "vips.NAME",
    title: "an announced address or prefix",
    about: "",
    change: Change::Reload,
    keys: &[
        Key::required(
            "address",
            Values::Text("address, or prefix: IPv4 from /8, IPv6 from /16 on"),
            "Announced while its services can be served, a single address as /32 or /128. Unique; holds no address of a peer, of a \
             backend or of this host. At most 4,096 are prefixes. A VIP may lie in another one: the prefix around it serves what an \
             address that is a VIP by itself does not; of nested prefixes the longest alone serves",
        ),
        Key::or(
            "echo",
            Values::Text("boolean"),
            "true",
            "Whether pings of it are answered, by the appliance and only while the VIP is announced",
        ),
        Key::section("announce"),
    ],
    later: &["policy"],
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
            Values::Text("1 to 65,535, or `\"any\"`"),
            "Packets keep it: the backend listens on the VIP and this port. `\"any\"`: every port that no other service of the VIP \
             and protocol has",
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
        Key::or(
            "affinity",
            Values::Words(|| words(AFFINITIES)),
            "\"flow\"",
            "What goes to one backend: a flow; `source`: all that a client sends to one address of the VIP, to services with this affinity \
             and the same pool; `source-port`: all that it sends to this port",
        ),
        Key::or(
            "fragments",
            Values::Words(|| words(FRAGMENTS)),
            "\"drop\"",
            "`by-source`: client, VIP and protocol decide for every packet of the service, so fragments go along; \
             services of one VIP and protocol that say so have one pool, affinity, idle time and `flow_table`. `first-fragment`: \
             they follow the first one of their datagram; what comes before it is dropped",
        ),
        Key::optional(
            "new_flows_per_second",
            Values::Number(limits::NEW_FLOWS),
            "no bound",
            "Most new flows that this appliance remembers in a second; packets of others go by their rows. Not with \
             `flow_table = false`",
        ),
    ],
    later: &["limits", "ports", "critical"],
};
const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
const AFFINITIES: &[(&str, Affinity)] =
    &[("flow", Affinity::Flow), ("source", Affinity::Source), ("source-port", Affinity::SourcePort)];
const FRAGMENTS: &[(&str, Fragments)] = &[
    ("drop", Fragments::Drop),
    ("by-source", Fragments::BySource),
    ("first-fragment", Fragments::FirstFragment),
];

pub(super) const SHAPES: &[Shape] = &[VIP, announce::ANNOUNCE, SERVICE];

/// A VIP as read.
#[derive(Debug)]
pub(in crate::config) struct VipDraft {
    pub(in crate::config) prefix: Option<Prefix>,
    echo: Option<bool>,
    pub(in crate::config) announce: AnnounceDraft,
}

/// A service as read.
#[derive(Debug)]
pub(in crate::config) struct ServiceDraft {
    pub(in crate::config) vip: Option<String>,
    pub(in crate::config) protocol: Option<Protocol>,
    /// The inner `None`: any.
    pub(in crate::config) port: Option<Option<u16>>,
    pub(in crate::config) pool: Option<String>,
    idle: Option<Option<Duration>>,
    pub(in crate::config) flow_table: Option<bool>,
    pub(in crate::config) affinity: Option<Affinity>,
    pub(in crate::config) fragments: Option<Fragments>,
    pub(in crate::config) new_flows_per_second: Option<Option<u32>>,
}

pub(super) fn read_vips(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, VipDraft> {
    let (is_well_formed, rule) = object_names();
    let mut vips = BTreeMap::new();
    for entry in root.entries(report, "vips", is_well_formed, rule) {
        let section = entry.open(report, VIP);
        let vip = VipDraft {
            prefix: section.required(report, "address", prefix),
            echo: section.or(report, "echo", true, value::boolean),
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
            port: section.required(report, "port", port),
            pool: section.required(report, "pool", value::name),
            idle: section.optional(report, "idle", value::seconds(limits::IDLE)),
            flow_table: section.or(report, "flow_table", true, value::boolean),
            affinity: section.or(report, "affinity", Affinity::Flow, value::choice(AFFINITIES, &[])),
            fragments: section.or(report, "fragments", Fragments::Drop, value::choice(FRAGMENTS, &[])),
            new_flows_per_second: section.optional(
                report,
                "new_flows_per_second",
                value::number(limits::NEW_FLOWS),
            ),
        };
        services.insert(entry.name, service);
    }
    services
}

impl VipDraft {
    pub(super) fn finish(self, names: &BTreeMap<String, Community>) -> Option<Vip> {
        Some(Vip { prefix: self.prefix?, echo: self.echo?, announce: self.announce.finish(names)? })
    }
}

impl ServiceDraft {
    /// The idle time, written or not.
    pub(in crate::config) fn idle(&self) -> Option<Duration> {
        let idle_default = match self.protocol? {
            Protocol::Tcp => limits::IDLE_TCP_DEFAULT,
            Protocol::Udp => limits::IDLE_UDP_DEFAULT,
        };
        Some(self.idle?.unwrap_or(idle_default))
    }

    pub(super) fn finish(self) -> Option<Service> {
        Some(Service {
            idle: self.idle()?,
            vip: self.vip?,
            protocol: self.protocol?,
            port: self.port?,
            pool: self.pool?,
            flow_table: self.flow_table?,
            affinity: self.affinity?,
            fragments: self.fragments?,
            new_flows_per_second: self.new_flows_per_second?.and_then(NonZeroU32::new),
        })
    }
}

/// An address that clients use, or a prefix of such.
fn prefix(written: &DeValue<'_>) -> Result<Prefix, Wrong> {
    const HELP: &str = "write it like `198.51.100.10`, `198.51.100.0/28` or `2001:db8:100::/64`";
    let Some(text) = written.as_str().filter(|text| text.contains('/')) else {
        return value::address(written).map(Prefix::host).map_err(|wrong| Wrong::new(wrong.message, HELP));
    };
    let prefix: Prefix =
        text.parse().map_err(|error| Wrong::new(format!("found {}: {error}", found(written)), HELP))?;
    let least = if prefix.address().is_ipv4() { limits::VIP_LENGTH_V4 } else { limits::VIP_LENGTH_V6 };
    if prefix.length() < least {
        let message = format!("found {}, expected a prefix of /{least} or longer", found(written));
        return Err(Wrong::new(message, "announce what the services need and no more"));
    }
    // So long, a prefix is of one kind of addresses as its first one is.
    match value::flaw(prefix.address()) {
        None => Ok(prefix),
        Some(flaw) => {
            let message =
                format!("found {}, which begins with {flaw}, expected unicast addresses", found(written));
            Err(Wrong::new(message, "use addresses that are routed to you"))
        }
    }
}

/// A port, or all of them.
fn port(written: &DeValue<'_>) -> Result<Option<u16>, Wrong> {
    match written {
        DeValue::String(word) if word == "any" => Ok(None),
        other => value::port(other).map(Some).map_err(|wrong| {
            Wrong::new(format!("{}, or `\"any\"`", wrong.message), "write a number, or `\"any\"`")
        }),
    }
}
