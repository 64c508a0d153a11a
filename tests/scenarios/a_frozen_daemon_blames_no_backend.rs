// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given backends that are checked often and are well,
//! When the daemon itself stands still for a while (SIGSTOP) and goes on (SIGCONT),
//! Then no backend is failed for it, no VIP is withdrawn and no request fails: what was late is the checker's own fault.

use std::time::Duration;

use weir_lab::{Events, Load, Tally, document, wait_until};

use crate::{PATIENCE, small_fabric};

/// Many intervals of a check, and less than the hold time of the sessions.
const STANDSTILL: Duration = Duration::from_secs(4);

#[test]
#[ignore = "needs root and netns"]
fn standing_still_is_not_the_backends_fault() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let events = Events::open(&lb1.api(), "?kinds=backend,vip").expect("events");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");
    let results =
        || -> anyhow::Result<f64> { Ok(lb1.metrics()?.count("weir_healthcheck_results_total", &[])) };
    lb1.signal(libc::SIGSTOP).expect("a signal");
    // Standing still is what is tested; there is nothing to wait for.
    std::thread::sleep(STANDSTILL);
    lb1.signal(libc::SIGCONT).expect("a signal");
    let before = results().expect("metrics");
    wait_until("a few rounds of checks", PATIENCE, || {
        let more = results()? - before;
        anyhow::ensure!(more >= 40.0, "{more} results");
        Ok(())
    })
    .expect("checks go on");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    let blamed: Vec<_> = events.seen().into_iter().filter(|event| event.data["to"] != "usable").collect();
    assert!(blamed.is_empty(), "{blamed:?}");
    lb1.wait_usable(Duration::ZERO).expect("all are still usable");
    fabric.wait_routes(&[1], Duration::ZERO).expect("still announced");
}
