// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that go in, and what must come out, written independently of the code under test.

use anyhow::{Context as _, Result, ensure};
use weir_dataplane_core::Protocol;

use crate::layout::{self, Harness, WORDS_V4, floor};

/// MACs of the frames that go in: to the appliance, from a router.
const MACS_IN: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xc1];
const ETHERNET: usize = 14;
/// TTL or hop limit of the client's packets.
const TTL: u8 = 61;
/// DSCP EF, not ECN capable: shows that it is copied outwards.
const TRAFFIC_CLASS: u8 = 0xb8;
/// TTL of outer headers.
const OUTER_TTL: u8 = 64;

/// TCP flags.
pub const SYN: u8 = 2;
/// TCP flags.
pub const ACK: u8 = 16;

/// Address family of the client's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 64-octet frames.
    V4,
    /// 80-octet frames.
    V6,
}

/// Kind of packets of a case.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Family.
    pub family: Family,
    /// Transport.
    pub protocol: Protocol,
    /// TCP flags; nothing for UDP.
    pub flags: u8,
    /// Destination address: the last sixteen octets, or four.
    pub destination: [u8; 16],
    /// Destination port.
    pub port: u16,
}

impl Kind {
    /// The frame of flow `number`.
    pub fn frame(&self, number: u32) -> Vec<u8> {
        let source = layout::source(number).to_ne_bytes();
        let ports = layout::ports(
            number,
            u32::from_ne_bytes([0, 0, self.port.to_be_bytes()[0], self.port.to_be_bytes()[1]]),
        );
        let mut transport = ports.to_ne_bytes().to_vec();
        let room = match self.family {
            Family::V4 => 64 - ETHERNET - 20,
            Family::V6 => 80 - ETHERNET - 40,
        };
        match self.protocol {
            Protocol::Tcp => {
                transport.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            Protocol::Udp => transport.extend([0, octet(room), 0, 0]),
        }
        transport.resize(room, 0xa5);
        let mut frame = MACS_IN.to_vec();
        match self.family {
            Family::V4 => {
                frame.extend([8, 0]);
                let destination =
                    [self.destination[12], self.destination[13], self.destination[14], self.destination[15]];
                frame.extend(ipv4(
                    TRAFFIC_CLASS,
                    20 + room,
                    [0x12, 0x34, 0x40, 0],
                    TTL,
                    self.protocol as u8,
                    source,
                    destination,
                ));
            }
            Family::V6 => {
                frame.extend([0x86, 0xdd, 0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4 | 0xa, 0xbc, 0xde]);
                frame.extend([0, octet(room), self.protocol as u8, TTL]);
                frame.extend([0x20, 1, 0xd, 0xb8, 0, 0xc, 0, 0, 0, 0, 0, 0]);
                frame.extend(source);
                frame.extend(self.destination);
            }
        }
        frame.extend(transport);
        frame
    }
}

/// The harness's copy of `frame`, with flows of `mask` and `base` from `state` on.
pub fn harness(frame: &[u8], mask: u32, base: u32, state: u32) -> Harness {
    let word = |at: usize| u32::from_ne_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let mut harness = Harness {
        ethernet: [word(0), word(4), word(8)],
        ethertype: u16::from_ne_bytes([frame[12], frame[13]]),
        frame_len: u32::try_from(frame.len()).expect("a small frame"),
        mask,
        base,
        state,
        ..Harness::default()
    };
    let words = if frame[12] == 8 { WORDS_V4 } else { layout::WORDS_V6 };
    for (index, slot) in harness.words[..words].iter_mut().enumerate() {
        *slot = word(ETHERNET + 4 * index);
    }
    harness
}

/// The tunnel packet that an appliance at 192.0.2.1 sends to the backend 10.1.0.1 for `frame`, an IPv4 one.
pub fn tunnelled(frame: &[u8]) -> Vec<u8> {
    let mut outer = frame[..ETHERNET].to_vec();
    let inner = &frame[ETHERNET..];
    let (from, to) = (floor::SOURCE_V4, floor::DESTINATION_V4);
    outer.extend(ipv4(TRAFFIC_CLASS, 20 + inner.len(), [0, 0, 0x40, 0], OUTER_TTL, 4, from, to));
    outer.extend(inner);
    outer
}

/// Checks that `out` is `input` in an outer IPv4 header from `source`, its TTL one lower, to the MACs of the next hop, and
/// gives the outer destination.
pub fn check_ipip_v4(input: &[u8], out: &[u8], source: [u8; 4]) -> Result<[u8; 4]> {
    let destination: [u8; 4] =
        *out.get(30..34).and_then(|d| d.first_chunk()).context("an outer IPv4 header")?;
    let mut inner = input[ETHERNET..].to_vec();
    inner[8] -= 1;
    inner[10..12].fill(0);
    let sum = checksum(&inner[..20]);
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    let outer = ipv4(TRAFFIC_CLASS, 20 + inner.len(), [0, 0, 0x40, 0], OUTER_TTL, 4, source, destination);
    compare(&[&floor::MACS, &[8, 0], &outer, &inner], out)?;
    Ok(destination)
}

/// As [`check_ipip_v4`] for IPv6. The flow label may be any but 0.
pub fn check_ipip_v6(input: &[u8], out: &[u8], source: [u8; 16]) -> Result<[u8; 16]> {
    let destination: [u8; 16] =
        *out.get(38..54).and_then(|d| d.first_chunk()).context("an outer IPv6 header")?;
    let mut inner = input[ETHERNET..].to_vec();
    inner[7] -= 1;
    let label = [out[15] & 0xf, out[16], out[17]];
    ensure!(label != [0; 3], "no flow label");
    let mut outer = vec![0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4 | label[0], label[1], label[2]];
    outer.extend([0, octet(inner.len()), 41, OUTER_TTL]);
    outer.extend(source);
    outer.extend(destination);
    compare(&[&floor::MACS, &[0x86, 0xdd], &outer, &inner], out)?;
    Ok(destination)
}

/// Checks the encapsulation floors' output: the inner packet untouched, the outer header whole.
pub fn check_floor(program: &str, input: &[u8], out: &[u8]) -> Result<()> {
    let inner = &input[ETHERNET..];
    let (from, to) = (floor::SOURCE_V4, floor::DESTINATION_V4);
    let v4 = |len: usize, protocol| ipv4(TRAFFIC_CLASS, len, [0, 0, 0x40, 0], OUTER_TTL, protocol, from, to);
    match program {
        "floor_empty_v4" | "floor_empty_v6" => compare(&[input], out),
        "floor_adjust" => compare(&[input], out.get(20..).unwrap_or_default()),
        "floor_mac_swap" => compare(&[&input[6..12], &input[..6], &input[12..]], out),
        "floor_encap_v4" => compare(&[&floor::MACS, &[8, 0], &v4(20 + inner.len(), 4), inner], out),
        "floor_encap_v6" => {
            let mut outer = vec![0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, inner[40], inner[41]];
            outer.extend([0, octet(inner.len()), 41, OUTER_TTL]);
            outer.extend(floor::SOURCE_V6);
            outer.extend(floor::DESTINATION_V6);
            compare(&[&floor::MACS, &[0x86, 0xdd], &outer, inner], out)
        }
        "floor_encap_gue" => {
            let port = floor::GUE_PORT.to_be_bytes();
            let udp = [inner[20] | 0xc0, inner[21], port[0], port[1], 0, octet(12 + inner.len()), 0, 0];
            compare(&[&floor::MACS, &[8, 0], &v4(32 + inner.len(), 17), &udp, &[0, 4, 0, 0], inner], out)
        }
        other => anyhow::bail!("`{other}` is no floor"),
    }
}

/// Checks that `out` is the `wanted` pieces in a row.
pub fn compare(wanted: &[&[u8]], out: &[u8]) -> Result<()> {
    let wanted = wanted.concat();
    ensure!(wanted == out, "wrong frame\nwanted {wanted:02x?}\nfound  {out:02x?}");
    Ok(())
}

fn octet(length: usize) -> u8 {
    u8::try_from(length).expect("lengths of these frames are small")
}

fn ipv4(
    class: u8,
    len: usize,
    id_fragment: [u8; 4],
    ttl: u8,
    protocol: u8,
    from: [u8; 4],
    to: [u8; 4],
) -> Vec<u8> {
    let mut header = vec![0x45, class, 0, octet(len)];
    header.extend(id_fragment);
    header.extend([ttl, protocol, 0, 0]);
    header.extend(from);
    header.extend(to);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Internet checksum (RFC 1071) of an even number of octets.
fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}
