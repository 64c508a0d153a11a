// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hand-made tunnel packets, to see what a backend does with ones that no appliance sent.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

use crate::netns::Netns;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_IPIP: u8 = 4;
const IPPROTO_IPV6: u8 = 41;
const SYN: u8 = 0x02;

/// A SYN inside a tunnel packet; both headers are of one family.
#[derive(Debug, Clone, Copy)]
pub struct TunnelSyn {
    /// Outer source.
    pub outer_source: IpAddr,
    /// Outer destination.
    pub outer_destination: IpAddr,
    /// Inner source.
    pub inner_source: IpAddr,
    /// Inner destination; port 80.
    pub inner_destination: IpAddr,
    /// Inner source port.
    pub source_port: u16,
}

impl TunnelSyn {
    /// Sends it from `netns`, as it is: the outer source need not be an address there.
    pub fn send(&self, netns: &Netns) -> Result<()> {
        let packet = self.packet()?;
        netns.enter(|| send_raw(self.outer_destination, &packet))?.context("send a tunnel packet")
    }

    fn packet(&self) -> Result<Vec<u8>> {
        let segment = tcp_syn(self.inner_source, self.inner_destination, self.source_port)?;
        let inner = ip(self.inner_source, self.inner_destination, IPPROTO_TCP, &segment)?;
        let protocol = if self.inner_source.is_ipv4() { IPPROTO_IPIP } else { IPPROTO_IPV6 };
        ip(self.outer_source, self.outer_destination, protocol, &inner)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An IP packet without options.
fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet;
    match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let length = u16::try_from(20 + payload.len())?.to_be_bytes();
            packet = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
            packet.extend(octets(source));
            packet.extend(octets(destination));
            let sum = checksum(&packet).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
        }
        (IpAddr::V6(_), IpAddr::V6(_)) => {
            let length = u16::try_from(payload.len())?.to_be_bytes();
            packet = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
            packet.extend(octets(source));
            packet.extend(octets(destination));
        }
        _ => bail!("a header has addresses of one family"),
    }
    packet.extend(payload);
    Ok(packet)
}

fn tcp_syn(source: IpAddr, destination: IpAddr, source_port: u16) -> Result<Vec<u8>> {
    let [port_high, port_low] = source_port.to_be_bytes();
    let mut segment =
        vec![port_high, port_low, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, SYN, 0xff, 0xff, 0, 0, 0, 0];
    // The pseudo header sums to the same in both families: addresses, length, protocol.
    let mut summed = octets(source);
    summed.extend(octets(destination));
    summed.extend(u32::try_from(segment.len())?.to_be_bytes());
    summed.extend([0, 0, 0, IPPROTO_TCP]);
    summed.extend(&segment);
    let sum = checksum(&summed).to_be_bytes();
    segment[16..18].copy_from_slice(&sum);
    Ok(segment)
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn send_raw(to: IpAddr, packet: &[u8]) -> Result<()> {
    socket(to, libc::SOCK_RAW, libc::IPPROTO_RAW)?.send_to(packet, (to, 0))?;
    Ok(())
}

/// A socket of any kind in the family of `to`, with the calls that the standard library has for datagrams.
pub(crate) fn socket(to: IpAddr, kind: i32, protocol: i32) -> Result<UdpSocket> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: `socket` takes three integers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error()).context("open a socket");
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_sound_lengths_and_checksums() {
        for (a, b) in [("192.0.2.1", "10.1.1.2"), ("2001:db8::1", "2001:db8::2")] {
            let (a, b): (IpAddr, IpAddr) = (a.parse().expect("address"), b.parse().expect("address"));
            let syn = TunnelSyn {
                outer_source: a,
                outer_destination: b,
                inner_source: a,
                inner_destination: b,
                source_port: 1,
            };
            let packet = syn.packet().expect("one family");
            let header = if a.is_ipv4() { 20 } else { 40 };
            assert_eq!(packet.len(), 2 * header + 20);
            if a.is_ipv4() {
                assert_eq!(checksum(&packet[..20]), 0);
                assert_eq!(checksum(&packet[20..40]), 0);
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 1071 §3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
