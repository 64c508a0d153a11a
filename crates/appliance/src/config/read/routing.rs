// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[appliance]`, `[uplinks.*]`, `[bgp]` and `[peers.*]`: who this is and whom it talks to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::bfd;
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, object_names};
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{Appliance, Asn, Bfd, Bgp, Families, Peer, RemoteAs, Uplink, XdpMode};

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
    title: "the interface with service traffic (exactly one)",
    about: "",
    change: Change::Restart,
    keys: &[Key::required(
        "xdp",
        Values::Words(|| words(XDP_MODES)),
        "In the driver, or behind it on any driver and much slower. Never changed silently",
    )],
    later: &["capacity", "mtu", "required", "vlan"],
};
const BGP: Shape = Shape {
    path: "bgp",
    title: "the speaker (required)",
    about: "",
    change: Change::Restart,
    keys: &[
        Key::required(
            "asn",
            Values::Text("AS number"),
            "Own AS number; 0, 23456, 65535 and 4294967295 are refused",
        ),
        Key::or(
            "listen",
            Values::Text("list of at most 16 addresses with port"),
            "[\"0.0.0.0:179\", \"[::]:179\"]",
            "Where peers may connect; `[]`: Weir only connects",
        ),
    ],
    later: &["graceful_restart", "import", "timers", "communities", "multihop"],
};
const PEER: Shape = Shape {
    path: "peers.NAME",
    title: "one BGP session (at most 64)",
    about: "",
    change: Change::Restart,
    keys: &[
        Key::required("address", Values::Text("address"), "The peer's; unique, no VIP and no own address"),
        Key::or("port", Values::Number(1..=65_535), "179", "Where Weir connects to"),
        Key::required(
            "remote_as",
            Values::Text("AS number or `\"external\"`"),
            "What its OPEN must say; `\"external\"`: any but ours. Sessions are eBGP",
        ),
        Key::optional(
            "source",
            Values::Text("address of the same family"),
            "the kernel's choice",
            "Own address of the session",
        ),
        Key::or(
            "hold_time",
            Values::Text("`0s`, or `3s` to `65535s`"),
            "\"9s\"",
            "Offered; the smaller of both sides holds; `0s`: never expires",
        ),
        Key::or(
            "connect_retry",
            Values::Span(limits::CONNECT_RETRY),
            "\"5s\"",
            "Wait between two attempts to connect",
        ),
        Key::or("passive", Values::Text("boolean"), "false", "Only accept, never connect"),
        Key::or(
            "families",
            Values::Text("list of `\"ipv4\"`, `\"ipv6\"`"),
            "[\"ipv4\"]",
            "What is announced on this session; the default is the address's own family",
        ),
        Key::optional(
            "next_hop_v4",
            Values::Text("IPv4 address"),
            "own address of the session",
            "Next hop of IPv4 prefixes; required for IPv4 on a session over IPv6",
        ),
        Key::optional(
            "next_hop_v6",
            Values::Text("IPv6 address"),
            "own address of the session",
            "Next hop of IPv6 prefixes; required for IPv6 on a session over IPv4",
        ),
        bfd::KEY,
    ],
    later: &[
        "interface",
        "password_file",
        "md5",
        "md5_file",
        "ao",
        "auth",
        "gtsm",
        "ttl_security",
        "multihop",
        "graceful_restart",
        "import",
        "policy",
        "med",
        "prepend",
        "communities",
        "large_communities",
    ],
};

const XDP_MODES: &[(&str, XdpMode)] = &[("native", XdpMode::Native), ("generic", XdpMode::Generic)];

/// How an interface is named.
const INTERFACE_RULE: &str = "write an interface as `ip link` shows it, at most 15 characters";

pub(super) const SHAPES: &[Shape] = &[APPLIANCE, UPLINK, BGP, PEER];

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

/// The speaker's section as read.
#[derive(Debug)]
pub(in crate::config) struct BgpDraft {
    pub(in crate::config) asn: Option<Asn>,
    pub(in crate::config) listen: Option<Vec<SocketAddr>>,
}

/// A peer as read.
#[derive(Debug)]
pub(in crate::config) struct PeerDraft {
    pub(in crate::config) address: Option<IpAddr>,
    port: Option<u16>,
    pub(in crate::config) remote_as: Option<RemoteAs>,
    pub(in crate::config) source: Option<Option<IpAddr>>,
    hold_time: Option<Duration>,
    connect_retry: Option<Duration>,
    pub(in crate::config) passive: Option<bool>,
    /// `Some(None)`: the family of the address.
    pub(in crate::config) families: Option<Option<Families>>,
    pub(in crate::config) next_hop_v4: Option<Option<Ipv4Addr>>,
    pub(in crate::config) next_hop_v6: Option<Option<Ipv6Addr>>,
    bfd: Option<Option<Bfd>>,
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
        uplinks.insert(entry.name, xdp.map(|xdp| Uplink { xdp }));
    }
    uplinks
}

pub(super) fn read_bgp(report: &mut Report, root: &Section<'_>) -> BgpDraft {
    let section = root.section(report, "bgp", BGP);
    let everywhere = vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, limits::BGP_PORT)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, limits::BGP_PORT)),
    ];
    BgpDraft {
        asn: section.required(report, "asn", value::asn),
        listen: section.or(report, "listen", everywhere, value::listeners(limits::LISTENERS_MAX)),
    }
}

pub(super) fn read_peers(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, PeerDraft> {
    let (is_well_formed, rule) = object_names();
    let mut peers = BTreeMap::new();
    for entry in root.entries(report, "peers", is_well_formed, rule) {
        let section = entry.open(report, PEER);
        peers.insert(entry.name, read_peer(report, &section));
    }
    peers
}

fn read_peer(report: &mut Report, section: &Section<'_>) -> PeerDraft {
    // An interface instead of an address is refused as not supported; asking for the address too would mislead.
    let address = match section.has("interface") && !section.has("address") {
        true => None,
        false => section.required(report, "address", value::address),
    };
    PeerDraft {
        address,
        port: section.or(report, "port", limits::BGP_PORT, value::port),
        remote_as: section.required(report, "remote_as", remote_as),
        source: section.optional(report, "source", value::address),
        hold_time: section.or(report, "hold_time", limits::HOLD_TIME_DEFAULT, hold_time),
        connect_retry: section.or(
            report,
            "connect_retry",
            limits::CONNECT_RETRY_DEFAULT,
            value::seconds(limits::CONNECT_RETRY),
        ),
        passive: section.or(report, "passive", false, value::boolean),
        families: section.optional(report, "families", families),
        next_hop_v4: section.optional(report, "next_hop_v4", value::address_v4),
        next_hop_v6: section.optional(report, "next_hop_v6", value::address_v6),
        bfd: section.or(report, "bfd", None, bfd::bfd),
    }
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

impl BgpDraft {
    pub(super) fn finish(self) -> Option<Bgp> {
        Some(Bgp { asn: self.asn?, listen: self.listen? })
    }
}

impl PeerDraft {
    /// Families of the session; those of the transport unless the document says otherwise.
    pub(in crate::config) fn families(&self) -> Option<Families> {
        let own = |address: IpAddr| Families { ipv4: address.is_ipv4(), ipv6: address.is_ipv6() };
        match self.families? {
            Some(families) => Some(families),
            None => self.address.map(own),
        }
    }

    pub(super) fn finish(self) -> Option<Peer> {
        Some(Peer {
            families: self.families()?,
            address: self.address?,
            port: self.port?,
            remote_as: self.remote_as?,
            source: self.source?,
            hold_time: self.hold_time?,
            connect_retry: self.connect_retry?,
            passive: self.passive?,
            next_hop_v4: self.next_hop_v4?,
            next_hop_v6: self.next_hop_v6?,
            bfd: self.bfd?,
        })
    }
}

fn remote_as(value: &DeValue<'_>) -> Result<RemoteAs, Wrong> {
    const HELP: &str = "write the peer's AS number, or `\"external\"` for any but ours";
    match value {
        DeValue::String(text) if text == "external" => Ok(RemoteAs::External),
        DeValue::String(text) if text == "internal" => {
            Err(Wrong::new("`internal` is not supported by this version: sessions are eBGP", HELP))
        }
        DeValue::Integer(_) => value::asn(value).map(RemoteAs::Number),
        other => {
            Err(Wrong::new(format!("found {}, expected an AS number or `\"external\"`", found(other)), HELP))
        }
    }
}

fn hold_time(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let hold_time = value::seconds(limits::HOLD_TIME)(value)?;
    if hold_time.is_zero() || hold_time >= limits::HOLD_TIME_MIN {
        return Ok(hold_time);
    }
    let message = format!("found {}, expected `0s` or at least `3s` (RFC 4271 §4.2)", found(value));
    Err(Wrong::new(message, "write `\"3s\"` for the fastest detection that BGP alone gives"))
}

fn families(value: &DeValue<'_>) -> Result<Families, Wrong> {
    const HELP: &str = "write `[\"ipv4\"]`, `[\"ipv6\"]` or `[\"ipv4\", \"ipv6\"]`";
    let DeValue::Array(items) = value else {
        return Err(Wrong::new(format!("found {}, expected a list of families", found(value)), HELP));
    };
    let mut families = Families { ipv4: false, ipv6: false };
    for item in items {
        match item.get_ref().as_str() {
            Some("ipv4") => families.ipv4 = true,
            Some("ipv6") => families.ipv6 = true,
            _ => {
                let message = format!("found {}, expected `\"ipv4\"` or `\"ipv6\"`", found(item.get_ref()));
                return Err(Wrong::new(message, HELP));
            }
        }
    }
    if families.ipv4 || families.ipv6 {
        return Ok(families);
    }
    Err(Wrong::new("found an empty list, expected at least one family", HELP))
}
