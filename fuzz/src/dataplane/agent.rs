// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of the agent's programs: tunnels are taken off, MSS options lowered, and nothing else changes.

use std::net::IpAddr;

use weir_dataplane::host::HostPacket;
use weir_dataplane_core::Action;
use weir_dataplane_core::bytes::Address;
use weir_dataplane_core::decap::{AgentOutcome, AgentTables, AgentVerdict, decapsulate};
use weir_dataplane_core::mss::{MssTables, MssVerdict, clamp};

use super::octets::{Ip, address, sum, word};
use super::state::{GUE_PORT, INGRESS, holds, v4, v6};

/// Sources of tunnels: of appliances, and those made from flows.
const APPLIANCES: [(IpAddr, u8); 4] = [
    (v4([192, 0, 2, 0]), 24),
    (v4([10, 77, 0, 0]), 16),
    (v6([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0]), 48),
    (v6([0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0]), 64),
];
/// Addresses of this host.
const OWN: [(IpAddr, u8); 2] = [(v4([10, 1, 0, 0]), 24), (v6([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0]), 48)];
const VIPS: [(IpAddr, u8); 3] = [
    (v4([198, 51, 100, 0]), 24),
    (v6([0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0]), 48),
    (v6([0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 0]), 48),
];
/// Octets that are taken off at most: 20 or 40 of IP, 8 of UDP, 4 of GUE, and 31 words that it may have.
const OVERHEAD_MAX: usize = 40 + 8 + 4 + 31 * 4;

/// The agent of a backend.
pub(super) struct Agent;

impl AgentTables for Agent {
    fn is_appliance(&self, source: &Address) -> bool {
        any(&APPLIANCES, ip(source))
    }

    fn is_own(&self, destination: &Address) -> bool {
        any(&OWN, ip(destination))
    }

    fn is_gue_port(&self, port_be: u16) -> bool {
        u16::from_be(port_be) == GUE_PORT
    }

    fn vip(&self, destination: &Address) -> Option<u32> {
        let index = VIPS.iter().position(|vip| any(&[*vip], ip(destination)))?;
        u32::try_from(index).ok()
    }
}

/// The largest MSS.
struct Mss(u16);

impl MssTables for Mss {
    fn is_vip(&self, source: &Address) -> bool {
        any(&VIPS, ip(source))
    }

    fn largest(&self, _is_v6: bool) -> u16 {
        self.0
    }
}

/// One octet for the largest MSS, then a frame that comes in by the tunnel, or leaves.
pub fn frame(octets: &[u8]) {
    let Some((mss, frame)) = octets.split_first() else { return };
    if frame.len() < 14 {
        return;
    }
    comes_in(frame);
    leaves(frame, u16::from(*mss) * 8);
}

fn comes_in(frame: &[u8]) {
    let mut packet = HostPacket::new(frame, INGRESS);
    let outcome = decapsulate(&mut packet, &Agent);
    let (name, left) = (outcome.verdict.name(), packet.frame());
    let tunnel = Tunnel::read(frame);
    if outcome.verdict == AgentVerdict::Decapsulated {
        let tunnel = tunnel.expect("a tunnel of ours");
        let inner = Ip::read(left).expect("an IP packet");
        assert_eq!((inner.at, &left[..12]), (14, &frame[..12]), "{name}");
        assert!(tunnel.outer.len() <= tunnel.outer.octets.len() && tunnel.outer.is_sound(), "{name}");
        assert!(inner.len() >= inner.header_len(), "{name}");
        assert!(tunnel.at + inner.len() <= tunnel.end(), "{name}: the inner packet in the outer one");
        assert!(tunnel.end() <= 14 + tunnel.outer.len(), "{name}: the datagram in the outer packet");
        assert_eq!(outcome.inner_len as usize, inner.len(), "{name}");
        assert!(frame.len() - left.len() <= OVERHEAD_MAX, "{name}");
        assert_eq!(inner.octets, tunnel.merged().expect("an ECN field"), "{name}");
        return;
    }
    assert_eq!((outcome.vip, outcome.inner_len), (AgentOutcome::NO_VIP, 0), "{name}");
    match outcome.verdict.action() {
        Action::Pass => assert_eq!(left, frame, "{name} changes nothing"),
        Action::Drop => assert!(tunnel.is_some(), "{name}: {frame:02x?}"),
        Action::Forward | Action::Answer => panic!("{name}"),
    }
}

/// A tunnel from an appliance to this host, with a packet for a VIP in it.
struct Tunnel<'f> {
    outer: Ip<'f>,
    /// Where the inner packet begins in the frame.
    at: usize,
    inner: &'f [u8],
}

impl<'f> Tunnel<'f> {
    fn read(frame: &'f [u8]) -> Option<Self> {
        let outer = Ip::read(frame)?;
        let is_ours = any(&APPLIANCES, outer.source()) && any(&OWN, outer.destination());
        if outer.at != 14 || !is_ours || outer.is_fragment() {
            return None;
        }
        let carried = 14 + outer.header_len();
        let (at, is_v6) = match outer.protocol() {
            4 => (carried, false),
            41 => (carried, true),
            17 if word(frame, carried + 2) == Some(GUE_PORT) => {
                let gue = frame.get(carried + 8..carried + 12)?;
                match (gue[0] >> 4, gue[1]) {
                    (4, _) => (carried + 8, false),
                    (6, _) => (carried + 8, true),
                    (0 | 1, 4 | 41) if gue[2..] == [0, 0] => {
                        (carried + 12 + usize::from(gue[0] & 0x1f) * 4, gue[1] == 41)
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        // As the packet of a frame of its own.
        let ethertype = if is_v6 { [0x86, 0xdd] } else { [8, 0] };
        let inner = frame.get(at..)?;
        let alone = [&frame[..12], &ethertype, inner].concat();
        any(&VIPS, Ip::read(&alone)?.destination()).then_some(Self { outer, at, inner })
    }

    /// Where what the tunnel carries ends in the frame, as the last header before it says.
    fn end(&self) -> usize {
        let carried = &self.outer.octets[self.outer.header_len()..];
        let datagram = word(carried, 4).filter(|_| self.outer.protocol() == 17);
        14 + datagram.map_or(self.outer.len(), |length| self.outer.header_len() + usize::from(length))
    }

    /// The inner packet as it comes out: with the ECN field of RFC 6040 §4.2, figure 4.
    fn merged(&self) -> Option<Vec<u8>> {
        let mut merged = self.inner.to_vec();
        let is_v6 = merged[0] >> 4 == 6;
        let class = if is_v6 { merged[0] << 4 | merged[1] >> 4 } else { merged[1] };
        let ecn = match (class & 3, self.outer.traffic_class() & 3) {
            (0, 3) => return None,
            (0, _) => 0,
            (_, 3) => 3,
            (2, 1) => 1,
            (inner, _) => inner,
        };
        let class = class & !3 | ecn;
        if is_v6 {
            merged[1] = merged[1] & 0xf | class << 4;
        } else if merged[1] != class {
            // By the sum of both words and not by a new one: a wrong checksum stays wrong.
            let (old, new) = ([merged[0], merged[1]], [merged[0], class]);
            let complement = |octets: [u8; 2]| octets.map(|octet| !octet);
            let parts = [complement([merged[10], merged[11]]), complement(old), new].concat();
            let checksum = !sum(&[&parts]);
            merged[1] = class;
            merged[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(merged)
    }
}

/// An MSS is lowered, in a SYN-ACK of a VIP, and the checksum stays as right or wrong as it was.
fn leaves(frame: &[u8], largest: u16) {
    let packet = HostPacket::new(frame, INGRESS);
    let clamped = clamp(&packet, &Mss(largest));
    assert_eq!(packet.frame(), frame);
    let Some((MssVerdict::Clamped, change)) = clamped else { return };
    let ip = Ip::read(frame).expect("an IP packet");
    let l4 = 14 + ip.header_len();
    assert!(ip.at == 14 && ip.protocol() == 6 && any(&VIPS, ip.source()));
    assert_eq!(frame[l4 + 13] & 0x16, 0x12, "a SYN-ACK");
    assert_eq!(frame[change.at - 2..change.at], [2, 4], "the option");
    assert!(change.at >= l4 + 22 && change.at + 2 <= l4 + usize::from(frame[l4 + 12] >> 4) * 4);
    assert_eq!((change.checksum, word(frame, change.at)), (l4 + 16, Some(change.old)));
    assert!(change.new == largest && change.new < change.old);
    let mut after = frame.to_vec();
    after[change.at..change.at + 2].copy_from_slice(&change.new.to_be_bytes());
    let (lost, gained) = change.words();
    let parts = [
        (!word(frame, change.checksum).expect("a checksum").to_be()).to_ne_bytes(),
        (!lost).to_ne_bytes(),
        gained.to_ne_bytes(),
    ];
    let checksum = !sum(&[&parts.concat()]);
    after[change.checksum..change.checksum + 2].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(sum(&[&after[l4..]]), sum(&[&frame[l4..]]), "the checksum follows");
}

/// Whether the agent takes packets for `address`.
pub(super) fn is_vip(address: IpAddr) -> bool {
    any(&VIPS, address)
}

fn any(prefixes: &[(IpAddr, u8)], address: IpAddr) -> bool {
    prefixes.iter().any(|(network, bits)| holds(*network, *bits, address))
}

fn ip(address: &Address) -> IpAddr {
    let octets = address.0.map(u32::to_ne_bytes).concat();
    match self::address(&octets) {
        IpAddr::V6(v6) => v6.to_canonical(),
        v4 @ IpAddr::V4(_) => v4,
    }
}
