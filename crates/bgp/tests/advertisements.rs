// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every recorded router advertisement is read as its index says.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

use serde_json::{Value, json};
use support::{fixtures, load};
use weir_bgp::discovery::{Message, MessageError};

fn render(message: &Message) -> Value {
    let Message::Advertisement(ra) = message else { panic!("no advertisement: {message:?}") };
    let options: Vec<String> = ra
        .source_link_layer
        .map(|address| address.map(|octet| format!("{octet:02x}")).join(":"))
        .map(|address| format!("SLLA {address}"))
        .into_iter()
        .collect();
    json!({"type": "router-advertisement", "cur_hop_limit": ra.cur_hop_limit, "flags": ra.flags,
           "router_lifetime": ra.lifetime_s, "options": options})
}

#[test]
fn recorded_advertisements_are_read_as_their_index_says() {
    let text = std::fs::read_to_string(fixtures().join("ra/index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(index.len(), 3);
    for entry in index {
        let file = entry["file"].as_str().unwrap();
        let octets = load(file);
        let source = "fe80::1".parse().unwrap();
        assert_eq!(render(&Message::decode(&octets, source, 255).unwrap()), entry["expect"], "{file}");
        let far = Message::decode(&octets, source, 64);
        assert_eq!(far, Err(MessageError::HopLimit { hop_limit: 64 }), "{file}");
    }
}
