// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Adj-RIB-Out against a model of the peer that believes every message.

use super::*;
use crate::status::AdvertisedRoute;
use crate::wire::{DecodeContext, Message, Update, decode_message};
use proptest::prelude::*;
use std::net::IpAddr;

fn export() -> Export {
    Export {
        asn: 65010,
        families: Families::BOTH,
        next_hop_v4: Some(NextHop::V4("10.0.0.2".parse().unwrap())),
        next_hop_v6: Some(NextHop::V6("2001:db8::2".parse().unwrap())),
        encoder: UpdateEncoder { four_octet_as: true, message_max: 4096 },
        has_enhanced_refresh: true,
        policy: Arc::default(),
    }
}

fn advertisement(prefix: &str, med: u32) -> Advertisement {
    Advertisement { med: Some(med), ..Advertisement::plain(prefix.parse().unwrap()) }
}

fn wanted(list: &[(&str, u32)]) -> Arc<Wanted> {
    Arc::new(Wanted::new(&list.iter().map(|(p, m)| advertisement(p, *m)).collect()))
}

/// A peer that holds what it was told, and what it was told in words.
#[derive(Default)]
struct Peer {
    holds: BTreeMap<Prefix, Option<u32>>,
    /// The same with everything that was told of each.
    routes: BTreeMap<Prefix, AdvertisedRoute>,
    heard: Vec<String>,
}

impl Peer {
    fn hear(&mut self, message: &[u8]) {
        let context = DecodeContext { four_octet_as: true, local_address: None };
        match decode_message(message, &context).unwrap() {
            Message::Update(update) => {
                assert_eq!(update.treatment, None);
                if let Some(family) = update.end_of_rib() {
                    self.heard.push(format!("end of rib {family}"));
                }
                for prefix in update.withdrawals() {
                    self.holds.remove(&prefix);
                    self.routes.remove(&prefix);
                    self.heard.push(format!("withdraw {prefix}"));
                }
                for prefix in update.announced() {
                    self.holds.insert(prefix, update.attributes.med);
                    self.routes.insert(prefix, route(&update, prefix));
                    self.heard.push(format!("announce {prefix}"));
                }
            }
            Message::Refresh(refresh) => self.heard.push(format!("{:?} {}", refresh.kind, refresh.family)),
            other => panic!("{other:?}"),
        }
    }

    fn drain(&mut self, rib: &mut AdjRibOut) -> Vec<String> {
        while let Some(message) = rib.poll() {
            self.hear(&message);
        }
        assert!(rib.is_settled());
        std::mem::take(&mut self.heard)
    }
}

/// Prefixes of a family that the peer was told, of a table that has nothing left to say.
fn told_of(rib: &AdjRibOut, family: Family) -> Vec<Prefix> {
    rib.view().expect("everything was said").iter(family).map(|route| route.prefix).collect()
}

/// What an UPDATE says of a prefix.
fn route(update: &Update, prefix: Prefix) -> AdvertisedRoute {
    let a = &update.attributes;
    let of_reach = a.mp_reach.iter().flat_map(|r| &r.next_hops).copied().next();
    let is_classic = update.nlri.contains(&prefix);
    let next_hop = if is_classic { a.next_hop.map(IpAddr::V4) } else { of_reach };
    let bandwidth = a.extended_communities.iter().find_map(|c| crate::wire::LinkBandwidth::from_octets(*c));
    AdvertisedRoute {
        prefix,
        next_hop: next_hop.unwrap(),
        as_path: a.as_path.as_ref().unwrap().to_string(),
        med: a.med,
        communities: a.communities.clone(),
        large_communities: a.large_communities.clone(),
        link_bandwidth: bandwidth.map(|b| format!("{:.0}", b.bytes_per_second).parse().unwrap()),
    }
}

#[test]
fn a_session_that_comes_up_hears_everything_then_end_of_rib() {
    let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 1), ("2001:db8::1/128", 1)]));
    assert_eq!(rib.poll(), None, "nothing is said before the session is up");
    rib.session_up(export());
    assert_eq!(
        peer.drain(&mut rib),
        [
            "announce 192.0.2.1/32",
            "announce 192.0.2.2/32",
            "announce 2001:db8::1/128",
            "end of rib ipv4-unicast",
            "end of rib ipv6-unicast"
        ]
    );
    assert_eq!(told_of(&rib, Family::Ipv6Unicast), ["2001:db8::1/128".parse().unwrap()]);
    rib.session_down();
    assert!(told_of(&rib, Family::Ipv4Unicast).is_empty() && rib.poll().is_none());
}

#[test]
fn withdraws_go_before_announces() {
    let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
    rib.session_up(export());
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]));
    peer.drain(&mut rib);
    rib.set_wanted(wanted(&[("192.0.2.9/32", 1), ("2001:db8::1/128", 2)]));
    assert_eq!(
        peer.drain(&mut rib),
        ["withdraw 192.0.2.1/32", "announce 192.0.2.9/32", "announce 2001:db8::1/128"]
    );
}

#[test]
fn only_what_changed_is_said() {
    let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
    rib.session_up(export());
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 1)]));
    peer.drain(&mut rib);
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 7)]));
    assert_eq!(peer.drain(&mut rib), ["announce 192.0.2.2/32"]);
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 7)]));
    assert!(peer.drain(&mut rib).is_empty());
}

#[test]
fn a_refresh_stands_between_its_borders_and_only_asks_for_its_family() {
    let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]));
    rib.session_up(export());
    peer.drain(&mut rib);
    rib.refresh(Family::Ipv6Unicast);
    rib.refresh(Family::Ipv6Unicast);
    assert_eq!(peer.drain(&mut rib), ["Begin 2/1", "announce 2001:db8::1/128", "End 2/1"]);
    rib.session_up(Export { has_enhanced_refresh: false, ..export() });
    peer.drain(&mut rib);
    rib.refresh(Family::Ipv4Unicast);
    assert_eq!(peer.drain(&mut rib), ["announce 192.0.2.1/32"]);
    rib.set_wanted(wanted(&[]));
    peer.drain(&mut rib);
    rib.refresh(Family::Ipv4Unicast);
    assert!(peer.drain(&mut rib).is_empty());
}

#[test]
fn a_family_that_is_not_negotiated_or_has_no_next_hop_is_not_sent() {
    let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
    rib.set_wanted(wanted(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]));
    rib.session_up(Export { next_hop_v6: None, ..export() });
    let heard = peer.drain(&mut rib);
    assert_eq!(heard, ["announce 192.0.2.1/32", "end of rib ipv4-unicast", "end of rib ipv6-unicast"]);
    rib.session_up(Export { families: Families { ipv4: false, ipv6: true }, ..export() });
    assert_eq!(peer.drain(&mut rib), ["announce 2001:db8::1/128", "end of rib ipv6-unicast"]);
    rib.set_wanted(wanted(&[]));
    assert_eq!(peer.drain(&mut rib), ["withdraw 2001:db8::1/128"]);
}

#[test]
fn attributes_beyond_a_message_and_second_mentions_are_rejected_and_named() {
    let long = Advertisement {
        communities: vec![1; Advertisement::MAX_COMMUNITIES + 1],
        ..advertisement("192.0.2.1/32", 1)
    };
    let set = BTreeSet::from([long, advertisement("192.0.2.2/32", 1), advertisement("192.0.2.2/32", 2)]);
    let wanted = Wanted::new(&set);
    assert_eq!(wanted.len(), 1);
    let rejected: Vec<String> = wanted.rejected().iter().map(ToString::to_string).collect();
    assert_eq!(rejected, ["192.0.2.1/32", "192.0.2.2/32"]);
}

#[test]
fn the_longest_attributes_still_fit_with_a_prefix() {
    let longest = Advertisement {
        prefix: "2001:db8::1/128".parse().unwrap(),
        med: Some(1),
        communities: (0..128).collect(),
        large_communities: (0..128).map(|n| [n, n, n]).collect(),
        prepend: 255,
        link_bandwidth: Some(1),
    };
    for four_octet_as in [true, false] {
        let mut rib = AdjRibOut::default();
        rib.set_wanted(Arc::new(Wanted::new(&BTreeSet::from([longest.clone()]))));
        let encoder = UpdateEncoder { four_octet_as, message_max: 4096 };
        rib.session_up(Export { asn: 4_200_000_001, encoder, ..export() });
        assert!(rib.poll().is_some_and(|m| m.len() > 2000 && m.len() <= 4096));
    }
}

#[test]
fn many_prefixes_take_few_messages() {
    let set =
        (0..10_000u32).map(|n| Advertisement::plain(Prefix::host(std::net::Ipv4Addr::from_bits(n).into())));
    let mut rib = AdjRibOut::default();
    rib.set_wanted(Arc::new(Wanted::new(&set.collect())));
    rib.session_up(export());
    let messages = std::iter::from_fn(|| rib.poll()).count();
    assert_eq!(messages, 10_000usize.div_ceil(810) + 2);
}

fn any_advertisement() -> impl Strategy<Value = Advertisement> {
    let lists = (prop::collection::vec(0u32..4, 0..4), prop::collection::vec([0u32..3, 0..2, 0..2], 0..3));
    let rest = (prop::option::of(0u32..3), 0u8..3, prop::option::of(Just(1_000_000u64)));
    (0u8..24, lists, rest).prop_map(
        |(n, (communities, large_communities), (med, prepend, link_bandwidth))| {
            let prefix =
                if n.is_multiple_of(2) { format!("192.0.2.{n}/32") } else { format!("2001:db8::{n}/128") };
            let prefix = prefix.parse().unwrap();
            Advertisement { prefix, med, communities, large_communities, prepend, link_bandwidth }
        },
    )
}

fn any_export() -> impl Strategy<Value = Export> {
    let form = prop_oneof![
        Just(LinkBandwidth::Off),
        Just(LinkBandwidth::Transitive),
        Just(LinkBandwidth::NonTransitive)
    ];
    let lists = (prop::collection::vec(0u32..4, 0..3), prop::collection::vec([0u32..3, 0..2, 0..2], 0..2));
    let next_hop_v4 = prop_oneof![
        Just(None),
        Just(Some(NextHop::V4("10.0.0.2".parse().unwrap()))),
        Just(Some(NextHop::V6("fe80::2".parse().unwrap())))
    ];
    (form, lists, prop::option::of(0u32..3), 0u8..3, next_hop_v4).prop_map(
        |(link_bandwidth, (communities, large_communities), med, prepend, next_hop_v4)| {
            let policy = ExportPolicy { med, prepend, communities, large_communities, link_bandwidth };
            Export { policy: Arc::new(policy), next_hop_v4, ..export() }
        },
    )
}

proptest! {
    /// What is shown is what a peer that believes every message holds, to the last attribute.
    #[test]
    fn the_view_is_what_the_peer_was_told(
        export in any_export(),
        wishes in prop::collection::vec(prop::collection::btree_set(any_advertisement(), 0..10), 1..4),
    ) {
        let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
        rib.session_up(export);
        for wish in wishes {
            rib.set_wanted(Arc::new(Wanted::new(&wish)));
            peer.drain(&mut rib);
            let view = rib.view().unwrap();
            let shown: BTreeMap<Prefix, AdvertisedRoute> =
                Family::ALL.into_iter().flat_map(|f| view.iter(f)).map(|r| (r.prefix, r)).collect();
            prop_assert_eq!(&shown, &peer.routes);
            let count: usize = Family::ALL.into_iter().map(|f| view.len(f)).sum();
            prop_assert_eq!(count, shown.len());
        }
    }

    /// Any wishes, however interrupted by polls, refreshes and losses of the session, end with the peer holding exactly
    /// the last wish.
    #[test]
    fn the_peer_ends_up_with_the_last_wish(
        steps in prop::collection::vec(
            (prop::collection::btree_map(0u8..24, 0u32..3, 0..12), 0usize..4, 0u8..8), 1..12)
    ) {
        let (mut rib, mut peer) = (AdjRibOut::default(), Peer::default());
        rib.session_up(export());
        let mut last = BTreeMap::new();
        for (wish, polls, extra) in steps {
            let name = |n: u8| if n.is_multiple_of(2) { format!("192.0.2.{n}/32") } else { format!("2001:db8::{n}/128") };
            let list: BTreeSet<Advertisement> = wish.iter().map(|(n, med)| advertisement(&name(*n), *med)).collect();
            last = list.iter().map(|a| (a.prefix, a.med)).collect();
            rib.set_wanted(Arc::new(Wanted::new(&list)));
            match extra {
                0 => rib.refresh(Family::Ipv4Unicast),
                1 => rib.refresh(Family::Ipv6Unicast),
                2 => {
                    rib.session_down();
                    peer = Peer::default();
                    rib.session_up(export());
                }
                _ => {}
            }
            for _ in 0..polls {
                if let Some(message) = rib.poll() {
                    peer.hear(&message);
                }
            }
        }
        peer.drain(&mut rib);
        prop_assert_eq!(&peer.holds, &last);
        let told: Vec<Prefix> =
            Family::ALL.into_iter().flat_map(|f| told_of(&rib, f)).collect();
        prop_assert_eq!(told, last.keys().copied().collect::<Vec<_>>());
    }
    /// Knowing what changed saves work and alters no message, whichever sets a peer has missed.
    #[test]
    fn known_changes_lead_to_the_same_messages(
        steps in prop::collection::vec(
            (prop::collection::btree_set(any_advertisement(), 0..10), 0usize..4, 0u8..8), 1..12)
    ) {
        let (mut knowing, mut comparing) = (AdjRibOut::default(), AdjRibOut::default());
        for rib in [&mut knowing, &mut comparing] {
            rib.session_up(export());
        }
        let mut last = Arc::<Wanted>::default();
        for (wish, polls, extra) in steps {
            let next = Arc::new(Wanted::after(&wish, &last));
            // The peer's driver was busy and misses this one.
            if extra != 3 {
                knowing.set_wanted(Arc::clone(&next));
                comparing.set_wanted(Arc::new(Wanted::new(&wish)));
            }
            last = next;
            for rib in [&mut knowing, &mut comparing] {
                match extra {
                    0 => rib.refresh(Family::Ipv4Unicast),
                    2 => {
                        rib.session_down();
                        rib.session_up(export());
                    }
                    _ => {}
                }
            }
            for _ in 0..polls {
                prop_assert_eq!(knowing.poll(), comparing.poll());
            }
        }
        while let Some(message) = knowing.poll() {
            prop_assert_eq!(Some(message), comparing.poll());
        }
        prop_assert_eq!(comparing.poll(), None);
    }
}
