// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance that is running, and then killed,
//! When its pins are asked about and then removed without a daemon, as the package's scripts do,
//! Then nothing is removed under a daemon that runs, an upgrade to other sizes is refused as such, and after the removal no
//! program is on the uplink, nothing is pinned, and the next daemon starts from nothing.

use std::process::Output;

use weir_lab::{Appliance, requests};

use crate::{PATIENCE, small_fabric};

/// Exit code of a conflict (`weir --help`).
const CONFLICT: i32 = 5;

fn dataplane(lb: &Appliance, arguments: &[&str]) -> Output {
    let mut command = lb.weir(&["dataplane"]);
    command.args(arguments).output().expect("weir runs")
}

fn detach(lb: &Appliance) -> Output {
    let root = lb.pin_dir().parent().expect("below the folder of pins").to_string_lossy().into_owned();
    dataplane(lb, &["detach", "--pin-dir", &root, "--instance", lb.name()])
}

#[test]
#[ignore = "needs root and netns"]
fn pins_are_judged_and_removed_without_a_daemon() {
    let mut fabric = small_fabric();
    let document = fabric.appliances[0].document_path().to_string_lossy().into_owned();
    let fits = ["fits", "--config", &document];

    let lb1 = &fabric.appliances[0];
    assert_eq!(dataplane(lb1, &fits).status.code(), Some(0), "while it runs");
    let refused = detach(lb1);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process runs the instance"));
    assert!(lb1.xdp_program().expect("ip link").is_some(), "nothing was removed under it");
    fabric.wait_routes(&[1], PATIENCE).expect("still announced");

    fabric.appliances[0].kill().expect("it dies");
    let lb1 = &fabric.appliances[0];
    let answer = dataplane(lb1, &fits);
    assert_eq!(answer.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("takes it over"), "{answer:?}");
    let text = std::fs::read_to_string(&document).expect("the document");
    let other = fabric.logs.file("other.toml");
    let sizes = text.replacen("flow_slots = ", "flow_slots = 2097152 # ", 1);
    assert_ne!(sizes, text, "the lab's document says how many flow slots there are");
    std::fs::write(&other, sizes).expect("written");
    let answer = dataplane(lb1, &["fits", "--config", &other.to_string_lossy()]);
    assert_eq!(answer.status.code(), Some(CONFLICT), "{answer:?}");

    let removed = detach(lb1);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    assert_eq!(lb1.xdp_program().expect("ip link"), None);
    assert!(!lb1.pin_dir().exists(), "nothing is pinned");
    let answer = dataplane(lb1, &fits);
    assert!(String::from_utf8_lossy(&answer.stdout).contains("nothing is pinned"), "{answer:?}");

    fabric.appliances[0].start().expect("it starts from nothing");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    let targets = weir_lab::document::targets();
    let tally = requests(&fabric.client, &targets, 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}
