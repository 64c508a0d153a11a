// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which candidates a packet carries with it in GUE.

use std::net::{IpAddr, Ipv4Addr};

use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane_core::bytes::{BackendMode, Outer};
use weir_dataplane_core::{
    BackendFlags, NextHopValue, Protocol, ServiceFlags, ServiceKey, ServiceValue, Verdict, process,
};

use super::table::*;
use crate::packet::{Frame, SYN as SYN_FLAG};

const VIP: &str = "198.51.100.10";
const INGRESS: u32 = 7;
/// Octets of Ethernet, outer IPv4, UDP and GUE, then of the private data in front of the hops.
const PRIVATE: usize = 14 + 20 + 8 + 4;
const HOPS: usize = PRIVATE + 12;

fn address(id: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, id)
}

/// Backends 1 to 4 of pool 3 by GUE with candidates, and a service with these flags.
fn candidates(service_flags: u32) -> HostTables {
    let mut tables = tables(4);
    for id in 1..=4_u8 {
        let backend = &mut tables.backends[usize::from(id)];
        backend.mode = BackendMode::GUE_CANDIDATES;
        backend.flags = USABLE;
        let outer = Outer::v4([192, 0, 2, 1].into(), address(id), 17);
        backend.outer = Outer { port: 6080_u16.to_be(), ..outer };
    }
    let hop = NextHopValue { ifindex: INGRESS, plain_mtu: 1500, mtu: 1500, ..NextHopValue::default() };
    tables.next_hops = vec![NextHopValue::default(), hop];
    let vip: IpAddr = VIP.parse().unwrap();
    tables.services.insert(ServiceKey::marker(vip.into()), ServiceValue::default());
    tables
        .services
        .insert(ServiceKey::new(vip, Protocol::Tcp, 80), ServiceValue { flags: service_flags, ..SERVICE });
    tables
}

/// Where the packet went and the hops that it carries.
fn carried(tables: &HostTables, port: u16) -> (Ipv4Addr, Vec<Ipv4Addr>) {
    let frame = Frame::tcp("203.0.113.7", port, VIP, 80, SYN_FLAG).octets();
    let mut packet = HostPacket::new(&frame, INGRESS);
    assert_eq!(process(&mut packet, tables).verdict, Verdict::ForwardNew);
    let frame = packet.frame();
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let count = usize::from(frame[PRIVATE + 5]);
    (address(30), (0..count).map(|hop| address(HOPS + 4 * hop)).collect())
}

#[test]
fn an_id_of_another_pool_in_a_row_is_no_hop() {
    // By the first step, and by that of encapsulation.
    for flags in [0, ServiceFlags::SLOW] {
        let mut tables = candidates(flags);
        assert_eq!(carried(&tables, 1), (address(1), [2, 3, 4].map(address).to_vec()));
        // A row switched a moment ago may still name it; the list ends before it.
        tables.backends[3].pool = 9;
        assert_eq!(carried(&tables, 2), (address(1), [2].map(address).to_vec()), "flags {flags}");
        tables.backends[2].pool = 9;
        assert_eq!(carried(&tables, 3), (address(1), vec![]), "flags {flags}");
        tables.backends[1].pool = 9;
        assert_eq!(carried(&tables, 4), (address(4), vec![]), "flags {flags}");
    }
}

#[test]
fn a_candidate_that_takes_nothing_ends_the_list() {
    for flags in [0, ServiceFlags::SLOW] {
        for (state, hops) in [(DRAINING, 3), (FAILED, 3), (REMOVED, 1)] {
            let mut tables = candidates(flags);
            tables.backends[3].flags = state;
            assert_eq!(carried(&tables, 1).1.len(), hops, "state {state}, flags {flags}");
        }
        let mut tables = candidates(flags);
        tables.backends[2].flags |= BackendFlags::OUTER_V6;
        assert_eq!(carried(&tables, 1).1.len(), 0, "of the other family, flags {flags}");
    }
}
