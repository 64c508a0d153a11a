// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a valid document costs and what in it is probably not meant: nothing here refuses it. Pure.

mod forwarding;
mod sessions;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::Problem;
use super::host::Host;
use super::limits;
use super::report::Report;
use crate::model::{AdminState, AnnouncePolicy, Document, High, Mark, OnAllDown, Pool, Require, Service};

/// What the checks of one appliance cost while nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CheckLoad {
    /// Checks: each backend of a pool at each address and port that the pool serves.
    pub checks: usize,
    /// Attempts a second, all together.
    pub attempts_per_second: f64,
    /// The backend address that is tried most, and how often a second; every appliance of a fleet adds as much.
    pub busiest: Option<(IpAddr, f64)>,
}

impl CheckLoad {
    /// The load of a document.
    pub fn of(document: &Document) -> Self {
        let targets = document.all_check_targets();
        let mut load = Self::default();
        let mut by_address: BTreeMap<IpAddr, f64> = BTreeMap::new();
        for (name, pool) in &document.pools {
            let Some(check) = &pool.check else { continue };
            let targets = targets.get(name.as_str()).map_or(0, |targets| targets.len());
            let targets_f64 = u32::try_from(targets).map_or(f64::INFINITY, f64::from);
            let attempts = targets_f64 / check.interval.as_secs_f64();
            for backend in pool.backends.values().filter(|_| targets > 0) {
                load.checks = load.checks.saturating_add(targets);
                load.attempts_per_second += attempts;
                *by_address.entry(backend.address).or_default() += attempts;
            }
        }
        // Of equals the lowest address: the last one of the reverse order.
        load.busiest = by_address.into_iter().rev().max_by(|(_, a), (_, b)| a.total_cmp(b));
        load
    }
}

/// What an operator should know before this document is in force.
///
/// What depends on the host is looked at where it was observed.
pub(super) fn warnings(report: &Report, document: &Document, host: Option<&Host>) -> Vec<Problem> {
    let mut warnings = Warnings { report, found: Vec::new() };
    load(&mut warnings, document);
    forwarding::warn(&mut warnings, document);
    sessions::warn(&mut warnings, document, host);
    let mut services: BTreeMap<&str, Vec<(&String, &Service)>> = BTreeMap::new();
    for (name, service) in &document.services {
        services.entry(&service.vip).or_default().push((name, service));
    }
    for (name, vip) in &document.vips {
        let of_vip = services.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        marks(&mut warnings, document, (name, of_vip), &vip.announce);
    }
    warnings.found.sort_by(|a, b| (a.position, &a.path).cmp(&(b.position, &b.path)));
    warnings.found
}

struct Warnings<'r> {
    report: &'r Report,
    found: Vec<Problem>,
}

impl Warnings<'_> {
    fn at(&mut self, path: &str, message: String, help: &str) {
        self.found.push(self.report.problem_at(path, message, help));
    }
}

fn load(warnings: &mut Warnings<'_>, document: &Document) {
    let load = CheckLoad::of(document);
    if load.attempts_per_second > limits::CHECK_ATTEMPTS_WARN {
        let message = format!(
            "{} checks make {:.0} attempts a second, more than {:.0}: the checker may get late",
            load.checks,
            load.attempts_per_second,
            limits::CHECK_ATTEMPTS_WARN
        );
        warnings.at(
            "pools",
            message,
            "lengthen `interval`, or give pools that serve many ports a `check.port`",
        );
    }
    if let Some((address, attempts)) = load.busiest.filter(|(_, most)| *most > limits::BACKEND_ATTEMPTS_WARN)
    {
        let has_it =
            |pool: &Pool| pool.check.is_some() && pool.backends.values().any(|b| b.address == address);
        let pool = document.pools.iter().find(|(_, pool)| has_it(pool)).map_or("", |(name, _)| name);
        let message = format!(
            "backend `{address}` gets {attempts:.0} attempts a second from each appliance, more than {:.0}",
            limits::BACKEND_ATTEMPTS_WARN
        );
        let path = format!("pools.{pool}.check.interval");
        warnings.at(
            &path,
            message,
            "lengthen `interval`, or give the pool a `check.port`: then each VIP is tried once",
        );
    }
}

/// A VIP whose services cannot reach the mark even with every backend usable is never announced.
fn marks(
    warnings: &mut Warnings<'_>,
    document: &Document,
    (vip, services): (&str, &[(&String, &Service)]),
    policy: &AnnouncePolicy,
) {
    let backends = |mark| match mark {
        Mark::Backends(backends) => backends,
        Mark::Percent(_) => 1,
    };
    let low = backends(policy.low);
    let (key, needed) = match policy.high {
        High::Mark(high) if backends(high) > low => ("high", backends(high)),
        High::Usual | High::Mark(_) => ("low", low),
    };
    let is_required = |name: &String| match &policy.require {
        Require::All | Require::Any => true,
        Require::Services(services) => services.contains(name),
    };
    let mut short = Vec::new();
    let mut can_be_served = false;
    for (name, service) in services.iter().copied().filter(|(name, _)| is_required(name)) {
        let Some(pool) = document.pools.get(&service.pool) else { continue };
        let takes_flows = |b: &&crate::model::Backend| b.state == AdminState::Active && b.weight > 0;
        let available = pool.backends.values().filter(takes_flows).count();
        // With nothing to serve, `on_all_down` decides, and two of its words announce.
        let stays = available == 0 && policy.on_all_down != OnAllDown::Withdraw;
        match u32::try_from(available).is_ok_and(|available| available < needed) && !stays {
            true => short.push((name, &service.pool, available)),
            false => can_be_served = true,
        }
    }
    if can_be_served && policy.require == Require::Any {
        return;
    }
    if let Some((service, pool, available)) = short.first() {
        let path = format!("vips.{vip}.announce.{key}");
        let message = format!(
            "VIP `{vip}` will not be announced: service `{service}` needs {needed} usable backends, \
             {available} of pool `{pool}` can be"
        );
        warnings.at(
            &path,
            message,
            "lower the mark, or give the pool backends that are active and have a weight",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_text;

    const LEAST: &str = include_str!("../../tests/check/good/least.toml");

    fn warned(text: &str) -> Vec<(String, String)> {
        let (document, report) = parse_text("weir.toml", text).unwrap();
        // Those about sessions have tests of their own.
        let found = warnings(&report, &document, None).into_iter().filter(|w| !w.path.starts_with("peers"));
        found.map(|w| (w.path, w.message)).collect()
    }

    /// The least document with a check on its pool and a policy on its VIP.
    fn with(check: &str, announce: &str) -> String {
        LEAST
            .replace(
                "[pools.web.backends.b1]",
                &format!("[pools.web.check]\nkind = \"tcp\"\n{check}\n[pools.web.backends.b1]"),
            )
            .replace(
                "[services.www-https]",
                &format!("[vips.www.announce]\n{announce}\n[services.www-https]"),
            )
    }

    #[test]
    fn the_load_counts_each_backend_at_each_address_and_port() {
        let mut text = with("interval = \"500ms\"", "");
        text.push_str("[services.www-http]\nvip = \"www\"\nprotocol = \"tcp\"\nport = 80\npool = \"web\"\n");
        // The same host in another pool, tried once in two seconds.
        text.push_str("[pools.other]\nmode = \"ipip\"\n[pools.other.check]\nkind = \"tcp\"\n");
        text.push_str("[pools.other.backends.b1]\naddress = \"10.1.0.1\"\n");
        text.push_str(
            "[services.www-other]\nvip = \"www\"\nprotocol = \"tcp\"\nport = 81\npool = \"other\"\n",
        );
        let (document, _) = parse_text("weir.toml", &text).unwrap();
        let load = CheckLoad::of(&document);
        assert_eq!(load.checks, 5);
        assert!((load.attempts_per_second - 8.5).abs() < 1e-9, "{load:?}");
        assert_eq!(load.busiest, Some(("10.1.0.1".parse().unwrap(), 4.5)));
        let (without, _) = parse_text("weir.toml", LEAST).unwrap();
        assert_eq!(CheckLoad::of(&without), CheckLoad::default());
    }

    #[test]
    fn a_backend_that_is_tried_too_often_is_named() {
        let mut text = with("interval = \"100ms\"", "");
        for port in 1000..1002 {
            text.push_str(&format!(
                "[services.s{port}]\nvip = \"www\"\nprotocol = \"tcp\"\nport = {port}\npool = \"web\"\n"
            ));
        }
        let found = warned(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "pools.web.check.interval");
        assert!(found[0].1.contains("30 attempts a second"), "{found:?}");
        assert!(warned(&text.replace("100ms", "2s")).is_empty());
    }

    #[test]
    fn a_mark_that_cannot_be_reached_is_named() {
        assert!(warned(&with("", "low = 2")).is_empty());
        assert_eq!(warned(&with("", "low = 3"))[0].0, "vips.www.announce.low");
        assert_eq!(warned(&with("", "high = 3"))[0].0, "vips.www.announce.high");
        assert!(warned(&with("", "high = \"100%\"")).is_empty());
        let drained =
            with("", "").replace("address = \"10.1.0.", "state = \"draining\"\naddress = \"10.1.0.");
        assert_eq!(warned(&drained).len(), 1);
        let kept = drained.replace("[vips.www.announce]", "[vips.www.announce]\non_all_down = \"keep\"");
        assert!(warned(&kept).is_empty());
    }

    #[test]
    fn with_any_one_service_that_can_be_served_is_enough() {
        let mut text = with("", "low = 3\nrequire = \"any\"");
        assert_eq!(warned(&text).len(), 1);
        text.push_str("[pools.more]\nmode = \"ipip\"\n");
        for i in 1..=3 {
            text.push_str(&format!("[pools.more.backends.b{i}]\naddress = \"10.2.0.{i}\"\n"));
        }
        text.push_str("[services.more]\nvip = \"www\"\nprotocol = \"tcp\"\nport = 80\npool = \"more\"\n");
        assert!(warned(&text).is_empty());
        assert_eq!(warned(&text.replace("\"any\"", "\"all\"")).len(), 1);
        assert!(warned(&text.replace("\"any\"", "[\"more\"]")).is_empty());
    }
}
