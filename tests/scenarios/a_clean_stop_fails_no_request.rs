// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two appliances under a steady stream of requests and with connections kept open,
//! When one is asked to stop (SIGTERM),
//! Then it withdraws first and detaches later, ends with exit code 0, leaves no program and no pins, and no request fails
//! and no kept connection breaks.

use weir_lab::{Kept, Load, Tally, document};

use crate::{PATIENCE, fabric};

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
