// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with graceful restart, as by default, under a steady stream of requests,
//! When its daemon is killed outright and started again,
//! Then the ToR's kernel never loses its routes, no request fails, and the ToR saw a restart with forwarding preserved;
//! When it then stops by order, its routes are gone from the ToR's kernel within a second, although a restart would be
//! waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::{Fabric, Load, RouteWatch, Tally, document, wait_until};

use crate::{PATIENCE, small_fabric};

/// What is left of a stop before the wait for packets on their way.
const GONE_LIMIT: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs root and netns"]
fn killed_started_and_stopped() {
    let mut fabric = small_fabric();
    let watch = RouteWatch::start(&fabric.tor, &fabric.logs).expect("a watch");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");
    fabric.appliances[0].kill().expect("it dies");
    sessions(&fabric, false).expect("the ToR notices");
    load.wait_more(300, PATIENCE).expect("requests without a daemon");
    fabric.appliances[0].start().expect("it starts");
    sessions(&fabric, true).expect("sessions again");
    fresh(&fabric).expect("announced again");
    load.wait_more(100, PATIENCE).expect("requests");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    for prefix in document::vip_prefixes() {
        assert_eq!(watch.removals(&prefix), 0, "{prefix} was away for a moment");
    }

    let asked = Instant::now();
    fabric.appliances[0].signal(libc::SIGTERM).expect("it is asked to end");
    fabric.wait_routes(&[], PATIENCE).expect("out of the routes");
    let gone = asked.elapsed();
    assert!(gone < GONE_LIMIT, "the routes stayed for {gone:?}");
    let ended = fabric.appliances[0].wait_end(PATIENCE).expect("it ends");
    assert!(ended.success(), "{ended}");
    assert_eq!(watch.removals(&document::vip_prefixes()[0]), 1, "gone once");
}

/// Waits until both sessions stand, or neither, as the ToR sees them.
fn sessions(fabric: &Fabric, stand: bool) -> Result<()> {
    let (v4, v6) = document::Subnet::Appliance(1).host();
    for neighbour in [v4.to_string(), v6.to_string()] {
        wait_until(&format!("{neighbour} to stand: {stand}"), PATIENCE, || {
            let state = fabric.frr.session_state(&neighbour)?;
            ensure!((state == "Established") == stand, "it is {state}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Waits until the ToR holds both VIPs as told again, not as kept, and knows of the restart.
fn fresh(fabric: &Fabric) -> Result<()> {
    let (v4, _) = document::Subnet::Appliance(1).host();
    for (family, prefix) in ["ipv4", "ipv6"].iter().zip(document::vip_prefixes()) {
        wait_until(&format!("fresh {prefix}"), PATIENCE, || {
            let route = fabric.frr.json(&format!("show bgp {family} unicast {prefix}"))?;
            let paths = route["paths"].as_array().map_or(&[][..], Vec::as_slice);
            ensure!(!paths.is_empty() && paths.iter().all(|path| path["stale"] != true), "{route}");
            Ok(())
        })?;
    }
    let said = fabric.frr.vtysh(&format!("show bgp ipv4 neighbors {v4} graceful-restart"))?;
    ensure!(said.contains("R bit: True"), "the OPEN after the start had no R bit: {said}");
    Ok(())
}
