// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Warnings about modes and selection: options that are good by themselves and do something else than one may think.

use std::collections::BTreeMap;

use weir_bgp::Prefix;

use super::Warnings;
use crate::model::{Affinity, Algorithm, Document, Fragments, GueVariant, Mode, Pool, Service, contains};

pub(super) fn warn(warnings: &mut Warnings<'_>, document: &Document) {
    for (name, pool) in &document.pools {
        candidates(warnings, name, pool);
        invented_sources(warnings, document, name, pool);
    }
    for (name, service) in &document.services {
        selection(warnings, name, service);
    }
    nested(warnings, document);
}

/// The list of candidates is for agents that pass packets on.
fn candidates(warnings: &mut Warnings<'_>, name: &str, pool: &Pool) {
    let Mode::Gue(gue) = &pool.mode else { return };
    if gue.variant != GueVariant::Candidates {
        return;
    }
    let path = format!("pools.{name}.gue.variant");
    warnings.at(
        &path,
        "backends skip the list of candidates: no agent of this version passes packets on, and the list takes room of every packet"
            .to_owned(),
        "write `variant = \"header\"` until the agents can do it",
    );
    if pool.algorithm == Algorithm::Maglev {
        let message =
            "after a change `maglev` rows lack 0.1 to 2 % of the backends that had their flows".to_owned();
        warnings.at(
            &path,
            message,
            "use `algorithm = \"rendezvous\"` where flows shall survive every single change",
        );
    }
}

/// Sources that nobody has do not pass everywhere.
fn invented_sources(warnings: &mut Warnings<'_>, document: &Document, name: &str, pool: &Pool) {
    if !pool.outer.source_entropy || pool.mode == Mode::L2 {
        return;
    }
    let limits = &document.limits;
    let of = |is_ipv4: bool| pool.backends.values().any(|backend| backend.address.is_ipv4() == is_ipv4);
    let v4 = limits.entropy_v4.filter(|_| of(true)).map(|v4| format!("`{v4}/16`"));
    let v6 = limits.entropy_v6.filter(|_| of(false)).map(|v6| format!("`{v6}/64`"));
    let prefixes: Vec<String> = v4.into_iter().chain(v6).collect();
    if !prefixes.is_empty() {
        let message = format!(
            "outer sources are made up within {}: whatever checks sources drops them (uRPF, filters, agents that do not list it)",
            prefixes.join(" and ")
        );
        let help = "list the prefix in the agents' `appliances`, and let the fabric carry it; `flow_label` and GUE's ports spread too";
        warnings.at(&format!("pools.{name}.outer.source_entropy"), message, help);
    }
}

fn selection(warnings: &mut Warnings<'_>, name: &str, service: &Service) {
    match (service.fragments, service.affinity) {
        (Fragments::BySource, Affinity::SourcePort) => {
            let message =
                "fragments have no ports, so `by-source` keeps a client on one backend whatever the port"
                    .to_owned();
            let help = "leave out `affinity`, or write `fragments = \"first-fragment\"`";
            warnings.at(&format!("services.{name}.fragments"), message, help);
        }
        (Fragments::BySource, Affinity::Flow | Affinity::Source)
        | (Fragments::Drop | Fragments::FirstFragment, _) => {}
    }
}

/// A VIP that lies in another one: a single address gets what it does not serve itself from there, a prefix gets nothing, since
/// of nested prefixes the longest alone is asked (`docs/adr/0030-headers-and-selection.md`).
fn nested(warnings: &mut Warnings<'_>, document: &Document) {
    let is_host = |prefix: Prefix| prefix == Prefix::host(prefix.address());
    let around: BTreeMap<Prefix, &str> = document
        .vips
        .iter()
        .filter(|(_, vip)| !is_host(vip.prefix))
        .map(|(name, vip)| (vip.prefix, name.as_str()))
        .collect();
    if around.is_empty() {
        return;
    }
    for (name, vip) in &document.vips {
        let holds =
            |outer: &Prefix| outer.length() < vip.prefix.length() && contains(*outer, vip.prefix.address());
        let Some((outer, outer_name)) =
            around.iter().filter(|(outer, _)| holds(outer)).max_by_key(|(o, _)| o.length())
        else {
            continue;
        };
        let ports = if is_host(vip.prefix) { "the ports" } else { "no ports" };
        let message = format!(
            "lies in VIP `{outer_name}` (`{outer}`), which serves {ports} of it that no service of this VIP has, \
             and attracts its packets while this one is withdrawn"
        );
        let help = "choose an address outside if that is not wanted";
        warnings.at(&format!("vips.{name}.address"), message, help);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::advice::warnings;
    use crate::config::parse_text;

    const LEAST: &str = include_str!("../../../tests/check/good/least.toml");

    fn warned(text: &str) -> Vec<String> {
        let (document, report) = parse_text("weir.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let found = warnings(&report, &document, None).into_iter().map(|warning| warning.path);
        found.filter(|path| !path.starts_with("peers") && !path.starts_with("bgp")).collect()
    }

    #[test]
    fn a_list_that_nobody_reads_is_named() {
        let gue = |variant: &str| {
            let text = LEAST.replace("mode = \"ipip\"", "mode = \"gue\"");
            format!("{text}[pools.web.gue]\nvariant = \"{variant}\"\n")
        };
        assert_eq!(warned(&gue("candidates")), ["pools.web.gue.variant"]);
        assert!(warned(&gue("header")).is_empty() && warned(&gue("direct")).is_empty());
        let maglev = gue("candidates").replace("mode = \"gue\"", "mode = \"gue\"\nalgorithm = \"maglev\"");
        assert_eq!(warned(&maglev).len(), 2);
    }

    #[test]
    fn sources_that_nobody_has_are_named() {
        let text = format!(
            "{LEAST}[pools.web.outer]\nsource_entropy = true\n[dataplane.limits]\nentropy_v4 = \"172.16.0.0/16\"\n"
        );
        assert_eq!(warned(&text), ["pools.web.outer.source_entropy"]);
    }

    #[test]
    fn what_overrules_an_affinity_is_named() {
        let with = |affinity: &str, fragments: &str| {
            let keys = format!("port = 443\naffinity = \"{affinity}\"\nfragments = \"{fragments}\"");
            warned(&LEAST.replace("port = 443", &keys))
        };
        assert_eq!(with("source-port", "by-source"), ["services.www-https.fragments"]);
        assert!(with("source", "by-source").is_empty() && with("source-port", "first-fragment").is_empty());
    }

    #[test]
    fn a_vip_in_a_vip_is_named() {
        let text = |prefix: &str| format!("{LEAST}[vips.all]\naddress = \"{prefix}\"\n");
        assert!(warned(&text("198.51.100.0/29")).iter().all(|path| path != "vips.www.address"));
        assert!(warned(&text("198.51.100.8/29")).contains(&"vips.www.address".to_owned()));
    }

    #[test]
    fn whom_an_outer_vip_serves_is_said() {
        let message = |inner: &str| {
            let text =
                LEAST.replace("\"198.51.100.10\"", inner) + "[vips.all]\naddress = \"198.51.100.0/24\"\n";
            let (document, report) =
                parse_text("weir.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
            let mut found = warnings(&report, &document, None).into_iter();
            found.find(|warning| warning.path == "vips.www.address").unwrap().message
        };
        assert!(message("\"198.51.100.10\"").contains("serves the ports of it"));
        assert!(message("\"198.51.100.16/28\"").contains("serves no ports of it"));
    }
}
