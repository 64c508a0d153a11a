// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about outer headers: sections that the mode has, prefixes that sources are made in, sources of checks.

use std::net::IpAddr;

use super::{family, own_sources};
use crate::config::read::{Draft, ModeWord, PoolDraft};
use crate::config::report::Report;
use crate::model::{Limits, contains};
use weir_bgp::Prefix;

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    for (name, pool) in &draft.pools {
        sections(report, name, pool);
        entropy(report, draft, name, pool);
    }
    entropy_prefixes(report, draft);
    checks(report, draft);
}

/// Sections that say nothing in the pool's mode.
fn sections(report: &mut Report, name: &str, pool: &PoolDraft) {
    let Some(mode) = pool.mode else { return };
    let word = match mode {
        ModeWord::Ipip => "ipip",
        ModeWord::Gue => "gue",
        ModeWord::L2 => "l2",
    };
    let message = format!("has no meaning for a pool in mode `{word}`");
    if pool.has_gue && mode != ModeWord::Gue {
        report.at(&format!("pools.{name}.gue"), &*message, "remove it, or write `mode = \"gue\"`");
    }
    if pool.has_outer && mode == ModeWord::L2 {
        report.at(&format!("pools.{name}.outer"), message, "remove it: nothing is put on in this mode");
    }
}

/// Sources that are made from flows need a prefix of each family that the pool's backends have.
fn entropy(report: &mut Report, draft: &Draft, name: &str, pool: &PoolDraft) {
    if pool.outer.source_entropy != Some(true) || pool.mode == Some(ModeWord::L2) {
        return;
    }
    let missing = [
        ("entropy_v4", draft.limits.entropy_v4 == Some(None), true, "172.16.0.0/16"),
        ("entropy_v6", draft.limits.entropy_v6 == Some(None), false, "100::/64"),
    ];
    for (key, is_missing, is_ipv4, example) in missing {
        let mut addresses = pool.backends.values().filter_map(|backend| backend.address);
        let Some(address) = addresses.find(|address| is_missing && address.is_ipv4() == is_ipv4) else {
            continue;
        };
        report.at(
            &format!("pools.{name}.outer.source_entropy"),
            format!(
                "the pool has {} backends (`{address}`), but `dataplane.limits.{key}` is missing",
                family(address)
            ),
            format!("add `{key} = \"{example}\"` or another prefix to `[dataplane.limits]`, or remove this"),
        );
    }
}

/// Nobody else may have an address that the dataplane makes up.
fn entropy_prefixes(report: &mut Report, draft: &Draft) {
    let v4 = draft.limits.entropy_v4.flatten().map(IpAddr::V4);
    let v6 = draft.limits.entropy_v6.flatten().map(IpAddr::V6);
    for (key, address, length) in
        [("entropy_v4", v4, Limits::ENTROPY_LENGTH_V4), ("entropy_v6", v6, Limits::ENTROPY_LENGTH_V6)]
    {
        let Some(prefix) = address.and_then(|address| Prefix::new(address, length).ok()) else { continue };
        let vips = draft
            .vips
            .iter()
            .filter_map(|(name, vip)| Some((format!("VIP `{name}`"), vip.prefix?.address())));
        let own = own_sources(draft).into_iter().flatten().map(|(key, own)| (format!("`{key}`"), own));
        let backends = draft.pools.iter().flat_map(|(pool, one)| {
            let of_pool = one.backends.iter().filter_map(move |(name, one)| Some((name, one.address?)));
            of_pool.map(move |(name, address)| (format!("backend `{pool}/{name}`"), address))
        });
        if let Some((who, address)) = vips.chain(own).chain(backends).find(|(_, one)| contains(prefix, *one))
        {
            report.at(
                &format!("dataplane.limits.{key}"),
                format!("`{prefix}` holds `{address}` of {who}"),
                "choose a prefix that nobody uses: its addresses are made up from flows",
            );
        }
    }
}

/// A check asks from the appliance's own address of the VIP's family, whatever family the tunnel is of.
fn checks(report: &mut Report, draft: &Draft) {
    let missing = [
        ("source_v4", draft.appliance.source_v4 == Some(None), true, "IPv4"),
        ("source_v6", draft.appliance.source_v6 == Some(None), false, "IPv6"),
    ];
    for (key, is_missing, is_ipv4, family) in missing.into_iter().filter(|(_, is_missing, _, _)| *is_missing)
    {
        debug_assert!(is_missing);
        let is_checked = |name: &str| draft.pools.get(name).is_some_and(|pool| pool.check.is_some());
        // Where the tunnel needs the same source, that was said.
        let has_backends = |name: &str| {
            draft.pools.get(name).is_some_and(|pool| {
                pool.mode != Some(ModeWord::L2)
                    && pool
                        .backends
                        .values()
                        .any(|one| one.address.is_some_and(|one| one.is_ipv4() == is_ipv4))
            })
        };
        let found = draft.services.values().find_map(|service| {
            let pool = service.pool.as_deref().filter(|pool| is_checked(pool) && !has_backends(pool))?;
            let (vip, prefix) =
                draft.vips.get_key_value(service.vip.as_deref()?).map(|(n, v)| (n, v.prefix))?;
            (prefix?.address().is_ipv4() == is_ipv4).then_some((pool, vip))
        });
        if let Some((pool, vip)) = found {
            report.at(
                &format!("appliance.{key}"),
                format!("missing: checks of pool `{pool}` ask VIP `{vip}` over {family} and need a source"),
                format!("add `{key} = …`, an {family} address of this appliance's loopback"),
            );
        }
    }
}
