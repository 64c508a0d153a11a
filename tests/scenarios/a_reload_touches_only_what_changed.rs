// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with announced VIPs under a steady stream of requests,
//! When a good document is loaded (by the API, by the command, by SIGHUP), and bad ones in between,
//! Then the good ones come into force and the bad ones are refused with their reasons; no BGP session is touched, nothing is
//! withdrawn, no request fails.

use weir_lab::document::{self, Subnet};
use weir_lab::{Capture, Fabric, Kept, Load, Tally, wait_until};

use crate::{PATIENCE, small_fabric};

/// How often each session came up, as the ToR says.
fn established(fabric: &Fabric) -> Vec<i64> {
    let (v4, v6) = Subnet::Appliance(1).host();
    let since = |neighbour: String| {
        let answer = fabric.frr.json(&format!("show bgp neighbors {neighbour}")).expect("an answer");
        answer[&neighbour]["connectionsEstablished"].as_i64().expect("a number")
    };
    vec![since(v4.to_string()), since(v6.to_string())]
}

fn applied(fabric: &Fabric) -> anyhow::Result<u64> {
    let status = fabric.appliances[0].status()?;
    let generation = status["document"]["applied_generation"].as_u64();
    generation.ok_or_else(|| anyhow::anyhow!("no generation in {status}"))
}

fn wait_applied(fabric: &Fabric, above: u64) -> u64 {
    wait_until("the new document to be in force", PATIENCE, || {
        let now = applied(fabric)?;
        anyhow::ensure!(now > above, "generation {now}");
        Ok(now)
    })
    .expect("in force")
}

#[test]
#[ignore = "needs root and netns"]
fn good_ones_flap_nothing_and_bad_ones_change_nothing() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    for vip in ["www4", "www6"] {
        lb1.wait_announced(vip, PATIENCE).expect("announced");
    }
    let mut kept = Kept::open(&fabric.client, &document::targets(), 20).expect("connections");
    let seen =
        Capture::start(&fabric.tor, "lb1", "tcp port 179", &fabric.logs.file("bgp.log")).expect("tcpdump");
    let since = established(&fabric);
    let load = Load::start(&fabric.client, &document::targets()).expect("a load");
    load.wait_more(100, PATIENCE).expect("requests");
    let mut generation = applied(&fabric).expect("a generation");

    // The same once more changes nothing.
    let reply = lb1.api().reload().expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("\"changed\":false"), "{}", reply.body);
    assert_eq!(applied(&fabric).expect("a generation"), generation);

    // Weights, by the API.
    for pool in ["web4", "web6"] {
        let section = format!("[pools.{pool}.backends.b1]\n");
        lb1.edit_document(&section, &format!("{section}weight = 50\n")).expect("the backend is there");
    }
    let reply = lb1.api().reload().expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("\"changed\":true"), "{}", reply.body);
    generation = wait_applied(&fabric, generation);

    // A bad one, by the API: every reason with its path, and nothing happens.
    lb1.edit_document("port = 80", "port = 0").expect("the port is there");
    lb1.edit_document("pool = \"web6\"", "pool = \"wbe6\"").expect("the pool is there");
    let reply = lb1.api().reload().expect("an answer");
    assert_eq!(reply.status, 422, "{}", reply.body);
    for words in ["urn:weir:problem:invalid-document", "services.http4.port", "services.http6.pool", "wbe6"] {
        assert!(reply.body.contains(words), "`{words}` is not in {}", reply.body);
    }
    // The same by the command, and by SIGHUP.
    let answer = lb1.ask(&["reload"]).expect("weir reload");
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(format!("{}{}", answer.said, answer.complained).contains("wbe6"), "{answer:?}");
    lb1.signal(libc::SIGHUP).expect("a signal");
    wait_until("the refusal", PATIENCE, || {
        let status = lb1.status()?;
        anyhow::ensure!(!status["document"]["last_rejected"].is_null(), "nothing was refused");
        Ok(())
    })
    .expect("refused");
    lb1.edit_document("port = 0", "port = 80").expect("the port is there");
    lb1.edit_document("pool = \"wbe6\"", "pool = \"web6\"").expect("the pool is there");

    // One that only a restart can bring into force.
    lb1.edit_document("asn = 65010", "asn = 65011").expect("the number is there");
    let reply = lb1.api().reload().expect("an answer");
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(reply.body.contains("urn:weir:problem:needs-restart"), "{}", reply.body);
    lb1.edit_document("asn = 65011", "asn = 65010").expect("the number is there");
    assert_eq!(applied(&fabric).expect("a generation"), generation, "a refused document counted");

    // A new VIP beside the others, by the command.
    let mut text = std::fs::read_to_string(lb1.document_path()).expect("the document");
    text += "[vips.more]\naddress = \"198.51.100.99\"\n[services.more]\nvip = \"more\"\nprotocol = \"tcp\"\nport = 80\n\
             pool = \"web4\"\n[vips.gone]\naddress = \"198.51.100.98\"\n";
    lb1.write_document(&text).expect("written");
    let answer = lb1.ask(&["reload"]).expect("weir reload");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    generation = wait_applied(&fabric, generation);

    // And without it again, by SIGHUP.
    let (text, _) = text.split_once("[vips.more]").expect("it is there");
    lb1.write_document(text).expect("written");
    lb1.signal(libc::SIGHUP).expect("a signal");
    wait_applied(&fabric, generation);

    load.wait_more(300, PATIENCE).expect("requests");
    let tally = Tally::of(&load.stop().expect("outcomes"));
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.total, tally.reasons);
    kept.check().expect("kept connections live");
    assert_eq!(established(&fabric), since, "a session was touched");
    for prefix in document::vip_prefixes() {
        assert_eq!(seen.withdrawals(&prefix), [] as [f64; 0], "{prefix} was withdrawn");
    }
}
