// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance of which one backend has failed and another is draining,
//! When its daemon is killed and started again,
//! Then no new flow goes to either, not before, while or after, no request fails as long as packets arrive, and the routes
//! come back.

use std::time::Duration;

use weir_lab::document::{self, Checks};
use weir_lab::{Fabric, Layout, Load, Tally, wait_until};

use crate::{PATIENCE, weir};

/// The verdicts are written down every ten seconds.
const WRITTEN_LIMIT: Duration = Duration::from_secs(15);

#[test]
#[ignore = "needs root and netns"]
fn nothing_flaps_to_them() {
    let layout = Layout { backends: 4, checks: Checks::Defaults, ..Layout::small(weir()) };
    let mut fabric = Fabric::up(&layout).expect("the fabric comes up");
    for pool in ["web4", "web6"] {
        let target = format!("pools/{pool}/backends/b2");
        fabric.appliances[0].api().set_override(&target, "drain").expect("drained");
    }
    // Silent, not refusing: a mistake would show as a slow failure, and nothing tells the new daemon at once.
    fabric.silence(1).expect("the link goes");
    fabric.appliances[0].wait_both("b1", "failed", PATIENCE).expect("found");
    fabric.appliances[0].wait_both("b2", "draining", PATIENCE).expect("drained");
    let file = fabric.appliances[0].dir().join("state/health.json");
    wait_until("the verdicts to be written down", WRITTEN_LIMIT, || {
        let text = std::fs::read_to_string(&file)?;
        let file: serde_json::Value = serde_json::from_str(&text)?;
        let lines = file["data"].as_array().into_iter().flatten();
        let down = lines.filter(|line| line["is_up"] == false).count();
        anyhow::ensure!(down == 2, "{down} of 2 checks are down in {text}");
        Ok(())
    })
    .expect("written");

    // The ToR drops the routes with the sessions; static ones stand in, so that packets still reach the program.
    let (v4, v6) = document::Subnet::Appliance(1).host();
    let [vip_v4, vip_v6] = document::vip_prefixes();
    let lines = format!("route add {vip_v4} via {v4} metric 9000\nroute add {vip_v6} via {v6} metric 9000");
    fabric.tor.ip(&lines).expect("static routes");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");
    fabric.appliances[0].kill().expect("it dies");
    load.wait_more(200, PATIENCE).expect("requests");
    fabric.appliances[0].start().expect("it starts again");
    load.wait_more(200, PATIENCE).expect("requests");
    let lb1 = &fabric.appliances[0];
    lb1.wait_both("b1", "failed", PATIENCE).expect("remembered");
    lb1.wait_both("b2", "draining", PATIENCE).expect("remembered");
    load.wait_more(200, PATIENCE).expect("requests");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    assert_eq!(tally.spread.keys().collect::<Vec<_>>(), ["b3", "b4"], "{:?}", tally.spread);

    // Without the static ones there are only those that it announces.
    fabric.tor.ip(&lines.replace("route add", "route del")).expect("static routes go");
    fabric.wait_routes(&[1], PATIENCE).expect("announced again");
}
