// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an announced VIP,
//! When all of its backends fail,
//! Then it is withdrawn at once (the update leaves within 5 ms of the decision), with the reason; once the backends are well
//! it is announced again, but not before its hold time.
//!
//! And: a VIP whose document says `keep` stays, one that says `deprioritise` stays with the community that makes it the last
//! choice.

use std::time::Duration;

use serde_json::Value;
use weir_lab::document::{self, VIP_V4, VIP_V6};
use weir_lab::{Capture, Events, Fabric, requests, seconds, sentence, wait_until};

use crate::{PATIENCE, small_fabric};

/// From the decision to the update on the wire.
const WITHDRAW_LIMIT: f64 = 0.005;

/// What the lab's document says.
const UP_HOLD: f64 = 1.0;

fn kill_all(fabric: &mut Fabric) {
    for backend in &mut fabric.backends {
        backend.kill_web().expect("it dies");
    }
}

fn start_all(fabric: &mut Fabric) {
    for backend in &mut fabric.backends {
        backend.start_web().expect("it serves");
    }
}

#[test]
#[ignore = "needs root and netns"]
fn the_vip_is_withdrawn_and_comes_back() {
    let mut fabric = small_fabric();
    for vip in ["www4", "www6"] {
        fabric.appliances[0].wait_announced(vip, PATIENCE).expect("announced");
    }
    let events = Events::open(&fabric.appliances[0].api(), "?kinds=vip,backend").expect("events");
    let seen =
        Capture::start(&fabric.tor, "lb1", "tcp port 179", &fabric.logs.file("bgp.log")).expect("tcpdump");
    kill_all(&mut fabric);
    let prefixes = document::vip_prefixes();
    for (vip, prefix) in ["www4", "www6"].iter().zip(&prefixes) {
        let status = fabric.appliances[0].wait_withheld(vip, "backends", PATIENCE).expect("withheld");
        let words = sentence(&status, "backends").expect("a sentence").to_owned();
        assert!(words.contains("0 of 2"), "{words}");
        let decided = seconds(&status["decided_at"]).expect("a time");
        let told = seconds(&status["told_at"]).expect("a time");
        let wire = wait_until("the withdrawal on the wire", PATIENCE, || {
            seen.withdrawals(prefix).first().copied().ok_or_else(|| anyhow::anyhow!("not yet"))
        })
        .expect("seen");
        eprintln!(
            "{vip}: told {:.2} ms, on the wire {:.2} ms after the decision",
            (told - decided) * 1e3,
            (wire - decided) * 1e3
        );
        assert!((0.0..WITHDRAW_LIMIT).contains(&(wire - decided)), "on the wire {} s after", wire - decided);
        assert!((0.0..WITHDRAW_LIMIT).contains(&(told - decided)), "told {} s after", told - decided);
    }
    fabric.wait_routes(&[], PATIENCE).expect("no route is left");
    events
        .wait("the event", PATIENCE, |event| event.kind == "vip" && event.data["code"] == "backends")
        .expect("told to who watches");

    start_all(&mut fabric);
    let lb1 = &fabric.appliances[0];
    for vip in ["www4", "www6"] {
        let status = lb1.wait_withheld(vip, "settle", PATIENCE).expect("held for a while");
        assert!(sentence(&status, "settle").is_some_and(|words| words.contains("held until")), "{status}");
    }
    fabric.wait_routes(&[1], PATIENCE).expect("announced again");
    for (vip, pool) in [("www4", "web4"), ("www6", "web6")] {
        let announced = lb1.wait_announced(vip, PATIENCE).expect("announced");
        let decided = seconds(&announced["decided_at"]).expect("a time");
        let up = ["b1", "b2"].map(|backend| {
            let status = lb1.wait_backend(pool, backend, "usable", PATIENCE).expect("usable");
            seconds(&status["verdict_at"]).expect("a time")
        });
        let fit = up[0].min(up[1]);
        assert!(decided - fit >= UP_HOLD, "{vip} came back {} s after its first backend", decided - fit);
    }
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}

/// Whether the ToR sees the community that asks for the least preference (RFC 8326) on its path to a VIP.
fn is_deprioritised(fabric: &Fabric, family: &str, prefix: &str) -> anyhow::Result<bool> {
    let answer = fabric.frr.json(&format!("show bgp {family} unicast {prefix}"))?;
    let path = answer["paths"].as_array().and_then(|paths| paths.first());
    let path = path.ok_or_else(|| anyhow::anyhow!("no path to {prefix}: {answer}"))?;
    let communities: Vec<&Value> = path["community"]["list"].as_array().into_iter().flatten().collect();
    Ok(communities
        .iter()
        .any(|community| *community == "gracefulShutdown" || *community == "graceful-shutdown"))
}

#[test]
#[ignore = "needs root and netns"]
fn keep_and_deprioritise_stay_announced() {
    let mut fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    for (address, policy) in [(VIP_V4.to_string(), "keep"), (VIP_V6.to_string(), "deprioritise")] {
        let line = format!("address = \"{address}\"\nannounce = {{ ");
        lb1.edit_document(&line, &format!("{line}on_all_down = \"{policy}\", ")).expect("the VIP is there");
    }
    let reply = lb1.api().reload().expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let seen =
        Capture::start(&fabric.tor, "lb1", "tcp port 179", &fabric.logs.file("bgp.log")).expect("tcpdump");
    let [v4, v6] = document::vip_prefixes();
    assert!(!is_deprioritised(&fabric, "ipv6", &v6).expect("a path"));
    kill_all(&mut fabric);
    for backend in ["b1", "b2"] {
        fabric.appliances[0].wait_both(backend, "failed", PATIENCE).expect("found");
    }
    wait_until("the community", PATIENCE, || {
        anyhow::ensure!(is_deprioritised(&fabric, "ipv6", &v6)?, "not yet");
        Ok(())
    })
    .expect("deprioritised");
    assert!(!is_deprioritised(&fabric, "ipv4", &v4).expect("a path"), "`keep` changes nothing");
    fabric.wait_routes(&[1], Duration::ZERO).expect("both stay");
    start_all(&mut fabric);
    wait_until("the community to go", PATIENCE, || {
        anyhow::ensure!(!is_deprioritised(&fabric, "ipv6", &v6)?, "not yet");
        Ok(())
    })
    .expect("preferred again");
    for prefix in [v4, v6] {
        assert_eq!(seen.withdrawals(&prefix), [] as [f64; 0], "{prefix} was withdrawn");
    }
}
