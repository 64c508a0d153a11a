// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two appliances without graceful restart, under a steady stream of requests and with connections kept open,
//! When the daemon of one is killed outright (SIGKILL),
//! Then it is gone from the ToR's kernel within a second, no request that begins after that fails, its program goes on
//! forwarding what still arrives, and no kept connection breaks.

use std::time::{Duration, Instant};

use weir_lab::{Kept, Load, Tally, document};

use crate::{PATIENCE, fabric_without_graceful_restart};

#[test]
#[ignore = "needs root and netns"]
fn a_dead_daemon_is_out_of_the_routes_within_a_second() {
    let mut fabric = fabric_without_graceful_restart();
    let mut kept = Kept::open(&fabric.client, &document::targets(), 20).expect("connections");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(200, PATIENCE).expect("requests");
    let killed = Instant::now();
    fabric.appliances[0].kill().expect("it dies");
    fabric.wait_routes(&[2], PATIENCE).expect("routed around");
    let gone = killed.elapsed();
    assert!(gone < Duration::from_secs(1), "the route stayed for {gone:?}");
    load.wait_more(200, PATIENCE).expect("requests");
    let outcomes = load.stop().expect("outcomes");
    let late: Vec<_> = outcomes.into_iter().filter(|outcome| outcome.started >= killed + gone).collect();
    let tally = Tally::of(&late);
    assert!(tally.total > 100, "{} requests after the route was gone", tally.total);
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    assert!(fabric.appliances[0].xdp_program().expect("ip link").is_some());
    kept.check().expect("kept connections live");
}
