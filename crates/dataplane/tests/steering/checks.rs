// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets of health checks beside packets of clients: the same outer header, whatever the backend's state.

use std::sync::atomic::Ordering;

use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane_core::bytes::{BackendMode, Outer};
use weir_dataplane_core::check::{CheckVerdict, direct};
use weir_dataplane_core::{BackendFlags, ServiceKey, process};

use super::table::{self, DRAINING, FAILED, REMOVED, SERVICE, USABLE};
use crate::packet::{ACK, Frame, SYN};

const BASE: u32 = 0x5765_0000;
const VIP4: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

/// Backends 1 to 4 as [`table::tables`] makes them, a next hop, and a service on port 80 of `vip`.
fn tables(vip: &str) -> HostTables {
    let mut tables = table::tables(64);
    let hop =
        weir_dataplane_core::NextHopValue { ifindex: 7, plain_mtu: 1500, mtu: 1500, ..Default::default() };
    tables.next_hops = vec![Default::default(), hop];
    let vip: std::net::IpAddr = vip.parse().unwrap();
    tables.services.insert(ServiceKey::new(vip, weir_dataplane_core::Protocol::Tcp, 80), SERVICE);
    if vip.is_ipv6() {
        let source = "2001:db8:ffff::1".parse().unwrap();
        for (number, backend) in (0..).zip(&mut tables.backends).skip(1) {
            let address = format!("2001:db8:1::{number}").parse().unwrap();
            backend.flags |= BackendFlags::OUTER_V6 | BackendFlags::PLAIN_V6;
            backend.outer = Outer::v6(source, address);
        }
    }
    tables
}

fn syn(vip: &str) -> Frame {
    let source = if vip == VIP4 { "192.0.2.1" } else { "2001:db8:ffff::1" };
    Frame::tcp(source, 40_000, vip, 80, SYN)
}

fn ran(tables: &HostTables, frame: &[u8], mark: u32) -> (Result<u32, CheckVerdict>, Vec<u8>) {
    let mut packet = HostPacket::new(frame, 0);
    let result = direct(&mut packet, tables, mark, BASE).map(|directed| directed.ifindex);
    (result, packet.frame().to_vec())
}

#[test]
fn a_check_has_the_outer_header_that_clients_packets_have() {
    for vip in [VIP4, VIP6] {
        let tables = tables(vip);
        let variants = [
            syn(vip),
            syn(vip).with(|f| f.traffic_class = 0xb9),
            syn(vip).with(|f| f.source_port = 41_234),
            Frame { tcp: Some(ACK), payload: b"GET / HTTP/1.1\r\n\r\n".to_vec(), ..syn(vip) },
        ];
        for frame in variants.map(|frame| frame.octets()) {
            // The row's first candidate is backend 1.
            let mut clients = HostPacket::new(&frame, 0);
            let outcome = process(&mut clients, &tables);
            assert_eq!(outcome.egress_ifindex, 7);
            let (result, checks) = ran(&tables, &frame, BASE | 1);
            assert_eq!(result, Ok(7));
            assert_eq!(checks, clients.frame());
            assert_ne!(ran(&tables, &frame, BASE | 2).0, Err(CheckVerdict::UnknownBackend));
        }
    }
}

#[test]
fn a_check_goes_by_the_mode_of_its_pool() {
    for (mode, port) in [
        (BackendMode::IPIP, 0_u16),
        (BackendMode::GUE, 6080),
        (BackendMode::GUE_DIRECT, 6080),
        (BackendMode::L2, 0),
    ] {
        for (backends, vip) in [(VIP4, VIP4), (VIP4, VIP6), (VIP6, VIP4), (VIP6, VIP6)] {
            let mut tables = tables(backends);
            tables.services.insert(
                ServiceKey::new(vip.parse().unwrap(), weir_dataplane_core::Protocol::Tcp, 80),
                SERVICE,
            );
            for backend in tables.backends.iter_mut().skip(1) {
                backend.mode = mode;
                backend.outer.port = port.to_be();
                backend.flags &= !(BackendFlags::PLAIN_V4 | BackendFlags::PLAIN_V6);
            }
            let frame = syn(vip).octets();
            let mut clients = HostPacket::new(&frame, 0);
            assert_eq!(process(&mut clients, &tables).egress_ifindex, 7);
            let (result, checks) = ran(&tables, &frame, BASE | 1);
            assert_eq!(result, Ok(7), "mode {mode} to {backends} for {vip}");
            assert_eq!(checks, clients.frame(), "mode {mode} to {backends} for {vip}");
        }
    }
}

/// Candidates would have the agent hand a check on to another backend, which would answer for this one.
#[test]
fn a_check_has_no_candidates_and_is_for_the_backend_on_the_link() {
    let mut tables = tables(VIP4);
    tables.backends[1].mode = BackendMode::GUE_CANDIDATES;
    let frame = syn(VIP4).octets();
    let (result, checks) = ran(&tables, &frame, BASE | 1);
    assert_eq!(result, Ok(7));
    assert_eq!(checks.len(), frame.len() + 20 + 8 + 4 + 12);
    assert_eq!(checks[14 + 20 + 8], 3, "Hlen: private data without hops");

    tables.backends[1].mode = BackendMode::L2;
    tables.next_hops[1].vlan = 5;
    let mut packet = HostPacket::new(&frame, 0);
    let directed = direct(&mut packet, &tables, BASE | 1, BASE).unwrap();
    assert_eq!((directed.ifindex, directed.vlan), (7, 5));
    let neighbour = directed.neighbour.unwrap();
    assert_eq!((neighbour.is_v6, neighbour.address[0].to_ne_bytes()), (false, [10, 1, 0, 1]));
    assert_eq!(packet.frame().len(), frame.len(), "the tag is the kernel's to push");
}

#[test]
fn every_state_is_reached_and_the_flow_table_is_let_alone() {
    for vip in [VIP4, VIP6] {
        let mut tables = tables(vip);
        let outer = tables.backends[2].flags & BackendFlags::OUTER_V6;
        for flags in [USABLE, DRAINING, FAILED, REMOVED] {
            tables.backends[2].flags = flags | outer;
            assert_eq!(ran(&tables, &syn(vip).octets(), BASE | 2).0, Ok(7), "flags {flags}");
        }
        let used =
            tables.flows.iter().flat_map(|set| set.iter()).filter(|slot| slot.load(Ordering::Relaxed) != 0);
        assert_eq!(used.count(), 0);
        assert!(tables.counted.lock().unwrap().is_none());
    }
}

#[test]
fn what_cannot_be_a_check_is_dropped_by_name() {
    let mut tables = tables(VIP4);
    let frame = syn(VIP4).octets();
    for mark in [0, 1, 0x5764_0001, 0x5766_0001, 0x1_5765_u32 << 12] {
        assert_eq!(ran(&tables, &frame, mark).0, Err(CheckVerdict::Stray), "{mark:#x}");
    }
    for mark in [BASE, BASE | 5, BASE | 0xffff] {
        assert_eq!(ran(&tables, &frame, mark).0, Err(CheckVerdict::UnknownBackend), "{mark:#x}");
    }
    let mut fragment = syn(VIP4);
    fragment.fragment = 0x2000;
    let mut icmp = frame.clone();
    icmp[14 + 9] = 1;
    let arp = crate::packet::ethernet([0xff; 6], [2; 6], 0x0806);
    for other in [fragment.octets(), icmp, arp, frame[..30].to_vec(), Vec::new()] {
        let (result, after) = ran(&tables, &other, BASE | 1);
        assert_eq!(result, Err(CheckVerdict::NotIp), "{other:02x?}");
        assert_eq!(after, other, "and not touched");
    }
    let big = syn(VIP4).with(|f| f.payload = vec![0; 1_450]);
    assert_eq!(ran(&tables, &big.octets(), BASE | 1).0, Err(CheckVerdict::Failed), "larger than the path");
    assert_eq!(ran(&tables, &syn(VIP4).with(|f| f.ttl = 1).octets(), BASE | 1).0, Err(CheckVerdict::Failed));

    tables.backends[1].next_hops = [0; 4];
    assert_eq!(ran(&tables, &frame, BASE | 1).0, Err(CheckVerdict::Unresolved));
    tables.backends[2].identity = 0;
    assert_eq!(ran(&tables, &frame, BASE | 2).0, Err(CheckVerdict::UnknownBackend), "its id is free");
}
