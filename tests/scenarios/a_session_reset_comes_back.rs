// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with Established sessions,
//! When the ToR's operator resets all sessions,
//! Then they are Established again and both VIPs are routed, without the daemon's restart.

use weir_lab::{document, requests, wait_until};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn clear_bgp_on_the_tor_heals_by_itself() {
    let fabric = small_fabric();
    let (v4, v6) = document::Subnet::Appliance(1).host();
    let ups = |peer: &str| {
        let metrics = fabric.appliances[0].metrics()?;
        let labels = [format!("peer=\"{peer}\""), "to=\"established\"".to_owned()];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        Ok::<f64, anyhow::Error>(metrics.count("weir_bgp_session_transitions_total", &labels))
    };
    let before = (ups("tor-v4").expect("metrics"), ups("tor-v6").expect("metrics"));
    for neighbour in [v4.to_string(), v6.to_string()] {
        fabric.frr.vtysh(&format!("clear bgp {neighbour}")).expect("cleared");
    }
    wait_until("both sessions to have come up once more", PATIENCE, || {
        let now = (ups("tor-v4")?, ups("tor-v6")?);
        anyhow::ensure!(now.0 > before.0 && now.1 > before.1, "{before:?} then, {now:?} now");
        Ok(())
    })
    .expect("sessions");
    fabric.wait_routes(&[1], PATIENCE).expect("routes");
    let tally = requests(&fabric.client, &document::targets(), 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}
