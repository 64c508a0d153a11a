// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One object on a page: what the document says of it, what it is, which overrides hold. Pure.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::Value;
use weir_api::v1::{Appliance, Backend, CheckDetail, Override, Pool, PreciseTime, Service, Spec, Vip};

use super::super::output::{Look, Tone, plain};
use super::super::table::{Cell, Table};
use super::super::{time, views};

/// A VIP.
pub(super) fn vip(vip: &Vip, now: SystemTime, look: Look) -> String {
    let status = &vip.status;
    let mut page = views::vips([(vip.name.as_str(), status)], now).render(look);
    let told =
        |(name, is_told): (&String, &bool)| format!("{name}: {}", if *is_told { "told" } else { "not told" });
    let times = status.transitions.iter().map(|(to, times)| format!("{to} {}", times.0));
    facts(
        &mut page,
        [
            ("pings", if status.echo { "answered while it is announced" } else { "not answered" }.to_owned()),
            ("peers", status.peers.iter().map(told).collect::<Vec<_>>().join(", ")),
            ("last change decided", precise(status.decided_at)),
            ("peers told of it", precise(status.told_at)),
            ("times", times.collect::<Vec<_>>().join(", ")),
        ],
    );
    tail(&mut page, &vip.spec, &vip.overrides, now, look);
    page
}

/// A service.
pub(super) fn service(service: &Service, now: SystemTime, look: Look) -> String {
    let mut page = views::services([(service.name.as_str(), &service.status)], now).render(look);
    let status = &service.status;
    facts(
        &mut page,
        [
            ("affinity", status.affinity.clone()),
            ("fragments", status.fragments.clone()),
            ("bytes", status.bytes_total.0.to_string()),
        ],
    );
    tail(&mut page, &service.spec, &service.overrides, now, look);
    page
}

/// A pool and its backends.
pub(super) fn pool(pool: &Pool, now: SystemTime, look: Look) -> String {
    let mut page = views::pools([(pool.name.as_str(), &pool.status)], now).render(look);
    facts(&mut page, [("rows", pool.status.algorithm.clone())]);
    let backends = pool.status.backends.iter();
    let backends = backends.map(|(name, backend)| (pool.name.as_str(), name.as_str(), backend));
    section(&mut page, "Backends", &views::backends(backends, now), look);
    // The backends' part of it is above.
    let mut spec = pool.spec.clone();
    spec.remove("backends");
    tail(&mut page, &spec, &pool.overrides, now, look);
    page
}

/// A backend with the last results of its checks.
pub(super) fn backend(backend: &Backend, now: SystemTime, look: Look) -> String {
    let status = &backend.status;
    let mut page =
        views::backends([(backend.pool.as_str(), backend.name.as_str(), status)], now).render(look);
    facts(
        &mut page,
        [
            ("next hop", status.next_hop.detail.clone()),
            ("check decided", precise(status.verdict_at)),
            ("kernel followed", precise(status.in_force_at)),
            ("packets", status.packets_total.0.to_string()),
            ("bytes", status.bytes_total.0.to_string()),
            ("new flows", status.flows_created_total.0.to_string()),
        ],
    );
    section(&mut page, "Checks", &checks(&status.check.checks, now), look);
    tail(&mut page, &backend.spec, &backend.overrides, now, look);
    page
}

fn checks(all: &[CheckDetail], now: SystemTime) -> Table {
    let mut table = Table::new(&["TARGET", "VERDICT", "FOR", "LAST RESULTS"]);
    for check in all {
        let result = |one: &weir_api::v1::CheckResult| {
            format!("{} {} after {:.0} ms", time::moment(one.at.0), one.outcome, one.seconds * 1_000.0)
        };
        table.row([
            check.target.as_str().into(),
            check.verdict.name().into(),
            time::age(check.since.0, now).into(),
            Cell::lines(check.results.iter().rev().map(result)),
        ]);
    }
    table
}

/// The process, its host and its packet path.
pub(super) fn appliance(appliance: &Appliance, now: SystemTime, look: Look) -> String {
    let (process, dataplane) = (&appliance.status.process, &appliance.status.dataplane);
    let document = &appliance.status.document;
    let mut page = String::new();
    facts(
        &mut page,
        [
            ("name", process.name.clone()),
            ("router id", process.router_id.clone()),
            ("version", format!("{} ({}, rustc {})", process.version, process.commit, process.rustc)),
            ("kernel", process.kernel.clone()),
            (
                "started",
                format!(
                    "{} ({} ago)",
                    time::moment(process.started_at.0),
                    time::age(process.started_at.0, now)
                ),
            ),
            ("document", format!("generation {}, owner {}", document.accepted_generation, document.owner)),
            ("flow slots", format!("{} of {} used", dataplane.flow_slots_used, dataplane.flow_slots)),
        ],
    );
    let mut uplinks = Table::new(&["UPLINK", "XDP", "ATTACHED", "PACKETS"]);
    for (number, (name, uplink)) in dataplane.uplinks.iter().enumerate() {
        let packets: u64 = uplink.verdicts.values().map(|count| count.0).fold(0, u64::saturating_add);
        uplinks.row([
            name.as_str().into(),
            uplink.mode.name().into(),
            if uplink.attached { Cell::toned(Tone::Good, "yes") } else { Cell::toned(Tone::Bad, "no") },
            // They are counted together.
            if number == 0 { packets.to_string() } else { "(as above)".to_owned() }.into(),
        ]);
    }
    section(&mut page, "Uplinks", &uplinks, look);
    let mut problems = Table::new(&["CONDITION"]);
    for one in &appliance.status.conditions {
        problems.row([views::condition(one, now).into()]);
    }
    section(&mut page, "Conditions", &problems, look);
    tail(&mut page, &appliance.spec, &appliance.overrides, now, look);
    page
}

/// What ends every page: overrides, and what the document says.
pub(super) fn tail(page: &mut String, spec: &Spec, overrides: &[Override], now: SystemTime, look: Look) {
    section(page, "Overrides", &views::overrides(overrides, now), look);
    if !spec.is_empty() {
        push(page, &format!("\n{}\n", look.tint(Tone::Head, "Document")));
        page.push_str(&toml(&Value::Object(spec.clone())));
    }
}

pub(super) fn section(page: &mut String, title: &str, table: &Table, look: Look) {
    if !table.is_empty() {
        push(page, &format!("\n{}\n", look.tint(Tone::Head, title)));
        page.push_str(&table.render(look));
    }
}

/// Names and values, a line each; what is empty is left out.
pub(super) fn facts<const N: usize>(page: &mut String, facts: [(&str, String); N]) {
    let known: Vec<_> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    if !page.is_empty() && !known.is_empty() {
        page.push('\n');
    }
    for (name, value) in known {
        push(page, &format!("{name:width$}  {}\n", plain(&value)));
    }
}

fn precise(at: Option<PreciseTime>) -> String {
    at.map_or_else(String::new, |at| at.to_string())
}

fn push(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    write!(page, "{text}").ok();
}

/// JSON as the TOML that people write; the API's nulls are keys that are left out.
pub(super) fn toml(value: &Value) -> String {
    let mut value = value.clone();
    without_nulls(&mut value);
    match toml::to_string(&value) {
        Ok(text) => text,
        // Not a document's shape: shown as it came.
        Err(_) => format!("{value:#}\n"),
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(without_nulls);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_shown_as_toml() {
        let text =
            toml(&json!({ "vips": { "www": { "address": "198.51.100.10", "announce": { "low": 1 } } },
            "bgp": { "asn": 65010, "listen": [] , "none": null } }));
        assert_eq!(
            text,
            "[bgp]\nasn = 65010\nlisten = []\n\n[vips.www]\naddress = \"198.51.100.10\"\n\n[vips.www.announce]\nlow = 1\n"
        );
    }
}
