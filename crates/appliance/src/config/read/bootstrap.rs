// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[bootstrap]`: what a process learns once.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{Bootstrap, Capacity, CheckPath, Log, LogFormat, LogLevel, Owner};

const BOOTSTRAP: Shape = Shape {
    path: "bootstrap",
    title: "what the process learns once",
    about: "",
    change: Change::Restart,
    keys: &[
        Key::or(
            "owner",
            Values::Words(|| words(OWNERS)),
            "\"file\"",
            "The one source that may change the document",
        ),
        Key::or(
            "api_socket",
            Values::Text("path, at most 107 bytes"),
            "\"/run/weir/api.sock\"",
            "Unix socket of the API, mode 0660; its folder is made when missing",
        ),
        Key::optional(
            "api_listen",
            Values::Text("loopback address and port"),
            "the socket alone",
            "The same over TCP; only on a loopback address, since there is no TLS yet",
        ),
        Key::or(
            "state_dir",
            Values::Text("path"),
            "\"/var/lib/weir\"",
            "What outlives the process: generation, last good document, overrides, verdicts; made with mode 0750",
        ),
        Key::or(
            "instance",
            Values::Text("name"),
            "\"default\"",
            "Folder of this instance's pins below `pin_dir`",
        ),
        Key::or(
            "pin_dir",
            Values::Text("path in a BPF file system"),
            "\"/sys/fs/bpf/weir\"",
            "Pins lie in `<pin_dir>/<instance>/v2/`",
        ),
        Key::section("capacity"),
        Key::section("checks"),
        Key::section("log"),
    ],
    later: &["api_tls", "tls", "etcd", "metrics_listen"],
};
const CAPACITY: Shape = Shape {
    path: "bootstrap.capacity",
    title: "sizes of the kernel's tables",
    about: "The memory is taken at the start. Other sizes than those of pinned tables are refused: stop the daemon cleanly first.",
    change: Change::Restart,
    keys: &[
        Key::or(
            "services",
            Values::Number(1..=limits::SERVICES_HARD_MAX),
            "16384",
            "Services; as many VIPs and as many pools. At most 416 bytes for all three, and 24 bytes per CPU",
        ),
        Key::or(
            "backends",
            Values::Number(1..=limits::BACKENDS_HARD_MAX),
            "16384",
            "Backends over all pools; at most 72 bytes each, and 24 bytes per CPU",
        ),
        Key::or(
            "flow_slots",
            Values::Text("a power of two, 64 to 2^29"),
            "4194304",
            "Remembered flows; 8 bytes each (default 32 MiB)",
        ),
        Key::or(
            "rows",
            Values::Number(limits::ROWS_HARD_MIN..=limits::ROWS_HARD_MAX),
            "16777216",
            "Rows over all pools; 8 bytes each (default 128 MiB). A pool takes the next power of two from \
             512 × `max_backends`, 4,096 to 1,048,576, and the largest pool must fit twice more",
        ),
    ],
    later: &["pools", "next_hops"],
};
const CHECKS: Shape = Shape {
    path: "bootstrap.checks",
    title: "how health checks get into their tunnels",
    about: "Checks go to the VIP through the same tunnel as clients' packets: a mark on the socket leads them to an interface of \
            their own, where the chosen backend's outer header is put on. To be changed only where something else on the host uses \
            the same.",
    change: Change::Restart,
    keys: &[
        Key::or(
            "interface",
            Values::Text("name of an interface, at most 13 characters"),
            "\"hc0\"",
            "Made at the start; its other end has `-p` behind the name",
        ),
        Key::or(
            "mark",
            Values::Text("32 bits, the lower 16 of them 0"),
            "0x57650000",
            "Upper half of the marks of check sockets; the lower half carries the backend",
        ),
        Key::or(
            "table",
            Values::Text("1 to 4,294,967,295, not 253 to 255"),
            "5765",
            "Routing table that leads marked packets to the interface",
        ),
        Key::or(
            "priority",
            Values::Number(limits::RULE_PRIORITY),
            "5765",
            "Priority of the rule that chooses the table, before that of the main table",
        ),
    ],
    later: &["via", "in_flight", "rate"],
};
const LOG: Shape = Shape {
    path: "bootstrap.log",
    title: "what is logged",
    about: "Always to standard error.",
    change: Change::Restart,
    keys: &[
        Key::or(
            "level",
            Values::Words(|| words(LEVELS)),
            "\"info\"",
            "Least severe level that is written. The environment variable `WEIR_LOG`, a filter like `info,weir_bgp=debug`, \
             wins over it",
        ),
        Key::or(
            "format",
            Values::Words(|| words(FORMATS)),
            "\"auto\"",
            "`auto`: text on a terminal, JSON lines otherwise",
        ),
    ],
    later: &["filter"],
};

const OWNERS: &[(&str, Owner)] = &[("file", Owner::File)];
const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

pub(super) const SHAPES: &[Shape] = &[BOOTSTRAP, CAPACITY, CHECKS, LOG];

/// The bootstrap section as read.
#[derive(Debug)]
pub(in crate::config) struct BootstrapDraft {
    owner: Option<Owner>,
    api_socket: Option<PathBuf>,
    api_listen: Option<Option<SocketAddr>>,
    state_dir: Option<PathBuf>,
    instance: Option<String>,
    pin_dir: Option<PathBuf>,
    pub(in crate::config) capacity: CapacityDraft,
    pub(in crate::config) checks: CheckPathDraft,
    log_level: Option<LogLevel>,
    log_format: Option<LogFormat>,
}

/// The sizes as read.
#[derive(Debug)]
pub(in crate::config) struct CapacityDraft {
    pub(in crate::config) services: Option<u32>,
    pub(in crate::config) backends: Option<u32>,
    pub(in crate::config) rows: Option<u32>,
    flow_slots: Option<u32>,
}

/// The way of checks as read.
#[derive(Debug)]
pub(in crate::config) struct CheckPathDraft {
    pub(in crate::config) interface: Option<String>,
    mark: Option<u32>,
    table: Option<u32>,
    priority: Option<u32>,
}

pub(super) fn read(report: &mut Report, root: &Section<'_>) -> BootstrapDraft {
    let section = root.section_or_default(report, "bootstrap", BOOTSTRAP);
    let capacity = section.section_or_default(report, "capacity", CAPACITY);
    let checks = section.section_or_default(report, "checks", CHECKS);
    let log = section.section_or_default(report, "log", LOG);
    let owner = value::choice(OWNERS, &["api", "etcd"]);
    BootstrapDraft {
        owner: section.or(report, "owner", Owner::File, owner),
        api_socket: section.or(report, "api_socket", "/run/weir/api.sock".into(), value::socket_path),
        api_listen: section.optional(report, "api_listen", loopback_listener),
        state_dir: section.or(report, "state_dir", crate::config::STATE_DIR.into(), value::path),
        instance: section.or(report, "instance", "default".to_owned(), value::name),
        pin_dir: section.or(report, "pin_dir", "/sys/fs/bpf/weir".into(), value::path),
        capacity: read_capacity(report, &capacity),
        checks: read_check_path(report, &checks),
        log_level: log.or(report, "level", LogLevel::Info, value::choice(LEVELS, &[])),
        log_format: log.or(report, "format", LogFormat::Auto, value::choice(FORMATS, &["journald"])),
    }
}

fn read_capacity(report: &mut Report, section: &Section<'_>) -> CapacityDraft {
    let services = value::number(1..=limits::SERVICES_HARD_MAX);
    let backends = value::number(1..=limits::BACKENDS_HARD_MAX);
    let rows = value::number(limits::ROWS_HARD_MIN..=limits::ROWS_HARD_MAX);
    CapacityDraft {
        services: section.or(report, "services", limits::SERVICES_DEFAULT, services),
        backends: section.or(report, "backends", limits::BACKENDS_DEFAULT, backends),
        rows: section.or(report, "rows", limits::ROWS_DEFAULT, rows),
        flow_slots: section.or(report, "flow_slots", limits::FLOW_SLOTS_DEFAULT, flow_slots),
    }
}

fn read_check_path(report: &mut Report, section: &Section<'_>) -> CheckPathDraft {
    let usual = CheckPath::default();
    CheckPathDraft {
        interface: section.or(report, "interface", usual.interface, check_interface),
        mark: section.or(report, "mark", usual.mark, check_mark),
        table: section.or(report, "table", usual.table, routing_table),
        priority: section.or(report, "priority", usual.priority, value::number(limits::RULE_PRIORITY)),
    }
}

impl BootstrapDraft {
    pub(super) fn finish(self) -> Option<Bootstrap> {
        let CapacityDraft { services, backends, rows, flow_slots } = self.capacity;
        Some(Bootstrap {
            owner: self.owner?,
            api_socket: self.api_socket?,
            api_listen: self.api_listen?,
            state_dir: self.state_dir?,
            instance: self.instance?,
            pin_dir: self.pin_dir?,
            capacity: Capacity {
                services: services?,
                backends: backends?,
                flow_slots: flow_slots?,
                rows: rows?,
            },
            checks: CheckPath {
                interface: self.checks.interface?,
                mark: self.checks.mark?,
                table: self.checks.table?,
                priority: self.checks.priority?,
            },
            log: Log { level: self.log_level?, format: self.log_format? },
        })
    }
}

/// A loopback address and port: without TLS and tokens nobody else may reach the API.
fn loopback_listener(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    let address = value::socket_address(value)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let message =
        format!("found `{address}`, expected a loopback address: this version serves TCP without TLS");
    Err(Wrong::new(message, "listen on `127.0.0.1:9180` or use the unix socket"))
}

/// Name of an interface that has room for a suffix.
fn check_interface(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = value::text(value)?;
    if value::is_interface(&name) && name.len() <= limits::CHECK_INTERFACE_BYTES_MAX {
        return Ok(name);
    }
    let max = limits::CHECK_INTERFACE_BYTES_MAX;
    let message =
        format!("found {}, expected the name of an interface, at most {max} characters", found(value));
    Err(Wrong::new(message, "write it like `\"hc0\"`; the other end has `-p` behind this name"))
}

/// A mark whose lower half is free for the backend.
fn check_mark(value: &DeValue<'_>) -> Result<u32, Wrong> {
    const HELP: &str = "write it like `0x57650000`: the lower 16 bits carry the backend";
    let mark: Option<u32> = value::whole_number(value);
    mark.filter(|mark| *mark != 0 && mark.trailing_zeros() >= limits::CHECK_MARK_BACKEND_BITS).ok_or_else(
        || {
            let message =
                format!("found {}, expected a mark of 32 bits whose lower 16 bits are 0", found(value));
            Wrong::new(message, HELP)
        },
    )
}

/// A routing table that no host has by itself.
fn routing_table(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let table = value::number(1..=u32::MAX)(value)?;
    if !limits::ROUTING_TABLES_RESERVED.contains(&table) {
        return Ok(table);
    }
    let message = format!("found `{table}`, a routing table that every host uses");
    Err(Wrong::new(message, "choose a number that `ip rule` does not show, like `5765`"))
}

/// A power of two that makes whole sets.
fn flow_slots(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let slots = value::number(limits::FLOW_SLOTS_HARD_MIN..=limits::FLOW_SLOTS_HARD_MAX)(value)?;
    if slots.is_power_of_two() {
        return Ok(slots);
    }
    let (below, above) = (slots.next_power_of_two() / 2, slots.next_power_of_two());
    let message = format!("found `{slots}`, expected a power of two");
    Err(Wrong::new(message, format!("write {below} or {above}")))
}
