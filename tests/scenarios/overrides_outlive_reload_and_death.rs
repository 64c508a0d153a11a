// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an override set by an operator,
//! When the document is loaded again, and when the daemon is killed and started again,
//! Then it is still in force, with its author and reason; one that has an expiry ends by itself.

use weir_lab::{Events, document, requests, wait_until};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn they_are_kept_and_they_expire() {
    let mut fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    for pool in ["web4", "web6"] {
        lb1.api().set_override(&format!("pools/{pool}/backends/b1"), "drain").expect("drained");
    }
    // By hand on the document's word: an active backend in the document changes nothing.
    for pool in ["web4", "web6"] {
        let section = format!("[pools.{pool}.backends.b1]\n");
        lb1.edit_document(&section, &format!("{section}state = \"active\"\nweight = 90\n"))
            .expect("the backend is there");
    }
    assert_eq!(lb1.api().reload().expect("an answer").status, 200);
    lb1.wait_both("b1", "draining", PATIENCE).expect("drained after the reload");

    fabric.appliances[0].kill().expect("it dies");
    fabric.appliances[0].start().expect("it starts again");
    let lb1 = &fabric.appliances[0];
    lb1.wait_both("b1", "draining", PATIENCE).expect("drained after the death");
    let all = lb1.api().get("/v1/overrides").expect("overrides");
    let items = all["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2, "{all}");
    for item in items {
        assert_eq!((&item["author"], &item["reason"]), (&"lab".into(), &"the lab says so".into()), "{all}");
    }
    fabric.wait_routes(&[1], PATIENCE).expect("announced again");
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    assert_eq!(tally.spread.keys().collect::<Vec<_>>(), ["b2"], "{:?}", tally.spread);

    let events = Events::open(&lb1.api(), "?kinds=override").expect("events");
    let body = serde_json::json!({"state": "drain", "reason": "short", "author": "lab", "for": "2s"});
    for pool in ["web4", "web6"] {
        let path = format!("/v1/pools/{pool}/backends/b1/override");
        let set = lb1.api().ask("PUT", &path, Some(&body)).expect("set anew");
        assert!(set["until"].is_string(), "{set}");
    }
    lb1.wait_both("b1", "usable", PATIENCE).expect("it ends by itself");
    assert_eq!(lb1.api().get("/v1/overrides").expect("overrides")["items"], serde_json::json!([]));
    events
        .wait("the end of an override", PATIENCE, |event| event.data.to_string().contains("expire"))
        .expect("told to who watches");
    wait_until("both to serve", PATIENCE, || {
        let tally = requests(&fabric.client, &document::targets(), 100)?;
        anyhow::ensure!(tally.failed == 0 && tally.spread.len() == 2, "{tally:?}");
        Ok(())
    })
    .expect("b1 takes flows again");
}
