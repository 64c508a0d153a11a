// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `packaging/prometheus/weir.rules.yml` and its tests. `promtool` reads both as YAML (`make check`); here they are read
//! line by line in the one form that they are written in, and a line of another form is an error.

use std::collections::{BTreeMap, BTreeSet};

use crate::promql::{Catalogue, LabelSet};
use crate::read;

const RULES: &str = "packaging/prometheus/weir.rules.yml";
const TESTS: &str = "packaging/prometheus/weir.rules_test.yml";
const RUNBOOK: &str = "docs/operating/alerts.md";
const RUNBOOK_URL: &str = "https://github.com/weir-lb/weir/blob/main/docs/operating/alerts.md#";
const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// One rule: its keys, those of `labels` and `annotations` with the rest, since no name is in two of them.
type Rule = BTreeMap<String, String>;

fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut block: Option<String> = None;
    for line in read(RULES).lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let (Some(key), true) = (&block, indent >= 10) {
            let rule = rules.last_mut().expect("a block is in a rule");
            let value = rule.get_mut(key).expect("the key was seen");
            value.push(' ');
            value.push_str(text);
            continue;
        }
        block = None;
        let is_first = text.starts_with("- ");
        let Some((key, value)) = text.trim_start_matches("- ").split_once(':') else {
            assert!(text.is_empty() || text.starts_with('#'), "unreadable line: {line}");
            continue;
        };
        match (indent, is_first, key) {
            (_, _, _) if text.starts_with('#') => {}
            (0, false, "groups") | (2, true, "name") | (4, false, "rules") => {}
            (6, true, "alert" | "record") => rules.push(Rule::from([(key.to_owned(), plain(value))])),
            (8, false, "labels" | "annotations") => {}
            (8, false, "expr" | "for") | (10, false, _) => {
                let rule = rules.last_mut().expect("a key is in a rule");
                let value = if value.trim() == "|" {
                    block = Some(key.to_owned());
                    String::new()
                } else {
                    plain(value)
                };
                assert_eq!(rule.insert(key.to_owned(), value), None, "{key} twice");
            }
            _ => panic!("unexpected line: {line}"),
        }
    }
    rules
}

/// A scalar without its quotes.
fn plain(value: &str) -> String {
    let value = value.trim();
    if let Some(inner) = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    value.trim_matches('"').to_owned()
}

/// The metrics and what the rules record from them, with the labels of each alert's expression.
pub(crate) fn catalogue() -> (Catalogue, BTreeMap<String, LabelSet>) {
    let mut catalogue = Catalogue::of_metrics();
    let mut alerts = BTreeMap::new();
    for rule in rules() {
        let expression = rule.get("expr").unwrap_or_else(|| panic!("{rule:?} has no expr"));
        let labels = catalogue.labels(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        match (rule.get("record"), rule.get("alert")) {
            (Some(name), None) => catalogue.record(name, labels),
            (None, Some(name)) => assert!(alerts.insert(name.clone(), labels).is_none(), "{name} twice"),
            _ => panic!("{rule:?} is neither alert nor record"),
        }
    }
    (catalogue, alerts)
}

#[test]
fn every_expression_uses_what_exists() {
    let (_, alerts) = catalogue();
    assert!(alerts.len() > 15, "{} alerts were read", alerts.len());
}

#[test]
fn recorded_names_have_three_parts() {
    for name in rules().iter().filter_map(|rule| rule.get("record")) {
        assert!(name.starts_with("weir:") && name.split(':').count() == 3, "{name}");
    }
}

#[test]
fn alerts_say_what_is_wrong_and_what_to_do() {
    let (_, of_alerts) = catalogue();
    for rule in rules().iter().filter(|rule| rule.contains_key("alert")) {
        let name = &rule["alert"];
        assert!(name.starts_with("Weir"), "{name}");
        assert!(SEVERITIES.contains(&rule["severity"].as_str()), "{name}: {}", rule["severity"]);
        assert_eq!(rule["runbook_url"], format!("{RUNBOOK_URL}{}", name.to_lowercase()), "{name}");
        assert!(!rule["summary"].ends_with('.') && rule["description"].ends_with('.'), "{name}");
        let text = format!("{} {}", rule["summary"], rule["description"]);
        for label in text.split("$labels.").skip(1) {
            let label: String =
                label.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(of_alerts[name].contains(&label), "{name}: its result has no label {label}");
        }
    }
}

#[test]
fn every_alert_has_a_section_and_two_tests() {
    let (runbook, tests) = (read(RUNBOOK), read(TESTS));
    let (_, alerts) = catalogue();
    for name in alerts.keys() {
        assert!(runbook.contains(&format!("\n## {name}\n")), "{RUNBOOK} has no section {name}");
        for case in ["fires", "stays quiet"] {
            assert!(tests.contains(&format!("- name: {name} {case}\n")), "{TESTS}: {name} {case}");
        }
    }
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let stale: Vec<_> = sections.iter().filter(|name| !alerts.contains_key(**name)).collect();
    assert!(stale.is_empty(), "{RUNBOOK} has sections of alerts that are not: {stale:?}");
}
