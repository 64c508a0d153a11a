// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given one appliance that has found a backend down,
//! When it is stopped and started again,
//! Then the backend is down from the first moment, without a check that has to find it out again,
//! and when it comes back that is found out as ever.

use std::time::Duration;

use serde_json::Value;
use weir_lab::document::Checks;
use weir_lab::{Appliance, Fabric, Layout, document, requests, wait_until};

use crate::{PATIENCE, weir};

/// Down is found out within seconds, and up again not faster than a backend that is down is tried.
const FOUND: Duration = Duration::from_secs(30);

/// What the present process logged.
fn lines(lb1: &Appliance) -> Vec<Value> {
    let log = lb1.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // The first line of a process is that of its document or dataplane: all of them come before `running`, and verdicts
    // may too. So the process begins after the last word of the one before.
    let start = lines.iter().rposition(|line| line["message"] == "stopped: withdrawn and detached");
    lines.into_iter().skip(start.map_or(0, |last| last + 1)).collect()
}

/// Changes of verdict of one backend that the present process logged.
fn changes(lb1: &Appliance, backend: &str) -> Vec<String> {
    let lines = lines(lb1);
    let changes =
        lines.iter().filter(|line| line["message"] == "check changed" && line["backend"] == backend);
    changes.map(|line| line["to"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What the present process made of one backend, from and to.
fn conditions(lb1: &Appliance, backend: &str) -> Vec<(Value, Value)> {
    let is_of = |line: &&Value| {
        line["message"] == "backend changed"
            && line["object"].as_str().is_some_and(|object| object.ends_with(backend))
    };
    lines(lb1).iter().filter(is_of).map(|line| (line["from"].clone(), line["to"].clone())).collect()
}

#[test]
#[ignore = "needs root and netns"]
fn a_dead_backend_is_dead_after_a_restart() {
    let layout = Layout { checks: Checks::Defaults, ..Layout::small(weir()) };
    let mut fabric = Fabric::up(&layout).expect("the fabric comes up");
    fabric.wait_usable(PATIENCE).expect("usable");
    fabric.backends[0].kill_web().expect("it dies");
    wait_until("both checks of b1 to be down", FOUND, || {
        let found = changes(&fabric.appliances[0], "b1");
        // One check cannot go down twice in a row. A packet lost at the start may have added a pair before.
        anyhow::ensure!(found.ends_with(&["down".into(), "down".into()]), "{found:?}");
        Ok(())
    })
    .expect("down");

    fabric.appliances[0].stop().expect("it stops");
    fabric.appliances[0].start().expect("it starts again");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    assert_eq!(changes(&fabric.appliances[0], "b1"), [""; 0], "it was known");
    let conditions = conditions(&fabric.appliances[0], "/b1");
    let is_first = |(from, to): &(Value, Value)| from.is_null() && to == "failed";
    assert!(!conditions.is_empty() && conditions.iter().all(is_first), "never usable: {conditions:?}");

    fabric.backends[0].start_web().expect("it lives");
    wait_until("both checks of b1 to be up", FOUND, || {
        let found = changes(&fabric.appliances[0], "b1");
        anyhow::ensure!(found == ["up", "up"], "{found:?}");
        Ok(())
    })
    .expect("up");
}
