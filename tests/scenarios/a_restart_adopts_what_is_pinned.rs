// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given one appliance with connections through it,
//! When its daemon is killed and started again,
//! Then link and maps are the same kernel objects as before, the connections go on while no daemon runs and after,
//! and the appliance announces again.

use weir_lab::{Kept, document, requests};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn link_flow_table_and_connections_survive_the_daemon() {
    let mut fabric = small_fabric();
    let mut kept = Kept::open(&fabric.client, &document::targets(), 20).expect("connections");
    let before = fabric.appliances[0].pins().expect("pins");
    for kind in ["link_id", "map_id", "prog_id"] {
        assert!(before.values().any(|number| number.starts_with(kind)), "{before:?}");
    }
    // The ToR drops the routes with the sessions; static ones stand in, so that packets still reach the program.
    let (v4, v6) = document::Subnet::Appliance(1).host();
    let [vip_v4, vip_v6] = document::vip_prefixes();
    let lines = format!("route add {vip_v4} via {v4} metric 9000\nroute add {vip_v6} via {v6} metric 9000");
    fabric.tor.ip(&lines).expect("static routes");
    fabric.appliances[0].kill().expect("it dies");
    kept.check().expect("connections go on without a daemon");
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!(tally.failed, 0, "new flows without a daemon: {:?}", tally.reasons);

    fabric.appliances[0].start().expect("it starts again");
    let after = fabric.appliances[0].pins().expect("pins");
    assert!(after.keys().eq(before.keys()), "{before:?} {after:?}");
    for (path, number) in &before {
        // The program is the new daemon's own, put on the old link; all else is as it was.
        assert_eq!(after[path] == *number, !number.starts_with("prog_id"), "{before:?} {after:?}");
    }
    kept.check().expect("connections go on with the new daemon");
    fabric.tor.ip(&lines.replace("route add", "route del")).expect("static routes go");
    fabric.wait_routes(&[1], PATIENCE).expect("announced again");
    kept.check().expect("connections go on over the announced route");
    let metrics = fabric.appliances[0].metrics().expect("metrics");
    assert_eq!(metrics.count("weir_xdp_packets_total", &["verdict=\"forward_rechosen\""]), 0.0);
}
