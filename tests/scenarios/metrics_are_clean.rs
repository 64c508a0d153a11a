// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance and agents that have carried traffic, with an override set, so that most families have series,
//! When their metrics are scraped,
//! Then `promtool check metrics` has nothing to say about them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use weir_lab::{document, requests};

use crate::small_fabric;

/// What `promtool` says about a scrape; empty when it is clean. The lab's client cuts the last line's end off.
fn findings(scrape: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by scripts/setup.sh");
    let mut input = promtool.stdin.take().expect("piped");
    writeln!(input, "{}", scrape.trim_end()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{:?}: {said}", output.status);
    said
}

#[test]
#[ignore = "needs root and netns"]
fn promtool_finds_nothing_in_a_live_scrape() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let tally = requests(&fabric.client, &document::targets(), 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    lb1.api().set_override("pools/web4/backends/b1", "drain").expect("a drain");

    let scrape = lb1.metrics().expect("metrics");
    for family in ["weir_healthcheck_duration_seconds_bucket", "weir_overrides", "weir_xdp_packets_total"] {
        assert!(scrape.0.contains(&format!("\n{family}{{")), "{family} is in the scrape");
    }
    assert_eq!(findings(&scrape.0), "", "of the appliance");
    let agent = fabric.backends[0].agent_metrics().expect("metrics");
    assert!(agent.0.contains("weir_agent_packets_total"));
    assert_eq!(findings(&agent.0), "", "of the agent");
    // The tool does find things.
    assert_ne!(findings("# TYPE weir_x_ms gauge\nweir_x_ms 1\n"), "");
}
