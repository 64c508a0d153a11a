// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about size: what the document asks for must fit the tables, most of which `[bootstrap.capacity]` makes.

use weir_bgp::Prefix;

use crate::config::limits;
use crate::config::read::Draft;
use crate::config::report::Report;

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    let capacity = &draft.bootstrap.capacity;
    let backends: usize = draft.pools.values().map(|pool| pool.backends.len()).sum();
    // Room for services is room for as many VIPs and as many pools.
    fits(report, ("services", "services"), draft.services.len(), ("services", capacity.services));
    fits(report, ("vips", "VIPs"), draft.vips.len(), ("services", capacity.services));
    fits(report, ("pools", "pools"), draft.pools.len(), ("services", capacity.services));
    fits(report, ("pools", "backends"), backends, ("backends", capacity.backends));
    prefixes(report, draft);
    rows(report, draft);
}

/// The table of prefixes has one size.
fn prefixes(report: &mut Report, draft: &Draft) {
    let prefixes = draft.vips.values().filter_map(|vip| vip.prefix);
    let found = prefixes.filter(|prefix| *prefix != Prefix::host(prefix.address())).count();
    if found > limits::VIP_PREFIXES_MAX as usize {
        report.at(
            "vips",
            format!("found {found} VIPs that are prefixes, there is room for {}", limits::VIP_PREFIXES_MAX),
            "give VIPs that lie side by side one prefix, or write single addresses",
        );
    }
}

/// Checks a number of things at `path` against the room that a key gives.
fn fits(report: &mut Report, (path, what): (&str, &str), found: usize, (key, room): (&str, Option<u32>)) {
    let Some(room) = room else { return };
    if u32::try_from(found).is_ok_and(|found| found <= room) {
        return;
    }
    let message = format!("found {found} {what}, `bootstrap.capacity.{key}` has room for {room}");
    report.at(path, message, format!("raise `bootstrap.capacity.{key}` and restart"));
}

/// All pools, and room to write the largest one anew twice over while the old rows are still read.
fn rows(report: &mut Report, draft: &Draft) {
    let Some(room) = draft.bootstrap.capacity.rows.map(u64::from) else { return };
    let counts = draft.pools.values().filter_map(|pool| pool.max_backends).map(limits::row_count);
    let (mut sum, mut largest) = (0_u64, 0_u64);
    for count in counts.map(u64::from) {
        sum = sum.saturating_add(count);
        largest = largest.max(count);
    }
    let wanted = sum.saturating_add(largest.saturating_mul(2));
    if wanted > room {
        report.at(
            "pools",
            format!(
                "the pools have {sum} rows and switching needs room for {} more, \
                 `bootstrap.capacity.rows` has room for {room}",
                wanted - sum
            ),
            format!(
                "raise `bootstrap.capacity.rows` to at least {wanted} and restart, or lower `max_backends`"
            ),
        );
    }
}
