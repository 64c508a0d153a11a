// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given one appliance over two backends with connections to both,
//! When the document says that one is draining and the daemon is told to read it again (SIGHUP),
//! Then new connections go to the other one only, and those that are open go on where they are.
//!
//! And: when a bad document is put in its place, then it is refused and the one before stays in force.

use weir_lab::{Kept, document, requests, wait_until};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn draining_by_reload_keeps_open_connections() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let mut kept = Kept::open(&fabric.client, &document::targets(), 40).expect("connections");
    for family in [4, 6] {
        let section = format!("[pools.web{family}.backends.b1]\n");
        lb1.edit_document(&section, &format!("{section}state = \"draining\"\n"))
            .expect("the section is there");
    }
    let generation = generation(&fabric);
    lb1.signal(libc::SIGHUP).expect("a signal");
    wait_until("the new document to be in force", PATIENCE, || {
        let now = applied(&fabric)?;
        anyhow::ensure!(now > generation, "generation {now}");
        Ok(())
    })
    .expect("reloaded");
    let tally = requests(&fabric.client, &document::targets(), 200).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    assert_eq!(tally.spread.keys().collect::<Vec<_>>(), ["b2"], "{:?}", tally.spread);
    kept.check().expect("open connections go on");

    lb1.edit_document("port = 80", "port = 0").expect("the port is there");
    lb1.signal(libc::SIGHUP).expect("a signal");
    wait_until("the refusal", PATIENCE, || {
        let status = lb1.status()?;
        anyhow::ensure!(!status["document"]["last_rejected"].is_null(), "nothing was refused");
        Ok(())
    })
    .expect("refused");
    let tally = requests(&fabric.client, &document::targets(), 50).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}

fn applied(fabric: &weir_lab::Fabric) -> anyhow::Result<u64> {
    let status = fabric.appliances[0].status()?;
    let generation = status["document"]["applied_generation"].as_u64();
    generation.ok_or_else(|| anyhow::anyhow!("no generation in {status}"))
}

fn generation(fabric: &weir_lab::Fabric) -> u64 {
    applied(fabric).expect("status")
}
