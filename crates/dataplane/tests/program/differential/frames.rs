// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random frames with a structure: what a client may send, what it should not, and then some octets changed.

use std::net::IpAddr;

use super::random::Random;
use super::states::{VIPS_V4, VIPS_V6};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, checksum};

const CLIENTS_V4: [&str; 3] = ["203.0.113.7", "203.0.113.8", "10.9.8.7"];
const CLIENTS_V6: [&str; 3] = ["2001:db8:c::7", "2001:db8:c::8", "fe80::1"];
const OTHERS_V4: [&str; 4] = ["198.51.100.65", "198.51.100.127", "198.51.100.128", "192.0.2.1"];
const OTHERS_V6: [&str; 4] = ["2001:db8:200::77", "2001:db8:200:1::", "ff02::1:ff00:10", "2001:db8:ffff::1"];
/// IANA protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

pub fn any_frame(random: &mut Random) -> Vec<u8> {
    if random.one_in(200) {
        let mut frame = head(random, &[], random_ethertype);
        frame.extend(random.octets(100));
        return frame;
    }
    let is_v4 = random.one_in(2);
    let packet = match (is_v4, random.one_in(8)) {
        (_, true) => piece(random, is_v4),
        (true, false) => packet_v4(random),
        (false, false) => packet_v6(random),
    };
    let tags = match random.below(12) {
        0 => 1,
        1 => 2,
        2 if random.one_in(4) => 3,
        _ => 0,
    };
    let tags: Vec<u16> = (0..tags).map(|_| random.u16()).collect();
    let is_lie = random.one_in(100);
    let mut frame = head(random, &tags, |_| if is_v4 != is_lie { 0x0800 } else { 0x86dd });
    frame.extend(packet);
    if random.one_in(10) {
        frame.extend(random.octets(20));
    }
    // A short frame is padded on the wire.
    if random.one_in(3) && frame.len() < 60 {
        frame.resize(60, 0);
    }
    if random.one_in(6) {
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(frame.len().min(120) as u64)).unwrap();
            frame[at] = random.octet();
        }
    }
    if random.one_in(12) {
        // The kernel takes no test frame below an Ethernet header.
        frame.truncate(14 + usize::try_from(random.below(frame.len() as u64 - 13)).unwrap());
    }
    frame
}

/// Frames of a crowd.
pub const CROWD: u64 = 1_200;

/// The `number`-th frame of a crowd: flows that are established one after the other, more than a small flow table holds.
pub fn of_a_crowd(number: u64, is_v4: bool) -> Vec<u8> {
    const PACKETS_PER_FLOW: u64 = 3;
    let port = 10_000 + u16::try_from(number / PACKETS_PER_FLOW).unwrap();
    let (client, vip) = if is_v4 { (CLIENTS_V4[0], VIPS_V4[0]) } else { (CLIENTS_V6[0], VIPS_V6[0]) };
    Frame::tcp(client, port, vip, 80, ACK).octets()
}

fn random_ethertype(random: &mut Random) -> u16 {
    *random.pick(&[0x0806, 0x88cc, 0x8100, 0x88a8, 0x9100, 0x0800, 0x86dd, 0x0000])
}

fn head(random: &mut Random, tags: &[u16], ethertype: impl FnOnce(&mut Random) -> u16) -> Vec<u8> {
    let mut frame = [OWN_MAC, CLIENT_MAC].concat();
    for tag in tags {
        let kind: u16 = *random.pick(&[0x8100, 0x88a8]);
        frame.extend(kind.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype(random).to_be_bytes());
    frame
}

fn address(random: &mut Random, usual: &[&str], others: &[&str]) -> IpAddr {
    let text = if random.one_in(4) { random.pick(others) } else { random.pick(usual) };
    text.parse().unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Mostly as it should be, sometimes off by a little.
fn lied(random: &mut Random, length: usize) -> [u8; 2] {
    let length = u16::try_from(length).unwrap();
    if random.one_in(15) {
        let by = u16::try_from(random.below(90)).unwrap();
        return if random.one_in(2) { length.wrapping_sub(by) } else { length.wrapping_add(by) }
            .to_be_bytes();
    }
    length.to_be_bytes()
}

fn ttl(random: &mut Random) -> u8 {
    if random.one_in(12) { *random.pick(&[0, 1, 2, 255]) } else { 64 }
}

fn packet_v4(random: &mut Random) -> Vec<u8> {
    let source = address(random, &CLIENTS_V4, &["198.51.100.10"]);
    let destination = address(random, &VIPS_V4, &OTHERS_V4);
    let protocol = protocol(random, ICMP);
    let payload = match protocol {
        ICMP => icmp_v4(random, destination),
        _ => transport(random, protocol, source, destination),
    };
    let fragment = match random.below(14) {
        0 => 0x2000,
        1 => 0x2000 | *random.pick(&[0_u16, 1, 2, 3, 100]),
        2 => *random.pick(&[1_u16, 2, 3, 100, 0x1fff]),
        3 => random.u16(),
        4 => 0,
        _ => 0x4000,
    };
    ip_v4(random, source, destination, protocol, fragment, &payload)
}

fn ip_v4(
    random: &mut Random,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let options = if random.one_in(12) { 4 * usize::try_from(random.below(11)).unwrap() } else { 0 };
    let header = 20 + options;
    let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), tos(random)];
    packet.extend(lied(random, header + payload.len()));
    packet.extend([0, u8::try_from(random.below(16)).unwrap()]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([ttl(random), protocol, 0, 0]);
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend(std::iter::repeat_n(*random.pick(&[1, 0, 0x83]), options));
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn tos(random: &mut Random) -> u8 {
    if random.one_in(6) { random.octet() } else { 0 }
}

fn packet_v6(random: &mut Random) -> Vec<u8> {
    let source = address(random, &CLIENTS_V6, &["2001:db8:100::10", "::ffff:203.0.113.7"]);
    let destination = address(random, &VIPS_V6, &OTHERS_V6);
    let protocol = protocol(random, ICMPV6);
    let payload = match protocol {
        ICMPV6 => icmp_v6(random, destination),
        _ => transport(random, protocol, source, destination),
    };
    ip_v6(random, source, destination, protocol, &payload)
}

fn ip_v6(random: &mut Random, source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let headers = if random.one_in(6) { random.below(6) } else { 0 };
    // From the last to the first: each says what follows it.
    let (mut next, mut body) = (protocol, payload.to_vec());
    for _ in 0..headers {
        let kind = *random.pick(&[0, 43, 60, 60, FRAGMENT, 51, 135]);
        let mut header = match kind {
            FRAGMENT => {
                let offset = *random.pick(&[0_u16, 1, 1, 8, 9, 800, 0xfff8]);
                let mut header = vec![next, 0];
                header.extend(offset.to_be_bytes());
                header.extend([0, 0, 0, u8::try_from(random.below(16)).unwrap()]);
                header
            }
            // The length of an authentication header counts words of four octets, less two.
            51 => [&[next, 4][..], &[0; 22]].concat(),
            _ => {
                let length = u8::try_from(random.below(3)).unwrap();
                [&[next, length][..], &vec![1; usize::from(length) * 8 + 6]].concat()
            }
        };
        if random.one_in(40) {
            header[1] = random.octet();
        }
        header.extend(&body);
        (next, body) = (kind, header);
    }
    let mut packet = (6_u32 << 28 | u32::from(tos(random)) << 20 | 0xabcde).to_be_bytes().to_vec();
    packet.extend(lied(random, body.len()));
    packet.extend([next, ttl(random)]);
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend(body);
    packet
}

/// A fragment of one of few datagrams, so that firsts and laters of one meet: mostly as a good sender cuts it, and sometimes
/// too short for its ports or over them.
fn piece(random: &mut Random, is_v4: bool) -> Vec<u8> {
    let (clients, vips) = if is_v4 { (CLIENTS_V4, VIPS_V4) } else { (CLIENTS_V6, VIPS_V6) };
    let id = u8::try_from(random.below(4)).unwrap();
    // What is the same in all fragments follows from the identification.
    let source: IpAddr = clients[usize::from(id) % 2].parse().unwrap();
    let destination: IpAddr = random.pick(&vips).parse().unwrap();
    let protocol = if random.one_in(4) { TCP } else { UDP };
    let port: u16 = if protocol == TCP { 80 } else { 53 };
    let mut segment = [4_000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    segment.extend([0, 208, 0, 0]);
    segment.extend([0, 0, 0, 0, 0x50, 16, 0xff, 0xff, 0, 0, 0, 0]);
    segment.resize(208, id);
    let (offset, octets) = *random.pick(&[
        (0, 104),
        (0, 104),
        (0, 64),
        (104, 104),
        (104, 104),
        (64, 40),
        (0, 8),
        (0, 0),
        (8, 64),
    ]);
    let has_more = offset + octets < segment.len();
    let units = u16::try_from(offset / 8).unwrap();
    let payload = &segment[offset..offset + octets];
    if is_v4 {
        let mut packet = vec![0x45, 0];
        packet.extend(u16::try_from(20 + octets).unwrap().to_be_bytes());
        packet.extend([0, id]);
        packet.extend((units | if has_more { 0x2000 } else { 0 }).to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(self::octets(source));
        packet.extend(self::octets(destination));
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        return packet;
    }
    let mut packet = (6_u32 << 28).to_be_bytes().to_vec();
    packet.extend(u16::try_from(8 + octets).unwrap().to_be_bytes());
    packet.extend([FRAGMENT, 64]);
    packet.extend(self::octets(source));
    packet.extend(self::octets(destination));
    packet.extend([protocol, 0]);
    packet.extend((units << 3 | u16::from(has_more)).to_be_bytes());
    packet.extend([0, 0, 0, id]);
    packet.extend(payload);
    packet
}

fn protocol(random: &mut Random, icmp: u8) -> u8 {
    match random.below(20) {
        0..9 => TCP,
        9..15 => UDP,
        15..18 => icmp,
        18 => *random.pick(&[0, 4, 41, 47, 50, 59, 132, 255]),
        _ => random.octet(),
    }
}

fn transport(random: &mut Random, protocol: u8, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    // Half of the packets belong to few flows, which are established and meet what happens to their backends.
    let ports = if random.one_in(2) { 12 } else { 400 };
    let source_port = u16::try_from(random.below(ports)).unwrap();
    let port: u16 = *random.pick(&[80, 80, 80, 53, 53, 81, 0]);
    let length = match random.below(60) {
        0 => random.below(1_600),
        1 => random.below(9_500),
        2..20 => random.below(80),
        _ => 0,
    };
    let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
    let mut segment = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
    if protocol == UDP {
        segment.extend(lied(random, 8 + payload.len()));
        segment.extend([0, 0]);
    } else {
        let flags =
            if random.one_in(4) { random.octet() } else { *random.pick(&[2, 2, 16, 16, 16, 24, 17, 4]) };
        segment.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0]);
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    }
    segment.extend(payload);
    // A checksum matters where one is derived from it; a wrong or missing one must not.
    if random.one_in(2) {
        let mut pseudo = [octets(source), octets(destination)].concat();
        pseudo.extend(u32::try_from(segment.len()).unwrap().to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        pseudo.extend(&segment);
        pseudo.resize(pseudo.len().next_multiple_of(2), 0);
        let at = if protocol == UDP { 6 } else { 16 };
        let sum = checksum(&pseudo).to_be_bytes();
        if let Some(place) = segment.get_mut(at..at + 2) {
            place.copy_from_slice(&sum);
        }
    }
    segment
}

fn icmp_v4(random: &mut Random, vip: IpAddr) -> Vec<u8> {
    let mut message = match random.below(10) {
        0..4 => echo(random, 8),
        4 => [&[*random.pick(&[0, 5, 9, 10, 13, 17]), 0, 0, 0][..], &random.octets(40)].concat(),
        _ => {
            let (kind, code) =
                *random.pick(&[(3, 4), (3, 4), (3, 1), (3, 3), (11, 0), (11, 1), (12, 0), (4, 0)]);
            let mut message = vec![kind, code, 0, 0, 0, 0];
            message.extend(told_mtu(random).to_be_bytes());
            let (client, protocol) = (address(random, &CLIENTS_V4, &OTHERS_V4), protocol(random, ICMP));
            let from = if random.one_in(6) { address(random, &VIPS_V4, &OTHERS_V4) } else { vip };
            let quoted = quoted_transport(random, protocol, from, client);
            message.extend(ip_v4(random, from, client, protocol, 0x4000, &quoted));
            message
        }
    };
    cut(random, &mut message);
    message.resize(message.len().max(4), 0);
    let mut summed = message.clone();
    summed.resize(summed.len().next_multiple_of(2), 0);
    let sum = checksum(&summed);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn icmp_v6(random: &mut Random, vip: IpAddr) -> Vec<u8> {
    let mut message = match random.below(10) {
        0..3 => echo(random, 128),
        3 => [
            &[*random.pick(&[129, 130, 131, 132, 133, 134, 135, 136, 137, 143, 200]), 0, 0, 0][..],
            &random.octets(40),
        ]
        .concat(),
        _ => {
            let (kind, code) =
                *random.pick(&[(2, 0), (2, 0), (1, 0), (1, 4), (3, 0), (4, 1), (5, 0), (100, 0)]);
            let mut message = vec![kind, code, 0, 0];
            message.extend(u32::from(told_mtu(random)).to_be_bytes());
            let (client, protocol) = (address(random, &CLIENTS_V6, &OTHERS_V6), protocol(random, ICMPV6));
            let from = if random.one_in(6) { address(random, &VIPS_V6, &OTHERS_V6) } else { vip };
            let quoted = quoted_transport(random, protocol, from, client);
            message.extend(ip_v6(random, from, client, protocol, &quoted));
            message
        }
    };
    cut(random, &mut message);
    message.resize(message.len().max(4), 0);
    let sum = random.u16();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn echo(random: &mut Random, kind: u8) -> Vec<u8> {
    let code = if random.one_in(20) { random.octet() } else { 0 };
    let mut message = vec![kind, code, random.octet(), random.octet(), 0, 7, 0, random.octet()];
    message.extend(random.octets(90));
    message
}

fn told_mtu(random: &mut Random) -> u16 {
    *random.pick(&[0, 68, 500, 552, 576, 1279, 1280, 1400, 1500, 9000])
}

/// What an error quotes of a packet from a VIP: often no more than eight octets of its transport header.
fn quoted_transport(random: &mut Random, protocol: u8, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut segment = transport(random, protocol, from, to);
    // Towards the client the ports lie the other way round.
    segment[..4].rotate_left(2);
    if random.one_in(2) {
        segment.truncate(8);
    }
    segment.truncate(200);
    segment
}

fn cut(random: &mut Random, message: &mut Vec<u8>) {
    if random.one_in(20) {
        message.truncate(usize::try_from(random.below(message.len() as u64 + 1)).unwrap());
    }
}
