// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Raw ICMP and ICMPv6, errors only. Needs CAP_NET_RAW.

#![expect(unsafe_code, reason = "filters have no safe wrapper")]

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::message::{self, Report};

/// Octets of a message that are read, all of it, since its checksum is over all: no error is larger (RFC 4443 §2.4 c), and
/// IPv4's are smaller (RFC 1812 §4.3.2.3), but routers may quote more.
const MESSAGE_MAX: usize = 2_048;
/// Messages taken before others have their turn.
const BURST_MAX: usize = 64;
/// Octets that wait to be taken; further messages are lost, and the next ones will say the same.
const QUEUE_OCTETS: usize = 256 * 1024;
/// `SOL_RAW` of `linux/socket.h`.
const SOL_RAW: libc::c_int = 255;
/// `ICMP_FILTER` of `linux/icmp.h`.
const ICMP_FILTER: libc::c_int = 1;
/// `ICMPV6_FILTER` of `linux/icmpv6.h`.
const ICMPV6_FILTER: libc::c_int = 1;

/// A socket that hears the errors of one family.
#[derive(Debug)]
pub(super) struct Ears {
    // The type knows how to wait for a socket of datagrams, which a raw one is too. No method of it that is about UDP is used.
    socket: UdpSocket,
}

impl Ears {
    pub(super) fn v4() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4))?;
        // A set bit blocks its type: all but "unreachable" and "time exceeded".
        let blocked = !(1_u32 << 3 | 1 << 11);
        filter(&socket, SOL_RAW, ICMP_FILTER, &blocked.to_ne_bytes())?;
        Self::of(socket)
    }

    pub(super) fn v6() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6))?;
        // All but types 1 to 4.
        let mut blocked = [0xff_u8; 32];
        blocked[..4].copy_from_slice(&(!0b11110_u32).to_ne_bytes());
        filter(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
        Self::of(socket)
    }

    fn of(socket: Socket) -> io::Result<Self> {
        socket.set_recv_buffer_size(QUEUE_OCTETS)?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())? })
    }

    /// Waits for messages and gives what at most [`BURST_MAX`] of them say.
    pub(super) async fn hear(&self) -> io::Result<Vec<Report>> {
        self.socket.readable().await?;
        let mut reports = Vec::new();
        let mut octets = [0; MESSAGE_MAX];
        for _ in 0..BURST_MAX {
            let (len, from) = match self.socket.try_recv_from(&mut octets) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let heard = octets.get(..len).unwrap_or(&octets);
            reports.extend(match from.ip() {
                IpAddr::V4(_) => message::v4(heard),
                IpAddr::V6(router) => message::v6(router, heard),
            });
        }
        Ok(reports)
    }
}

/// Sets a socket's filter of message types.
fn filter(socket: &Socket, level: libc::c_int, name: libc::c_int, blocked: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(blocked.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel reads `length` octets, which are there, and keeps
    // no pointer.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, blocked.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
