// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two appliances with traffic through both,
//! When the link of one goes down and comes up again,
//! Then the ToR uses the other one alone meanwhile, and both afterwards, without a restart; no request fails once the routes
//! have settled, and the first one forwards again.

use weir_lab::{document, requests, wait_until};

use crate::{PATIENCE, fabric, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn link_down_and_up_again() {
    let fabric = fabric();
    let flows = || {
        Ok::<f64, anyhow::Error>(
            fabric.appliances[0].metrics()?.count("weir_service_flows_created_total", &[]),
        )
    };
    fabric.tor.ip("link set lb1 down").expect("down");
    fabric.wait_routes(&[2], PATIENCE).expect("the other one alone");
    let tally = requests(&fabric.client, &document::targets(), 200).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);

    fabric.tor.ip("link set lb1 up").expect("up");
    fabric.wait_routes(&[1, 2], PATIENCE).expect("both again");
    let before = flows().expect("metrics");
    let tally = requests(&fabric.client, &document::targets(), 200).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    wait_until("lb1 to forward again", PATIENCE, || {
        let new = flows()? - before;
        anyhow::ensure!(new > 40.0, "{new} flows");
        Ok(())
    })
    .expect("its share");
}

/// Given an appliance that forwards, when somebody removes the pin of its program's link, which takes the program off the
/// uplink, then that is noticed by itself and the program put back, and requests are answered again.
#[test]
#[ignore = "needs root and netns"]
fn a_program_that_was_taken_off_comes_back() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let pins = lb1.pins().expect("pins");
    let (path, link) =
        pins.iter().find(|(_, number)| number.starts_with("link_id")).expect("a link is pinned");
    std::fs::remove_file(lb1.pin_dir().join(path)).expect("removed");
    wait_until("another link in its place", PATIENCE, || {
        let now = lb1.pins()?;
        anyhow::ensure!(now.get(path).is_some_and(|now| now != link), "{now:?}");
        anyhow::ensure!(lb1.xdp_program()?.is_some(), "no program on the uplink");
        Ok(())
    })
    .expect("attached again");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    wait_until("requests to be answered", PATIENCE, || {
        let tally = requests(&fabric.client, &document::targets(), 100)?;
        anyhow::ensure!(tally.failed == 0, "{tally:?}");
        Ok(())
    })
    .expect("it forwards again");
}
