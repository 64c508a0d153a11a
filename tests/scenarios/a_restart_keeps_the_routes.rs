// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given one appliance under a steady stream of requests and with connections kept open, whose peer agreed to graceful restart,
//! When its daemon is told to restart (SIGUSR2) and started again,
//! Then the routes stay in the ToR's kernel all the time, no request fails and no connection breaks; and when it is told to stop
//! after that, the routes go at once, graceful restart or not.

use std::time::Duration;

use weir_lab::{Kept, Load, Tally, document};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn nothing_is_withdrawn_for_a_restart() {
    let mut fabric = small_fabric();
    let mut kept = Kept::open(&fabric.client, &document::targets(), 20).expect("connections");
    let before = fabric.appliances[0].pins().expect("pins");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");

    fabric.appliances[0].signal(libc::SIGUSR2).expect("a signal");
    let ended = fabric.appliances[0].wait_end(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", fabric.appliances[0].log());
    assert_eq!(fabric.appliances[0].pins().expect("pins"), before, "what is pinned stays");
    load.wait_more(100, PATIENCE).expect("requests without a daemon");
    for prefix in document::vip_prefixes() {
        assert_eq!(fabric.routes(&prefix).expect("routes"), [1].into(), "{prefix} without a daemon");
    }

    fabric.appliances[0].start().expect("it starts again");
    fabric.wait_sessions(1).expect("sessions");
    for prefix in document::vip_prefixes() {
        assert_eq!(fabric.routes(&prefix).expect("routes"), [1].into(), "{prefix} after the restart");
    }
    load.wait_more(100, PATIENCE).expect("requests after the restart");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    kept.check().expect("kept connections live");

    fabric.appliances[0].signal(libc::SIGTERM).expect("a signal");
    // Longer than the way out by GRACEFUL_SHUTDOWN, much shorter than the restart time.
    fabric.wait_routes(&[], Duration::from_secs(5)).expect("withdrawn for good");
    let ended = fabric.appliances[0].wait_end(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(0));
    assert!(fabric.appliances[0].pins().expect("pins").is_empty());
}
