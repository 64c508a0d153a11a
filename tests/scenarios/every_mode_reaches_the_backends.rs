// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance whose pools carry packets by IP in IP,
//! When the document is changed to each variant of GUE, or to backends of the other family, and loaded,
//! Then requests to both VIPs get through each time, by the mode that the document says.

use weir_lab::document::{self, Checks, Subnet};
use weir_lab::{Capture, Fabric, Layout, requests, wait_until};

use crate::{PATIENCE, load_document, small_fabric, weir};

const REQUESTS: usize = 60;

/// Packets that the agents opened.
fn decapsulated(fabric: &Fabric) -> f64 {
    let count = |backend: &weir_lab::Backend| {
        let metrics = backend.agent_metrics().expect("metrics");
        metrics.count("weir_agent_packets_total", &["verdict=\"decapsulated\""])
    };
    fabric.backends.iter().map(count).sum()
}

/// Requests to both VIPs; the packets towards `b1` that `tcpdump` says are of this mode.
fn carried(fabric: &Fabric, name: &str, filter: &str) {
    let lb1 = &fabric.appliances[0];
    for vip in ["www4", "www6"] {
        lb1.wait_announced(vip, PATIENCE).expect("announced");
    }
    lb1.wait_usable(PATIENCE).expect("checks get through");
    let log = fabric.logs.file(&format!("{name}.log"));
    let seen = Capture::start(&fabric.tor, "b1", filter, &log).expect("tcpdump");
    let before = decapsulated(fabric);
    for target in document::targets() {
        let tally = requests(&fabric.client, &[target], REQUESTS).expect("the load runs");
        assert_eq!(tally.failed, 0, "{name}, {target}: {:?}", tally.reasons);
        assert_eq!(tally.spread.len(), 2, "{name}, {target}: {:?}", tally.spread);
    }
    assert!(decapsulated(fabric) - before > 2.0 * REQUESTS as f64, "{name}: the agents opened them");
    wait_until(&format!("packets of {name}"), PATIENCE, || {
        let text = seen.text();
        // A packet's first line begins with its time.
        let packets = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        anyhow::ensure!(packets > REQUESTS / 4, "{packets} packets");
        Ok(())
    })
    .expect("the mode that was meant");
}

#[test]
#[ignore = "needs root and netns"]
fn checks_and_requests_get_through_in_each_of_them() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    carried(&fabric, "4in4 and 6in6", "ip proto 4 or ip6 proto 41");
    lb1.edit_document("mode = \"ipip\"", "mode = \"gue\"\ngue = { variant = \"header\" }")
        .expect("the mode is there");
    load_document(lb1);
    carried(&fabric, "GUE", "udp dst port 6080");
    for (from, to) in [("header", "direct"), ("direct", "candidates")] {
        let variant = |word| format!("variant = \"{word}\"");
        lb1.edit_document(&variant(from), &variant(to)).expect("the variant is there");
        load_document(lb1);
        carried(&fabric, &format!("GUE {to}"), "udp dst port 6080");
    }
}

#[test]
#[ignore = "needs root and netns"]
fn each_of_them_carries_one_family_in_the_other() {
    let layout = Layout { checks: Checks::None, ..Layout::small(weir()) };
    let fabric = Fabric::up(&layout).expect("the fabric comes up");
    let lb1 = &fabric.appliances[0];
    for number in 1..=2 {
        let (v4, v6) = Subnet::Backend(number).host();
        for (pool, from, to) in
            [("web4", v4.to_string(), v6.to_string()), ("web6", v6.to_string(), v4.to_string())]
        {
            let section = |address| format!("[pools.{pool}.backends.b{number}]\naddress = \"{address}\"");
            lb1.edit_document(&section(from), &section(to)).expect("the backend is there");
        }
    }
    load_document(lb1);
    carried(&fabric, "4in6 and 6in4", "ip proto 41 or ip6 proto 4");
    lb1.edit_document("mode = \"ipip\"", "mode = \"gue\"").expect("the mode is there");
    load_document(lb1);
    carried(&fabric, "GUE over the other family", "udp dst port 6080");
}
