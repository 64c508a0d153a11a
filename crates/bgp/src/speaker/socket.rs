// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP as BGP wants it: where to listen, whence to connect, which options.
//!
//! A listening socket is shared by all peers of its family. It sends with TTL 255 as soon as one of them needs that, which
//! hurts nobody; that a peer's segments must come with it is the business of its filter (`near`), and of an option of each
//! accepted connection and of every socket that dials.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::keys::Keys;
use super::near::{self, Rule};
use super::security;
use crate::advertise::Prefix;
use crate::config::Secret;

/// Connections the kernel keeps until they are accepted; beyond it a peer's attempt is repeated by its TCP.
const BACKLOG: i32 = 128;
/// Class selector 6, network control (RFC 4594 §3.1), as the whole octet.
const TRAFFIC_CLASS: u8 = 0xc0;

/// A listening socket. One of IPv6 does not take IPv4, so that both can be listed. It knows its keys before the first
/// peer may connect, and its filter: nothing of a protected peer ever gets in without what protects it.
pub(super) fn listen(
    address: SocketAddr,
    keys: &Keys,
    rules: &[Rule],
    sends_far: bool,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A speaker that starts again must not wait for its old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if sends_far {
        security::send_far(&socket, address.is_ipv4())?;
    }
    for (prefix, key) in keys.iter().filter(|(prefix, _)| prefix.address().is_ipv4() == address.is_ipv4()) {
        security::set_md5(&socket, prefix, key)?;
    }
    set_filter(&SockRef::from(&socket), address.is_ipv4(), rules)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How to connect to a peer.
#[derive(Debug, Clone)]
pub(super) struct Dialling {
    /// Where to; a link-local address with its interface's index.
    pub(super) remote: SocketAddr,
    /// Whence.
    pub(super) local: Option<IpAddr>,
    /// The interface that nothing may leave.
    pub(super) interface: Option<String>,
    pub(super) md5: Option<Secret>,
    pub(super) has_gtsm: bool,
}

/// Connects.
pub(super) async fn dial(dialling: Dialling) -> io::Result<TcpStream> {
    let remote = dialling.remote;
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let options = SockRef::from(&socket);
    if let Some(interface) = &dialling.interface {
        options.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(local) = dialling.local {
        socket.bind(scoped(local, remote))?;
    }
    if let Some(key) = &dialling.md5 {
        security::set_md5(&socket, &Prefix::host(remote.ip()), key)?;
    }
    if dialling.has_gtsm {
        security::send_far(&options, remote.is_ipv4())?;
        security::require_near(&socket, remote.is_ipv4())?;
    }
    prepare(&options, remote.ip());
    socket.connect(remote).await
}

/// Our address with the scope of the peer's: both are of one link.
fn scoped(local: IpAddr, remote: SocketAddr) -> SocketAddr {
    match (local, remote) {
        (IpAddr::V6(local), SocketAddr::V6(remote)) if local.is_unicast_link_local() => {
            SocketAddrV6::new(local, 0, 0, remote.scope_id()).into()
        }
        (local, _) => SocketAddr::new(local, 0),
    }
}

/// Puts the filter that follows from these rules on a listening socket, or takes it off.
pub(super) fn set_filter(socket: &SockRef<'_>, is_ipv4: bool, rules: &[Rule]) -> io::Result<()> {
    let Some(program) = near::program(is_ipv4, rules) else {
        return match socket.detach_filter() {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        };
    };
    let filter = program.iter().map(|one| SockFilter::new(one.code, one.if_true, one.if_false, one.operand));
    socket.attach_filter(&filter.collect::<Vec<_>>())
}

/// Options of an accepted connection. An error means that the peer could not be held to what was configured.
pub(super) fn prepare_accepted(
    stream: &TcpStream,
    remote: IpAddr,
    md5: Option<&Secret>,
    has_gtsm: bool,
) -> io::Result<()> {
    if let Some(key) = md5
        && !security::was_signed(stream, remote, key)?
    {
        return Err(io::Error::other("it was made before its key was known"));
    }
    let socket = SockRef::from(stream);
    if has_gtsm {
        security::require_near(stream, remote.is_ipv4())?;
    }
    // The listener's, which would be run for each segment.
    match socket.detach_filter() {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    prepare(&socket, remote);
    Ok(())
}

/// Both options make a session better and none is needed for it, so a refusal is only noted.
fn prepare(socket: &SockRef<'_>, remote: IpAddr) {
    let class = match remote {
        IpAddr::V4(_) => socket.set_tos_v4(u32::from(TRAFFIC_CLASS)),
        IpAddr::V6(_) => socket.set_tclass_v6(u32::from(TRAFFIC_CLASS)),
    };
    for result in [socket.set_tcp_nodelay(true), class] {
        if let Err(error) = result {
            tracing::debug!(%remote, %error, "socket option refused");
        }
    }
}
