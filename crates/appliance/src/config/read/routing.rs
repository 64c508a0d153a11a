// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[appliance]` and `[uplinks.*]`: who this is and where its traffic runs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{Appliance, Uplink, XdpMode};

const APPLIANCE: Shape = Shape {
    path: "appliance",
    title: "who this is (required)",
    about: "",
    change: Change::Restart,
    keys: &[
        Key::required(
            "name",
            Values::Text("name"),
            "Shown in status and logs, told to peers (capability 73)",
        ),
        Key::required(
            "router_id",
            Values::Text("like an IPv4 address, not `0.0.0.0`"),
            "BGP identifier, unique among the appliances",
        ),
        Key::optional(
            "source_v4",
            Values::Text("IPv4 address"),
            "no IPv4 backends",
            "Own address on the loopback: outer source of tunnels and source of checks, and announced. Required if a pool has \
             IPv4 backends",
        ),
        Key::optional("source_v6", Values::Text("IPv6 address"), "no IPv6 backends", "The same for IPv6"),
        Key::required(
            "hash_seed_file",
            Values::Text("path"),
            "64 hex digits, equal on every appliance of the fleet, no rights for others",
        ),
        Key::or(
            "drain_wait",
            Values::Span(limits::DRAIN_WAIT),
            "\"3s\"",
            "Wait between the last withdraw and detaching on a clean stop, and before the forwarding of a removed VIP goes",
        ),
    ],
    later: &["on_stop", "site", "zone"],
};
const UPLINK: Shape = Shape {
    path: "uplinks.INTERFACE",
    title: "an interface with service traffic (at least one)",
    about: "Packets of VIPs are served where they come in by one of these, and leave by whichever of them the route to the backend names; a route over several \
            of them is used over all (ECMP). Of a bond name the bond, of an 802.1Q device the interface below it.",
    change: Change::Restart,
    keys: &[
        Key::required(
            "xdp",
            Values::Words(|| words(XDP_MODES)),
            "In the driver, or behind it on any driver and much slower. Never changed silently",
        ),
        Key::optional(
            "capacity",
            Values::Text("`1Mbit` to `10Tbit`"),
            "not told",
            "What the link carries: told to peers as link bandwidth, so that they send the larger appliance more flows",
        ),
    ],
    later: &["mtu", "required", "vlan"],
};
const XDP_MODES: &[(&str, XdpMode)] = &[("native", XdpMode::Native), ("generic", XdpMode::Generic)];

/// How an interface is named.
const INTERFACE_RULE: &str = "write an interface as `ip link` shows it, at most 15 characters";

pub(super) const SHAPES: &[Shape] = &[APPLIANCE, UPLINK];

/// The appliance section as read.
#[derive(Debug)]
pub(in crate::config) struct ApplianceDraft {
    name: Option<String>,
    router_id: Option<Ipv4Addr>,
    pub(in crate::config) source_v4: Option<Option<Ipv4Addr>>,
    pub(in crate::config) source_v6: Option<Option<Ipv6Addr>>,
    hash_seed_file: Option<PathBuf>,
    drain_wait: Option<Duration>,
}

pub(super) fn read_appliance(report: &mut Report, root: &Section<'_>) -> ApplianceDraft {
    let section = root.section(report, "appliance", APPLIANCE);
    ApplianceDraft {
        name: section.required(report, "name", value::name),
        router_id: section.required(report, "router_id", value::router_id),
        source_v4: section.optional(report, "source_v4", value::address_v4),
        source_v6: section.optional(report, "source_v6", value::address_v6),
        hash_seed_file: section.required(report, "hash_seed_file", value::path),
        drain_wait: section.or(
            report,
            "drain_wait",
            limits::DRAIN_WAIT_DEFAULT,
            value::duration(limits::DRAIN_WAIT),
        ),
    }
}

pub(super) fn read_uplinks(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, Option<Uplink>> {
    let entries = root.entries(report, "uplinks", value::is_interface, INTERFACE_RULE);
    let mut uplinks = BTreeMap::new();
    for entry in entries {
        let section = entry.open(report, UPLINK);
        let xdp = section.required(report, "xdp", value::choice(XDP_MODES, &["offload"]));
        let capacity = section.optional(report, "capacity", capacity);
        let uplink = xdp.zip(capacity).map(|(xdp, capacity)| Uplink { xdp, capacity });
        uplinks.insert(entry.name, uplink);
    }
    uplinks
}

impl ApplianceDraft {
    pub(super) fn finish(self) -> Option<Appliance> {
        Some(Appliance {
            name: self.name?,
            router_id: self.router_id?,
            source_v4: self.source_v4?,
            source_v6: self.source_v6?,
            hash_seed_file: self.hash_seed_file?,
            drain_wait: self.drain_wait?,
        })
    }
}

/// What a link carries, in bits per second.
fn capacity(written: &DeValue<'_>) -> Result<u64, Wrong> {
    let wrong = || {
        let message = format!("found {}, expected a capacity from `1Mbit` to `10Tbit`", found(written));
        Wrong::new(message, "write a whole number and a unit, like `\"25Gbit\"`")
    };
    let text = written.as_str().ok_or_else(wrong)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let unit = limits::CAPACITY_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
    let bits = amount.parse::<u64>().ok().and_then(|amount| amount.checked_mul(unit));
    bits.filter(|bits| limits::LINK_CAPACITY.contains(bits)).ok_or_else(wrong)
}
