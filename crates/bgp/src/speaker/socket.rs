// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP as BGP wants it: where to listen, whence to connect, which options. What a key or a hop limit would need goes here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections the kernel keeps until they are accepted; beyond it a peer's attempt is repeated by its TCP.
const BACKLOG: i32 = 128;
/// Class selector 6, network control (RFC 4594 §3.1), as the whole octet.
const TRAFFIC_CLASS: u8 = 0xc0;

/// A listening socket. One of IPv6 does not take IPv4, so that both can be listed.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A speaker that starts again must not wait for its old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects to a peer, from `local` if given.
pub(super) async fn dial(remote: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    prepare(&SockRef::from(&socket), remote.ip());
    socket.connect(remote).await
}

/// Options of an accepted connection.
pub(super) fn prepare_accepted(stream: &TcpStream, remote: IpAddr) {
    prepare(&SockRef::from(stream), remote);
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
