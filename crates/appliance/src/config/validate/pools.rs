// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about pools: how many backends, whom they can be, and whether the mode can carry packets to them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{family, own_source, parent};
use crate::config::read::{Draft, PoolDraft};
use crate::config::report::Report;
use crate::model::Mode;

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    let vip_names: BTreeMap<IpAddr, &str> =
        draft.vips.iter().filter_map(|(name, vip)| Some((vip.address?, name.as_str()))).collect();
    let served = families_of_pools(draft);
    for (name, pool) in &draft.pools {
        size(report, name, pool);
        weights(report, name, pool);
        addresses(report, draft, &vip_names, name, pool);
        if let Some(served) = served.get(name.as_str()) {
            families(report, name, pool, served);
        }
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

fn addresses(
    report: &mut Report,
    draft: &Draft,
    vip_names: &BTreeMap<IpAddr, &str>,
    pool_name: &str,
    pool: &PoolDraft,
) {
    let path = |name: &str| format!("pools.{pool_name}.backends.{name}.address");
    let addresses = pool.backends.iter().filter_map(|(name, b)| Some((b.address?, path(name))));
    report.repeated(addresses, |address, first| {
        let message = format!("`{address}` is already the address of `{}`", parent(first));
        (message, "list each backend once; a share is set by `weight`".to_owned())
    });
    for (name, backend) in &pool.backends {
        let Some(address) = backend.address else { continue };
        if let Some(vip) = vip_names.get(&address) {
            let message = format!("`{address}` is the address of VIP `{vip}`");
            report.at(&path(name), message, "give the backend's own address, which only it has");
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

/// A service of each family, true for IPv4, that a pool serves: name of the service, its VIP, its address.
type Families<'d> = BTreeMap<bool, (&'d str, &'d str, IpAddr)>;

/// One service of each family stands for all of them: a backend is told once what it does not fit.
fn families_of_pools(draft: &Draft) -> BTreeMap<&str, Families<'_>> {
    let mut pools: BTreeMap<&str, Families<'_>> = BTreeMap::new();
    for (name, service) in &draft.services {
        let (Some(vip), Some(pool)) = (&service.vip, &service.pool) else { continue };
        if let Some(address) = draft.vips.get(vip).and_then(|vip| vip.address) {
            pools.entry(pool).or_default().entry(address.is_ipv4()).or_insert((name, vip, address));
        }
    }
    pools
}

/// What `ipip` carries: IPv4 in IPv4 and IPv6 in IPv6.
fn families(report: &mut Report, pool_name: &str, pool: &PoolDraft, served: &Families<'_>) {
    let Some(Mode::Ipip) = pool.mode else { return };
    for (name, backend) in &pool.backends {
        let Some(address) = backend.address else { continue };
        let Some((service, vip, vip_address)) = served.get(&!address.is_ipv4()) else { continue };
        report.at(
            &format!("pools.{pool_name}.backends.{name}.address"),
            format!(
                "`{address}` is {}, but VIP `{vip}` of service `{service}` is {} (`{vip_address}`)",
                family(address),
                family(*vip_address)
            ),
            "mode `ipip` carries one family in the same family in this version: use a pool for each family",
        );
    }
}

/// Tunnels need a source of their own family.
fn sources(report: &mut Report, draft: &Draft) {
    let pool_of = |is_ipv4: bool| {
        let uses = |pool: &PoolDraft| {
            pool.backends.values().any(|b| b.address.is_some_and(|a| a.is_ipv4() == is_ipv4))
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
