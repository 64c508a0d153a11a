// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about what the values of a document say together. Pure: no file, no host, no clock.
//!
//! Every rule runs on every document, also on one whose values were partly refused, so that an operator sees all there
//! is to repair at once. A value that was refused by itself takes no part.

mod announce;
mod capacity;
mod checks;
mod communities;
mod fragments;
mod outer;
mod peers;
mod pools;

use std::net::IpAddr;

use weir_bgp::Prefix;

use super::nearest::nearest;
use super::read::{Draft, VipDraft};
use super::report::Report;
use crate::model::{address_text, contains};

/// Interfaces that the tables have room for.
const UPLINKS_MAX: usize = weir_dataplane_core::limits::UPLINKS_MAX as usize;

/// Checks all rules.
pub(super) fn validate(report: &mut Report, draft: &Draft) {
    uplinks(report, draft);
    vips(report, draft);
    services(report, draft);
    selection(report, draft);
    fragments::validate(report, draft);
    announce::validate(report, draft);
    pools::validate(report, draft);
    outer::validate(report, draft);
    checks::validate(report, draft);
    peers::validate(report, draft);
    communities::validate(report, draft);
    capacity::validate(report, draft);
}

fn uplinks(report: &mut Report, draft: &Draft) {
    const HELP: &str = "name the interfaces that carry service traffic: `[uplinks.eth0]`";
    match draft.uplink_count {
        Some(0) => report.at("uplinks", "no uplink, expected at least one", HELP),
        Some(n) if n > UPLINKS_MAX => {
            report.at("uplinks", format!("found {n} uplinks; at most {UPLINKS_MAX} are possible"), HELP);
        }
        None | Some(_) => {}
    }
}

fn vips(report: &mut Report, draft: &Draft) {
    let prefixes = draft.vips.iter().filter_map(|(name, vip)| Some((vip.prefix?, vip_path(name))));
    report.repeated(prefixes, |prefix, first| {
        let message = format!("`{}` is already the address of `{}`", address_text(*prefix), parent(first));
        (message, "give each VIP its own address, or put both services on one VIP".to_owned())
    });
    for (name, vip) in &draft.vips {
        let Some(prefix) = vip.prefix else { continue };
        let own = own_sources(draft).into_iter().flatten().find(|(_, own)| contains(prefix, *own));
        if let Some((source, own)) = own {
            let message = match prefix == Prefix::host(own) {
                true => format!("is the appliance's own address (`{source}`)"),
                false => format!("holds the appliance's own address `{own}` (`{source}`)"),
            };
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
        let port = port.map_or_else(|| "`any`".to_owned(), |port| port.to_string());
        let message = format!("port {port} of VIP `{vip}` is already served by `{}`", parent(first));
        (message, "one VIP, protocol and port make one service: change one of them".to_owned())
    });
}

/// Options of a service that say nothing beside others.
fn selection(report: &mut Report, draft: &Draft) {
    for (name, service) in &draft.services {
        if service.flow_table == Some(false)
            && service.new_flows_per_second.is_some_and(|most| most.is_some())
        {
            let message = "has no meaning with `flow_table = false`: no flow is remembered";
            report.at(&format!("services.{name}.new_flows_per_second"), message, "remove one of the two");
        }
    }
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
    own_sources(draft).into_iter().flatten().find(|(_, own)| *own == address).map(|(key, _)| key)
}

/// The appliance's own addresses with the keys that say so.
fn own_sources(draft: &Draft) -> [Option<(&'static str, IpAddr)>; 2] {
    let v4 = draft.appliance.source_v4.flatten().map(IpAddr::V4);
    let v6 = draft.appliance.source_v6.flatten().map(IpAddr::V6);
    [v4.map(|v4| ("appliance.source_v4", v4)), v6.map(|v6| ("appliance.source_v6", v6))]
}

/// What an address is to a VIP, when it is one of its addresses.
fn of_vip(draft: &Draft, address: IpAddr) -> Option<String> {
    let holds = |vip: &VipDraft| vip.prefix.filter(|prefix| contains(*prefix, address));
    let (name, prefix) = draft.vips.iter().find_map(|(name, vip)| Some((name, holds(vip)?)))?;
    Some(match prefix == Prefix::host(address) {
        true => format!("is the address of VIP `{name}`"),
        false => format!("lies in VIP `{name}` (`{prefix}`)"),
    })
}

/// Family of an address in words.
fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
