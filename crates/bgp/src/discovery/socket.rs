// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Raw ICMPv6 on one interface: advertisements and solicitations, with the hop limit they came with.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::message::{ADVERTISEMENT, HOP_LIMIT, SOLICITATION};
use super::neighbour::{ALL_NODES, ALL_ROUTERS, Outgoing};
use crate::sockopt;

/// Octets of a message that are looked at. An advertisement has some dozens; a longer one is cut and then not readable.
const MESSAGE_MAX: usize = 2048;
/// Room for the hop limit.
const CONTROL_LEN: usize = 64;
/// Messages taken before others have their turn.
pub(super) const BURST_MAX: usize = 64;
/// `ICMPV6_FILTER` of `linux/icmpv6.h`.
const ICMPV6_FILTER: libc::c_int = 1;

/// A message as it came.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    pub(super) source: Ipv6Addr,
    /// 0 if the kernel did not tell.
    pub(super) hop_limit: u8,
    pub(super) octets: &'a [u8],
}

/// The socket of one interface.
#[derive(Debug)]
pub(super) struct RouterSocket {
    // The type knows how to wait for a socket of datagrams, which a raw one is too. No method of it that is about UDP is used.
    socket: UdpSocket,
    index: u32,
}

impl RouterSocket {
    /// Opens it on the interface `name`, which has `index` now; what is sent comes from `own`.
    pub(super) fn open(name: &str, index: u32, own: Ipv6Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6))?;
        // Before anything else, so that nothing but what is wanted is ever queued.
        sockopt::set(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter())?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_multicast_hops_v6(u32::from(HOP_LIMIT))?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(index)?;
        for group in [ALL_NODES, ALL_ROUTERS] {
            socket.join_multicast_v6(&group, index)?;
        }
        socket.bind(&SocketAddrV6::new(own, 0, 0, index).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, index })
    }

    pub(super) fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        let to = SocketAddrV6::new(outgoing.destination, 0, 0, self.index);
        SockRef::from(&self.socket).send_to(&outgoing.octets, &to.into()).map(drop)
    }

    /// Waits for messages and hands at most [`BURST_MAX`] of them to `take`.
    pub(super) async fn receive(&self, mut take: impl FnMut(&Incoming<'_>)) -> io::Result<()> {
        self.socket.readable().await?;
        for _ in 0..BURST_MAX {
            // Readiness is forgotten when there is nothing, and kept otherwise: the rest comes with the next call.
            match self.socket.try_io(Interest::READABLE, || receive_one(&self.socket, &mut take)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn receive_one(socket: &UdpSocket, take: &mut impl FnMut(&Incoming<'_>)) -> io::Result<()> {
    let (mut octets, mut control) = ([0; MESSAGE_MAX], [0; CONTROL_LEN]);
    let mut parts = [IoSliceMut::new(&mut octets)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let hop_limit = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    let source = message.address.map(|address| address.ip());
    let count = message.bytes;
    if let Some(source) = source {
        take(&Incoming {
            source,
            hop_limit: hop_limit.unwrap_or(0),
            octets: &octets[..count.min(MESSAGE_MAX)],
        });
    }
    Ok(())
}

/// `struct icmp6_filter`: a set bit blocks its type.
fn filter() -> [u8; 32] {
    let mut words = [u32::MAX; 8];
    for kind in [SOLICITATION, ADVERTISEMENT] {
        words[usize::from(kind >> 5)] &= !(1 << (kind & 31));
    }
    let mut octets = [0; 32];
    for (chunk, word) in octets.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_lets_two_types_through() {
        let octets = filter();
        let passes = |kind: u8| {
            let at = usize::from(kind >> 5) * 4;
            let word = u32::from_ne_bytes(octets[at..at + 4].try_into().unwrap());
            word & (1 << (kind & 31)) == 0
        };
        let passing: Vec<u8> = (0..=255).filter(|kind| passes(*kind)).collect();
        assert_eq!(passing, [133, 134]);
    }
}
