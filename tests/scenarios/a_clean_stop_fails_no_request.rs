// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two appliances under a steady stream of requests and with connections kept open,
//! When one is asked to stop (SIGTERM),
//! Then it withdraws first and detaches later, ends with exit code 0, leaves no program and no pins, and no request fails
//! and no kept connection breaks.

use std::time::{Duration, Instant};

use weir_lab::{Kept, Load, Tally, document};

use crate::{PATIENCE, fabric, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn sigterm_withdraws_waits_and_detaches() {
    let mut fabric = fabric();
    let mut kept = Kept::open(&fabric.client, &document::targets(), 20).expect("connections");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(200, PATIENCE).expect("requests");
    fabric.appliances[1].signal(libc::SIGTERM).expect("a signal");
    fabric.wait_routes(&[1], PATIENCE).expect("withdrawn");
    assert!(
        fabric.appliances[1].xdp_program().expect("ip link").is_some(),
        "detached before it was withdrawn"
    );
    let status = fabric.appliances[1].wait_end(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(0));
    load.wait_more(200, PATIENCE).expect("requests");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    kept.check().expect("kept connections live");
    assert_eq!(fabric.appliances[1].xdp_program().expect("ip link"), None);
    assert!(fabric.appliances[1].pins().expect("pins").is_empty());
}

/// Longer than every periodic task of the daemon: none of them may get in the way of a stop.
#[test]
#[ignore = "needs root and netns"]
fn a_long_drain_ends_too() {
    let mut fabric = small_fabric();
    let lb1 = &mut fabric.appliances[0];
    assert_eq!(lb1.stop().expect("it ends").code(), Some(0));
    lb1.edit_document("drain_wait = \"1s\"", "drain_wait = \"6s\"").expect("the wait is there");
    lb1.start().expect("it starts again");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    let asked = Instant::now();
    let status = fabric.appliances[0].stop().expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() >= Duration::from_secs(6), "it did not wait: {:?}", asked.elapsed());
    assert_eq!(fabric.appliances[0].xdp_program().expect("ip link"), None);
}
