// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the transport and the capabilities make of next hops, message sizes and attributes on the wire.

use super::script::{Script, open, raw, wanted};
use super::*;
use crate::advertise::Advertisement;
use crate::config::{Family, LinkBandwidth};
use crate::status::PeerWarning;
use crate::wire::capability::ExtendedNextHop;
use crate::wire::iana::MESSAGE_LEN_MAX_EXTENDED;
use crate::wire::{AfiSafi, decode_message};
use std::collections::BTreeSet;

const V4_OVER_V6: ExtendedNextHop = ExtendedNextHop { family: AfiSafi { afi: 1, safi: 1 }, next_hop_afi: 2 };

/// A session of a peer without configured next hops.
fn plain(remote: &str) -> SessionConfig {
    let mut config = config(65010, "192.0.2.1", "2001:db8::1", 65000);
    config.peer.next_hop_v6 = None;
    if remote.starts_with("fe80") {
        config.peer.remote = Remote::Interface { interface: "e1".into(), address: None };
    }
    config
}

/// Established between these ends with a peer that offers `more`.
fn established(config: SessionConfig, local: &str, remote: &str, more: Vec<Capability>) -> Script {
    let mut script = Script::started(config);
    if script.session.target().is_none() {
        assert_eq!(script.events(), [] as [&str; 0], "nobody knows where to connect to");
        script.session.handle_remote_changed(script.now, Some(remote.parse().unwrap()));
    }
    script.dial(local, remote);
    let mut theirs = open(65000);
    theirs.capabilities.extend(more);
    script.meet(&theirs);
    script
}

/// What is announced and withdrawn by the next messages: prefix and next hops, in MP or classic form.
fn told(script: &mut Script) -> Vec<String> {
    let context = DecodeContext { four_octet_as: true, local_address: None };
    let messages = std::iter::from_fn(|| script.session.poll_transmit(Slot::Dialled)).collect::<Vec<_>>();
    let mut words = vec![];
    for message in messages {
        let Message::Update(update) = decode_message(&message, &context).unwrap() else { panic!() };
        assert_eq!(update.treatment, None);
        words.extend(update.withdrawn.iter().map(|p| format!("-{p}")));
        words.extend(update.nlri.iter().map(|p| format!("+{p} {}", update.attributes.next_hop.unwrap())));
        if let Some(unreach) = &update.attributes.mp_unreach {
            words.extend(unreach.nlri.iter().map(|p| format!("MP -{p}")));
        }
        if let Some(reach) = &update.attributes.mp_reach {
            assert_eq!(update.attributes.next_hop, None, "no NEXT_HOP beside MP_REACH");
            words.extend(reach.nlri.iter().map(|p| format!("MP +{p} {:?}", reach.next_hops)));
        }
        words.extend(update.end_of_rib().map(|family| format!("end of {family}")));
    }
    words
}

const BOTH: [&str; 2] = ["192.0.2.1/32", "2001:db8:f::1/128"];
const ENDS: [&str; 2] = ["end of ipv4-unicast", "end of ipv6-unicast"];

#[test]
fn an_unnumbered_session_names_its_link_local_address_alone() {
    let enhe = Capability::ExtendedNextHop(vec![V4_OVER_V6]);
    let mut script = established(plain("fe80::1"), "[fe80::2%3]:5000", "[fe80::1%3]:179", vec![enhe]);
    assert_eq!(script.session.remote_address().unwrap().to_string(), "[fe80::1%3]:179");
    script.session.handle_wanted(wanted(&BOTH));
    assert_eq!(
        told(&mut script),
        ["MP +192.0.2.1/32 [fe80::2]", "MP +2001:db8:f::1/128 [fe80::2]", ENDS[0], ENDS[1]]
    );
    let status = script.session.negotiated_status().unwrap();
    assert!(status.has_extended_next_hop && script.session.warnings().is_empty());
    assert!(status.offered.iter().any(|c| c.text == "ENHE 1/1->2"));
    script.session.handle_wanted(wanted(&[]));
    assert_eq!(told(&mut script), ["MP -192.0.2.1/32", "MP -2001:db8:f::1/128"], "the way they came");
}

#[test]
fn a_numbered_ipv6_session_names_its_global_address() {
    let enhe = Capability::ExtendedNextHop(vec![V4_OVER_V6]);
    let (local, remote) = ("[2001:db8::2]:5000", "[2001:db8::1]:179");
    let mut script = established(plain(remote), local, remote, vec![enhe.clone()]);
    script.session.handle_wanted(wanted(&BOTH));
    assert_eq!(
        told(&mut script),
        ["MP +192.0.2.1/32 [2001:db8::2]", "MP +2001:db8:f::1/128 [2001:db8::2]", ENDS[0], ENDS[1]]
    );
    // A configured IPv4 next hop is what the operator wants.
    let mut config = plain(remote);
    config.peer.next_hop_v4 = Some(Ipv4Addr::new(10, 0, 0, 2));
    let mut script = established(config, local, remote, vec![enhe]);
    script.session.handle_wanted(wanted(&BOTH));
    assert_eq!(told(&mut script)[0], "+192.0.2.1/32 10.0.0.2");
}

#[test]
fn ipv4_without_a_next_hop_the_peer_understands_is_not_announced_and_that_is_seen() {
    let (local, remote) = ("[fe80::2%3]:5000", "[fe80::1%3]:179");
    let mut script = established(plain(remote), local, remote, vec![]);
    script.session.handle_wanted(wanted(&BOTH));
    assert_eq!(told(&mut script), ["MP +2001:db8:f::1/128 [fe80::2]", ENDS[0], ENDS[1]]);
    assert_eq!(script.session.warnings(), [PeerWarning::NoNextHop(Family::Ipv4Unicast)]);
    let view = script.session.rib().view().unwrap();
    assert_eq!((view.len(Family::Ipv4Unicast), view.len(Family::Ipv6Unicast)), (0, 1));
    let mut config = plain(remote);
    config.peer.next_hop_v4 = Some(Ipv4Addr::new(10, 0, 0, 2));
    let mut script = established(config, local, remote, vec![]);
    script.session.handle_wanted(wanted(&BOTH));
    assert_eq!(told(&mut script)[0], "+192.0.2.1/32 10.0.0.2");
    assert!(script.session.warnings().is_empty());
}

#[test]
fn long_messages_are_sent_and_taken_only_if_both_want_them() {
    let many: BTreeSet<_> = (0..20_000u32)
        .map(|n| Prefix::host(Ipv4Addr::from_bits(0xc000_0000 + n).into()))
        .map(Advertisement::plain)
        .collect();
    let longest = |more: Vec<Capability>| {
        let mut script =
            established(config(65010, "192.0.2.1", "10.0.0.1", 65000), "10.0.0.2:5000", "10.0.0.1:179", more);
        script.session.handle_wanted(Arc::new(Wanted::new(&many)));
        let messages = std::iter::from_fn(|| script.session.poll_transmit(Slot::Dialled));
        let longest = messages.map(|m| m.len()).max().unwrap();
        // A withdraw of 5000 prefixes in one message.
        let field = [24u8, 10, 1, 1].repeat(5000);
        let length = u16::try_from(field.len()).unwrap().to_be_bytes();
        script.hear(&raw(2, &[&length[..], &field, &[0, 0]].concat()));
        (longest, script.session.state())
    };
    let (short, refused) = longest(vec![]);
    assert!(short <= 4096 && short > 4000, "{short}");
    assert_eq!(refused, State::Idle);
    let (long, taken) = longest(vec![Capability::ExtendedMessage]);
    assert!(long <= MESSAGE_LEN_MAX_EXTENDED && long > 65000, "{long}");
    assert_eq!(taken, State::Established);
}

#[test]
fn a_peer_without_capabilities_is_spoken_to_in_classic_fields() {
    let mut script = Script::started(config(65010, "192.0.2.1", "10.0.0.1", 65000));
    script.dial("10.0.0.2:5000", "10.0.0.1:179");
    let mut theirs = open(65000);
    theirs.capabilities.clear();
    script.meet(&theirs);
    script.session.handle_wanted(wanted(&BOTH));
    let messages: Vec<_> = std::iter::from_fn(|| script.session.poll_transmit(Slot::Dialled)).collect();
    assert_eq!(messages.len(), 2, "the IPv4 prefix and its End-of-RIB");
    let context = DecodeContext { four_octet_as: false, local_address: None };
    let Message::Update(update) = decode_message(&messages[0], &context).unwrap() else { panic!() };
    assert_eq!((update.nlri.len(), update.attributes.mp_reach), (1, None));
    assert_eq!(update.attributes.as_path.unwrap().to_string(), "65010");
}

#[test]
fn the_policy_of_the_peer_is_added_to_every_advertisement() {
    let mut config = config(65010, "192.0.2.1", "10.0.0.1", 65000);
    config.peer.export = ExportPolicy {
        med: Some(50),
        prepend: 2,
        communities: vec![7, 8],
        large_communities: vec![[1, 2, 3]],
        link_bandwidth: LinkBandwidth::NonTransitive,
    };
    let mut script = established(config, "10.0.0.2:5000", "10.0.0.1:179", vec![]);
    script.sent();
    let plain = Advertisement::plain("192.0.2.1/32".parse().unwrap());
    let full = Advertisement {
        prefix: "192.0.2.2/32".parse().unwrap(),
        med: Some(5),
        communities: vec![9, 7],
        large_communities: vec![[4, 5, 6]],
        prepend: 1,
        link_bandwidth: Some(125_000_000),
    };
    script.session.handle_wanted(Arc::new(Wanted::new(&BTreeSet::from([plain, full]))));
    let context = DecodeContext { four_octet_as: true, local_address: None };
    let heard = std::iter::from_fn(|| script.session.poll_transmit(Slot::Dialled)).map(|message| {
        let Message::Update(update) = decode_message(&message, &context).unwrap() else { panic!() };
        let a = update.attributes;
        (
            a.as_path.unwrap().to_string(),
            a.med,
            a.communities,
            a.large_communities,
            a.extended_communities.first().copied(),
        )
    });
    let path = |count: usize| vec!["65010"; count].join(" ");
    assert_eq!(
        heard.collect::<Vec<_>>(),
        [
            (path(3), Some(50), vec![7, 8], vec![[1, 2, 3]], None),
            (
                path(4),
                Some(5),
                vec![9, 7, 8],
                vec![[4, 5, 6], [1, 2, 3]],
                Some(*b"\x40\x04\xfd\xf2\x4c\xee\x6b\x28")
            ),
        ]
    );
    let view = script.session.rib().view().unwrap();
    let route = view.iter(Family::Ipv4Unicast).nth(1).unwrap();
    assert_eq!((route.as_path, route.med), (path(4), Some(5)));
    assert_eq!((route.communities, route.large_communities), (vec![9, 7, 8], vec![[4, 5, 6], [1, 2, 3]]));
    assert_eq!((route.link_bandwidth, route.next_hop), (Some(125_000_000), "10.0.0.2".parse().unwrap()));
}

#[test]
fn the_most_of_everything_still_fits_one_message() {
    for (more, over) in
        [(vec![], "10.0.0"), (vec![Capability::ExtendedNextHop(vec![V4_OVER_V6])], "2001:db8:")]
    {
        for is_narrow in [false, true] {
            let (local, remote) = if over.contains(':') {
                ("[2001:db8::2]:5000", "[2001:db8::1]:179")
            } else {
                ("10.0.0.2:5000", "10.0.0.1:179")
            };
            let mut config = config(4_200_000_010, "192.0.2.1", "10.0.0.1", 65000);
            config.peer.export = ExportPolicy {
                med: Some(50),
                prepend: 255,
                communities: (0..16).collect(),
                large_communities: (0..16).map(|n| [n, 0, 0]).collect(),
                link_bandwidth: LinkBandwidth::Transitive,
            };
            let mut script = Script::started(config);
            script.dial(local, remote);
            let mut theirs = open(65000);
            theirs.capabilities.extend(more.clone());
            if is_narrow {
                theirs.capabilities.retain(|c| !matches!(c, Capability::FourOctetAs(_)));
            }
            script.meet(&theirs);
            let most = |prefix: &str| Advertisement {
                prefix: prefix.parse().unwrap(),
                med: Some(1),
                communities: (100..228).collect(),
                large_communities: (100..228).map(|n| [n, 1, 1]).collect(),
                prepend: 255,
                link_bandwidth: Some(1),
            };
            let all: BTreeSet<_> = BOTH.into_iter().map(most).collect();
            let wanted = Wanted::new(&all);
            assert!(wanted.rejected().is_empty());
            script.session.handle_wanted(Arc::new(wanted));
            let context = DecodeContext { four_octet_as: !is_narrow, local_address: None };
            let messages: Vec<_> =
                std::iter::from_fn(|| script.session.poll_transmit(Slot::Dialled)).collect();
            let announced = messages.iter().filter(|message| {
                let Message::Update(update) = decode_message(message, &context).unwrap() else { panic!() };
                assert_eq!(update.treatment, None);
                update.announced().count() == 1
            });
            assert_eq!(announced.count(), 2, "{over} narrow {is_narrow}");
        }
    }
}

#[test]
fn a_neighbour_that_moves_is_met_where_it_is() {
    let mut script = Script::started(plain("fe80::1"));
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!((script.events(), script.session.state()), (vec![], State::Active));
    script.session.handle_remote_changed(script.now, at("[fe80::1%3]:179"));
    script.session.handle_remote_changed(script.now, at("[fe80::1%3]:179"));
    assert_eq!(script.events(), ["Dial"]);
    script.session.handle_remote_changed(script.now, at("[fe80::9%3]:179"));
    assert_eq!(script.events(), ["AbortDial", "Dial"], "an attempt goes to the new address");
    assert_eq!(script.session.target(), at("[fe80::9%3]:179"));
    script.session.handle_remote_changed(script.now, None);
    assert_eq!(script.events(), ["AbortDial"]);
    script.wait(1000);
    assert_eq!(script.events(), [] as [&str; 0], "nowhere to connect to");
    // An Established session is left alone, and goes to the new place after it.
    script.session.handle_remote_changed(script.now, at("[fe80::1%3]:179"));
    script.dial("[fe80::2%3]:5000", "[fe80::1%3]:179");
    script.meet(&open(65000));
    script.session.handle_remote_changed(script.now, at("[fe80::7%3]:179"));
    assert_eq!((script.events(), script.session.state()), (vec![], State::Established));
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(script.events(), ["Down", "close"]);
    script.wait(1);
    let Some(SessionEvent::Dial(to)) = script.session.poll_event() else { panic!() };
    assert_eq!(Some(to), at("[fe80::7%3]:179"));
}
