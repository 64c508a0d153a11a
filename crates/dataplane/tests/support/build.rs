// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames, field by field, written independently of the code under test.

use std::net::IpAddr;

pub const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xc1];
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A TCP or UDP packet in an Ethernet frame, and how it deviates from a good one.
#[derive(Debug, Clone)]
pub struct Frame {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub destination_port: u16,
    /// TCP flags, or `None` for UDP.
    pub tcp: Option<u8>,
    pub payload: Vec<u8>,
    pub ttl: u8,
    pub traffic_class: u8,
    /// IPv4 options, a multiple of four octets.
    pub options: Vec<u8>,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// Added to the length that the IP header states.
    pub length_lie: i32,
    /// Octets behind the IP packet.
    pub padding: usize,
}

impl Frame {
    pub fn tcp(source: &str, source_port: u16, destination: &str, destination_port: u16, flags: u8) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            source_port,
            destination_port,
            tcp: Some(flags),
            payload: Vec::new(),
            ttl: 64,
            traffic_class: 0,
            options: Vec::new(),
            fragment: 0x4000,
            length_lie: 0,
            padding: 0,
        }
    }

    pub fn udp(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Self {
        Self {
            tcp: None,
            payload: b"hello".to_vec(),
            ..Self::tcp(source, source_port, destination, destination_port, 0)
        }
    }

    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    fn transport(&self) -> Vec<u8> {
        let mut t = Vec::new();
        t.extend(self.source_port.to_be_bytes());
        t.extend(self.destination_port.to_be_bytes());
        match self.tcp {
            Some(flags) => {
                t.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0]);
                t.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            None => {
                let length = u16::try_from(8 + self.payload.len()).unwrap();
                t.extend(length.to_be_bytes());
                t.extend([0, 0]);
            }
        }
        t.extend(&self.payload);
        t
    }

    /// The IP packet.
    pub fn ip(&self) -> Vec<u8> {
        let transport = self.transport();
        let protocol = if self.tcp.is_some() { 6 } else { 17 };
        let lie = |length: usize| {
            u16::try_from(i32::try_from(length).unwrap() + self.length_lie).unwrap().to_be_bytes()
        };
        let mut ip = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.options.len();
                ip.extend([0x40 | u8::try_from(header / 4).unwrap(), self.traffic_class]);
                ip.extend(lie(header + transport.len()));
                ip.extend([0x12, 0x34]);
                ip.extend(self.fragment.to_be_bytes());
                ip.extend([self.ttl, protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.options);
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let first = 6 << 28 | u32::from(self.traffic_class) << 20 | 0xabcde;
                ip.extend(first.to_be_bytes());
                ip.extend(lie(transport.len()));
                ip.extend([protocol, self.ttl]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
            }
            _ => panic!("addresses of one family"),
        }
        ip.extend(transport);
        ip
    }

    /// The whole frame.
    pub fn octets(&self) -> Vec<u8> {
        let mut frame = ethernet(OWN_MAC, CLIENT_MAC, if self.source.is_ipv4() { 0x0800 } else { 0x86dd });
        frame.extend(self.ip());
        frame.extend(std::iter::repeat_n(0, self.padding));
        frame
    }
}

pub fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// Internet checksum (RFC 1071) of `octets`, an even number of them.
pub fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// The IP packet `ip` with its TTL one lower, as a router hands it on.
pub fn forwarded(ip: &[u8]) -> Vec<u8> {
    let mut ip = ip.to_vec();
    if ip[0] >> 4 == 4 {
        ip[8] -= 1;
        ip[10..12].fill(0);
        let header = usize::from(ip[0] & 0xf) * 4;
        let sum = checksum(&ip[..header]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        ip[7] -= 1;
    }
    ip
}
