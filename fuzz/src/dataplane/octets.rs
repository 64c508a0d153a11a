// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames as the RFCs have them, read without any of the code under test.

use std::net::IpAddr;

/// IANA protocol numbers.
pub(super) const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Extension headers of IPv6.
const EXTENSIONS: [u8; 6] = [0, 43, 44, 50, 51, 60];

/// An IP packet in a frame, up to the frame's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ip<'f> {
    /// Where it begins in the frame: 14, 18 or 22.
    pub(super) at: usize,
    /// From its first octet on, padding included.
    pub(super) octets: &'f [u8],
}

impl<'f> Ip<'f> {
    /// Reads behind at most two tags. `None`: no IP packet with a whole fixed header.
    pub(super) fn read(frame: &'f [u8]) -> Option<Self> {
        let mut at = 12;
        while at < 20 && matches!(word(frame, at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
        let ip = Self { at: at + 2, octets: frame.get(at + 2..)? };
        let first = *ip.octets.first()?;
        match (word(frame, at)?, first >> 4) {
            (0x0800, 4) => (first & 0xf >= 5 && ip.octets.len() >= 20).then_some(ip),
            (0x86dd, 6) => (ip.octets.len() >= 40).then_some(ip),
            _ => None,
        }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.octets[0] >> 4 == 6
    }

    /// Octets of the header, of IPv6 the fixed one.
    pub(super) fn header_len(&self) -> usize {
        if self.is_v6() { 40 } else { usize::from(self.octets[0] & 0xf) * 4 }
    }

    /// Octets of the packet as its header says.
    pub(super) fn len(&self) -> usize {
        let at = if self.is_v6() { 4 } else { 2 };
        usize::from(word(self.octets, at).expect("a header")) + if self.is_v6() { 40 } else { 0 }
    }

    /// Octets of the packet as its header says, if they are there.
    pub(super) fn packet(&self) -> Option<&'f [u8]> {
        self.octets.get(..self.len()).filter(|packet| packet.len() >= self.header_len())
    }

    pub(super) fn addresses(&self) -> &'f [u8] {
        if self.is_v6() { &self.octets[8..40] } else { &self.octets[12..20] }
    }

    pub(super) fn source(&self) -> IpAddr {
        address(&self.addresses()[..self.addresses().len() / 2])
    }

    pub(super) fn destination(&self) -> IpAddr {
        address(&self.addresses()[self.addresses().len() / 2..])
    }

    /// Where TTL or hop limit lies.
    pub(super) fn ttl_at(&self) -> usize {
        if self.is_v6() { 7 } else { 8 }
    }

    pub(super) fn ttl(&self) -> u8 {
        self.octets[self.ttl_at()]
    }

    pub(super) fn traffic_class(&self) -> u8 {
        if self.is_v6() { self.octets[0] << 4 | self.octets[1] >> 4 } else { self.octets[1] }
    }

    /// Protocol number behind the header.
    pub(super) fn protocol(&self) -> u8 {
        self.octets[if self.is_v6() { 6 } else { 9 }]
    }

    pub(super) fn is_fragment(&self) -> bool {
        if self.is_v6() { EXTENSIONS.contains(&self.protocol()) } else { self.fragment() & 0x3fff != 0 }
    }

    /// Flags and offset of IPv4.
    pub(super) fn fragment(&self) -> u16 {
        word(self.octets, 6).expect("a header")
    }

    /// The header of IPv4 sums up to what it shall; IPv6 has no sum.
    pub(super) fn is_sound(&self) -> bool {
        self.is_v6() || self.octets.get(..self.header_len()).is_some_and(|header| sum(&[header]) == 0xffff)
    }

    /// Sum of pseudo header and what the packet carries; of ICMP over IPv4 without a pseudo header.
    pub(super) fn transport_sum(&self) -> Option<u16> {
        let carried = self.packet()?.get(self.header_len()..)?;
        let length = u32::try_from(carried.len()).ok()?.to_be_bytes();
        let pseudo = [&length[..], &[0, 0, 0, self.protocol()]].concat();
        Some(match self.protocol() {
            ICMP => sum(&[carried]),
            _ => sum(&[self.addresses(), &pseudo, carried]),
        })
    }

    /// A whole TCP or UDP packet right behind the fixed header, whose checksum is there and covers it.
    pub(super) fn is_summed(&self) -> bool {
        let Some(carried) = self.packet().and_then(|packet| packet.get(self.header_len()..)) else {
            return false;
        };
        !self.is_fragment()
            && match self.protocol() {
                TCP => carried.len() >= 20,
                UDP => word(carried, 4) == u16::try_from(carried.len()).ok() && word(carried, 6) > Some(0),
                _ => false,
            }
    }
}

/// Makes the checksums of the frame right, as far as it has any.
pub(super) fn mend(frame: &mut [u8]) {
    let Some(ip) = Ip::read(frame) else { return };
    let (at, header, protocol) = (ip.at, ip.header_len(), ip.protocol());
    if !ip.is_v6() && ip.octets.len() >= header {
        frame[at + 10..at + 12].fill(0);
        let sum = !sum(&[&frame[at..at + header]]);
        frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
    }
    let ip = Ip::read(frame).expect("as before");
    let place = at
        + header
        + match protocol {
            TCP => 16,
            UDP => 6,
            ICMP | ICMPV6 => 2,
            _ => return,
        };
    let Some(end) = ip.packet().map(|packet| at + packet.len()) else { return };
    if ip.is_fragment() || place + 2 > end {
        return;
    }
    frame[place..place + 2].fill(0);
    let sum = !Ip::read(frame).and_then(|ip| ip.transport_sum()).expect("as before");
    frame[place..place + 2].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
}

/// The one's complement sum (RFC 1071) of the parts, each but the last of an even number of octets.
pub(super) fn sum(parts: &[&[u8]]) -> u16 {
    let pair = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or_default());
    let mut sum: u64 = parts.iter().flat_map(|part| part.chunks(2)).map(pair).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

/// `after` is the IP packet `before` with this TTL: whose IPv4 checksum is as right or wrong as it was, and nothing else
/// differs.
pub(super) fn differs_in_ttl(before: Ip<'_>, after: &[u8], ttl: u8, name: &str) {
    let mut expected = before.octets.to_vec();
    expected[before.ttl_at()] = ttl;
    let mut after = after.to_vec();
    if !before.is_v6() {
        let header = before.header_len().min(after.len());
        assert_eq!(sum(&[&after[..header]]), sum(&[&before.octets[..header]]), "{name}: header checksum");
        expected[10..12].copy_from_slice(&after[10..12]);
    }
    let differs = expected.iter().zip(&mut after).position(|(a, b)| a != b);
    assert_eq!((differs, after.len()), (None, expected.len()), "{name}: {after:02x?} of {expected:02x?}");
}

/// The word at `at`, in host order.
pub(super) fn word(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

/// An address of four or sixteen octets.
pub(super) fn address(octets: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(octets) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(octets).expect("an address")),
    }
}
