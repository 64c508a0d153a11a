// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with an Established session,
//! When hundreds of connections come from addresses that are no peer's, and more than one from the peer's that then say
//! nothing,
//! Then strangers are closed at once, those of the peer are few at any time, and the session announces as before.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};
use weir_lab::{BedLink, BgpBed, Daemon, Tor, TorSession, Transport, addresses, wait_until};

use crate::PATIENCE;
use crate::host::{Host, config, peer_name, plain};
use crate::sessions_of;

const VIP: &str = "198.51.100.1/32";
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 9, 11, 200);

/// Many times what any queue of the speaker holds.
const CONNECTIONS: usize = 500;
/// Connections of one peer that may be open while one of its sessions stands.
const OPEN_OF_PEER_MAX: usize = 8;

#[test]
#[ignore = "needs root and netns"]
fn by_connecting_and_saying_nothing() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    let link = BedLink { host: 1, tor: 1 };
    let session = TorSession::plain(link, Transport::V4);
    let tors = [Tor::start(&bed, 1, Daemon::Frr, vec![session]).expect("a router")];
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    tors[0].wait_established(PATIENCE).expect("a session");
    addresses((bed.tor(1), "h1"), &[format!("{STRANGER}/24")]).expect("an address");

    let strangers = bed.tor(1).enter(|| connections(STRANGER, link)).expect("a thread").expect("connections");
    let idle = bed.tor(1).enter(|| connections(link.tor_addresses().0, link));
    let idle = idle.expect("a thread").expect("connections");
    host.announce([plain(VIP)]).expect("announced");
    tors[0].wait_learnt(VIP, Duration::from_secs(2)).expect("learnt in spite of them");
    closed(&strangers, 0).expect("strangers are closed");
    closed(&idle, OPEN_OF_PEER_MAX).expect("few of the peer stay");
    let peer = host.peer(&peer_name(&tors[0].sessions()[0])).expect("a peer");
    assert_eq!(peer.counters.established, 1, "the session stood");
    assert!(host.status().strangers > 0, "they are counted");
}

/// Connections to the speaker from an address; those that are refused are none.
fn connections(from: Ipv4Addr, link: BedLink) -> Result<Vec<TcpStream>> {
    let target = SocketAddr::new(link.host_addresses().0.into(), 179);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from.into(), 0).into()).context("bind")?;
        if socket.connect_timeout(&target.into(), Duration::from_secs(5)).is_ok() {
            open.push(TcpStream::from(socket));
        }
    }
    ensure!(!open.is_empty(), "nobody listens");
    Ok(open)
}

/// Waits until the speaker has closed all but so many.
fn closed(connections: &[TcpStream], still_open_max: usize) -> Result<()> {
    wait_until("connections to be closed", PATIENCE, || {
        let open = connections.iter().filter(|stream| is_open(stream)).count();
        if open > still_open_max {
            bail!("{open} are open");
        }
        Ok(())
    })
}

/// An OPEN of the speaker may lie in the buffer before the end.
fn is_open(mut stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
