// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[bootstrap]`: what a process learns once.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, Shape};
use crate::config::value::{self, Wrong, found};
use crate::model::{Bootstrap, Capacity, CheckPath, Log, LogFormat, LogLevel, Owner};

const BOOTSTRAP: Shape = Shape {
    known: &[
        "owner",
        "api_socket",
        "api_listen",
        "state_dir",
        "instance",
        "pin_dir",
        "capacity",
        "checks",
        "log",
    ],
    later: &["api_tls", "tls", "etcd", "metrics_listen"],
};
const CAPACITY: Shape =
    Shape { known: &["services", "backends", "flow_slots", "rows"], later: &["pools", "next_hops"] };
const CHECKS: Shape =
    Shape { known: &["interface", "mark", "table", "priority"], later: &["via", "in_flight", "rate"] };
const LOG: Shape = Shape { known: &["level", "format"], later: &["filter"] };

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

#[cfg(test)]
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
