// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two appliances that announce an IPv4 and an IPv6 VIP, and three backends behind them,
//! When a client makes requests to both VIPs, one connection each,
//! Then none fails, every backend answers its share in both families, and both appliances forward theirs.

use weir_lab::{document, requests, wait_until};

use crate::{PATIENCE, fabric};

const REQUESTS: usize = 600;

#[test]
#[ignore = "needs root and netns"]
fn both_families_spread_over_appliances_and_backends() {
    let fabric = fabric();
    for target in document::targets() {
        let flows = |n: usize| {
            let metrics = fabric.appliances[n].metrics().expect("metrics");
            metrics.count("weir_service_flows_created_total", &[])
        };
        let before = [flows(0), flows(1)];
        let tally = requests(&fabric.client, &[target], REQUESTS).expect("the load runs");
        assert_eq!(tally.failed, 0, "{target}: {:?}", tally.reasons);
        assert_eq!(tally.spread.len(), 3, "{target}: {:?}", tally.spread);
        assert!(tally.spread.values().all(|count| *count > REQUESTS / 6), "{target}: {:?}", tally.spread);
        wait_until("both appliances to have counted their flows", PATIENCE, || {
            let share = [flows(0) - before[0], flows(1) - before[1]];
            anyhow::ensure!(share.iter().sum::<f64>() >= REQUESTS as f64, "{share:?}");
            anyhow::ensure!(share.iter().all(|flows| *flows > REQUESTS as f64 / 5.0), "{share:?}");
            Ok(())
        })
        .expect("an even spread");
    }
    // The way that was meant: decapsulated by the agents, not delivered by accident.
    for backend in &fabric.backends {
        let metrics = backend.agent_metrics().expect("metrics");
        assert!(metrics.count("weir_agent_packets_total", &["verdict=\"decapsulated\""]) > REQUESTS as f64);
    }
}
