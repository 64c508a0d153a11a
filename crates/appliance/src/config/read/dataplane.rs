// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[dataplane]`: settings of the packet path that concern all services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use toml::de::DeValue;
use weir_bgp::Prefix;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values};
use crate::config::value::{self, Wrong, found};
use crate::model::Limits;

const DATAPLANE: Shape = Shape {
    path: "dataplane",
    title: "the packet path (holds sections alone)",
    about: "",
    change: Change::Reload,
    keys: &[Key::section("limits")],
    later: &[],
};
const LIMITS: Shape = Shape {
    path: "dataplane.limits",
    title: "what the packet path does at most",
    about: "Rates are of this appliance, for each VIP by itself, in a second; 0 is none at all. What is beyond a rate is dropped and \
            counted. `new_flows_per_cpu` is of all services together on one processor, and what is beyond it is forwarded all the same.",
    change: Change::Reload,
    keys: &[
        Key::or("echo_per_second", Values::Number(limits::RATES), "1000", "Answers to pings"),
        Key::or(
            "icmp_errors_per_second",
            Values::Number(limits::RATES),
            "1000",
            "ICMP errors about flows that are passed on to backends",
        ),
        Key::or(
            "too_big_per_second",
            Values::Number(limits::RATES),
            "1000",
            "\"Packet too big\" to clients, for packets that do not fit with their outer header",
        ),
        Key::or(
            "new_flows_per_cpu",
            Values::Number(limits::NEW_FLOWS),
            "125000",
            "Flows of all services that one processor remembers anew; packets of further ones go by their rows",
        ),
        Key::or(
            "fragments_per_second",
            Values::Number(limits::RATES),
            "1000",
            "First fragments of services with `fragments = \"first-fragment\"` that are remembered; all VIPs share 16,384 places, the \
             least recently used going first",
        ),
        Key::or(
            "min_mtu_v4",
            Values::Number(limits::MIN_MTU_V4),
            "552",
            "An ICMP error over IPv4 that tells a backend a smaller MTU is dropped; over IPv6 it is 1280 (RFC 8201)",
        ),
        Key::optional(
            "entropy_v4",
            Values::Text("IPv4 prefix of /16"),
            "no such sources",
            "Where outer IPv4 sources are made from flows; required if a pool with IPv4 backends has `source_entropy`",
        ),
        Key::optional(
            "entropy_v6",
            Values::Text("IPv6 prefix of /64"),
            "no such sources",
            "The same for IPv6",
        ),
    ],
    later: &[],
};

pub(super) const SHAPES: &[Shape] = &[DATAPLANE, LIMITS];

/// The limits as read.
#[derive(Debug)]
pub(in crate::config) struct LimitsDraft {
    echo_per_second: Option<u32>,
    icmp_errors_per_second: Option<u32>,
    too_big_per_second: Option<u32>,
    new_flows_per_cpu: Option<u32>,
    fragments_per_second: Option<u32>,
    min_mtu_v4: Option<u32>,
    pub(in crate::config) entropy_v4: Option<Option<Ipv4Addr>>,
    pub(in crate::config) entropy_v6: Option<Option<Ipv6Addr>>,
}

pub(super) fn read(report: &mut Report, root: &Section<'_>) -> LimitsDraft {
    let section = root.section_or_default(report, "dataplane", DATAPLANE);
    let section = section.section_or_default(report, "limits", LIMITS);
    let usual = Limits::default();
    let rate = value::number(limits::RATES);
    let mtu = value::number(limits::MIN_MTU_V4);
    LimitsDraft {
        echo_per_second: section.or(report, "echo_per_second", usual.echo_per_second, &rate),
        icmp_errors_per_second: section.or(
            report,
            "icmp_errors_per_second",
            usual.icmp_errors_per_second,
            &rate,
        ),
        too_big_per_second: section.or(report, "too_big_per_second", usual.too_big_per_second, &rate),
        new_flows_per_cpu: section.or(
            report,
            "new_flows_per_cpu",
            usual.new_flows_per_cpu.map_or(u32::MAX, u32::from),
            value::number(limits::NEW_FLOWS),
        ),
        fragments_per_second: section.or(report, "fragments_per_second", usual.fragments_per_second, &rate),
        min_mtu_v4: section.or(report, "min_mtu_v4", usual.min_mtu_v4.into(), mtu),
        entropy_v4: section.optional(report, "entropy_v4", entropy_v4),
        entropy_v6: section.optional(report, "entropy_v6", entropy_v6),
    }
}

impl LimitsDraft {
    pub(super) fn finish(self) -> Option<Limits> {
        Some(Limits {
            echo_per_second: self.echo_per_second?,
            icmp_errors_per_second: self.icmp_errors_per_second?,
            too_big_per_second: self.too_big_per_second?,
            // The ranges fit.
            new_flows_per_cpu: NonZeroU32::new(self.new_flows_per_cpu?),
            fragments_per_second: self.fragments_per_second?,
            min_mtu_v4: u16::try_from(self.min_mtu_v4?).unwrap_or(u16::MAX),
            entropy_v4: self.entropy_v4?,
            entropy_v6: self.entropy_v6?,
        })
    }
}

fn entropy_v4(written: &DeValue<'_>) -> Result<Ipv4Addr, Wrong> {
    const HELP: &str = "write it like `\"172.16.0.0/16\"`, a prefix that nobody else uses";
    match entropy(written, HELP, Limits::ENTROPY_LENGTH_V4)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Wrong::new(format!("found {}, expected an IPv4 prefix", found(written)), HELP)),
    }
}

fn entropy_v6(written: &DeValue<'_>) -> Result<Ipv6Addr, Wrong> {
    const HELP: &str = "write it like `\"100::/64\"` (RFC 6666), or a prefix that nobody else uses";
    match entropy(written, HELP, Limits::ENTROPY_LENGTH_V6)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => Err(Wrong::new(format!("found {}, expected an IPv6 prefix", found(written)), HELP)),
    }
}

/// First address of a prefix of just this length.
fn entropy(written: &DeValue<'_>, help: &str, length: u8) -> Result<IpAddr, Wrong> {
    let prefix: Prefix = match written.as_str().map(str::parse) {
        Some(Ok(prefix)) => prefix,
        Some(Err(error)) => return Err(Wrong::new(format!("found {}: {error}", found(written)), help)),
        None => return Err(Wrong::new(format!("found {}, expected a prefix", found(written)), help)),
    };
    if prefix.length() != length {
        let message = format!("found {}, expected a prefix of /{length}", found(written));
        return Err(Wrong::new(message, help));
    }
    match value::flaw(prefix.address()) {
        None => Ok(prefix.address()),
        Some(flaw) => Err(Wrong::new(format!("found {}, which begins with {flaw}", found(written)), help)),
    }
}
