// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `packaging/grafana/weir-overview.json`: expressions, and the rules that keep a dashboard portable and readable.

use serde_json::Value;

use crate::promql::Catalogue;
use crate::{read, rules};

const DASHBOARD: &str = "packaging/grafana/weir-overview.json";
/// Every query and panel takes its data source from the variable of that name.
const DATA_SOURCE: &str = "${datasource}";
/// Columns of the grid.
const COLUMNS: u64 = 24;

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON")
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is no list in {value}"))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

/// Panels that show something, rows left out.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// Replaces what Grafana fills in by something of the same kind.
fn filled_in(expression: &str) -> String {
    expression.replace("$__rate_interval", "1m")
}

#[test]
fn every_expression_uses_what_exists() {
    let (catalogue, _) = rules::catalogue();
    let dashboard = dashboard();
    let mut queries = 0;
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        for target in list(panel, "targets") {
            let expression = text(target, "expr");
            let labels = catalogue
                .labels(&filled_in(expression))
                .unwrap_or_else(|error| panic!("{title}: {expression}: {error}"));
            for label in text(target, "legendFormat").split("{{").skip(1) {
                let (label, _) = label.split_once("}}").expect("braces close");
                assert!(labels.contains(label), "{title}: the result has no label {label}");
            }
            queries += 1;
        }
    }
    assert!(queries > 20, "{queries} queries were read");
}

#[test]
fn rates_follow_the_scrape_interval() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in list(panel, "targets") {
            let expression = text(target, "expr");
            for range in expression.split('[').skip(1) {
                assert!(range.starts_with("$__rate_interval]"), "{}: {expression}", text(panel, "title"));
            }
        }
    }
}

#[test]
fn it_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert_eq!(text(&dashboard, "uid"), "weir-overview");
    assert_eq!(text(&dashboard, "timezone"), "browser");
    assert!(dashboard.get("id").is_none() && dashboard["schemaVersion"].is_u64());
    assert!(list(&dashboard, "tags").contains(&"weir".into()));
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(panel.get("id").is_none(), "{title}: numbers are given on import");
        assert_eq!(panel["datasource"]["uid"], DATA_SOURCE, "{title}");
        assert!(
            list(panel, "targets").iter().all(|target| target["datasource"]["uid"] == DATA_SOURCE),
            "{title}"
        );
    }
}

#[test]
fn variables_come_from_labels_that_exist() {
    let catalogue = Catalogue::of_metrics();
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "instance", "vip", "pool"]);
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = text(&variable["query"], "query");
        let inner = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
        let (selector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(a, b)");
        let labels = catalogue.labels(selector).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(labels.contains(label), "{query}");
        assert_eq!(variable["datasource"]["uid"], DATA_SOURCE);
    }
}

#[test]
fn panels_explain_themselves() {
    let dashboard = dashboard();
    let mut titles = std::collections::BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(text(panel, "description").ends_with('.'), "{title}: no description");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}: no unit");
        assert!(titles.insert(title), "two panels are called {title}");
    }
    assert!(list(&dashboard, "links").iter().all(|link| text(link, "url").contains("/docs/operating/")));
}

#[test]
fn panels_do_not_overlap() {
    let dashboard = dashboard();
    let boxes: Vec<[u64; 4]> = list(&dashboard, "panels")
        .iter()
        .map(|panel| {
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place on the grid"))
        })
        .collect();
    for (index, [x, y, w, h]) in boxes.iter().enumerate() {
        assert!(*w > 0 && *h > 0 && x + w <= COLUMNS, "panel {index} leaves the grid");
        for (other, [ox, oy, ow, oh]) in boxes.iter().enumerate().skip(index + 1) {
            let apart = x + w <= *ox || ox + ow <= *x || y + h <= *oy || oy + oh <= *y;
            assert!(apart, "panels {index} and {other} overlap");
        }
    }
}
