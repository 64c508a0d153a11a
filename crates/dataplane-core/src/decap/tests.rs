// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Properties of the agent's decision over arbitrary and nearly right frames, against a plain second implementation of
//! what must not happen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::prelude::*;

use super::inner::ecn;
use super::*;
use crate::encap::checksum;

/// A frame in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame(Vec<u8>);

impl Packet for Frame {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        let bytes = self.0.get(off..off + size_of::<T>())?;
        // SAFETY: the slice holds the whole of `T`, which is valid for any bytes; alignment is not assumed.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        let bytes = self.0.get_mut(off..off + size_of::<T>())?;
        // SAFETY: as in `read`.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn grow_front(&mut self, _bytes: usize) -> bool {
        unreachable!("decapsulation never grows a frame")
    }

    fn shrink_front(&mut self, bytes: usize) -> bool {
        if self.0.len() < bytes + ETHERNET_HEADER {
            return false;
        }
        self.0.drain(..bytes);
        true
    }

    fn total_len(&self) -> u32 {
        self.len()
    }

    fn truncate(&mut self, _len: u32) -> bool {
        false
    }

    fn ingress_ifindex(&self) -> u32 {
        1
    }
}

struct Known;

const APPLIANCE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const VIP_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const APPLIANCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const GUE_PORT: u16 = 6080;
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 10);

impl AgentTables for Known {
    fn is_appliance(&self, source: &Address) -> bool {
        [IpAddr::V4(APPLIANCE_V4), IpAddr::V6(APPLIANCE_V6)].map(Address::from).contains(source)
    }

    fn is_own(&self, destination: &Address) -> bool {
        [IpAddr::V4(HOST_V4), IpAddr::V6(HOST_V6)].map(Address::from).contains(destination)
    }

    fn is_gue_port(&self, port_be: u16) -> bool {
        u16::from_be(port_be) == GUE_PORT
    }

    fn vip(&self, destination: &Address) -> Option<u32> {
        let vips = [IpAddr::V4(VIP_V4), IpAddr::V6(VIP_V6)].map(Address::from);
        vips.iter().position(|vip| vip == destination).map(|index| u32::try_from(index).unwrap())
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| (u32::from(pair[0]) << 8) | u32::from(*pair.get(1).unwrap_or(&0)));
    checksum::fold(words.fold(0, |sum, word| u32::from(checksum::fold(sum + word))))
}

/// An IPv4 packet with a right checksum.
fn packet_v4(source: Ipv4Addr, destination: Ipv4Addr, tos: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = std::vec![0x45, tos, len[0], len[1], 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let check = (!sum(&packet)).to_be_bytes();
    packet[10..12].copy_from_slice(&check);
    packet.extend(payload);
    packet
}

fn packet_v6(source: Ipv6Addr, destination: Ipv6Addr, class: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet =
        std::vec![0x60 | (class >> 4), (class << 4) | 0x0a, 0xbc, 0xde, len[0], len[1], next, 64];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

fn frame(ip: &[u8]) -> Frame {
    let ethertype = if ip.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    Frame([&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], ethertype.as_slice(), ip].concat())
}

/// A tunnel packet that shall be decapsulated, and the frame that shall come out.
fn tunnel(v6: bool, class: u8, payload: &[u8]) -> (Frame, Frame) {
    let (inner, outer) = if v6 {
        let inner = packet_v6("2001:db8:9::9".parse().unwrap(), VIP_V6, class, 17, payload);
        (inner.clone(), packet_v6(APPLIANCE_V6, HOST_V6, class, 41, &inner))
    } else {
        let inner = packet_v4(Ipv4Addr::new(203, 0, 113, 9), VIP_V4, class, 17, payload);
        (inner.clone(), packet_v4(APPLIANCE_V4, HOST_V4, class, 4, &inner))
    };
    (frame(&outer), frame(&inner))
}

#[test]
fn numbers_are_indexes_and_names_are_distinct() {
    let mut seen = std::collections::BTreeSet::new();
    for (index, verdict) in AgentVerdict::ALL.iter().enumerate() {
        assert_eq!(*verdict as usize, index);
        assert_eq!(AgentVerdict::from_raw(*verdict as u32), Some(*verdict));
        assert!(seen.insert(verdict.name()));
        assert_eq!(verdict.name().starts_with("drop_"), verdict.action() == Action::Drop);
        assert_ne!(verdict.action(), Action::Forward);
    }
    assert_eq!(AgentVerdict::from_raw(AGENT_VERDICTS), None);
}

#[test]
fn ecn_is_the_table_of_rfc_6040() {
    // Rows: inner Not-ECT, ECT(1), ECT(0), CE by value; columns: outer by value 0 to 3.
    let expected: [[Option<u8>; 4]; 4] = [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for (inner, row) in (0_u8..).zip(expected) {
        for (outer, codepoint) in (0_u8..).zip(row) {
            // DSCP stays the inner one's whatever the outer's.
            assert_eq!(ecn(0xb8 | inner, 0x28 | outer).ok(), codepoint.map(|ecn| 0xb8 | ecn));
        }
    }
}

#[test]
fn map_names_fit_the_kernel() {
    for name in names::PINNED_MAPS {
        assert!(name.len() <= 15, "{name}");
    }
}

proptest! {
    #[test]
    fn tunnel_packet_comes_out_whole(
        v6: bool, class: u8, payload in prop::collection::vec(any::<u8>(), 0..64), padding in 0_usize..8,
    ) {
        let (mut packet, mut expected) = tunnel(v6, class, &payload);
        packet.0.extend(std::vec![0; padding]);
        expected.0.extend(std::vec![0; padding]);
        let outcome = decapsulate(&mut packet, &Known);
        prop_assert_eq!(outcome.verdict, AgentVerdict::Decapsulated);
        prop_assert_eq!(outcome.vip, u32::from(v6));
        prop_assert_eq!(outcome.inner_len as usize, expected.0.len() - ETHERNET_HEADER - padding);
        prop_assert_eq!(packet, expected);
    }

    #[test]
    fn merged_ecn_keeps_the_inner_checksum_right(inner: u8, outer: u8, payload in prop::collection::vec(any::<u8>(), 8)) {
        let packet = packet_v4(Ipv4Addr::new(203, 0, 113, 9), VIP_V4, inner, 17, &payload);
        let mut packet = frame(&packet_v4(APPLIANCE_V4, HOST_V4, outer, 4, &packet));
        let outcome = decapsulate(&mut packet, &Known);
        match ecn(inner, outer) {
            Ok(class) => {
                prop_assert_eq!(outcome.verdict, AgentVerdict::Decapsulated);
                prop_assert_eq!(packet.0[ETHERNET_HEADER + 1], class);
                prop_assert_eq!(sum(&packet.0[ETHERNET_HEADER..ETHERNET_HEADER + 20]), 0xffff);
            }
            Err(verdict) => prop_assert_eq!(outcome.verdict, verdict),
        }
    }

    #[test]
    fn any_bytes_pass_untouched_or_are_dropped(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let mut packet = Frame(bytes.clone());
        let outcome = decapsulate(&mut packet, &Known);
        prop_assert_ne!(outcome.verdict, AgentVerdict::Decapsulated, "the addresses cannot be right by chance");
        prop_assert_eq!(outcome.verdict.action(), Action::Pass);
        prop_assert_eq!(packet.0, bytes);
    }

    #[test]
    fn one_changed_octet_or_a_cut_never_leads_astray(
        v6: bool, payload in prop::collection::vec(any::<u8>(), 8..40), at in 0_usize..120, value: u8, cut in 0_usize..140,
    ) {
        let (mut packet, _) = tunnel(v6, 0, &payload);
        if let Some(octet) = packet.0.get_mut(at) {
            *octet = value;
        }
        packet.0.truncate(packet.0.len() - cut.min(packet.0.len()));
        let before = packet.clone();
        let outcome = decapsulate(&mut packet, &Known);
        let header = if v6 { 40 } else { 20 };
        match (outcome.verdict, outcome.verdict.action()) {
            (AgentVerdict::Decapsulated, _) => {
                prop_assert_eq!(packet.0.len() + header, before.0.len());
                // Whole: what its own header says is there.
                prop_assert!(outcome.inner_len as usize + ETHERNET_HEADER <= packet.0.len());
                let source = &before.0[ETHERNET_HEADER + if v6 { 8 } else { 12 }..];
                let expected = if v6 { APPLIANCE_V6.octets().to_vec() } else { APPLIANCE_V4.octets().to_vec() };
                prop_assert!(source.starts_with(&expected));
            }
            (_, Action::Pass) => prop_assert_eq!(packet, before),
            (_, Action::Drop | Action::Forward | Action::Answer) => {
                // Dropped only when all four questions were answered with yes.
                let destination = ETHERNET_HEADER + header + if v6 { 24 } else { 16 };
                let vip = if v6 { VIP_V6.octets().to_vec() } else { VIP_V4.octets().to_vec() };
                prop_assert!(before.0[destination..].starts_with(&vip));
            }
        }
    }
}
