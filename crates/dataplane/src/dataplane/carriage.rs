// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How packets are carried to a backend, in the backend table's words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_dataplane_core::BackendFlags;
use weir_dataplane_core::bytes::{Outer, OuterOptions};

use crate::config::DataplaneConfig;
use crate::forwarding::{GueVariant, Mode, OuterHeader, Pool};
use crate::next_hop::NextHop;

/// Protocol number of IPv4 in an outer IPv4 header.
const PROTOCOL_IPIP: u8 = 4;

/// Prebuilt parts of the outer header to a backend; `None`: the appliance has no address of its family. In mode `l2` nothing
/// is put on, and only health checks ask for the backend's address.
pub(super) fn outer(config: &DataplaneConfig, mode: Mode, address: IpAddr) -> Option<Outer> {
    let mut outer = match (address, mode) {
        (IpAddr::V4(to), Mode::L2) => Outer::v4(Ipv4Addr::UNSPECIFIED, to, 0),
        (IpAddr::V6(to), Mode::L2) => Outer::v6(Ipv6Addr::UNSPECIFIED, to),
        (IpAddr::V4(to), Mode::Ipip | Mode::Gue { .. }) => Outer::v4(config.source_v4?, to, PROTOCOL_IPIP),
        (IpAddr::V6(to), Mode::Ipip | Mode::Gue { .. }) => Outer::v6(config.source_v6?, to),
    };
    if let Mode::Gue { port, .. } = mode {
        outer.port = port.to_be();
    }
    Some(outer)
}

/// Family of the outer header, and whether and how packets of that family go the plain way, as bits of [`BackendFlags`].
pub(super) fn flags(pool: &Pool, address: IpAddr) -> u8 {
    let (v4, v6) = match pool.mode {
        _ if options(&pool.outer) != 0 => (0, 0),
        Mode::Ipip => (BackendFlags::PLAIN_V4, BackendFlags::PLAIN_V6),
        Mode::Gue { variant: GueVariant::Header, .. } => (BackendFlags::GUE_V4, BackendFlags::GUE_V6),
        Mode::Gue { .. } | Mode::L2 => (0, 0),
    };
    if address.is_ipv4() { v4 } else { BackendFlags::OUTER_V6 | v6 }
}

/// How outer headers are made, as bits of [`OuterOptions`].
pub(super) fn options(outer: &OuterHeader) -> u16 {
    // Taken apart, so that a new field must be thought of here.
    let OuterHeader { udp_checksum, source_entropy, copies_dscp, flow_label, port_entropy } = *outer;
    let bits = [
        (udp_checksum, OuterOptions::UDP_CHECKSUM),
        (source_entropy, OuterOptions::SOURCE_ENTROPY),
        (!copies_dscp, OuterOptions::NO_DSCP),
        (!flow_label, OuterOptions::NO_FLOW_LABEL),
        (!port_entropy, OuterOptions::NO_PORT_ENTROPY),
    ];
    bits.iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum()
}

/// Those of `hops` that `mode` can use.
pub(super) fn usable_hops(mode: Mode, hops: &[NextHop]) -> Vec<NextHop> {
    hops.iter().filter(|hop| mode.can_use(hop)).copied().collect()
}

/// Whether the pool's packets name other backends of it, which must then be of one address family: an agent hands a packet
/// on by the outer header it came with.
pub(super) fn mixes_families(pool: &Pool) -> bool {
    let mut families = pool.backends.values().map(|backend| backend.address.is_ipv4());
    let first = families.next();
    matches!(pool.mode, Mode::Gue { variant: GueVariant::Candidates, .. })
        && families.any(|family| Some(family) != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_has_its_bit_and_the_default_none() {
        let default = OuterHeader::default();
        assert_eq!(options(&default), 0);
        assert_eq!(options(&OuterHeader { udp_checksum: true, ..default }), 1);
        assert_eq!(options(&OuterHeader { source_entropy: true, ..default }), 2);
        assert_eq!(options(&OuterHeader { copies_dscp: false, ..default }), 4);
        assert_eq!(options(&OuterHeader { flow_label: false, ..default }), 8);
        assert_eq!(options(&OuterHeader { port_entropy: false, ..default }), 16);
        let all = OuterHeader {
            udp_checksum: true,
            source_entropy: true,
            copies_dscp: false,
            flow_label: false,
            port_entropy: false,
        };
        assert_eq!(options(&all), 31);
    }

    #[test]
    fn a_router_is_no_next_hop_without_an_outer_header() {
        let router = NextHop {
            ifindex: 2,
            source_mac: [2; 6],
            destination_mac: [4; 6],
            mtu: 1500,
            vlan: None,
            is_on_link: false,
        };
        let itself = NextHop { is_on_link: true, ..router };
        assert_eq!(usable_hops(Mode::L2, &[router, itself]), [itself]);
        assert_eq!(usable_hops(Mode::Ipip, &[router, itself]), [router, itself]);
    }
}
