// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A TCP attempt, and the beginning of every other: the socket with its source and mark, the connect, and what the
//! kernel's errors mean.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::check::SocketOptions;
use crate::failure::Failure;

/// Connects, or says why not. Cancelling it closes the socket.
pub(super) async fn connect(target: SocketAddr, options: &SocketOptions) -> Result<TcpStream, Failure> {
    let stream = start(target, options)?;
    // Not `TcpSocket::connect`: it mixes what the kernel says at once (our side) with what the network answers later.
    loop {
        stream.writable().await.map_err(|_error| Failure::Local)?;
        if let Some(error) = stream.take_error().map_err(|_error| Failure::Local)? {
            return Err(of_network(error.kind()));
        }
        // Readiness may be spurious; a socket has a peer once it is connected.
        match stream.try_io(Interest::WRITABLE, || peer(&stream)) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Failure::Local),
        }
    }
    // Two ends of loopback may meet in one socket (simultaneous open, RFC 9293 §3.5): nobody listens there.
    match stream.local_addr() {
        Ok(own) if own == target => Err(Failure::Refused),
        Ok(_) => Ok(stream),
        Err(_) => Err(Failure::Local),
    }
}

fn peer(stream: &TcpStream) -> io::Result<()> {
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        other => other.map(drop),
    }
}

/// Sends the first segment.
fn start(target: SocketAddr, options: &SocketOptions) -> Result<TcpStream, Failure> {
    let socket = open(target, options).map_err(|_error| Failure::Local)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(of_own_side(error.kind())),
    }
    TcpStream::from_std(socket.into()).map_err(|_error| Failure::Local)
}

fn open(target: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    // Non-blocking and close-on-exec from the first call.
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(segment) = options.max_segment {
        socket.set_tcp_mss(u32::from(segment))?;
    }
    if let Some(source) = options.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// Whether the connect goes on in the background.
fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}

/// What `connect` itself says: the answer of a host so near that it came within the call, or else no way out of our own
/// side (no route for the mark, no port, a local filter).
fn of_own_side(kind: io::ErrorKind) -> Failure {
    match kind {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::ConnectionReset => Failure::Reset,
        _ => Failure::Local,
    }
}

/// What the network answered to the connect.
fn of_network(kind: io::ErrorKind) -> Failure {
    match kind {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::ConnectionReset => Failure::Reset,
        io::ErrorKind::TimedOut => Failure::TimeoutConnect,
        // Each ICMP error has its own number: host, network, administratively prohibited, ...
        _ => Failure::Unreachable,
    }
}

/// What a connection that stood says when it breaks.
pub(super) fn of_connection(kind: io::ErrorKind) -> Failure {
    match kind {
        io::ErrorKind::TimedOut => Failure::TimeoutRead,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::Unreachable,
        _ => Failure::Reset,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn our_own_troubles_are_local_and_answers_are_not() {
        use io::ErrorKind as Kind;
        for kind in
            [Kind::NetworkUnreachable, Kind::HostUnreachable, Kind::AddrNotAvailable, Kind::PermissionDenied]
        {
            assert_eq!(of_own_side(kind), Failure::Local, "{kind}");
        }
        assert_eq!(of_own_side(Kind::ConnectionRefused), Failure::Refused);
        assert_eq!(of_network(Kind::ConnectionRefused), Failure::Refused);
        assert_eq!(of_network(Kind::ConnectionReset), Failure::Reset);
        assert_eq!(of_network(Kind::TimedOut), Failure::TimeoutConnect);
        for kind in [Kind::HostUnreachable, Kind::NetworkUnreachable, Kind::PermissionDenied, Kind::Other] {
            assert_eq!(of_network(kind), Failure::Unreachable, "{kind}");
        }
        assert_eq!(of_connection(Kind::BrokenPipe), Failure::Reset);
        assert_eq!(of_connection(Kind::ConnectionReset), Failure::Reset);
    }

    #[test]
    fn a_socket_carries_its_options() {
        let target = SocketAddr::from(([127, 0, 0, 1], 80));
        let source = IpAddr::from([127, 0, 0, 7]);
        let options = SocketOptions { source: Some(source), mark: None, max_segment: Some(536) };
        let socket = open(target, &options).expect("open");
        assert_eq!(socket.linger().expect("linger"), Some(Duration::ZERO));
        assert_eq!(socket.tcp_mss().expect("segment"), 536);
        let own = socket.local_addr().expect("address").as_socket().expect("an IP address");
        assert_eq!(own.ip(), source);

        match open(target, &SocketOptions { mark: Some(0x2a), ..options }) {
            Ok(socket) => assert_eq!(socket.mark().expect("mark"), 0x2a),
            // Without CAP_NET_ADMIN a marked check is never sent unmarked.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
