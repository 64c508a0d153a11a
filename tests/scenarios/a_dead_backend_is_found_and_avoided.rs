// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given backends that are checked as by default, under a steady stream of requests,
//! When one loses its web server, one its link, one the VIPs on its loopback and one its decapsulation,
//! Then the checks find each of them within the promised time, the kernel's rows follow within 50 ms, no request that starts
//! after that fails, and all of them take new flows again once they are mended.

use std::time::{Duration, Instant};

use weir_lab::document::{self, Checks};
use weir_lab::{Fabric, Layout, Load, Tally, requests, seconds, seconds_now, wait_until};

use crate::{PATIENCE, weir};

/// A port that refuses is found after this: one interval and two fast ones.
const REFUSED_LIMIT: f64 = 3.0;

/// A backend that is silent is found after this: the same with three timeouts.
const SILENT_LIMIT: f64 = 6.0;

/// From the verdict to the kernel's rows.
const ROWS_LIMIT: f64 = 0.050;

/// What one may lose between the death and the clock's reading: scheduling on a busy machine.
const SLACK: f64 = 0.25;

/// Backend, and how long its death may go unnoticed.
const VICTIMS: [(&str, f64); 4] =
    [("b1", REFUSED_LIMIT), ("b2", SILENT_LIMIT), ("b3", SILENT_LIMIT), ("b4", SILENT_LIMIT)];

#[test]
#[ignore = "needs root and netns"]
fn each_kind_of_death_is_found_in_time() {
    let layout = Layout { backends: 5, checks: Checks::Defaults, ..Layout::small(weir()) };
    let mut fabric = Fabric::up(&layout).expect("the fabric comes up");
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(400, PATIENCE).expect("requests");

    fabric.silence(2).expect("the link goes");
    fabric.backends[2].lose_vips().expect("the VIPs go");
    fabric.backends[3].stop_agent().expect("the agent goes");
    fabric.backends[0].kill_web().expect("the server goes");
    let (died, died_at) = (Instant::now(), seconds_now());
    let mut last_in_force = Duration::ZERO;
    for (backend, limit) in VICTIMS {
        for pool in ["web4", "web6"] {
            let lb1 = &fabric.appliances[0];
            let status = lb1.wait_backend(pool, backend, "failed", PATIENCE).expect("found");
            let verdict = seconds(&status["verdict_at"]).expect("a time");
            let in_force = seconds(&status["in_force_at"]).expect("a time");
            let (found, rows) = (verdict - died_at, in_force - verdict);
            eprintln!("{pool}/{backend}: found after {found:.3} s, rows after {:.1} ms more", rows * 1e3);
            assert!(found < limit + SLACK, "{pool}/{backend} was found after {found} s");
            assert!((0.0..ROWS_LIMIT).contains(&rows), "{pool}/{backend}: rows followed after {rows} s");
            last_in_force = last_in_force.max(Duration::from_secs_f64((in_force - died_at).max(0.0)));
        }
    }
    load.wait_more(400, PATIENCE).expect("requests");
    let outcomes = load.stop().expect("outcomes");
    let late: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.started > died + last_in_force).cloned().collect();
    let tally = Tally::of(&late);
    assert!(tally.total >= 300, "only {} requests came after the rows", tally.total);
    assert_eq!(tally.failed, 0, "of {} after the rows had changed: {:?}", tally.total, tally.reasons);
    assert_eq!(tally.spread.keys().collect::<Vec<_>>(), ["b5"], "{:?}", tally.spread);

    fabric.unsilence(2).expect("the link comes");
    fabric.backends[2].regain_vips().expect("the VIPs come");
    fabric.backends[3].spawn_agent().expect("the agent comes");
    fabric.backends[0].start_web().expect("the server comes");
    fabric.wait_usable(PATIENCE).expect("well again");
    wait_until("all five to serve", PATIENCE, || {
        let tally = requests(&fabric.client, &document::targets(), 200)?;
        anyhow::ensure!(tally.failed == 0 && tally.spread.len() == 5, "{tally:?}");
        Ok(())
    })
    .expect("all take flows again");
}
