// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The listener on real sockets, messages sent to itself over loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::known::mtu_min;
use super::message::Refusal;
use super::*;
use crate::next_hop::NextHop;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(10);

fn hops(addresses: &[&str]) -> Arc<NextHops> {
    let hop = NextHop {
        ifindex: 1,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
        vlan: None,
        is_on_link: false,
    };
    Arc::new(addresses.iter().map(|address| (address.parse().unwrap(), Ok(vec![hop]))).collect())
}

/// Sends an ICMP error to ourselves that quotes IP in IP from 127.0.0.1 to `destination`.
fn send_v4(kind: u8, code: u8, mtu: u32, destination: Ipv4Addr) {
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 60, 4, 0, 0, 127, 0, 0, 1]);
    message.extend(destination.octets());
    message.extend([0x45, 0, 5, 0xc8, 0, 0, 0x40, 0]);
    let sum = message.chunks(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
    let sum = weir_dataplane_core::encap::checksum::finish(sum);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.send_to(&message, &SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
}

/// The same over IPv6, from and to ::1; the kernel makes the checksum.
fn send_v6(kind: u8, code: u8, mtu: u32, destination: &str) {
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend([0x60, 0, 0, 0, 5, 0xb4, 41, 60]);
    message.extend("::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    message.extend(destination.parse::<std::net::Ipv6Addr>().unwrap().octets());
    message.extend([0x60, 0, 0, 0, 5, 0x8c, 6, 60]);
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.send_to(&message, &SocketAddr::new("::1".parse().unwrap(), 0).into()).unwrap();
}

#[tokio::test]
#[ignore = "needs root and netns"]
async fn a_router_that_tells_an_mtu_is_heard() {
    let (resolver, resolved) = watch::channel(hops(&["10.1.0.3", "2001:db8:1::3"]));
    let sources = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()].into();
    let listener = PathListener::start(sources, resolved).unwrap();
    let (mut next_hops, mut status) = (listener.next_hops(), listener.status());
    let mtu = |hops: &NextHops, address: &str| {
        hops.get(&address.parse().unwrap()).and_then(|hop| hop.as_ref().ok()).map(|hops| hops[0].mtu)
    };

    send_v4(3, 4, 1450, Ipv4Addr::new(10, 1, 0, 3));
    let lowered = next_hops.wait_for(|hops| mtu(hops, "10.1.0.3") == Some(1450));
    assert_eq!(mtu(&timeout(LIMIT, lowered).await.unwrap().unwrap(), "2001:db8:1::3"), Some(1500));

    send_v6(2, 0, 1300, "2001:db8:1::3");
    let lowered = next_hops.wait_for(|hops| mtu(hops, "2001:db8:1::3") == Some(mtu_min(true, false)));
    timeout(LIMIT, lowered).await.unwrap().unwrap();

    send_v4(3, 3, 0, Ipv4Addr::new(10, 1, 0, 3));
    let refused = status.wait_for(|status| status.values().any(|path| path.refused.is_some()));
    let path = timeout(LIMIT, refused).await.unwrap().unwrap()[&"10.1.0.3".parse::<IpAddr>().unwrap()];
    assert_eq!(
        path,
        PathState { mtu: Some(1450), refused: Some((Refusal::Port, "127.0.0.1".parse().unwrap())) }
    );

    // Whoever leaves and comes back begins anew.
    resolver.send_replace(hops(&["2001:db8:1::3"]));
    timeout(LIMIT, next_hops.wait_for(|hops| hops.len() == 1)).await.unwrap().unwrap();
    resolver.send_replace(hops(&["10.1.0.3", "2001:db8:1::3"]));
    let back = next_hops.wait_for(|hops| mtu(hops, "10.1.0.3") == Some(1500));
    timeout(LIMIT, back).await.unwrap().unwrap();
    // The resolver's end is the listener's.
    drop(resolver);
    timeout(LIMIT, async { while next_hops.changed().await.is_ok() {} }).await.unwrap();
}
