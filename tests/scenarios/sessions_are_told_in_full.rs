// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with Established sessions,
//! When its operator asks for a session, for its prefixes a page at a time, and again after the ToR reset it,
//! Then timers, capabilities of both sides, prefixes and the ToR's last word are told, by the command line, the API and metrics alike.

use serde_json::Value;
use weir_lab::{document, wait_until};

use crate::{PATIENCE, small_fabric};

#[test]
#[ignore = "needs root and netns"]
fn a_session_is_told_with_its_prefixes_and_last_words() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let json = |arguments: &[&str]| -> Value {
        let answer = lb1.ask(arguments).expect("it runs");
        assert_eq!(answer.code, Some(0), "{arguments:?}: {}", answer.complained);
        serde_json::from_str(&answer.said).expect("JSON")
    };
    let peer = json(&["show", "bgp", "tor-v4", "-o", "json"]);
    let status = &peer["status"];
    assert_eq!(status["state"], "established", "{status}");
    let agreed = &status["negotiated"];
    let hold = agreed["hold_time_seconds"].as_f64().expect("a hold time");
    let left = status["timers"]["hold_seconds"].as_f64().expect("it runs");
    assert!(0.0 < left && left <= hold, "{left} of {hold}");
    for side in ["offered", "received"] {
        let codes: Vec<u64> =
            agreed[side].as_array().expect("a list").iter().filter_map(|one| one["code"].as_u64()).collect();
        assert!(codes.contains(&65) && codes.contains(&2), "{side}: {codes:?}");
    }

    let mut told = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let mut ask = vec!["show", "bgp", "tor-v4", "advertised", "-o", "json", "--limit", "1"];
        if !cursor.is_empty() {
            ask.extend(["--cursor", &cursor]);
        }
        let page = json(&ask);
        told.extend(page["items"].as_array().expect("a list").iter().map(|one| one["prefix"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let advertised = |family: &str| status["prefixes"][family]["advertised"].as_u64().unwrap_or(0);
    assert_eq!(told.len() as u64, advertised("ipv4") + advertised("ipv6"), "{told:?}");
    assert!(told.len() > 1, "the VIP and our own address: {told:?}");
    let table = lb1.ask(&["show", "bgp", "tor-v4", "advertised"]).expect("it runs").said;
    assert_eq!(table.lines().count(), told.len() + 1, "{table}");
    let all = lb1.ask(&["show", "bgp"]).expect("it runs").said;
    assert!(all.contains("tor-v4") && all.contains("tor-v6") && all.contains("FLAPS"), "{all}");

    let (v4, _) = document::Subnet::Appliance(1).host();
    fabric.frr.vtysh(&format!("clear bgp {v4}")).expect("cleared");
    wait_until("the reset to be told", PATIENCE, || {
        let status = lb1.api().get("/v1/peers/tor-v4")?["status"].clone();
        let word = &status["last_received"];
        anyhow::ensure!(word["code"] == 6, "last word: {word}");
        anyhow::ensure!(status["down_total"] == 1, "{}", status["down_total"]);
        let labels = ["peer=\"tor-v4\"", "direction=\"received\"", "code=\"6\""];
        let counted = lb1.metrics()?.count("weir_bgp_notifications_total", &labels);
        anyhow::ensure!(counted >= 1.0, "{counted} notifications counted");
        Ok(())
    })
    .expect("told");
}
