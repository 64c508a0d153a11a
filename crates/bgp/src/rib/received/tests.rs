// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Adj-RIB-In: its bounds, and what of it outlives a restart of the peer.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn path(text: &[u32]) -> Arc<ReceivedPath> {
    let segments = vec![Segment { kind: SegmentKind::Sequence, asns: text.to_vec() }];
    let attributes = PathAttributes { as_path: Some(AsPath { segments }), ..PathAttributes::default() };
    Arc::new(ReceivedPath::new(&attributes, vec!["10.0.0.1".parse().unwrap()]))
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn shown(rib: &AdjRibIn) -> Vec<String> {
    let routes = rib.snapshot(Instant::now(), SystemTime::now());
    routes.iter().map(|r| format!("{}{}", r.prefix, if r.is_stale { " stale" } else { "" })).collect()
}

#[test]
fn one_more_than_allowed_is_refused_and_each_family_has_its_own_count() {
    let (mut rib, now) = (AdjRibIn::new(2), Instant::now());
    for text in ["10.0.0.0/8", "11.0.0.0/8", "2001:db8::/32", "10.0.0.0/8"] {
        assert_eq!(rib.announce(now, prefix(text), &path(&[65000])), Ok(()), "{text}");
    }
    let refused = TooMany { family: Family::Ipv4Unicast, max: 2 };
    assert_eq!(rib.announce(now, prefix("12.0.0.0/8"), &path(&[65000])), Err(refused));
    rib.withdraw(&prefix("11.0.0.0/8"));
    assert_eq!(rib.announce(now, prefix("12.0.0.0/8"), &path(&[65000])), Ok(()));
    assert_eq!(shown(&rib), ["10.0.0.0/8", "12.0.0.0/8", "2001:db8::/32"]);
}

#[test]
fn a_restart_keeps_once_and_only_what_was_agreed() {
    let (mut rib, now) = (AdjRibIn::new(4), Instant::now());
    for text in ["0.0.0.0/0", "10.0.0.0/8", "::/0"] {
        rib.announce(now, prefix(text), &path(&[65000])).unwrap();
    }
    rib.peer_restarts(Families { ipv4: true, ipv6: false });
    assert_eq!(shown(&rib), ["0.0.0.0/0 stale", "10.0.0.0/8 stale"]);
    assert_eq!(rib.stale(), Families { ipv4: true, ipv6: false });
    rib.announce(now, prefix("0.0.0.0/0"), &path(&[65000])).unwrap();
    rib.peer_restarts(Families { ipv4: true, ipv6: false });
    assert_eq!(shown(&rib), ["0.0.0.0/0 stale"], "what was stale before is gone");
    rib.announce(now, prefix("0.0.0.0/0"), &path(&[65000])).unwrap();
    rib.drop_stale(Families::BOTH);
    assert_eq!(shown(&rib), ["0.0.0.0/0"]);
    rib.drop_families(Families::BOTH);
    assert!(rib.is_empty() && rib.stale().is_empty());
}

#[test]
fn stale_routes_make_room_for_new_ones() {
    let (mut rib, now) = (AdjRibIn::new(2), Instant::now());
    for text in ["10.0.0.0/8", "11.0.0.0/8"] {
        rib.announce(now, prefix(text), &path(&[65000])).unwrap();
    }
    rib.peer_restarts(Families::BOTH);
    for text in ["12.0.0.0/8", "13.0.0.0/8"] {
        assert_eq!(rib.announce(now, prefix(text), &path(&[65000])), Ok(()));
    }
    assert!(rib.announce(now, prefix("14.0.0.0/8"), &path(&[65000])).is_err());
    assert_eq!(shown(&rib), ["12.0.0.0/8", "13.0.0.0/8"]);
}

#[test]
fn what_is_kept_of_a_path_is_bounded() {
    let segments = (0..100).map(|_| Segment { kind: SegmentKind::Sequence, asns: vec![4_200_000_000; 255] });
    let attributes = PathAttributes {
        as_path: Some(AsPath { segments: segments.collect() }),
        communities: vec![1; 1000],
        large_communities: vec![[1; 3]; 1000],
        ..PathAttributes::default()
    };
    let mut rib = AdjRibIn::new(1);
    rib.announce(Instant::now(), prefix("0.0.0.0/0"), &Arc::new(ReceivedPath::new(&attributes, vec![])))
        .unwrap();
    let route = rib.snapshot(Instant::now(), SystemTime::now())[0].clone();
    assert_eq!((route.as_path.len(), route.as_path_len), (AS_PATH_TEXT_MAX, 25_500));
    assert!(route.as_path.ends_with('…'));
    assert_eq!((route.communities.len(), route.large_communities.len()), (32, 32));
}

#[test]
fn a_set_is_one_hop() {
    let sequence = Segment { kind: SegmentKind::Sequence, asns: vec![3] };
    let set = AsPath { segments: vec![Segment { kind: SegmentKind::Set, asns: vec![1, 2] }, sequence] };
    assert_eq!(hops(&set), 2);
}

#[test]
fn the_time_of_receipt_is_told_by_the_calendar() {
    let (mut rib, now) = (AdjRibIn::new(1), Instant::now());
    rib.announce(now, prefix("0.0.0.0/0"), &path(&[65000])).unwrap();
    let calendar = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let routes = rib.snapshot(now + Duration::from_secs(10), calendar);
    assert_eq!(routes[0].received_at, SystemTime::UNIX_EPOCH + Duration::from_secs(990));
}

proptest! {
    #[test]
    fn counts_agree_with_the_routes(steps in prop::collection::vec((0u8..9, 0u8..12), 0..200)) {
        let (mut rib, now) = (AdjRibIn::new(4), Instant::now());
        for (step, number) in steps {
            let text = if number % 2 == 0 { format!("10.0.{number}.0/24") } else { format!("2001:db8:{number}::/48") };
            let prefix = prefix(&text);
            let one = Families { ipv4: number % 2 == 0, ipv6: number % 2 == 1 };
            match step {
                0..=2 => drop(rib.announce(now, prefix, &path(&[65000]))),
                3 => rib.withdraw(&prefix),
                4 => rib.peer_restarts(if number % 3 == 0 { Families::BOTH } else { one }),
                5 => rib.drop_stale(one),
                6 => rib.begin_refresh(prefix.family()),
                7 => rib.end_refresh(prefix.family()),
                _ => rib.drop_families(one),
            }
            let routes = rib.snapshot(now, SystemTime::now());
            for family in Family::ALL {
                let of_family = || routes.iter().filter(|r| r.prefix.family() == family);
                prop_assert!(rib.len(family) <= 4);
                prop_assert_eq!(rib.len(family), u32::try_from(of_family().count()).unwrap());
                prop_assert_eq!(rib.stale().contains(family), of_family().any(|r| r.is_stale));
            }
        }
    }
}
