// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a service really forwards: one made-up packet through the packet logic on the live tables, and a look at what
//! came out. `set_forwarding` writes tables; this asks them, by the same path that packets take.
//!
//! ```text
//! made-up first packet of a flow -> weir_dry (counts and remembers nothing) -> verdict, frame
//!   forward?  to a backend of the service's pool, as the state in force names it?  inner packet the same?
//! ```
//!
//! A service of a prefix or of every port is asked by an address and a port that no other service takes from it.
//!
//! The interface it would leave by must be an attached uplink, so attach first. Only the outcome of one row is seen. That its
//! backend is answering is what health checks are for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::programs::ProgramError;
use weir_dataplane_core::encap::checksum;
use weir_dataplane_core::parse::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER};
use weir_dataplane_core::{Action, Protocol, Verdict, names};

use super::{Dataplane, program};
use crate::forwarding::{Service, VipPrefix};
use crate::kernel::test_run::test_run;
use crate::service_records::{marker_key, service_key, service_of};

/// Source of the made-up packets (RFC 5737, RFC 3849): addresses that no client has.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// As [`CLIENT_V4`].
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Source port, one of those that clients use.
const CLIENT_PORT: u16 = 40_000;

/// Highest port that packets to a service of every port are made up for.
const PORT_LAST: u16 = 60_000;
/// Ports below it that are tried as well: services of single ports may stand in the way.
const PORTS_TRIED: u16 = 15;
/// Addresses of a prefix that are tried.
const ADDRESSES_TRIED: u32 = 256;
/// Octets of a UDP header.
const UDP_HEADER: usize = 8;

/// Why a service is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The program did not run.
    #[error("run the dry program")]
    Run(#[from] ProgramError),
    /// It gave a number that is no verdict.
    #[error("the dry program gave {number}, which is no verdict")]
    NoVerdict {
        /// The number.
        number: u32,
    },
    /// The packet would not be forwarded.
    #[error("a packet to {vip} port {port} ends as {}", verdict.name())]
    NotForwarded {
        /// Where to.
        vip: IpAddr,
        /// Where to.
        port: u16,
        /// How it ends.
        verdict: Verdict,
    },
    /// It would leave, but not as the packet that came in with an outer header before it.
    #[error("a packet to {vip} port {port} leaves damaged")]
    Damaged {
        /// Where to.
        vip: IpAddr,
        /// Where to.
        port: u16,
    },
    /// Other services, of longer prefixes or of its addresses by themselves, take all that was tried of its packets.
    #[error("no packet to {vip} port {port} was found that no other service takes")]
    Hidden {
        /// Where to.
        vip: IpAddr,
        /// Where to.
        port: u16,
    },
    /// It would go to an address that is none of the pool's backends.
    #[error("a packet to {vip} port {port} goes to {destination}, which is no backend of pool `{pool}`")]
    WrongBackend {
        /// Where to.
        vip: IpAddr,
        /// Where to.
        port: u16,
        /// Where it goes.
        destination: IpAddr,
        /// The service's pool.
        pool: String,
    },
}

impl Dataplane {
    /// Runs the first packet of a made-up flow of `service` through the packet logic on the live tables; nothing is counted
    /// or remembered. Gives the address of the backend it would go to. Takes microseconds.
    ///
    /// # Errors
    /// [`VerifyError`] when it would not reach a backend of the service's pool.
    pub fn verify(&mut self, service: &Service) -> Result<IpAddr, VerifyError> {
        let (vip, port) = self.target(service)?;
        let frame = first_packet(vip, service.protocol, port);
        let dry = program(&mut self.object, names::PROGRAM_DRY).expect("loaded when opened");
        let ran = test_run(dry, &frame, 1)?;
        let verdict = Verdict::from_raw(ran.action).ok_or(VerifyError::NoVerdict { number: ran.action })?;
        if verdict.action() != Action::Forward {
            return Err(VerifyError::NotForwarded { vip, port, verdict });
        }
        let destination = match carried(&ran.frame, &frame).ok_or(VerifyError::Damaged { vip, port })? {
            Carried::To(destination) => destination,
            Carried::By(mac) => self.owner(&service.pool, mac).ok_or(VerifyError::Damaged { vip, port })?,
        };
        let mut backends = self.tables.in_force.backends_of(&service.pool);
        if backends.any(|(_, backend, _)| backend.address == destination) {
            Ok(destination)
        } else {
            Err(VerifyError::WrongBackend { vip, port, destination, pool: service.pool.clone() })
        }
    }

    /// Where a packet must go to be the service's, by the records in force. Of one that is not in force, where its packets
    /// would go.
    fn target(&self, service: &Service) -> Result<(IpAddr, u16), VerifyError> {
        let key = service_key(service);
        let is_plain = key.prefix_len == 0 && service.port != 0;
        if is_plain || !self.tables.service_map.contains_key(&key) {
            let port = if service.port == 0 { PORT_LAST } else { service.port };
            return Ok((service.vip, port));
        }
        let addresses = (0..ADDRESSES_TRIED).filter_map(|n| nth_address(service.vip(), n));
        for address in addresses {
            let ports = if service.port == 0 {
                PORT_LAST - PORTS_TRIED..=PORT_LAST
            } else {
                service.port..=service.port
            };
            for port in ports {
                if service_of(&self.tables.service_map, address, service.protocol, port) == Some(key) {
                    return Ok((address, port));
                }
            }
        }
        Err(VerifyError::Hidden { vip: service.vip, port: service.port })
    }

    /// The backend of `pool` that has a next hop with this MAC address.
    fn owner(&self, pool: &str, mac: [u8; 6]) -> Option<IpAddr> {
        let has = |id: u16| {
            let hops = self.maps.backends.read(u32::from(id)).next_hops;
            hops.iter().any(|&hop| {
                let [first, second, _] = self.maps.next_hops.read(u32::from(hop)).macs;
                let (a, b) = (first.to_ne_bytes(), second.to_ne_bytes());
                [a[0], a[1], a[2], a[3], b[0], b[1]] == mac
            })
        };
        let mut backends = self.tables.in_force.backends_of(pool);
        backends.find(|(_, _, id)| has(*id)).map(|(_, backend, _)| backend.address)
    }
}

/// The address that lies `n` behind the first of `vip`, if it is still of it.
fn nth_address(vip: VipPrefix, n: u32) -> Option<IpAddr> {
    let marker = marker_key(vip);
    let address = match vip.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(marker.address.0[3]).checked_add(n)?)),
        IpAddr::V6(_) => {
            let octets = marker.address.0.map(u32::to_ne_bytes).concat();
            let first = u128::from_be_bytes(octets.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(first.checked_add(u128::from(n))?))
        }
    };
    (marker_key(VipPrefix { address, ..vip }) == marker).then_some(address)
}

/// The frame of the first packet of a flow to `vip`: a TCP SYN, or an empty UDP datagram.
fn first_packet(vip: IpAddr, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(CLIENT_PORT.to_be_bytes());
    transport.extend(port.to_be_bytes());
    match protocol {
        // Sequence, acknowledgement, header of five words, SYN, window, checksum, urgent pointer. Nobody looks at the sum.
        Protocol::Tcp => transport.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]),
        Protocol::Udp => transport.extend([0, 8, 0, 0]),
    }
    let length = u16::try_from(transport.len()).expect("a header");
    let mut frame = vec![0; ETHERNET_HEADER - 2];
    match vip {
        IpAddr::V4(vip) => {
            let total = length + u16::try_from(IPV4_HEADER).expect("20");
            let mut header = vec![0x45, 0];
            header.extend(total.to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, protocol as u8, 0, 0]);
            header.extend(CLIENT_V4.octets());
            header.extend(vip.octets());
            let sum = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            header[10..12].copy_from_slice(&checksum::finish(sum).to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(header);
        }
        IpAddr::V6(vip) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol as u8, 64]);
            frame.extend(CLIENT_V6.octets());
            frame.extend(vip.octets());
        }
    }
    frame.extend(transport);
    frame
}

/// How a frame reaches its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// By an outer header to this address.
    To(IpAddr),
    /// By this MAC address.
    By([u8; 6]),
}

/// How the frame `out` carries the packet of the frame `original`, if it does. The packet's TTL went down, so only addresses
/// and what follows are compared.
fn carried(out: &[u8], original: &[u8]) -> Option<Carried> {
    const VLAN: [u8; 2] = [0x81, 0x00];
    let tag = if out.get(12..14)? == VLAN { 4 } else { 0 };
    let packet = original.get(ETHERNET_HEADER..)?;
    let outer = out.get(ETHERNET_HEADER + tag..)?;
    if is_same(outer, packet) {
        return Some(Carried::By(*out.first_chunk()?));
    }
    let (header, protocol, destination) = match outer.first()? >> 4 {
        4 => (IPV4_HEADER, *outer.get(9)?, IpAddr::from(*outer.get(16..)?.first_chunk::<4>()?)),
        6 => (IPV6_HEADER, *outer.get(6)?, IpAddr::from(*outer.get(24..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    let carried = outer.get(header..)?;
    let inner = match protocol {
        4 | 41 => carried,
        protocol if protocol == Protocol::Udp as u8 => behind_gue(carried.get(UDP_HEADER..)?)?,
        _ => return None,
    };
    is_same(inner, packet).then_some(Carried::To(destination))
}

/// The packet behind a GUE header of either variant (draft-ietf-intarea-gue §3).
fn behind_gue(gue: &[u8]) -> Option<&[u8]> {
    const WORDS: u8 = 0x1f;
    match gue.first()? >> 6 {
        0 => gue.get(4 + usize::from(gue[0] & WORDS) * 4..),
        1 => Some(gue),
        _ => None,
    }
}

/// Whether `inner` is `packet` but for its TTL, and the checksum that follows from it.
fn is_same(inner: &[u8], packet: &[u8]) -> bool {
    let (Some(&a), Some(&b)) = (inner.first(), packet.first()) else { return false };
    let addresses = if b >> 4 == 4 { 12 } else { 8 };
    a >> 4 == b >> 4 && inner.len() >= packet.len() && inner.get(addresses..) == packet.get(addresses..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_packets_are_whole_first_packets() {
        use weir_dataplane_core::parse::{Parsed, ipv4, ipv6};

        for vip in ["198.51.100.10", "2001:db8:100::10"] {
            let vip: IpAddr = vip.parse().unwrap();
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let packet = crate::host::HostPacket::new(&first_packet(vip, protocol, 443), 1);
                let parsed = if vip.is_ipv4() { ipv4(&packet) } else { ipv6(&packet) };
                let Parsed::Segment(segment) = parsed else { panic!("{parsed:?}") };
                assert_eq!(segment.fault, None);
                assert_eq!(segment.destination, vip.into());
                assert_eq!(segment.destination_port_be(), 443_u16.to_be());
                assert_eq!(segment.kind.opens(), protocol == Protocol::Tcp);
            }
        }
    }

    #[test]
    fn a_frame_that_carries_another_packet_is_damaged() {
        let original = first_packet("198.51.100.10".parse().unwrap(), Protocol::Tcp, 80);
        let mut outer = vec![0; ETHERNET_HEADER];
        outer.extend([0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 4, 0, 0, 192, 0, 2, 1, 10, 1, 0, 3]);
        outer.extend(&original[ETHERNET_HEADER..]);
        assert_eq!(carried(&outer, &original), Some(Carried::To("10.1.0.3".parse().unwrap())));
        for cut in 0..outer.len() {
            assert_eq!(carried(&outer[..cut], &original), None, "{cut} octets");
        }
        let last = outer.len() - 1;
        outer[last] ^= 1;
        assert_eq!(carried(&outer, &original), None);
        assert_eq!(carried(&original, &original), Some(Carried::By([0; 6])), "not encapsulated at all");
    }

    #[test]
    fn every_mode_is_seen_through() {
        let original = first_packet("2001:db8:100::10".parse().unwrap(), Protocol::Udp, 53);
        let packet = &original[ETHERNET_HEADER..];
        let backend: IpAddr = "10.1.0.3".parse().unwrap();
        let over = |protocol: u8, headers: &[u8], tag: &[u8]| {
            let outer = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 10, 1, 0, 3];
            [&[0; 12], tag, &[0x08, 0x00], &outer, headers, packet].concat()
        };
        let udp = [0, 1, 0x17, 0xc0, 0, 0, 0, 0];
        let gue = |first: u8, words: usize| [&udp[..], &[first, 41, 0, 0], &vec![0; words * 4]].concat();
        let tag = [0x81, 0x00, 0, 7];
        for (name, frame) in [
            ("6 in 4", over(41, &[], &[])),
            ("6 in 4, tagged", over(41, &[], &tag)),
            ("gue", over(17, &gue(0, 0), &[])),
            ("gue with candidates, tagged", over(17, &gue(14, 14), &tag)),
            ("gue without a header", over(17, &udp, &[])),
        ] {
            assert_eq!(carried(&frame, &original), Some(Carried::To(backend)), "{name}");
        }
        for (name, frame) in [
            ("gue of an unknown version", over(17, &gue(0x80, 0), &[])),
            ("gue that says it is longer", over(17, &gue(1, 0), &[])),
            ("another protocol", over(47, &[], &[])),
        ] {
            assert_eq!(carried(&frame, &original), None, "{name}");
        }
        let mac = [2, 0, 0, 0, 0, 9];
        let l2 = [&mac[..], &[0; 6], &tag, &[0x86, 0xdd], packet].concat();
        assert_eq!(carried(&l2, &original), Some(Carried::By(mac)));
    }

    #[test]
    fn addresses_of_a_prefix_end_with_it() {
        let nth = |vip: &str, length, n| nth_address(VipPrefix { address: vip.parse().unwrap(), length }, n);
        assert_eq!(nth("198.51.100.77", 28, 0), Some("198.51.100.64".parse().unwrap()));
        assert_eq!(nth("198.51.100.77", 28, 15), Some("198.51.100.79".parse().unwrap()));
        assert_eq!(nth("198.51.100.77", 28, 16), None);
        assert_eq!(nth("198.51.100.77", 32, 0), Some("198.51.100.77".parse().unwrap()));
        assert_eq!(nth("255.255.255.255", 32, 1), None);
        assert_eq!(nth("2001:db8::5", 126, 3), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(nth("2001:db8::5", 126, 4), None);
    }
}
