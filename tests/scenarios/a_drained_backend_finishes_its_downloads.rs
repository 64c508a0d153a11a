// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a hundred long downloads from one backend, and a steady stream of requests to all,
//! When an operator drains that backend by the command line,
//! Then no connection that begins afterwards goes to it, every download ends whole, and after `undrain` it serves again.

use weir_lab::{Downloads, Load, Tally, document, requests, seconds, seconds_now, wait_until};

use crate::{PATIENCE, small_fabric};

/// As many as the promise says.
const DOWNLOADS: usize = 100;

#[test]
#[ignore = "needs root and netns"]
fn draining_by_command_loses_nothing() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let downloads =
        Downloads::start(&fabric.client, &document::targets(), "b1", DOWNLOADS).expect("downloads from b1");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");
    for pool in ["web4", "web6"] {
        let answer =
            lb1.ask(&["drain", &format!("{pool}/b1"), "--reason", "a new disk"]).expect("weir drain");
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let status = lb1.wait_backend(pool, "b1", "draining", PATIENCE).expect("drained");
        let in_force = seconds(&status["in_force_at"]).expect("a time");
        assert!((0.0..5.0).contains(&(seconds_now() - in_force)), "{status}");
    }
    let drained = std::time::Instant::now();
    assert!(downloads.all_running(), "downloads ended before the drain");
    load.wait_more(400, PATIENCE).expect("requests");
    let outcomes = load.stop().expect("outcomes");
    let tally = Tally::of(&outcomes);
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    let after: Vec<_> = outcomes.iter().filter(|outcome| outcome.started > drained).cloned().collect();
    assert_eq!(Tally::of(&after).spread.keys().collect::<Vec<_>>(), ["b2"], "of {}", after.len());
    assert!(after.len() >= 300, "only {} requests after the drain", after.len());
    assert!(downloads.all_running(), "downloads ended too soon to prove anything");
    assert_eq!(downloads.finish().expect("every download whole"), DOWNLOADS);

    // The operator and the reason are shown until the override is cleared.
    let answer = lb1.ask(&["status"]).expect("weir status");
    assert!(answer.said.contains("a new disk"), "{answer:?}");
    for pool in ["web4", "web6"] {
        let answer = lb1.ask(&["undrain", &format!("{pool}/b1")]).expect("weir undrain");
        assert_eq!(answer.code, Some(0), "{answer:?}");
        lb1.wait_backend(pool, "b1", "usable", PATIENCE).expect("back");
    }
    wait_until("both to serve", PATIENCE, || {
        let tally = requests(&fabric.client, &document::targets(), 100)?;
        anyhow::ensure!(tally.failed == 0 && tally.spread.len() == 2, "{tally:?}");
        Ok(())
    })
    .expect("b1 takes flows again");
}

/// Given a backend without flows, when it is drained with `--wait`, then the command ends at once; given one with a download
/// that goes on, then it ends at its timeout, with the exit code that says so, and the drain stays.
#[test]
#[ignore = "needs root and netns"]
fn waiting_for_a_drain_ends_with_the_flows_or_at_the_timeout() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let answer = lb1.ask(&["drain", "web6/b1", "--wait", "--timeout", "15s"]).expect("weir drain");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let [v4, _] = document::targets();
    let downloads = Downloads::start(&fabric.client, &[v4], "b1", 3).expect("downloads from b1");
    let answer = lb1.ask(&["drain", "web4/b1", "--wait", "--timeout", "1s"]).expect("weir drain");
    assert_eq!(answer.code, Some(6), "{answer:?}");
    assert!(downloads.all_running(), "too short to prove anything");
    lb1.wait_backend("web4", "b1", "draining", PATIENCE).expect("it stays drained");
    assert_eq!(downloads.finish().expect("every download whole"), 3);
}
