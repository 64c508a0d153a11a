// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every recorded message decodes to what the index says, every malformed one gets its reaction, and what can be
//! expressed is written back.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

use serde_json::{Map, Value, json};
use support::{CONTEXT, index, load};
use weir_bgp::wire::{
    AsPath, DecodeContext, Message, NextHop, Notification, Origin, PathToSend, Treatment, Update,
    UpdateEncoder, decode_message, encode_keepalive,
};

/// A message in the words of the index.
fn render(message: &Message) -> Value {
    match message {
        Message::Open(open) => json!({
            "type": "OPEN", "version": 4, "as2": open.two_octet_as, "hold": open.hold_time_s,
            "router_id": open.router_id.to_string(),
            "capabilities": open.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Message::Update(update) => render_update(update),
        Message::Notification(notification) => render_notification(notification),
        Message::Keepalive => json!({"type": "KEEPALIVE"}),
        Message::Refresh(refresh) => json!({
            "type": "ROUTE-REFRESH", "afi": refresh.family.afi, "safi": refresh.family.safi,
            "subtype": refresh.kind.to_raw(),
        }),
    }
}

fn strings<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(|i| Value::String(i.to_string())).collect()
}

fn render_update(update: &Update) -> Value {
    let mut attributes = Map::new();
    let from = &update.attributes;
    if let Some(reach) = &from.mp_reach {
        attributes.insert(
            "mp_reach".into(),
            json!({"afi": reach.family.afi, "safi": reach.family.safi, "next_hop": strings(&reach.next_hops),
                   "nlri": strings(&reach.nlri)}),
        );
    }
    if let Some(unreach) = &from.mp_unreach {
        attributes.insert(
            "mp_unreach".into(),
            json!({"afi": unreach.family.afi, "safi": unreach.family.safi, "nlri": strings(&unreach.nlri)}),
        );
    }
    if let Some(origin) = from.origin {
        let word = match origin {
            Origin::Igp => "IGP",
            Origin::Egp => "EGP",
            Origin::Incomplete => "INCOMPLETE",
        };
        attributes.insert("origin".into(), word.into());
    }
    if let Some(path) = &from.as_path {
        attributes.insert("as_path".into(), strings(&path.segments));
    }
    if let Some(next_hop) = from.next_hop {
        attributes.insert("next_hop".into(), next_hop.to_string().into());
    }
    if let Some(med) = from.med {
        attributes.insert("med".into(), med.into());
    }
    if !from.communities.is_empty() {
        let communities = from.communities.iter().map(|c| format!("{}:{}", c >> 16, c & 0xffff));
        attributes.insert("communities".into(), strings(communities));
    }
    if !from.extended_communities.is_empty() {
        let hex = from.extended_communities.iter().map(|c| hex(c));
        attributes.insert("ext_communities".into(), strings(hex));
    }
    if !from.large_communities.is_empty() {
        let large = from.large_communities.iter().map(|[a, b, c]| format!("{a}:{b}:{c}"));
        attributes.insert("large_communities".into(), strings(large));
    }
    let mut out =
        Map::from_iter([("type".into(), "UPDATE".into()), ("attributes".into(), attributes.into())]);
    if !update.withdrawn.is_empty() {
        out.insert("withdrawn".into(), strings(&update.withdrawn));
    }
    if !update.nlri.is_empty() {
        out.insert("nlri".into(), strings(&update.nlri));
    }
    out.into()
}

fn render_notification(notification: &Notification) -> Value {
    let mut out = Map::from_iter([
        ("type".into(), "NOTIFICATION".into()),
        ("code".into(), notification.code().into()),
        ("subcode".into(), notification.subcode().into()),
    ]);
    if let Some(inner) = notification.hard_reset() {
        out.insert("hard_reset_inner".into(), json!([inner.code(), inner.subcode()]));
    }
    match notification.shutdown_text() {
        Some(text) => {
            out.insert("shutdown_communication".into(), text.into());
        }
        None if !notification.data().is_empty() => {
            out.insert("data".into(), hex(notification.data()).into());
        }
        None => {}
    }
    out.into()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

#[test]
fn every_recorded_message_decodes_to_what_the_index_says() {
    let mut count = 0;
    for entry in index() {
        let Some(expected) = entry.get("expect") else { continue };
        let file = entry["file"].as_str().unwrap();
        let message = decode_message(&load(file), &CONTEXT).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(&render(&message), expected, "{file}");
        if let Message::Update(update) = &message {
            assert_eq!(update.treatment, None, "{file}: {:?}", update.findings);
            assert_eq!(update.end_of_rib().is_some(), file.contains("/eor-"), "{file}");
        }
        count += 1;
    }
    assert_eq!(count, 52, "every file of the index was looked at");
}

/// What a malformed message must lead to.
#[derive(Debug, PartialEq)]
enum Reaction {
    /// The session ends with this code, subcode and data.
    Reset(u8, u8, Vec<u8>),
    /// The session lives; the treatment and the prefixes it concerns.
    Forgiven(Option<Treatment>, Vec<String>),
}

fn reaction(octets: &[u8]) -> Reaction {
    match decode_message(octets, &CONTEXT) {
        Ok(Message::Update(update)) => {
            Reaction::Forgiven(update.treatment, update.announced().map(|p| p.to_string()).collect())
        }
        Ok(other) => panic!("no UPDATE: {other:?}"),
        Err(error) => {
            let answer = error.answer().unwrap();
            Reaction::Reset(answer.code(), answer.subcode(), answer.data().to_vec())
        }
    }
}

#[test]
fn every_malformed_message_gets_its_reaction() {
    use Treatment::{AttributeDiscard, TreatAsWithdraw};
    let vip = || vec!["192.0.2.1/32".to_owned()];
    let withdraw = || Reaction::Forgiven(Some(TreatAsWithdraw), vip());
    let table: &[(&str, Reaction)] = &[
        ("as-path-trailing-octet", withdraw()),
        ("as-path-short-segment", withdraw()),
        ("community-len-3", withdraw()),
        ("large-community-len-5", withdraw()),
        ("origin-7", withdraw()),
        ("attr-header-truncated", Reaction::Forgiven(Some(TreatAsWithdraw), vec![])),
        ("mp-reach-empty", Reaction::Reset(3, 9, vec![0x80, 0x0e, 0])),
        (
            "mp-reach-nh-truncated",
            Reaction::Reset(3, 9, load("malformed/mp-reach-nh-truncated.hex")[23..].to_vec()),
        ),
        ("nlri-len-255", Reaction::Reset(3, 10, vec![])),
        ("nlri-len-33", Reaction::Reset(3, 10, vec![])),
        ("withdrawn-overrun", Reaction::Reset(3, 1, vec![])),
        ("duplicate-origin", Reaction::Forgiven(Some(AttributeDiscard), vip())),
        // An AS_SET is a path like any other to a receiver that does not select routes.
        ("as-set-only-path", Reaction::Forgiven(None, vip())),
        ("header-length-0", Reaction::Reset(1, 2, vec![0, 0])),
        ("header-length-4097-no-extmsg", Reaction::Reset(1, 2, vec![0x10, 0x01])),
    ];
    for (name, expected) in table {
        assert_eq!(reaction(&load(&format!("malformed/{name}.hex"))), *expected, "{name}");
    }
    let listed = index().iter().filter(|e| e.get("expect_error").is_some()).count();
    assert_eq!(listed, table.len(), "every malformed file of the index has its row");
}

#[test]
fn as_set_decodes_as_a_set() {
    let Ok(Message::Update(update)) = decode_message(&load("malformed/as-set-only-path.hex"), &CONTEXT)
    else {
        panic!("no UPDATE")
    };
    assert_eq!(update.attributes.as_path.unwrap().segments[0].to_string(), "SET 65001");
}

/// Writes a decoded UPDATE again, if it is one that we could send.
fn rewrite(update: &Update) -> Option<Vec<u8>> {
    let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
    let from = &update.attributes;
    if let Some(family) = update.end_of_rib() {
        return Some(encoder.end_of_rib(family));
    }
    if !update.withdrawn.is_empty() {
        return encoder.withdraw(update.withdrawn[0].family(), &update.withdrawn).map(|(m, _)| m);
    }
    if let Some(unreach) = &from.mp_unreach {
        let family = unreach.family.family().unwrap();
        return encoder.withdraw_multiprotocol(family, &unreach.nlri).map(|(m, _)| m);
    }
    let path = PathToSend {
        as_path: from.as_path.as_ref()?,
        origin: from.origin?,
        med: from.med,
        communities: &from.communities,
        extended_communities: &from.extended_communities,
        large_communities: &from.large_communities,
    };
    let (next_hop, prefixes) = match &from.mp_reach {
        // A next hop of two addresses is read, never written.
        Some(reach) if reach.next_hops.len() == 1 => (NextHop::from_address(reach.next_hops[0]), &reach.nlri),
        Some(_) => return None,
        None => (NextHop::V4(from.next_hop?), &update.nlri),
    };
    encoder.announce(path, next_hop, prefixes[0].family(), prefixes).map(|(m, _)| m)
}

#[test]
fn what_we_can_express_is_written_back() {
    let (mut same, mut equal, mut left_out) = (vec![], 0, 0);
    for entry in index() {
        let file = entry["file"].as_str().unwrap();
        if entry.get("expect").is_none() {
            continue;
        }
        let octets = load(file);
        let message = decode_message(&octets, &CONTEXT).unwrap();
        let written = match &message {
            Message::Open(open) => Some(open.encode()),
            Message::Notification(notification) => Some(notification.encode()),
            Message::Keepalive => Some(encode_keepalive()),
            Message::Refresh(refresh) => Some(refresh.encode()),
            Message::Update(update) => rewrite(update),
        };
        let Some(written) = written else {
            left_out += 1;
            continue;
        };
        let again = decode_message(&written, &CONTEXT).unwrap();
        match (&message, &again) {
            (Message::Update(before), Message::Update(after)) => {
                assert_eq!((&before.nlri, &before.withdrawn), (&after.nlri, &after.withdrawn), "{file}");
                assert_eq!(before.attributes, after.attributes, "{file}");
            }
            _ => assert_eq!(message, again, "{file}"),
        }
        equal += 1;
        if written == octets {
            same.push(file.to_owned());
        }
    }
    // The rest differ in form only: a parameter per capability, the long length form, the order of attributes.
    let as_recorded = [
        "open/bird-unnumbered.hex",
        "open/bird-numbered-v4-gr-extmsg.hex",
        "open/gobgp-unnumbered-gr-nbit.hex",
        "open/gobgp-restarting-rbit-fbit.hex",
        "open/gobgp-numbered-v4.hex",
        "open/min-two-octet-as.hex",
        "open/fqdn-host-and-domain.hex",
        "open/unknown-capabilities.hex",
        "keepalive.hex",
        "update/bird-v4-classic-prepend-gshut.hex",
        "update/gobgp-v4-classic.hex",
        "update/withdraw-v4-classic-on-enhe.hex",
        "update/eor-v4.hex",
        "update/eor-v6.hex",
        "update/synthetic-mp-reach-first.hex",
        "notification/bird-admin-shutdown-text.hex",
        "notification/frr-admin-shutdown-text.hex",
        "notification/frr-admin-reset.hex",
        "notification/gobgp-admin-shutdown.hex",
        "notification/frr-max-prefix.hex",
        "notification/frr-collision.hex",
        "notification/frr-config-change.hex",
        "notification/frr-bfd-down.hex",
        "notification/frr-malformed-nlri.hex",
        "notification/frr-bad-nexthop.hex",
        "notification/hard-reset-with-text.hex",
        "refresh/frr-request-v4.hex",
        "refresh/bird-borr-v4.hex",
        "refresh/bird-eorr-v4.hex",
    ];
    assert_eq!(same, as_recorded, "these come back octet for octet");
    assert_eq!(left_out, 12, "next hops of two addresses and paths with a set are read, never written");
    assert_eq!(equal + left_out, 52);
}

#[test]
fn a_two_octet_speakers_path_is_read_in_its_width() {
    let context = DecodeContext { four_octet_as: false, ..CONTEXT };
    let encoder = UpdateEncoder { four_octet_as: false, message_max: 4096 };
    let as_path = AsPath::own(4_200_000_001, 1);
    let path = PathToSend {
        as_path: &as_path,
        origin: Origin::Igp,
        med: None,
        communities: &[],
        extended_communities: &[],
        large_communities: &[],
    };
    let next_hop = NextHop::V4("10.0.0.2".parse().unwrap());
    let prefixes = ["192.0.2.1/32".parse().unwrap()];
    let family = weir_bgp::Family::Ipv4Unicast;
    let (message, _) = encoder.announce(path, next_hop, family, &prefixes).unwrap();
    let Ok(Message::Update(update)) = decode_message(&message, &context) else { panic!("no UPDATE") };
    assert_eq!(update.attributes.as_path.unwrap().segments[0].to_string(), "SEQ 23456");
    assert_eq!(update.attributes.as4_path.unwrap(), as_path);
}
