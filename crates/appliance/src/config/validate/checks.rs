// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about health checks: times that fit each other, keys that fit the kind, a port to connect to, and how many
//! checks there are in all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::config::limits;
use crate::config::read::{CheckDraft, Draft, Kind, ServiceDraft};
use crate::config::report::Report;
use crate::config::value::duration_text;
use crate::model::{HttpMethod, Protocol};

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    interface(report, draft);
    let mut services: BTreeMap<&str, Vec<&ServiceDraft>> = BTreeMap::new();
    for service in draft.services.values() {
        services.entry(service.pool.as_deref().unwrap_or_default()).or_default().push(service);
    }
    let mut count = 0_usize;
    for (name, pool) in &draft.pools {
        let Some(check) = &pool.check else { continue };
        let path = format!("pools.{name}.check");
        let services = services.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        times(report, &path, check);
        kind(report, &path, check);
        port(report, &path, check, services);
        let checks = pool.backends.len().saturating_mul(targets(draft, check, services));
        count = count.saturating_add(checks);
    }
    if count > limits::CHECKS_MAX {
        report.at(
            "pools",
            format!("the pools make {count} checks, at most {} are run", limits::CHECKS_MAX),
            "give pools that serve many ports a `check.port`, so that each VIP is checked once",
        );
    }
}

/// The interface of checks is made by the appliance, so nothing else may have its name.
fn interface(report: &mut Report, draft: &Draft) {
    let Some(interface) = &draft.bootstrap.checks.interface else { return };
    for name in [interface.clone(), format!("{interface}-p")] {
        if draft.uplinks.contains_key(&name) {
            report.at(
                "bootstrap.checks.interface",
                format!("`{name}` is an uplink, and checks need an interface of their own"),
                "choose a name that no interface has: it is made at the start",
            );
        }
    }
}

/// What `Timing` asks of its times together.
fn times(report: &mut Report, path: &str, check: &CheckDraft) {
    let Some(timing) = check.timing.fitted() else { return };
    let text = |span: Duration| format!("`{}`", duration_text(span));
    if timing.timeout >= timing.interval {
        report.at(
            &format!("{path}.timeout"),
            format!("{} is not shorter than the interval, {}", text(timing.timeout), text(timing.interval)),
            "shorten `timeout` or lengthen `interval`: an attempt ends before the next is due",
        );
    }
    if timing.fast_interval > timing.interval {
        report.at(
            &format!("{path}.fast_interval"),
            format!("{} is longer than the interval, {}", text(timing.fast_interval), text(timing.interval)),
            "shorten it: this is the wait while a change is being decided",
        );
    }
    if timing.down_interval < timing.fast_interval {
        let (down, fast) = (text(timing.down_interval), text(timing.fast_interval));
        report.at(
            &format!("{path}.down_interval"),
            format!("{down} is shorter than the fast interval, {fast}"),
            "lengthen it: a backend that is down needs no more attempts than one in doubt",
        );
    }
}

/// Keys that only some checks have.
fn kind(report: &mut Report, path: &str, check: &CheckDraft) {
    if check.kind == Some(Kind::Tcp) {
        for key in check.http.written() {
            let message = "has no meaning for a check of kind `tcp`";
            report.at(&format!("{path}.{key}"), message, "remove it, or write `kind = \"http\"`");
        }
    } else if check.http.method == Some(Some(HttpMethod::Head)) && check.http.body.as_ref() != Some(&None) {
        let message = "the answer to a `HEAD` request has no body";
        report.at(&format!("{path}.body"), message, "remove it, or use the method `GET`");
    }
}

/// A pool of UDP services alone has no port that TCP could connect to.
fn port(report: &mut Report, path: &str, check: &CheckDraft, services: &[&ServiceDraft]) {
    // A service whose protocol was refused may have meant TCP.
    let is_udp = services.iter().all(|service| service.protocol == Some(Protocol::Udp));
    if check.port == Some(None) && !is_udp && services.iter().all(|service| has_no_port(service)) {
        let path = format!("{path}.port");
        let message = "missing: the TCP services that use this pool have `port = \"any\"`";
        report.at(&path, message, "add `port = …`, a TCP port that the backends answer on the VIP");
    }
    if check.port == Some(None) && is_udp && !services.is_empty() {
        let path = format!("{path}.port");
        let message = "missing: only UDP services use this pool, and checks connect by TCP";
        report.at(&path, message, "add `port = …`, a TCP port that the backends answer on the VIP");
    }
}

/// Whether a service names no port that a check could connect to.
fn has_no_port(service: &ServiceDraft) -> bool {
    service.protocol == Some(Protocol::Udp) || service.protocol.is_some() && service.port == Some(None)
}

/// How many addresses and ports of a pool each of its backends is tried at.
fn targets(draft: &Draft, check: &CheckDraft, services: &[&ServiceDraft]) -> usize {
    let Some(port) = check.port else { return 0 };
    let target = |service: &&ServiceDraft| {
        let address = draft.vips.get(service.vip.as_deref()?)?.prefix?.address();
        let own = (service.protocol == Some(Protocol::Tcp)).then_some(service.port).flatten().flatten();
        Some((address, port.or(own)?))
    };
    services.iter().filter_map(target).collect::<BTreeSet<(IpAddr, u16)>>().len()
}
