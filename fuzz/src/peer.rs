// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a peer says that knows the protocol: each pair of octets is a message, so that random input gets far.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_bgp::wire::{
    AfiSafi, AsPath, Capability, NextHop, Notification, Open, Origin, PathToSend, Refresh, RefreshKind,
    UpdateEncoder, encode_keepalive,
};
use weir_bgp::{Family, Prefix};

/// The message of this kind, in the variant of `detail`.
pub(crate) fn message(kind: u8, detail: u8) -> Vec<u8> {
    let family = if detail & 1 == 0 { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
    match kind % 8 {
        0 => open(detail),
        1 => encode_keepalive(),
        2 | 3 => announce(family, detail),
        4 => {
            let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
            let prefixes = prefixes(family, detail);
            let written = if detail & 2 == 0 {
                encoder.withdraw(family, &prefixes)
            } else {
                encoder.withdraw_multiprotocol(family, &prefixes)
            };
            written.map(|(message, _)| message).unwrap_or_default()
        }
        5 => UpdateEncoder { four_octet_as: true, message_max: 4096 }.end_of_rib(family),
        6 => {
            let kinds = [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End, RefreshKind::Other(9)];
            Refresh::new(kinds[usize::from(detail >> 1 & 3)], family).encode()
        }
        _ => notification(detail).encode(),
    }
}

fn open(detail: u8) -> Vec<u8> {
    let has = |bit: u8| detail & (1 << bit) != 0;
    let both = [AfiSafi { afi: 1, safi: 1 }, AfiSafi { afi: 2, safi: 1 }];
    let mut capabilities = vec![Capability::RouteRefresh];
    if !has(0) {
        capabilities.extend(both.map(Capability::Multiprotocol));
    }
    if !has(1) {
        capabilities.push(Capability::FourOctetAs(65000));
    }
    if has(2) {
        capabilities.push(Capability::EnhancedRouteRefresh);
    }
    if has(3) {
        capabilities.push(Capability::ExtendedMessage);
    }
    if has(4) {
        capabilities.push(Capability::GracefulRestart {
            is_restarting: has(5),
            has_notification: has(6),
            time_s: 30,
            families: both.map(|family| (family, has(5))).to_vec(),
        });
    }
    let hold_time_s = if has(7) { 0 } else { 9 };
    // Below and above our own identifier, so that collisions go either way.
    let router_id = if has(3) { Ipv4Addr::new(10, 0, 0, 1) } else { Ipv4Addr::new(203, 0, 113, 1) };
    Open { two_octet_as: 65000, hold_time_s, router_id, capabilities }.encode()
}

/// One to four prefixes, the default route among them.
fn prefixes(family: Family, detail: u8) -> Vec<Prefix> {
    let count = 1 + (detail >> 5 & 3);
    let address = |n: u8| -> std::net::IpAddr {
        match family {
            Family::Ipv4Unicast => Ipv4Addr::new(n * 16, 0, 0, 0).into(),
            Family::Ipv6Unicast => Ipv6Addr::new(u16::from(n) * 0x1000, 0, 0, 0, 0, 0, 0, 0).into(),
        }
    };
    (0..count).filter_map(|n| Prefix::truncated(address(n), if n == 0 { 0 } else { 8 }).ok()).collect()
}

fn announce(family: Family, detail: u8) -> Vec<u8> {
    // Sometimes the path has been through us, sometimes the next hop is ours.
    let as_path = AsPath::own(if detail & 2 == 0 { 65000 } else { 65010 }, 1);
    let path = PathToSend {
        as_path: &as_path,
        origin: Origin::Igp,
        med: None,
        communities: &[],
        extended_communities: &[],
        large_communities: &[],
    };
    let last = if detail & 4 == 0 { 1 } else { 2 };
    let v6 = NextHop::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last));
    let next_hop = match family {
        Family::Ipv4Unicast if detail & 8 == 0 => {
            NextHop::V4(Ipv4Addr::new(10, 0, 0, if last == 1 { 1 } else { 2 }))
        }
        Family::Ipv4Unicast | Family::Ipv6Unicast => v6,
    };
    let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
    let written = encoder.announce(path, next_hop, family, &prefixes(family, detail));
    written.map(|(message, _)| message).unwrap_or_default()
}

fn notification(detail: u8) -> Notification {
    let inner = match detail >> 1 & 7 {
        0 => Notification::shutdown("rack 12 power work"),
        1 => Notification::prefixes_exceeded(AfiSafi { afi: 1, safi: 1 }, 3),
        2 => Notification::cease(7),
        3 => Notification::cease(10),
        4 => Notification::new(4, 0, vec![]),
        5 => Notification::new(3, 9, vec![]),
        6 => Notification::new(2, 2, vec![]),
        _ => Notification::cease(8),
    };
    if detail & 1 == 0 { inner } else { Notification::hard_reset_of(&inner) }
}
