// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about pools: how many backends, whom they can be, of which families, and the sources that their tunnels need.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_bgp::Prefix;

use super::{own_source, parent};
use crate::config::read::{BackendDraft, Draft, ModeWord, PoolDraft};
use crate::config::report::Report;
use crate::model::{GueVariant, contains};

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    let vips = Vips::of(draft);
    for (name, pool) in &draft.pools {
        size(report, name, pool);
        weights(report, name, pool);
        addresses(report, draft, &vips, name, pool);
        families(report, name, pool);
    }
    sources(report, draft);
}

fn size(report: &mut Report, name: &str, pool: &PoolDraft) {
    let Some(max) = pool.max_backends else { return };
    let count = pool.backends.len();
    if u32::try_from(count).is_ok_and(|count| count <= max) {
        return;
    }
    report.at(
        &format!("pools.{name}.backends"),
        format!("found {count} backends, `max_backends` allows {max}"),
        format!("raise `pools.{name}.max_backends`; that changes the number of rows and so moves flows"),
    );
}

fn weights(report: &mut Report, name: &str, pool: &PoolDraft) {
    let all_zero = !pool.backends.is_empty() && pool.backends.values().all(|b| b.weight == Some(0));
    if all_zero {
        report.at(
            &format!("pools.{name}.backends"),
            "all weights are 0, expected at least one above 0",
            "give a backend a weight, or leave `weight` out for 100",
        );
    }
}

/// A backend is told the others of its row so that it can hand a packet on by the header that it came with.
fn families(report: &mut Report, name: &str, pool: &PoolDraft) {
    if pool.mode != Some(ModeWord::Gue) || pool.gue.variant != Some(GueVariant::Candidates) {
        return;
    }
    let of_family = |is_ipv4: bool| {
        let is_one = |backend: &BackendDraft| backend.address.is_some_and(|one| one.is_ipv4() == is_ipv4);
        pool.backends.iter().find(|(_, backend)| is_one(backend)).map(|(name, _)| name)
    };
    if let (Some(v4), Some(v6)) = (of_family(true), of_family(false)) {
        report.at(
            &format!("pools.{name}.gue.variant"),
            format!("`candidates` needs backends of one address family, `{v4}` has IPv4 and `{v6}` has IPv6"),
            "make a pool for each family, or write `variant = \"header\"`",
        );
    }
}

fn addresses(report: &mut Report, draft: &Draft, vips: &Vips<'_>, pool_name: &str, pool: &PoolDraft) {
    let path = |name: &str| format!("pools.{pool_name}.backends.{name}.address");
    let addresses = pool.backends.iter().filter_map(|(name, b)| Some((b.address?, path(name))));
    report.repeated(addresses, |address, first| {
        let message = format!("`{address}` is already the address of `{}`", parent(first));
        (message, "list each backend once; a share is set by `weight`".to_owned())
    });
    for (name, backend) in &pool.backends {
        let Some(address) = backend.address else { continue };
        if let Some(what) = vips.with(address) {
            report.at(
                &path(name),
                format!("`{address}` {what}"),
                "give the backend's own address, which only it has",
            );
        } else if let Some(source) = own_source(draft, address) {
            let message = format!("`{address}` is the appliance's own address (`{source}`)");
            report.at(
                &path(name),
                message,
                "appliance and backend on one host are not supported by this version",
            );
        }
    }
}

/// The VIPs, so that thousands of backends are compared with them in good time.
struct Vips<'d> {
    hosts: BTreeMap<IpAddr, &'d str>,
    prefixes: Vec<(Prefix, &'d str)>,
}

impl<'d> Vips<'d> {
    fn of(draft: &'d Draft) -> Self {
        let all = draft.vips.iter().filter_map(|(name, vip)| Some((vip.prefix?, name.as_str())));
        let (hosts, prefixes): (Vec<_>, Vec<_>) =
            all.partition(|(prefix, _)| *prefix == Prefix::host(prefix.address()));
        let hosts = hosts.into_iter().map(|(prefix, name)| (prefix.address(), name)).collect();
        Self { hosts, prefixes }
    }

    /// What an address is to a VIP, when it is one of its addresses.
    fn with(&self, address: IpAddr) -> Option<String> {
        if let Some(name) = self.hosts.get(&address) {
            return Some(format!("is the address of VIP `{name}`"));
        }
        let (prefix, name) = self.prefixes.iter().find(|(prefix, _)| contains(*prefix, address))?;
        Some(format!("lies in VIP `{name}` (`{prefix}`)"))
    }
}

/// Tunnels need a source of their own family.
fn sources(report: &mut Report, draft: &Draft) {
    let pool_of = |is_ipv4: bool| {
        let uses = |pool: &PoolDraft| {
            // Without an outer header there is no source.
            pool.mode != Some(ModeWord::L2)
                && pool.backends.values().any(|b| b.address.is_some_and(|a| a.is_ipv4() == is_ipv4))
        };
        draft.pools.iter().find(|(_, pool)| uses(pool)).map(|(name, _)| name)
    };
    let missing = [
        ("source_v4", draft.appliance.source_v4 == Some(None), true, "IPv4"),
        ("source_v6", draft.appliance.source_v6 == Some(None), false, "IPv6"),
    ];
    for (key, is_missing, is_ipv4, family) in missing {
        if let Some(pool) = pool_of(is_ipv4).filter(|_| is_missing) {
            report.at(
                &format!("appliance.{key}"),
                format!("missing: pool `{pool}` has {family} backends and its tunnels need a source"),
                format!("add `{key} = …`, an {family} address of this appliance's loopback"),
            );
        }
    }
}
