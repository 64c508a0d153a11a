// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given announced VIPs of both families,
//! When a client pings them,
//! Then the appliance answers; once no backend is left, it does not answer even a ping that somebody routes to it.

use weir_lab::document::{Subnet, VIP_V4, VIP_V6};
use weir_lab::{ping, wait_until};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn an_appliance_answers_for_its_backends_and_not_without_them() {
    let mut fabric = small_fabric();
    for vip in ["www4", "www6"] {
        fabric.appliances[0].wait_announced(vip, PATIENCE).expect("announced");
    }
    for vip in [VIP_V4.into(), VIP_V6.into()] {
        ping(&fabric.client, vip).expect("an answer");
    }
    let count = |fabric: &weir_lab::Fabric, verdict: &str| {
        let metrics = fabric.appliances[0].metrics().expect("metrics");
        metrics.count("weir_xdp_packets_total", &[&format!("verdict=\"{verdict}\"")])
    };
    wait_until("the answers to be counted", PATIENCE, || {
        anyhow::ensure!(count(&fabric, "answer_echo") >= 2.0, "{} answers", count(&fabric, "answer_echo"));
        Ok(())
    })
    .expect("by the appliance, not by a backend");

    for backend in &mut fabric.backends {
        backend.kill_web().expect("it dies");
    }
    for vip in ["www4", "www6"] {
        fabric.appliances[0].wait_withheld(vip, "backends", PATIENCE).expect("withheld");
    }
    // Whoever still has a way there gets no answer.
    let (v4, v6) = Subnet::Appliance(1).host();
    fabric.wait_routes(&[], PATIENCE).expect("withdrawn");
    fabric
        .tor
        .ip(&format!("route add {VIP_V4}/32 via {v4}\nroute add {VIP_V6}/128 via {v6}"))
        .expect("a route");
    let before = count(&fabric, "answer_echo");
    for vip in [VIP_V4.into(), VIP_V6.into()] {
        ping(&fabric.client, vip).expect_err("silence");
    }
    assert_eq!(count(&fabric, "answer_echo"), before);
    wait_until("the drops to be counted", PATIENCE, || {
        anyhow::ensure!(count(&fabric, "drop_echo") >= 2.0, "{} drops", count(&fabric, "drop_echo"));
        Ok(())
    })
    .expect("dropped by name");
}
