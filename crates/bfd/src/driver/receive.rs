// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two sockets that hear port 3784, one a family, and what they tell beside the octets: hop limit and interface.
//!
//! The port can be reached by whoever reaches an address of this host. What a router has touched is therefore dropped by the
//! kernel before it takes room in the queue, where the packets of the neighbours would be lost to a flood from afar.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::error::StartError;
use crate::sessions::{Datagram, HOP_LIMIT};

/// Destination port of single-hop control packets (RFC 5881 §4).
pub(super) const PORT: u16 = 3784;

/// Datagrams taken from one socket before the timers have their turn, so that a flood cannot silence us.
pub(super) const BURST_MAX: usize = 512;

/// Octets of a datagram that are looked at: a packet with the longest authentication has 52, more is counted by length.
const PAYLOAD_MAX: usize = 128;

/// Room for hop limit and packet information of either family.
const CONTROL_LEN: usize = 128;

/// Offsets in the header of the network layer.
const V4_TTL_AT: u32 = 8;
const V6_HOP_LIMIT_AT: u32 = 7;

/// Bytes of datagrams that wait while the thread does not run.
const BUFFER: usize = 256 * 1024;

/// The receiving sockets.
#[derive(Debug)]
pub(super) struct Receivers {
    sockets: Vec<Socket>,
}

/// Whether a socket may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    Yes,
    No,
}

impl Receivers {
    /// Binds the port of both families.
    pub(super) fn bind() -> Result<Receivers, StartError> {
        let mut sockets = Vec::new();
        for (domain, family) in [(Domain::IPV4, "IPv4"), (Domain::IPV6, "IPv6")] {
            match bind(domain) {
                Ok(socket) => sockets.push(socket),
                // A kernel without IPv6.
                Err(error) if domain == Domain::IPV6 && is_no_family(&error) => {}
                Err(source) => return Err(StartError::Listen { family, source }),
            }
        }
        Ok(Receivers { sockets })
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Hands what has come to `take`, at most [`BURST_MAX`] of each socket.
    pub(super) fn receive(&self, mut take: impl FnMut(&Datagram<'_>)) -> Drained {
        let mut drained = Drained::Yes;
        for socket in &self.sockets {
            let mut left = BURST_MAX;
            while left > 0 && receive_one(socket, &mut take) {
                left -= 1;
            }
            if left == 0 {
                drained = Drained::No;
            }
        }
        drained
    }
}

fn is_no_family(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind(domain: Domain) -> std::io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    let any: IpAddr = if domain == Domain::IPV4 {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        Ipv6Addr::UNSPECIFIED.into()
    };
    socket.set_recv_buffer_size(BUFFER)?;
    hear_near_only(&socket, domain)?;
    socket.bind(&SocketAddr::new(any, PORT).into())?;
    Ok(socket)
}

/// Makes the kernel drop what has not the hop limit of a neighbour (RFC 5881 §5).
fn hear_near_only(socket: &Socket, domain: Domain) -> std::io::Result<()> {
    let hop_limit_at = if domain == Domain::IPV4 { V4_TTL_AT } else { V6_HOP_LIMIT_AT };
    let one = |code: u32, if_false: u8, operand: u32| {
        // Codes of classic BPF have eight bits.
        SockFilter::new(u16::try_from(code).unwrap_or_default(), 0, if_false, operand)
    };
    socket.attach_filter(&[
        one(BPF_LD | BPF_B | BPF_ABS, 0, libc::SKF_NET_OFF.cast_unsigned().wrapping_add(hop_limit_at)),
        one(BPF_JMP | BPF_JEQ | BPF_K, 1, u32::from(HOP_LIMIT)),
        one(BPF_RET | BPF_K, 0, u32::MAX),
        one(BPF_RET | BPF_K, 0, 0),
    ])
}

/// Takes one datagram; `false` when there is none.
fn receive_one(socket: &Socket, take: &mut impl FnMut(&Datagram<'_>)) -> bool {
    let (mut payload, mut control) = ([0; PAYLOAD_MAX], [0; CONTROL_LEN]);
    let mut parts = [IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
    let message = match message {
        Ok(message) => message,
        Err(Errno::EINTR) => return true,
        // Nothing there. Anything else is an error that was queued for the socket and is gone now; `poll` tells of more.
        Err(_) => return false,
    };
    let (mut hop_limit, mut interface) = (None, 0);
    for part in message.cmsgs().into_iter().flatten() {
        match part {
            ControlMessageOwned::Ipv4Ttl(ttl) => hop_limit = u8::try_from(ttl).ok(),
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                interface = u32::try_from(info.ipi_ifindex).unwrap_or_default();
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => interface = info.ipi6_ifindex,
            _ => {}
        }
    }
    let source = message.address.as_ref().and_then(source_address);
    let bytes = message.bytes;
    if let Some(source) = source {
        take(&Datagram { source, interface, hop_limit, payload: payload.get(..bytes).unwrap_or(&payload) });
    }
    true
}

fn source_address(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_comes_from_afar_never_reaches_the_queue() {
        for (domain, address) in [(Domain::IPV4, "127.0.0.1"), (Domain::IPV6, "::1")] {
            let any = SocketAddr::new(address.parse().expect("an address"), 0);
            let socket = |domain| Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
            let (ours, theirs) = (socket(domain), socket(domain));
            hear_near_only(&ours, domain).expect("a filter");
            ours.bind(&any.into()).expect("a port");
            let to = ours.local_addr().expect("bound");
            for hop_limit in [64, 254, 1, 255] {
                match domain {
                    Domain::IPV4 => theirs.set_ttl_v4(hop_limit),
                    _ => theirs.set_unicast_hops_v6(hop_limit),
                }
                .expect("a hop limit");
                theirs.send_to(&hop_limit.to_be_bytes(), &to).expect("sent");
            }
            ours.set_read_timeout(Some(Duration::from_secs(10))).expect("a patience");
            let heard = std::net::UdpSocket::from(ours);
            let mut octets = [0; 8];
            assert_eq!(heard.recv(&mut octets).expect("the near one"), 4);
            assert_eq!(octets[..4], 255u32.to_be_bytes(), "the others came first");
            heard.set_nonblocking(true).expect("a mode");
            assert!(heard.recv(&mut octets).is_err(), "and it was alone");
        }
    }
}
