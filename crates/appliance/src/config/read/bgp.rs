// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[bgp]`: what holds for all sessions.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use super::attributes::{self, CommunityNames};
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values};
use crate::config::value::{self, Wrong};
use crate::model::{Asn, Bgp, Drain, Import};

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
        Key::or(
            "graceful_restart",
            Values::Text("`1s` to `4095s`, whole seconds, or `\"off\"`"),
            "\"20s\"",
            "How long peers are asked to keep our routes while the daemon restarts and packets flow on (RFC 4724); longer than a \
             start takes. A host that hangs keeps its routes as much longer: use BFD",
        ),
        Key::or(
            "helper_time",
            Values::Seconds(limits::HELPER_TIME),
            "\"2m\"",
            "Longest time that the default route of a peer that restarts is kept; `0s`: not kept",
        ),
        Key::or(
            "communities",
            Values::Text("section of names, each with `\"65010:100\"` or `\"65010:1:2\"`"),
            "{}",
            "Names for communities, to be used wherever communities are listed",
        ),
        Key::section("import"),
        Key::section("drain"),
    ],
    later: &["timers", "multihop"],
};
const IMPORT: Shape = Shape {
    path: "bgp.import",
    title: "where default routes of peers go",
    about: "Only default routes are imported, and only from peers that say `import_default`. They go into the kernel with a protocol \
            number and a metric of their own: no other route is ever touched, and theirs wins or loses against it by the metric.",
    change: Change::Restart,
    keys: &[
        Key::or("table", Values::Number(1..=u32::MAX), "254", "Routing table; 254 is `main`, 255 is refused"),
        Key::or(
            "protocol",
            Values::Number(limits::ROUTE_PROTOCOL),
            "87",
            "Protocol number by which routes of an earlier run are known; no other daemon of this host may use it",
        ),
        Key::or(
            "metric",
            Values::Number(1..=u32::MAX),
            "20",
            "The kernel uses the route of the lowest metric",
        ),
    ],
    later: &["prefixes", "weight"],
};
const DRAIN: Shape = Shape {
    path: "bgp.drain",
    title: "how a VIP leaves on purpose",
    about: "When an operator drains a VIP or the appliance, or stops the daemon, a VIP is first announced with the community \
            GRACEFUL_SHUTDOWN (RFC 8326), so that peers turn to other paths while this one still works, and then withdrawn. A VIP \
            that cannot be served is withdrawn at once.",
    change: Change::Restart,
    keys: &[
        Key::or(
            "time",
            Values::Span(limits::GRACEFUL_SHUTDOWN),
            "\"500ms\"",
            "Time between the two; `0s`: withdrawn at once",
        ),
        Key::or(
            "prepend",
            Values::Number(0..=limits::PREPEND_MAX),
            "0",
            "Own AS numbers added to the path meanwhile, for peers that do not honour the community",
        ),
        Key::optional(
            "med",
            Values::Number(0..=u32::MAX),
            "as before",
            "MULTI_EXIT_DISC meanwhile, for the same reason",
        ),
    ],
    later: &[],
};

pub(super) const SHAPES: &[Shape] = &[BGP, IMPORT, DRAIN];

/// The speaker's section as read.
#[derive(Debug)]
pub(in crate::config) struct BgpDraft {
    pub(in crate::config) asn: Option<Asn>,
    pub(in crate::config) listen: Option<Vec<SocketAddr>>,
    graceful_restart: Option<Option<Duration>>,
    helper_time: Option<Duration>,
    pub(in crate::config) import_table: Option<u32>,
    import_protocol: Option<u8>,
    import_metric: Option<u32>,
    drain_time: Option<Duration>,
    drain_prepend: Option<u8>,
    drain_med: Option<Option<u32>>,
    pub(in crate::config) communities: CommunityNames,
}

pub(super) fn read(report: &mut Report, root: &Section<'_>) -> BgpDraft {
    let section = root.section(report, "bgp", BGP);
    let import = section.section_or_default(report, "import", IMPORT);
    let drain = section.section_or_default(report, "drain", DRAIN);
    let everywhere = vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, limits::BGP_PORT)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, limits::BGP_PORT)),
    ];
    let restart_time = Some(limits::RESTART_TIME_DEFAULT);
    BgpDraft {
        asn: section.required(report, "asn", value::asn),
        listen: section.or(report, "listen", everywhere, value::listeners(limits::LISTENERS_MAX)),
        graceful_restart: section.or(report, "graceful_restart", restart_time, graceful_restart),
        helper_time: section.or(
            report,
            "helper_time",
            limits::HELPER_TIME_DEFAULT,
            value::seconds(limits::HELPER_TIME),
        ),
        import_table: import.or(report, "table", limits::IMPORT_TABLE_DEFAULT, table),
        import_protocol: import.or(report, "protocol", limits::IMPORT_PROTOCOL_DEFAULT, protocol),
        import_metric: import.or(
            report,
            "metric",
            limits::IMPORT_METRIC_DEFAULT,
            value::number(1..=u32::MAX),
        ),
        drain_time: drain.or(
            report,
            "time",
            limits::GRACEFUL_SHUTDOWN_DEFAULT,
            value::duration(limits::GRACEFUL_SHUTDOWN),
        ),
        drain_prepend: drain.or(report, "prepend", 0, attributes::prepend),
        drain_med: drain.optional(report, "med", value::number(0..=u32::MAX)),
        communities: attributes::read_names(report, &section),
    }
}

impl BgpDraft {
    pub(super) fn finish(self) -> Option<Bgp> {
        let named = self.communities.into_iter().map(|(name, community)| Some((name, community?)));
        Some(Bgp {
            asn: self.asn?,
            listen: self.listen?,
            graceful_restart: self.graceful_restart?,
            helper_time: self.helper_time?,
            import: Import {
                table: self.import_table?,
                protocol: self.import_protocol?,
                metric: self.import_metric?,
            },
            drain: Drain { time: self.drain_time?, prepend: self.drain_prepend?, med: self.drain_med? },
            communities: named.collect::<Option<_>>()?,
        })
    }
}

/// A restart time, or `"off"`.
fn graceful_restart(written: &DeValue<'_>) -> Result<Option<Duration>, Wrong> {
    const HELP: &str = "write `\"20s\"`, or `\"off\"`";
    match written {
        DeValue::String(word) if word == "off" => Ok(None),
        DeValue::Boolean(_) => {
            Err(Wrong::new("found a boolean, expected a time span or `\"off\"`".to_owned(), HELP))
        }
        other => value::seconds(limits::RESTART_TIME)(other)
            .map(Some)
            .map_err(|wrong| Wrong::new(format!("{}, or `\"off\"`", wrong.message), HELP)),
    }
}

/// A routing table that routes can be put into.
fn table(written: &DeValue<'_>) -> Result<u32, Wrong> {
    match value::number(1..=u32::MAX)(written)? {
        limits::ROUTING_TABLE_LOCAL => {
            Err(Wrong::new("found `255`, the table of own addresses", "write 254 for the table `main`"))
        }
        table => Ok(table),
    }
}

fn protocol(written: &DeValue<'_>) -> Result<u8, Wrong> {
    // The range fits an octet.
    value::number(limits::ROUTE_PROTOCOL)(written).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}
