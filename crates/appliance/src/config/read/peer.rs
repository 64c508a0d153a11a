// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[peers.*]`: one neighbour, or a range of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use weir_bgp::Prefix;

use super::attributes::{self, AttributesDraft};
use super::bfd;
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, object_names};
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{Bfd, Community, Families, LinkBandwidth, Peer, Remote, RemoteAs};

const PEER: Shape = Shape {
    path: "peers.NAME",
    title: "one BGP neighbour (at most 64)",
    about: "A peer is found by exactly one of `address` (numbered), `interface` (unnumbered) and `range` (whoever connects from \
            there). Communities, MED and prepends are added to what VIPs say of themselves.",
    change: Change::Restart,
    keys: &[
        Key::optional(
            "address",
            Values::Text("address"),
            "`interface` or `range`",
            "The peer's; unique, no VIP and no own address",
        ),
        Key::optional(
            "interface",
            Values::Text("name of an interface"),
            "`address` or `range`",
            "The peer on the other side of it, over link-local addresses: router advertisements are sent and heard there to find it",
        ),
        Key::optional(
            "link_local",
            Values::Text("link-local IPv6 address"),
            "learnt from its router advertisements",
            "With `interface`: the peer's address, for a switch that sends no router advertisements",
        ),
        Key::optional(
            "range",
            Values::Text("prefix, IPv4 from /8 and IPv6 from /16 on"),
            "`address` or `interface`",
            "Whoever connects from this prefix; Weir never connects. Each session is a peer `NAME/ADDRESS`",
        ),
        Key::optional(
            "sessions_max",
            Values::Number(limits::RANGE_SESSIONS),
            "16",
            "With `range`: most sessions at once",
        ),
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
            "Own address of the session; not with `interface`",
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
            "What is announced on this session; the default is the address's own family, and both on an interface",
        ),
        Key::optional(
            "next_hop_v4",
            Values::Text("IPv4 address"),
            "own address of the session",
            "Next hop of IPv4 prefixes. Over IPv6 it is the own IPv6 address if the peer takes that (RFC 8950)",
        ),
        Key::optional(
            "next_hop_v6",
            Values::Text("IPv6 address"),
            "own address of the session",
            "Next hop of IPv6 prefixes; required for IPv6 on a session over IPv4",
        ),
        Key::optional(
            "md5_file",
            Values::Text("path"),
            "no signatures",
            "File with the key of TCP MD5 signatures (RFC 2385): 1 to 80 bytes, no rights for others. Read at start, never shown",
        ),
        Key::optional(
            "ao_file",
            Values::Text("path"),
            "no signatures",
            "Refused by this version, which asks the kernel whether it has TCP-AO (RFC 5925) and says so; use `md5_file`",
        ),
        Key::or(
            "ttl_security",
            Values::Text("boolean"),
            "false",
            "TTL 255 is sent and required (RFC 5082). The peer must do the same, or no session comes up",
        ),
        bfd::KEY,
        Key::or(
            "graceful_restart",
            Values::Text("boolean"),
            "true",
            "Whether `bgp.graceful_restart` holds for this peer, and its routes are kept while it restarts",
        ),
        Key::or(
            "prefixes_max",
            Values::Number(limits::PREFIXES),
            "16",
            "Most prefixes of one family that the peer may announce; with more the session is ended, and tried again later",
        ),
        Key::or(
            "import_default",
            Values::Text("boolean, or a list of `\"ipv4\"`, `\"ipv6\"`"),
            "false",
            "Take the peer's default route into the kernel, of all families of the session or of those listed. Nothing else is ever \
             imported",
        ),
        attributes::MED,
        attributes::PREPEND,
        attributes::COMMUNITIES,
        Key::or(
            "link_bandwidth",
            Values::Words(|| words(LINK_BANDWIDTHS)),
            "\"transitive\"",
            "How the `capacity` of the uplinks is told, so that peers weight their ECMP: some speakers drop the non-transitive form",
        ),
    ],
    later: &["ao", "auth", "multihop", "policy"],
};

const LINK_BANDWIDTHS: &[(&str, LinkBandwidth)] = &[
    ("transitive", LinkBandwidth::Transitive),
    ("non-transitive", LinkBandwidth::NonTransitive),
    ("off", LinkBandwidth::Off),
];
/// The keys of which a peer has exactly one.
const PLACES: [&str; 3] = ["address", "interface", "range"];

pub(super) const SHAPES: &[Shape] = &[PEER];

/// A peer as read.
#[derive(Debug)]
pub(in crate::config) struct PeerDraft {
    /// `None`: wrong in itself, or not said.
    pub(in crate::config) remote: Option<Remote>,
    port: Option<u16>,
    pub(in crate::config) remote_as: Option<RemoteAs>,
    pub(in crate::config) source: Option<Option<IpAddr>>,
    hold_time: Option<Duration>,
    connect_retry: Option<Duration>,
    pub(in crate::config) passive: Option<bool>,
    /// `Some(None)`: those of the transport.
    pub(in crate::config) families: Option<Option<Families>>,
    pub(in crate::config) next_hop_v4: Option<Option<Ipv4Addr>>,
    pub(in crate::config) next_hop_v6: Option<Option<Ipv6Addr>>,
    md5_file: Option<Option<PathBuf>>,
    /// Nothing that is written is taken.
    ao_file: Option<Option<Infallible>>,
    ttl_security: Option<bool>,
    bfd: Option<Option<Bfd>>,
    graceful_restart: Option<bool>,
    prefixes_max: Option<u32>,
    pub(in crate::config) import_default: Option<ImportDefault>,
    pub(in crate::config) export: AttributesDraft,
    link_bandwidth: Option<LinkBandwidth>,
}

/// Whose default routes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum ImportDefault {
    /// All families of the session.
    All,
    /// These; none is in it when nothing is imported.
    Families(Families),
}

pub(super) fn read(report: &mut Report, root: &Section<'_>) -> BTreeMap<String, PeerDraft> {
    let (is_well_formed, rule) = object_names();
    let mut peers = BTreeMap::new();
    for entry in root.entries(report, "peers", is_well_formed, rule) {
        let section = entry.open(report, PEER);
        peers.insert(entry.name, read_peer(report, &section));
    }
    peers
}

fn read_peer(report: &mut Report, section: &Section<'_>) -> PeerDraft {
    PeerDraft {
        remote: read_remote(report, section),
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
        md5_file: section.optional(report, "md5_file", value::path),
        ao_file: section.optional(report, "ao_file", refuse_tcp_ao),
        ttl_security: section.or(report, "ttl_security", false, value::boolean),
        bfd: section.or(report, "bfd", None, bfd::bfd),
        graceful_restart: section.or(report, "graceful_restart", true, value::boolean),
        prefixes_max: section.or(
            report,
            "prefixes_max",
            limits::PREFIXES_MAX_DEFAULT,
            value::number(limits::PREFIXES),
        ),
        import_default: section.or(
            report,
            "import_default",
            ImportDefault::Families(Families::default()),
            import_default,
        ),
        export: attributes::read(report, section),
        link_bandwidth: section.or(
            report,
            "link_bandwidth",
            LinkBandwidth::default(),
            value::choice(LINK_BANDWIDTHS, &[]),
        ),
    }
}

/// Where the peer is found: all keys are read, whatever they say together.
fn read_remote(report: &mut Report, section: &Section<'_>) -> Option<Remote> {
    let address = section.optional(report, "address", numbered);
    let interface = section.optional(report, "interface", value::interface);
    let link_local = section.optional(report, "link_local", link_local);
    let range = section.optional(report, "range", range);
    let sessions = value::number(limits::RANGE_SESSIONS);
    let sessions_max = section.optional(report, "sessions_max", sessions);
    for (key, with) in [("link_local", "interface"), ("sessions_max", "range")] {
        if section.has(key) && !section.has(with) {
            let help = format!("remove it, or write `{with}`");
            report.at(&section.child(key), format!("means nothing without `{with}`"), help);
        }
    }
    let written: Vec<&str> = PLACES.into_iter().filter(|key| section.has(key)).collect();
    match written.as_slice() {
        [_] => {}
        [] => {
            section.missing_one_of(
                report,
                &PLACES,
                "add `address = …`, or `interface = …` for an unnumbered peer",
            );
            return None;
        }
        [first, second, ..] => {
            let message = format!("stands beside `{first}`, expected one of `address`, `interface`, `range`");
            report.at(&section.child(second), message, "a peer is found by one of them: keep that one");
            return None;
        }
    }
    // Each is `Some` when nothing was wrong with it.
    let (address, interface, link_local) = (address?, interface?, link_local?);
    let (range, sessions_max) = (range?, sessions_max?);
    let sessions_max = sessions_max.map_or(limits::RANGE_SESSIONS_DEFAULT, |most| {
        // The range of the key fits.
        u16::try_from(most).unwrap_or(u16::MAX)
    });
    let of_interface = interface.map(|interface| Remote::Interface { interface, link_local });
    let of_range = range.map(|prefix| Remote::Range { prefix, sessions_max });
    address.map(Remote::Address).or(of_interface).or(of_range)
}

/// Address of a numbered peer. A link-local one needs its interface beside it, so it has keys of its own.
fn numbered(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    let address = value.as_str().map(|text| text.split_once('%').map_or(text, |(address, _)| address));
    match address.and_then(|text| text.parse::<Ipv6Addr>().ok()) {
        Some(address) if address.is_unicast_link_local() => Err(Wrong::new(
            format!("found {}, a link-local address, which each interface has for itself", found(value)),
            "write `interface`, and `link_local` if the peer sends no router advertisements",
        )),
        Some(_) | None => value::address(value),
    }
}

impl PeerDraft {
    /// Families of the session; those of the transport unless the document says otherwise.
    pub(in crate::config) fn families(&self) -> Option<Families> {
        match (self.families?, self.remote.as_ref()) {
            (Some(families), _) => Some(families),
            (None, Some(Remote::Interface { .. })) => Some(Families::BOTH),
            (None, Some(remote @ (Remote::Address(_) | Remote::Range { .. }))) => {
                Some(Families { ipv4: remote.is_ipv4(), ipv6: !remote.is_ipv4() })
            }
            (None, None) => None,
        }
    }

    pub(super) fn finish(self, names: &BTreeMap<String, Community>) -> Option<Peer> {
        let families = self.families()?;
        Some(Peer {
            families,
            remote: self.remote?,
            port: self.port?,
            remote_as: self.remote_as?,
            source: self.source?,
            hold_time: self.hold_time?,
            connect_retry: self.connect_retry?,
            passive: self.passive?,
            next_hop_v4: self.next_hop_v4?,
            next_hop_v6: self.next_hop_v6?,
            md5_file: match (self.md5_file?, self.ao_file?) {
                (md5_file, None) => md5_file,
                (_, Some(never)) => match never {},
            },
            ttl_security: self.ttl_security?,
            bfd: self.bfd?,
            graceful_restart: self.graceful_restart?,
            prefixes_max: self.prefixes_max?,
            import_default: match self.import_default? {
                ImportDefault::All => families,
                ImportDefault::Families(families) => families,
            },
            export: self.export.finish(names)?,
            link_bandwidth: self.link_bandwidth?,
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

/// Signatures that cannot be made: the kernel's fault, or ours.
fn refuse_tcp_ao(written: &DeValue<'_>) -> Result<Infallible, Wrong> {
    value::path(written)?;
    Err(Wrong::new(
        weir_bgp::speaker::refuse_tcp_ao().to_string(),
        "write `md5_file`, with a key that the peer has too",
    ))
}

/// An address that means something on one link only.
fn link_local(written: &DeValue<'_>) -> Result<Ipv6Addr, Wrong> {
    let address = written.as_str().and_then(|text| text.parse().ok());
    address.filter(Ipv6Addr::is_unicast_link_local).ok_or_else(|| {
        let message = format!("found {}, expected a link-local IPv6 address", found(written));
        Wrong::new(message, "write it like `\"fe80::1\"`, without the interface")
    })
}

/// A prefix of addresses that peers can have, not too wide.
fn range(written: &DeValue<'_>) -> Result<Prefix, Wrong> {
    const HELP: &str = "write it like `\"10.0.5.0/24\"` or `\"2001:db8:5::/64\"`";
    let prefix: Prefix = match written.as_str().map(str::parse) {
        Some(Ok(prefix)) => prefix,
        Some(Err(error)) => return Err(Wrong::new(format!("found {}: {error}", found(written)), HELP)),
        None => return Err(Wrong::new(format!("found {}, expected a prefix", found(written)), HELP)),
    };
    let least = if prefix.address().is_ipv4() { limits::RANGE_LENGTH_V4 } else { limits::RANGE_LENGTH_V6 };
    if prefix.length() < least {
        let message = format!("found {}, expected a prefix of /{least} or longer", found(written));
        return Err(Wrong::new(message, "peers of a host are on its own links: write that prefix"));
    }
    let is_unicast = match prefix.address() {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_loopback() && v4.octets()[0] < 240,
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    if !is_unicast {
        let message = format!("found {}, expected a prefix of routable unicast addresses", found(written));
        return Err(Wrong::new(message, "for link-local peers write `interface`"));
    }
    Ok(prefix)
}

fn hold_time(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let hold_time = value::seconds(limits::HOLD_TIME)(value)?;
    if hold_time.is_zero() || hold_time >= limits::HOLD_TIME_MIN {
        return Ok(hold_time);
    }
    let message = format!("found {}, expected `0s` or at least `3s` (RFC 4271 §4.2)", found(value));
    Err(Wrong::new(message, "write `\"3s\"` for the fastest detection that BGP alone gives"))
}

fn import_default(written: &DeValue<'_>) -> Result<ImportDefault, Wrong> {
    match written {
        DeValue::Boolean(true) => Ok(ImportDefault::All),
        DeValue::Boolean(false) => Ok(ImportDefault::Families(Families::default())),
        DeValue::Array(_) => families(written).map(ImportDefault::Families),
        other => {
            let message = format!("found {}, expected a boolean or a list of families", found(other));
            Err(Wrong::new(message, "write `true`, or `[\"ipv4\"]`"))
        }
    }
}

fn families(value: &DeValue<'_>) -> Result<Families, Wrong> {
    const HELP: &str = "write `[\"ipv4\"]`, `[\"ipv6\"]` or `[\"ipv4\", \"ipv6\"]`";
    let DeValue::Array(items) = value else {
        return Err(Wrong::new(format!("found {}, expected a list of families", found(value)), HELP));
    };
    let mut families = Families::default();
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
    if !families.is_empty() {
        return Ok(families);
    }
    Err(Wrong::new("found an empty list, expected at least one family", HELP))
}
