// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP messages in frames, octet by octet, and the frames that must come of them; written independently of the code under test.

use std::net::IpAddr;

use super::bed::{GATEWAY_MAC, SOURCE_V4, SOURCE_V6};
use super::build::{CLIENT_MAC, OWN_MAC, checksum, ethernet, forwarded};

/// An ICMP or ICMPv6 message and the packet around it.
#[derive(Debug, Clone)]
pub struct Message {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub kind: u8,
    pub code: u8,
    /// What stands behind the checksum: identifier and sequence number, or the MTU.
    pub rest: u32,
    pub body: Vec<u8>,
    pub ttl: u8,
    pub traffic_class: u8,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// IPv4 options, or IPv6 extension headers whose last names ICMPv6.
    pub between: Vec<u8>,
    /// Next header of the fixed IPv6 header, if extension headers follow.
    pub first_extension: u8,
    /// VLAN tags: EtherType and tag control.
    pub tags: Vec<(u16, u16)>,
    pub padding: usize,
    pub destination_mac: [u8; 6],
}

impl Message {
    pub fn new(source: &str, destination: &str, kind: u8, code: u8, rest: u32, body: &[u8]) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            kind,
            code,
            rest,
            body: body.to_vec(),
            ttl: 61,
            traffic_class: 0,
            fragment: 0x4000,
            between: Vec::new(),
            first_extension: 58,
            tags: Vec::new(),
            padding: 0,
            destination_mac: OWN_MAC,
        }
    }

    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The message, with its checksum: over IPv6 of the pseudo header too (RFC 4443 §2.3). Where it comes out as 0 over IPv4 it
    /// is written as 0xffff, which is the same sum and the only one of both that a message of nothing but zeros may have.
    pub fn icmp(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.rest.to_be_bytes());
        message.extend(&self.body);
        let mut summed = message.clone();
        if let (IpAddr::V6(source), IpAddr::V6(destination)) = (self.source, self.destination) {
            summed.extend(source.octets());
            summed.extend(destination.octets());
            summed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            summed.extend([0, 0, 0, 58]);
        }
        // An odd message would put what follows on odd places; none of the tests has one.
        assert!(summed.len() % 2 == 0);
        let sum = match checksum(&summed) {
            0 if self.source.is_ipv4() => 0xffff,
            sum => sum,
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    pub fn ip(&self) -> Vec<u8> {
        let icmp = self.icmp();
        let length = |of: usize| u16::try_from(of).unwrap().to_be_bytes();
        let mut ip = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.between.len();
                ip.extend([0x40 | u8::try_from(header / 4).unwrap(), self.traffic_class]);
                ip.extend(length(header + icmp.len()));
                ip.extend([0xbe, 0xef]);
                ip.extend(self.fragment.to_be_bytes());
                ip.extend([self.ttl, 1, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.between);
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let first = 6 << 28 | u32::from(self.traffic_class) << 20 | 0x54321;
                ip.extend(first.to_be_bytes());
                ip.extend(length(self.between.len() + icmp.len()));
                ip.extend([if self.between.is_empty() { 58 } else { self.first_extension }, self.ttl]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.between);
            }
            _ => panic!("addresses of one family"),
        }
        ip.extend(icmp);
        ip
    }

    pub fn octets(&self) -> Vec<u8> {
        let mut frame = link(self.destination_mac, CLIENT_MAC, &self.tags, self.source.is_ipv4());
        frame.extend(self.ip());
        frame.extend(std::iter::repeat_n(0, self.padding));
        frame
    }
}

/// A link-layer header with VLAN tags.
pub fn link(destination: [u8; 6], source: [u8; 6], tags: &[(u16, u16)], is_v4: bool) -> Vec<u8> {
    let mut types: Vec<u16> = tags.iter().flat_map(|(kind, control)| [*kind, *control]).collect();
    types.push(if is_v4 { 0x0800 } else { 0x86dd });
    let mut frame = ethernet(destination, source, types[0]);
    frame.extend(types[1..].iter().flat_map(|word| word.to_be_bytes()));
    frame
}

/// The frame of `ip` with `tags`, from the client.
pub fn tagged(ip: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = link(OWN_MAC, CLIENT_MAC, tags, ip[0] >> 4 == 4);
    frame.extend(ip);
    frame
}

/// The frame that must leave for the packet `ip` towards `backend` by IP in IP of its own family (RFC 2003, RFC 2473), with
/// the flow label `label` where there is one.
pub fn tunnelled(ip: &[u8], backend: IpAddr, label: u32) -> Vec<u8> {
    let inner = forwarded(ip);
    let length = |more: usize| u16::try_from(inner.len() + more).unwrap().to_be_bytes();
    let mut out;
    match backend {
        IpAddr::V4(backend) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x0800);
            let mut header = vec![0x45, ip[1]];
            header.extend(length(20));
            header.extend([0, 0, 0x40, 0, 64, 4, 0, 0]);
            header.extend(SOURCE_V4.parse::<std::net::Ipv4Addr>().unwrap().octets());
            header.extend(backend.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            out.extend(header);
        }
        IpAddr::V6(backend) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x86dd);
            let class = u32::from(u16::from_be_bytes([ip[0], ip[1]]) >> 4 & 0xff);
            out.extend((6 << 28 | class << 20 | label).to_be_bytes());
            out.extend(length(0));
            out.extend([41, 64]);
            out.extend(SOURCE_V6.parse::<std::net::Ipv6Addr>().unwrap().octets());
            out.extend(backend.octets());
        }
    }
    out.extend(inner);
    out
}

/// Outer destination and flow label of a tunnelled frame.
pub fn outer(frame: &[u8]) -> (IpAddr, u32) {
    match frame[14] >> 4 {
        4 => (<[u8; 4]>::try_from(&frame[30..34]).unwrap().into(), 0),
        _ => {
            let label = u32::from_be_bytes(frame[14..18].try_into().unwrap()) & 0xf_ffff;
            (<[u8; 16]>::try_from(&frame[38..54]).unwrap().into(), label)
        }
    }
}
