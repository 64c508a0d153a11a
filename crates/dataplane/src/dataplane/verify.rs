// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a service really forwards: one made-up packet through the packet logic on the live tables, and a look at what
//! came out. `set_forwarding` writes tables; this asks them, by the same path that packets take.
//!
//! ```text
//! made-up first packet of a flow -> weir_dry (counts and remembers nothing) -> verdict, frame
//!   forward?  outer destination a backend of the service's pool, as the state in force names it?  inner packet the same?
//! ```
//!
//! The interface it would leave by must be an attached uplink, so attach first. Only the outcome of one row is seen. That its backend is answering is what health checks are for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::programs::ProgramError;
use weir_dataplane_core::encap::checksum;
use weir_dataplane_core::parse::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER};
use weir_dataplane_core::{Action, Protocol, Verdict, names};

use super::{Dataplane, program};
use crate::forwarding::Service;
use crate::kernel::test_run::test_run;

/// Source of the made-up packets (RFC 5737, RFC 3849): addresses that no client has.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// As [`CLIENT_V4`].
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Source port, one of those that clients use.
const CLIENT_PORT: u16 = 40_000;

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
        let (vip, port) = (service.vip, service.port);
        let frame = first_packet(vip, service.protocol, port);
        let dry = program(&mut self.object, names::PROGRAM_DRY).expect("loaded when opened");
        let ran = test_run(dry, &frame, 1)?;
        let verdict = Verdict::from_raw(ran.action).ok_or(VerifyError::NoVerdict { number: ran.action })?;
        if verdict.action() != Action::Forward {
            return Err(VerifyError::NotForwarded { vip, port, verdict });
        }
        let destination = carried(&ran.frame, &frame).ok_or(VerifyError::Damaged { vip, port })?;
        let first = (service.pool.clone(), String::new());
        let mut of_pool =
            self.tables.backend_addresses.range(first..).take_while(|((pool, _), _)| *pool == service.pool);
        let is_of_pool = of_pool.any(|(_, address)| *address == destination);
        if is_of_pool {
            Ok(destination)
        } else {
            Err(VerifyError::WrongBackend { vip, port, destination, pool: service.pool.clone() })
        }
    }
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

/// The outer destination of the frame `out`, if behind its outer header it carries the packet of the frame `original` (whose
/// TTL went down, so only addresses and what follows are compared).
fn carried(out: &[u8], original: &[u8]) -> Option<IpAddr> {
    let outer = out.get(ETHERNET_HEADER..)?;
    let packet = original.get(ETHERNET_HEADER..)?;
    let (header, destination, addresses) = match outer.first()? >> 4 {
        4 => (IPV4_HEADER, IpAddr::from(*outer.get(16..)?.first_chunk::<4>()?), 12),
        6 => (IPV6_HEADER, IpAddr::from(*outer.get(24..)?.first_chunk::<16>()?), 8),
        _ => return None,
    };
    (outer.get(header..)?.get(addresses..)? == packet.get(addresses..)?).then_some(destination)
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
        assert_eq!(carried(&outer, &original), Some("10.1.0.3".parse().unwrap()));
        for cut in 0..outer.len() {
            assert_eq!(carried(&outer[..cut], &original), None, "{cut} octets");
        }
        let last = outer.len() - 1;
        outer[last] ^= 1;
        assert_eq!(carried(&outer, &original), None);
        assert_eq!(carried(&original, &original), None, "not encapsulated at all");
    }
}
