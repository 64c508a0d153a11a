// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about what the values of a document say together. Pure: no file, no host, no clock.
//!
//! Every rule runs on every document, also on one whose values were partly refused, so that an operator sees all there
//! is to repair at once. A value that was refused by itself takes no part.

mod announce;
mod capacity;
mod checks;
mod communities;
mod peers;
mod pools;

use std::net::IpAddr;

use super::nearest::nearest;
use super::read::Draft;
use super::report::Report;

/// Checks all rules.
pub(super) fn validate(report: &mut Report, draft: &Draft) {
    uplinks(report, draft);
    vips(report, draft);
    services(report, draft);
    announce::validate(report, draft);
    pools::validate(report, draft);
    checks::validate(report, draft);
    peers::validate(report, draft);
    communities::validate(report, draft);
    capacity::validate(report, draft);
}

fn uplinks(report: &mut Report, draft: &Draft) {
    const HELP: &str = "name the interface that carries service traffic: `[uplinks.eth0]`";
    match draft.uplink_count {
        None | Some(1) => {}
        Some(0) => report.at("uplinks", "no uplink, expected exactly one", HELP),
        Some(n) => {
            let message = format!("found {n} uplinks; one uplink is supported by this version");
            report.at("uplinks", message, "keep one");
        }
    }
}

fn vips(report: &mut Report, draft: &Draft) {
    let addresses = draft.vips.iter().filter_map(|(name, vip)| Some((vip.address?, vip_path(name))));
    report.repeated(addresses, |address, first| {
        let message = format!("`{address}` is already the address of `{}`", parent(first));
        (message, "give each VIP its own address, or put both services on one VIP".to_owned())
    });
    for (name, vip) in &draft.vips {
        if let Some(source) = vip.address.and_then(|address| own_source(draft, address)) {
            let message = format!("is the appliance's own address (`{source}`)");
            report.at(&vip_path(name), message, "a VIP belongs to the backends; choose another address");
        }
    }
}

fn services(report: &mut Report, draft: &Draft) {
    for (name, service) in &draft.services {
        reference(report, &format!("services.{name}.vip"), "VIP", service.vip.as_deref(), &draft.vips);
        reference(report, &format!("services.{name}.pool"), "pool", service.pool.as_deref(), &draft.pools);
    }
    let keys = draft.services.iter().filter_map(|(name, service)| {
        let key = (service.vip.clone()?, service.protocol?, service.port?);
        Some((key, format!("services.{name}.port")))
    });
    report.repeated(keys, |(vip, _, port), first| {
        let message = format!("port {port} of VIP `{vip}` is already served by `{}`", parent(first));
        (message, "one VIP, protocol and port make one service: change one of them".to_owned())
    });
}

/// Reports a name that no object has.
fn reference<T>(
    report: &mut Report,
    path: &str,
    what: &str,
    name: Option<&str>,
    objects: &std::collections::BTreeMap<String, T>,
) {
    let Some(name) = name else { return };
    if objects.contains_key(name) {
        return;
    }
    let section = format!("{}s", what.to_ascii_lowercase());
    let help = match nearest(name, objects.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add a section `[{section}.{name}]`"),
    };
    report.at(path, format!("found `{name}`, no {what} has this name"), help);
}

/// Path of a VIP's address.
fn vip_path(name: &str) -> String {
    format!("vips.{name}.address")
}

/// Path of the object around a field.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(parent, _)| parent)
}

/// The key that says so, when an address is one of the appliance's own.
fn own_source(draft: &Draft, address: IpAddr) -> Option<&'static str> {
    let v4 = draft.appliance.source_v4.flatten().map(IpAddr::V4);
    let v6 = draft.appliance.source_v6.flatten().map(IpAddr::V6);
    match Some(address) {
        a if a == v4 => Some("appliance.source_v4"),
        a if a == v6 => Some("appliance.source_v6"),
        _ => None,
    }
}

/// The VIP that has an address.
fn vip_with(draft: &Draft, address: IpAddr) -> Option<&str> {
    draft.vips.iter().find(|(_, vip)| vip.address == Some(address)).map(|(name, _)| name.as_str())
}

/// Family of an address in words.
fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
