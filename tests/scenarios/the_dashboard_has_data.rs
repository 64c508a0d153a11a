// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with traffic, and a Prometheus that scrapes it and has our rules,
//! When every query of the dashboard is asked,
//! Then each is answered without an error, and all that must have data on a healthy appliance have it; no alert fires that
//! should not.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_lab::{Fabric, Process, document, requests, wait_until};

use crate::{PATIENCE, quiet_fabric};

/// Where our Prometheus listens, in the namespace of the appliance.
const PROMETHEUS: &str = "127.0.0.1:19090";
/// Where it scrapes.
const API: &str = "127.0.0.1:9180";
/// Panels that have no data while nothing is wrong, or of what the lab's document does not ask for.
const QUIET: [&str; 5] =
    ["Withheld, by reason", "Failed checks by result", "BFD", "Default routes taken", "Notifications"];
/// Alerts that may be pending or fire in a lab: it has one appliance, in generic mode if the kernel wants that.
const EXPECTED: [&str; 1] = ["WeirXdpGenericMode"];

fn packaging(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging")
        .join(path)
        .canonicalize()
        .expect("it is there")
}

fn start(fabric: &Fabric) -> Process {
    let folder = fabric.logs.folder("prometheus").expect("a folder");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n- job_name: weir\n  \
         static_configs: [{{targets: [\"{API}\"]}}]\n",
        packaging("prometheus/weir.rules.yml").display()
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("written");
    let mut command = fabric.appliances[0].netns().command("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={PROMETHEUS}"));
    Process::spawn("prometheus", &mut command, &fabric.logs.file("prometheus.log")).expect("it starts")
}

/// The answer of Prometheus to one path, with a query if there is one.
fn ask(fabric: &Fabric, path: &str, query: Option<&str>) -> anyhow::Result<Value> {
    let mut command = fabric.appliances[0].netns().command("curl");
    command.args(["--silent", "--max-time", "5", "--get", &format!("http://{PROMETHEUS}/api/v1/{path}")]);
    if let Some(query) = query {
        command.args(["--data-urlencode", &format!("query={query}")]);
    }
    let answer: Value = serde_json::from_str(&weir_lab::output(&mut command)?)?;
    anyhow::ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
    Ok(answer["data"].clone())
}

/// Number of series that a query of the dashboard has, its variables set to everything.
fn series(fabric: &Fabric, expression: &str) -> anyhow::Result<usize> {
    let mut query = expression.replace("$__rate_interval", "1m");
    for variable in ["$instance", "$vip", "$pool"] {
        query = query.replace(variable, ".*");
    }
    let data = ask(fabric, "query", Some(&query))?;
    Ok(data["result"].as_array().map_or(0, Vec::len))
}

#[test]
#[ignore = "needs root and netns"]
fn every_panel_of_a_healthy_appliance_has_data() {
    let mut fabric = quiet_fabric();
    let listen = format!("[bootstrap]\napi_listen = \"{API}\"\n");
    fabric.appliances[0].edit_document("[bootstrap]\n", &listen).expect("the document");
    fabric.start_agents().expect("the agents start");
    fabric.appliances[0].start().expect("the appliance starts");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    fabric.wait_usable(PATIENCE).expect("the checks find the backends well");
    let mut prometheus = start(&fabric);
    // A rate wants two scrapes with traffic between them, and what is recorded from it one evaluation more.
    let ready = || {
        prometheus.check_running()?;
        let tally = requests(&fabric.client, &document::targets(), 10)?;
        anyhow::ensure!(tally.failed == 0, "{:?}", tally.reasons);
        let found = series(&fabric, "weir:xdp_vip_packets:ratio1m > 0")?;
        anyhow::ensure!(found > 0, "nothing recorded yet");
        Ok(())
    };
    wait_until("the first recorded rates", PATIENCE + Duration::from_secs(10), ready).expect("scraped");

    let text = std::fs::read_to_string(packaging("grafana/weir-overview.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut empty = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let found = series(&fabric, target["expr"].as_str().expect("a query")).expect("an answer");
            if found == 0 && !QUIET.contains(&title) {
                empty.push(title);
            }
        }
    }
    assert!(empty.is_empty(), "no data in {empty:?}");

    let alerts = ask(&fabric, "alerts", None).expect("alerts");
    let firing = alerts["alerts"].as_array().expect("a list").iter();
    let names: Vec<&str> = firing.filter_map(|alert| alert["labels"]["alertname"].as_str()).collect();
    assert!(names.iter().all(|name| EXPECTED.contains(name)), "{names:?}");
    let rules = ask(&fabric, "rules", None).expect("rules");
    for rule in rules["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array())
        .flatten()
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
