// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance that is not running,
//! When it is started with a bad document, an unknown interface, a VIP that is an own address, a seed that others may read,
//! or pins of another layout version,
//! Then it says so, ends with exit code 1, and nothing is attached, pinned or announced.

use std::os::unix::fs::PermissionsExt;

use weir_lab::{Appliance, Fabric, document};

use crate::{PATIENCE, quiet_fabric};

/// Starts the daemon and expects a refusal that contains `words`; gives everything it said.
fn refused(fabric: &mut Fabric, words: &str) -> String {
    let lb1 = &mut fabric.appliances[0];
    lb1.spawn().expect("it starts");
    let status = lb1.wait_end(PATIENCE).expect("it ends by itself");
    let said = lb1.log();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(words), "`{words}` is not in:\n{said}");
    assert_eq!(lb1.xdp_program().expect("ip link"), None);
    said
}

fn nothing_pinned(lb1: &Appliance) {
    assert_eq!(lb1.pins().expect("pins"), Default::default());
}

#[test]
#[ignore = "needs root and netns"]
fn a_bad_document_is_refused_with_all_its_errors() {
    let mut fabric = quiet_fabric();
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("port = 80", "port = 0").expect("the port is there");
    lb1.edit_document("pool = \"web6\"", "pool = \"wbe6\"").expect("the pool is there");
    let said = refused(&mut fabric, "port");
    assert!(said.contains("wbe6") && said.contains("web6"), "both errors, with the nearest name:\n{said}");
    nothing_pinned(&fabric.appliances[0]);
}

#[test]
#[ignore = "needs root and netns"]
fn what_the_host_does_not_have_is_refused() {
    let mut fabric = quiet_fabric();
    fabric.appliances[0].edit_document("[uplinks.eth0]", "[uplinks.eth9]").expect("the uplink is there");
    refused(&mut fabric, "eth9");

    let own = document::Subnet::Appliance(1).host().0.to_string();
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("[uplinks.eth9]", "[uplinks.eth0]").expect("the uplink is there");
    lb1.edit_document(&document::VIP_V4.to_string(), &own).expect("the VIP is there");
    refused(&mut fabric, &own);

    let lb1 = &fabric.appliances[0];
    lb1.edit_document(
        &format!("[vips.www4]\naddress = \"{own}\""),
        "[vips.www4]\naddress = \"198.51.100.10\"",
    )
    .expect("the VIP is there");
    let seed = lb1.dir().join("hash-seed");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644)).expect("the mode is set");
    refused(&mut fabric, "hash_seed_file");
    nothing_pinned(&fabric.appliances[0]);

    // And with all that put right, it runs: each refusal was for its own reason.
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
    fabric.appliances[0].start().expect("a good document starts");
}

#[test]
#[ignore = "needs root and netns"]
fn pins_of_another_layout_are_refused_and_left_alone() {
    let mut fabric = quiet_fabric();
    let other = fabric.appliances[0].pin_dir().join("v9999");
    std::fs::create_dir_all(&other).expect("a folder on bpffs");
    let said = refused(&mut fabric, "v9999");
    assert!(said.contains("layout"), "{said}");
    assert!(other.exists(), "what another version pinned was removed");
}
