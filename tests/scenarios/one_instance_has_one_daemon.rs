// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance that is running,
//! When a second daemon of the same instance is started,
//! Then the second is refused with exit code 1, and the first goes on as if nothing had happened.

use weir_lab::{Process, document, requests};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn a_second_daemon_is_refused() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let (program, pins) = (lb1.xdp_program().expect("ip link"), lb1.pins().expect("pins"));
    assert!(program.is_some());
    let mut command = lb1.weir(&["run", "--config"]);
    command.arg(lb1.document_path());
    let mut second =
        Process::spawn("a second weir", &mut command, &fabric.logs.file("second.log")).expect("starts");
    let status = second.wait(PATIENCE).expect("it ends by itself");
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert_eq!(lb1.xdp_program().expect("ip link"), program);
    assert_eq!(lb1.pins().expect("pins"), pins);
    fabric.wait_routes(&[1], PATIENCE).expect("still announced");
    let tally = requests(&fabric.client, &document::targets(), 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}
