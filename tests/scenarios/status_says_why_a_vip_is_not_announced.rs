// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a VIP that is not announced,
//! When an operator asks `weir status`,
//! Then it says so, with the code of what is missing and a sentence; and the API says the same. One test for each code.

use weir_lab::document::Subnet;
use weir_lab::{Appliance, Fabric, Misbehaviour, sentence, wait_until};

use crate::{PATIENCE, quiet_fabric, small_fabric};

/// The API withholds `www4` for `code`, and the command line says so with the same sentence.
fn is_explained(lb1: &Appliance, code: &str) {
    let mut shown = None;
    wait_until(&format!("`weir status` to say `{code}`"), PATIENCE, || {
        let status = lb1.wait_withheld("www4", code, PATIENCE)?;
        let words = sentence(&status, code).ok_or_else(|| anyhow::anyhow!("no sentence in {status}"))?;
        let answer = lb1.ask(&["status"])?;
        // Between both questions a sentence may have changed: then they are asked again.
        anyhow::ensure!(
            answer.said.contains(words),
            "`{words}` is not in:\n{}{}",
            answer.said,
            answer.complained
        );
        shown = Some((words.to_owned(), answer));
        Ok(())
    })
    .expect("explained");
    let (words, answer) = shown.expect("it was shown");
    assert!(words.len() > 10, "no sentence: `{words}`");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let line = answer.said.lines().find(|line| line.contains("www4") && line.contains(code));
    let line = line.unwrap_or_else(|| panic!("no line has www4 and {code}:\n{}", answer.said));
    eprintln!("{line}");
}

fn announced(fabric: &Fabric) {
    fabric.appliances[0].wait_announced("www4", PATIENCE).expect("announced");
}

#[test]
#[ignore = "needs root and netns"]
fn admin_an_operator_withholds_it() {
    let fabric = small_fabric();
    announced(&fabric);
    let lb1 = &fabric.appliances[0];
    let answer = lb1.ask(&["drain", "vip/www4", "--yes", "--reason", "tests"]).expect("weir drain");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    is_explained(lb1, "admin");
    lb1.wait_announced("www6", PATIENCE).expect("the other VIP stays");
    assert_eq!(lb1.ask(&["undrain", "vip/www4"]).expect("weir undrain").code, Some(0));
    announced(&fabric);
    lb1.api().set_override("appliance", "withhold").expect("withheld");
    is_explained(lb1, "admin");
    fabric.wait_routes(&[], PATIENCE).expect("nothing is announced");
}

#[test]
#[ignore = "needs root and netns"]
fn dataplane_another_program_sits_on_the_uplink() {
    let mut fabric = small_fabric();
    announced(&fabric);
    let squatter = fabric.replace_uplink(1).expect("another interface");
    is_explained(&fabric.appliances[0], "dataplane");
    fabric.wait_routes(&[], PATIENCE).expect("withdrawn");
    drop(squatter);
    // Over IPv4 alone: FRR 8.4 sometimes never finds the IPv6 addresses of an interface that took another's name.
    announced(&fabric);
}

#[test]
#[ignore = "needs root and netns"]
fn uplink_there_is_no_carrier() {
    let fabric = small_fabric();
    announced(&fabric);
    fabric.tor.ip("link set lb1 down").expect("down");
    is_explained(&fabric.appliances[0], "uplink");
}

#[test]
#[ignore = "needs root and netns"]
fn backends_none_is_usable() {
    let mut fabric = small_fabric();
    announced(&fabric);
    for backend in &mut fabric.backends {
        backend.kill_web().expect("it dies");
    }
    is_explained(&fabric.appliances[0], "backends");
}

#[test]
#[ignore = "needs root and netns"]
fn first_results_no_check_has_an_answer_yet() {
    let mut fabric = quiet_fabric();
    fabric.start_agents().expect("agents");
    for backend in &mut fabric.backends {
        backend.misbehave(Misbehaviour::Mute).expect("it misbehaves");
    }
    let lb1 = &mut fabric.appliances[0];
    lb1.edit_document("interval = \"500ms\", timeout = \"400ms\"", "interval = \"60s\", timeout = \"30s\"")
        .expect("the times are there");
    lb1.edit_document("down_interval = \"500ms\"", "down_interval = \"60s\"").expect("the time is there");
    lb1.spawn().expect("it starts");
    wait_until("the API", PATIENCE, || lb1.status().map(drop)).expect("it answers");
    is_explained(lb1, "first-results");
}

#[test]
#[ignore = "needs root and netns"]
fn settle_it_is_not_well_for_long_enough() {
    let mut fabric = small_fabric();
    announced(&fabric);
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("up_hold = \"1s\"", "up_hold = \"60s\"").expect("the hold is there");
    assert_eq!(lb1.api().reload().expect("an answer").status, 200);
    for backend in &mut fabric.backends {
        backend.kill_web().expect("it dies");
    }
    fabric.appliances[0].wait_withheld("www4", "backends", PATIENCE).expect("withdrawn");
    for backend in &mut fabric.backends {
        backend.start_web().expect("it serves");
    }
    is_explained(&fabric.appliances[0], "settle");
}

#[test]
#[ignore = "needs root and netns"]
fn no_peer_no_session_is_established() {
    let fabric = small_fabric();
    announced(&fabric);
    let (v4, v6) = Subnet::Appliance(1).host();
    for neighbour in [v4.to_string(), v6.to_string()] {
        let words = ["configure terminal", "router bgp 65000", &format!("neighbor {neighbour} shutdown")];
        fabric.frr.configure(&words).expect("shut down");
    }
    is_explained(&fabric.appliances[0], "no-peer");
}
