// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who knows whom. The list is the architecture: a new edge is a decision, not a line in a manifest.
//!
//! ```text
//!                  appliance
//!   agent  bgp  bfd  health  api  |     siblings never meet, but agent -> dataplane
//!      \_____ dataplane _____/
//!                 |
//!           dataplane-core <- dataplane-ebpf
//! ```

use serde_json::Value;

use super::Report;

/// A package, ours that it may use, and ours that only its tests may use.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const RULES: &[Rule] = &[
    ("weir-agent", &["weir-dataplane", "weir-dataplane-core"], &["weir-lab"]),
    ("weir-api", &[], &[]),
    (
        "weir-appliance",
        &[
            "weir-agent",
            "weir-api",
            "weir-bfd",
            "weir-bgp",
            "weir-dataplane",
            "weir-dataplane-core",
            "weir-health",
        ],
        &["weir-lab"],
    ),
    ("weir-bfd", &[], &["weir-lab"]),
    ("weir-bgp", &[], &["weir-lab"]),
    ("weir-dataplane", &["weir-dataplane-core"], &["weir-lab"]),
    ("weir-dataplane-core", &[], &[]),
    ("weir-dataplane-ebpf", &["weir-dataplane-core"], &[]),
    ("weir-health", &[], &[]),
    ("weir-lab", &[], &[]),
    ("xtask", &[], &[]),
];

/// Adds an error for each package that is not on the list, and for each edge that is not.
pub(super) fn check(metadata: &Value, report: &mut Report) {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        report.errors.push("cargo's metadata names no packages".into());
    }
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, normal, dev)) = RULES.iter().find(|(known, _, _)| *known == name) else {
            report.errors.push(format!("package {name} is not in the list of who may know whom"));
            continue;
        };
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let to = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            let is_ours = names.contains(&to);
            if is_ours && !normal.contains(&to) && !(is_dev && dev.contains(&to)) {
                report.errors.push(format!("{name} must not depend on {to}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(json: &str) -> Vec<String> {
        let mut report = Report::default();
        check(&serde_json::from_str(json).expect("test input is JSON"), &mut report);
        report.errors
    }

    #[test]
    fn a_listed_edge_is_fine_and_an_unlisted_one_is_not() {
        let json = r#"{"packages":[
            {"name":"weir-agent","dependencies":[{"name":"weir-dataplane","kind":null},{"name":"serde","kind":null}]},
            {"name":"weir-dataplane","dependencies":[{"name":"weir-lab","kind":"dev"}]},
            {"name":"weir-lab","dependencies":[]},
            {"name":"weir-bgp","dependencies":[{"name":"weir-agent","kind":null}]}]}"#;
        assert_eq!(errors(json), ["weir-bgp must not depend on weir-agent"]);
    }

    #[test]
    fn an_edge_for_tests_only_is_not_an_edge_for_all() {
        let json = r#"{"packages":[{"name":"weir-appliance","dependencies":[{"name":"weir-lab","kind":null}]},
            {"name":"weir-lab","dependencies":[]}]}"#;
        assert_eq!(errors(json), ["weir-appliance must not depend on weir-lab"]);
    }

    #[test]
    fn a_new_package_must_be_listed() {
        let json = r#"{"packages":[{"name":"weir-common","dependencies":[]}]}"#;
        assert_eq!(errors(json), ["package weir-common is not in the list of who may know whom"]);
        assert_eq!(errors("{}"), ["cargo's metadata names no packages"]);
    }
}
