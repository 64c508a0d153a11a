// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sending end of one session: a socket with a source port of its own, made when it is first needed and again after the
//! interface went away.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{SessionConfig, is_link_local};
use crate::random::Random;

use super::receive::PORT;

/// First of the source ports that single-hop sessions may use (RFC 5881 §4); the last is 65535.
const SOURCE_PORT_MIN: u16 = 49152;

/// Ports tried before the attempt counts as failed; the next packet tries others.
const PORT_TRIES_MAX: usize = 32;

/// Hop limit that a neighbour insists on (RFC 5881 §5).
const HOP_LIMIT: u32 = 255;

/// Class selector 6, network control: what routers give to their own protocols (RFC 4594 §3.1).
const TRAFFIC_CLASS: u32 = 0xc0;

/// The sending end, and what became of its packets.
#[derive(Debug, Default)]
pub(super) struct Link {
    socket: Option<(Socket, SocketAddr)>,
    /// Kept over a new socket: the source port of a session does not change (RFC 5881 §4).
    port: Option<u16>,
    pub(super) interface: Option<u32>,
    pub(super) sent: u64,
    pub(super) errors: u64,
    pub(super) error: Option<io::Error>,
}

impl Link {
    /// Makes the socket if there is none. Afterwards `interface` is what the session's interface is now.
    pub(super) fn open(&mut self, config: &SessionConfig, random: &mut Random) {
        if self.socket.is_some() {
            return;
        }
        match open(config, self.port, random) {
            Ok((socket, target, port, interface)) => {
                self.socket = Some((socket, target));
                self.port = Some(port);
                self.interface = interface;
            }
            Err(error) => {
                self.interface = None;
                self.error = Some(error);
            }
        }
    }

    /// Sends one packet; what fails is counted, and the socket made anew for the next.
    pub(super) fn send(&mut self, octets: &[u8]) {
        let Some((socket, target)) = &self.socket else {
            self.errors += 1;
            return;
        };
        match socket.send_to(octets, &(*target).into()) {
            Ok(_) => {
                self.sent += 1;
                self.error = None;
            }
            Err(error) => {
                self.errors += 1;
                // A full queue passes; anything else may be an interface that went, or came back as another one.
                if !is_full(&error) {
                    self.socket = None;
                }
                self.error = Some(error);
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
}

type Opened = (Socket, SocketAddr, u16, Option<u32>);

fn open(config: &SessionConfig, port: Option<u16>, random: &mut Random) -> io::Result<Opened> {
    let index = match &config.interface {
        Some(name) => Some(if_nametoindex(name.as_str())?),
        None => None,
    };
    let scope = index.unwrap_or_default();
    let domain = Domain::for_address(SocketAddr::new(config.remote, PORT));
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    match config.remote {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(HOP_LIMIT)?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(HOP_LIMIT)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
        }
    }
    if let Some(name) = &config.interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    let any = match config.remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let local = config.local.unwrap_or(any);
    let port = bind(&socket, |port| scoped(local, port, scope), port, random)?;
    // Nothing is read from it: peers send to port 3784.
    socket.set_recv_buffer_size(0)?;
    Ok((socket, scoped(config.remote, PORT, scope), port, index))
}

fn bind(
    socket: &Socket,
    address: impl Fn(u16) -> SocketAddr,
    kept: Option<u16>,
    random: &mut Random,
) -> io::Result<u16> {
    let mut last = io::Error::from_raw_os_error(libc::EADDRINUSE);
    let chosen = (0..PORT_TRIES_MAX).map(|_| SOURCE_PORT_MIN + random.below(u16::MAX - SOURCE_PORT_MIN + 1));
    for port in kept.into_iter().chain(chosen) {
        match socket.bind(&address(port).into()) {
            Ok(()) => return Ok(port),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// A link-local address means something with its interface only.
fn scoped(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if is_link_local(address) => SocketAddrV6::new(v6, port, 0, scope).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, port),
    }
}
