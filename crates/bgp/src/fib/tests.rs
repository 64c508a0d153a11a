// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be said without a kernel: configuration, and messages both ways.

use super::message::{decode, encode};
use super::plan::{ObservedRoute, Route};
use super::*;
use crate::config::Family;

fn hop(gateway: &str, interface: u32, weight: u8) -> DefaultNextHop {
    DefaultNextHop { gateway: gateway.parse().unwrap(), interface: Some(interface), weight }
}

#[test]
fn numbers_that_mean_something_else_to_the_kernel_are_refused() {
    let valid = FibConfig::default();
    assert_eq!(valid.validate(), Ok(()));
    let refused = |config: FibConfig| config.validate().unwrap_err().to_string();
    assert_eq!(
        refused(FibConfig { table: 255, ..valid }),
        "routing table 255 cannot be used, the main one is 254"
    );
    assert_eq!(
        refused(FibConfig { protocol: 4, ..valid }),
        "protocol number 4 is not ours to use, it must be above 4"
    );
    assert_eq!(
        refused(FibConfig { metric: 0, ..valid }),
        "metric 0 cannot be used, the kernel makes another of it for IPv6"
    );
}

#[test]
fn what_is_sent_reads_back_the_same() {
    let config = FibConfig { table: 4096, ..FibConfig::default() };
    let hops = vec![hop("10.0.0.1", 3, 1), hop("fe80::1", 4, 200), hop("fe80::1", 5, 255)];
    let route = Route { family: Family::Ipv4Unicast, metric: 20, hops };
    let found = decode(&encode(&route, &config), route.family, config.protocol).unwrap();
    assert_eq!((found.table, found.routes.len()), (4096, 1));
    assert_eq!(found.routes[0], ObservedRoute { route, dead: vec![false; 3] });
}

#[test]
fn an_ipv6_group_reads_as_one_route_for_each_next_hop() {
    let config = FibConfig::default();
    let hops = vec![hop("fe80::1", 4, 1), hop("2001:db8::1", 5, 2)];
    let route = Route { family: Family::Ipv6Unicast, metric: 20, hops };
    let found = decode(&encode(&route, &config), route.family, config.protocol).unwrap();
    assert_eq!(found.table, 254);
    let read: Vec<_> = found.routes.iter().flat_map(|observed| &observed.route.hops).copied().collect();
    assert_eq!((found.routes.len(), read), (2, route.hops));
}

#[test]
fn a_route_of_another_protocol_or_prefix_is_not_ours() {
    let config = FibConfig::default();
    let route = Route { family: Family::Ipv4Unicast, metric: 20, hops: vec![hop("10.0.0.1", 3, 1)] };
    let message = encode(&route, &config);
    assert!(decode(&message, route.family, config.protocol).is_some());
    assert_eq!(decode(&message, route.family, 88), None);
    assert_eq!(
        decode(&message, Family::Ipv6Unicast, config.protocol),
        None,
        "a kernel without IPv6 answers so"
    );
    let mut longer = message.clone();
    longer.header.destination_prefix_length = 1;
    assert_eq!(decode(&longer, route.family, config.protocol), None);
    let mut of_a_source = message;
    of_a_source.header.source_prefix_length = 48;
    assert_eq!(decode(&of_a_source, route.family, config.protocol), None);
}
