// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages of the prefixes that a peer was told and has told us. Pure.

use std::net::IpAddr;

use weir_api::Page;
use weir_api::v1::{AdvertisedRoute, AdvertisedRouteList, ReceivedRoute, ReceivedRouteList, Timestamp};
use weir_bgp::{AdjRibOutView, Family, Prefix};

/// A page of what a peer was told.
pub(super) fn advertised(told: &AdjRibOutView, page: Page) -> AdvertisedRouteList {
    let after = page.after.and_then(prefix);
    let behind = Family::ALL.into_iter().flat_map(|family| told.iter_after(family, after));
    // One more than wanted tells whether there is another page.
    let mut items: Vec<_> = behind.take(page.limit + 1).map(told_route).collect();
    let next = cut(&mut items, page.limit, |route| route.prefix.clone());
    let total = Family::ALL.into_iter().map(|family| told.len(family) as u64).sum();
    AdvertisedRouteList { items, total, next }
}

/// A page of what a peer told us; `all` is sorted by prefix.
pub(super) fn received(all: &[weir_bgp::ReceivedRoute], page: Page) -> ReceivedRouteList {
    let after = page.after.and_then(prefix);
    let behind = all.iter().skip_while(|route| after.is_some_and(|after| route.prefix <= after));
    let mut items: Vec<_> = behind.take(page.limit + 1).map(heard_route).collect();
    let next = cut(&mut items, page.limit, |route| route.prefix.clone());
    ReceivedRouteList { items, total: all.len() as u64, next }
}

/// Leaves `limit` items; the cursor of the next page if that cut something off.
fn cut<T>(items: &mut Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Option<String> {
    let is_more = items.len() > limit;
    items.truncate(limit);
    items.last().filter(|_| is_more).map(cursor)
}

/// The API has checked the length; host bits are no place of their own.
fn prefix((address, length): (IpAddr, u8)) -> Option<Prefix> {
    Prefix::truncated(address, length).ok()
}

fn told_route(route: weir_bgp::AdvertisedRoute) -> AdvertisedRoute {
    AdvertisedRoute {
        prefix: route.prefix.to_string(),
        next_hop: route.next_hop,
        as_path: route.as_path,
        med: route.med,
        communities: route.communities.iter().map(|one| community(*one)).collect(),
        large_communities: route.large_communities.iter().map(large).collect(),
        link_bandwidth: route.link_bandwidth,
    }
}

fn heard_route(route: &weir_bgp::ReceivedRoute) -> ReceivedRoute {
    ReceivedRoute {
        prefix: route.prefix.to_string(),
        next_hops: route.next_hops.clone(),
        as_path: route.as_path.clone(),
        origin: match route.origin {
            0 => "igp".to_owned(),
            1 => "egp".to_owned(),
            _ => "incomplete".to_owned(),
        },
        med: route.med,
        communities: route.communities.iter().map(|one| community(*one)).collect(),
        large_communities: route.large_communities.iter().map(large).collect(),
        is_stale: route.is_stale,
        received_at: Timestamp(route.received_at),
    }
}

/// `65010:100`, or the registry's name.
fn community(value: u32) -> String {
    let name = match value {
        0xffff_0000 => "graceful-shutdown",
        0xffff_0006 => "llgr-stale",
        0xffff_0007 => "no-llgr",
        0xffff_029a => "blackhole",
        0xffff_ff01 => "no-export",
        0xffff_ff02 => "no-advertise",
        0xffff_ff03 => "no-export-subconfed",
        0xffff_ff04 => "no-peer",
        _ => return format!("{}:{}", value >> 16, value & 0xffff),
    };
    name.to_owned()
}

fn large([global, first, second]: &[u32; 3]) -> String {
    format!("{global}:{first}:{second}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use weir_bgp::Advertisement;
    use weir_bgp::rib::Wanted;

    use super::super::tests::export;
    use super::*;

    fn told(count: u8) -> AdjRibOutView {
        let one = |last| {
            let prefix = Prefix::host(IpAddr::from([192, 0, 2, last]));
            let communities = vec![65_010 << 16 | 100, 0xffff_ff01];
            Advertisement {
                communities,
                large_communities: vec![[65_010, 1, 2]],
                ..Advertisement::plain(prefix)
            }
        };
        let set: BTreeSet<Advertisement> = (0..count).map(one).collect();
        AdjRibOutView::new(Arc::new(Wanted::new(&set)), Some(export()))
    }

    #[test]
    fn pages_tell_every_prefix_once_and_end() {
        for limit in [1, 3, 9, 10, 11] {
            let (told, mut page, mut seen) = (told(10), Page { after: None, limit }, Vec::new());
            for round in 0.. {
                assert!(round < 11, "it ends");
                let list = advertised(&told, page);
                assert_eq!((list.total, list.items.len() <= limit), (10, true));
                seen.extend(list.items.into_iter().map(|route| route.prefix));
                let Some(next) = list.next else { break };
                let (address, length) = next.split_once('/').expect("a prefix");
                page.after = Some((address.parse().expect("one"), length.parse().expect("a length")));
            }
            let all: Vec<String> = (0..10).map(|last| format!("192.0.2.{last}/32")).collect();
            assert_eq!(seen, all, "limit {limit}");
        }
    }

    #[test]
    fn a_cursor_that_has_gone_still_is_a_place() {
        let after = Some((IpAddr::from([192, 0, 2, 200]), 32));
        assert_eq!(advertised(&told(10), Page { after, limit: 5 }).items, []);
        let before = Some((IpAddr::from([10, 0, 0, 0]), 8));
        assert_eq!(advertised(&told(10), Page { after: before, limit: 5 }).items.len(), 5);
    }

    #[test]
    fn attributes_are_in_the_words_of_operators() {
        let route = advertised(&told(1), Page { after: None, limit: 1 }).items.remove(0);
        assert_eq!(route.communities, ["65010:100", "no-export"]);
        assert_eq!(route.large_communities, ["65010:1:2"]);
        assert_eq!((route.next_hop.to_string().as_str(), route.as_path.as_str()), ("10.0.0.2", "65010"));
    }

    #[test]
    fn what_was_heard_is_told_with_its_state() {
        let heard = weir_bgp::ReceivedRoute {
            prefix: "0.0.0.0/0".parse().expect("a prefix"),
            next_hops: vec![IpAddr::from([10, 0, 0, 1])],
            as_path: "65000".into(),
            as_path_len: 1,
            first_as: Some(65_000),
            origin: 2,
            med: Some(5),
            communities: vec![0xffff_0000],
            large_communities: vec![],
            is_stale: true,
            received_at: UNIX_EPOCH,
        };
        let list = received(&[heard], Page { after: None, limit: 1 });
        assert_eq!((list.total, list.next), (1, None));
        let route = &list.items[0];
        assert_eq!((route.origin.as_str(), route.med, route.is_stale), ("incomplete", Some(5), true));
        assert_eq!(route.communities, ["graceful-shutdown"]);
    }
}
