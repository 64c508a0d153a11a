// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of ICMP errors about our own tunnel packets, which anybody can send.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use weir_dataplane::next_hop::{NextHop, NextHops};
use weir_dataplane::path::known::{Known, MTU_MIN, Ours};
use weir_dataplane::path::message::{Told, Tunnel, v4, v6};

use super::octets;
use super::state::{GUE_PORT, SOURCE_V4, SOURCE_V6, v4 as ipv4, v6 as ipv6};

/// Backends, of one family each.
const BACKENDS: [IpAddr; 2] = [ipv4([10, 1, 0, 1]), ipv6([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1])];
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
/// Octets that a report is made of: addresses, ports and what else is looked at lie in the first of them.
const QUOTE_MIN: usize = 20;

/// An octet for family and MTU of the link, then what a raw socket gives.
pub fn message(octets: &[u8]) {
    let Some((choice, message)) = octets.split_first() else { return };
    let report = if choice & 1 == 0 {
        // Checksums are rarely right by chance.
        let mut frame = [&[0; 12][..], &[8, 0], message].concat();
        if choice & 2 != 0 {
            octets::mend(&mut frame);
        }
        v4(&frame[14..])
    } else {
        v6(ROUTER, message)
    };
    let Some(report) = report else { return };
    assert!(message.len() >= 8 + QUOTE_MIN);
    assert_eq!(report.source.is_ipv4(), choice & 1 == 0);
    assert_eq!(report.destination.is_ipv4(), report.source.is_ipv4());
    for address in [report.source, report.destination] {
        let quoted = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        assert!(message.windows(quoted.len()).any(|window| window == quoted), "{address} of {message:02x?}");
    }

    let link = 1_280 + u16::from(*choice) * 32;
    let hop = NextHop {
        ifindex: 1,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        mtu: link,
        vlan: None,
        is_on_link: false,
    };
    let hops: NextHops = BACKENDS.into_iter().map(|backend| (backend, Ok(vec![hop]))).collect();
    let ours = Ours {
        sources: BTreeSet::from([SOURCE_V4.into(), SOURCE_V6.into()]),
        ports: BTreeSet::from([GUE_PORT]),
    };
    let (mut known, now) = (Known::default(), Instant::now());
    let is_news = known.handle_report(now, &report, &ours, &hops);
    let is_ours = ours.sources.contains(&report.source)
        && BACKENDS.contains(&report.destination)
        && matches!(report.tunnel, Tunnel::Ip | Tunnel::Udp(GUE_PORT));
    let lowered = known.apply(&hops);
    assert_eq!(is_news, !known.status().is_empty());
    assert!(is_ours || !is_news, "{report:?}");
    for (backend, paths) in &lowered {
        let mtu = paths.as_ref().expect("a way")[0].mtu;
        let may_be_lower = is_news && *backend == report.destination && matches!(report.told, Told::Mtu(_));
        assert!(
            mtu == link || may_be_lower && (MTU_MIN..link).contains(&mtu),
            "{backend}: {mtu}, {report:?}"
        );
    }
    // All of it ends.
    if let Some(ends) = known.poll_timeout() {
        assert!(ends > now && known.handle_timeout(ends));
    }
    assert_eq!((known.apply(&hops), known.poll_timeout()), (hops, None));
}
