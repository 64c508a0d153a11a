// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with its program attached, and an agent with its own,
//! When somebody connects to the host's own address, and pings it,
//! Then it works as if there were no program: what is not for a VIP is the host's.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weir_lab::{Netns, document::Subnet, ping};

use crate::small_fabric;

#[test]
#[ignore = "needs root and netns"]
fn connections_to_own_addresses_pass_through() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let passed = |fabric: &weir_lab::Fabric| {
        let metrics = fabric.appliances[0].metrics().expect("metrics");
        metrics.count("weir_xdp_packets_total", &["verdict=\"pass_not_vip\""])
    };
    let before = passed(&fabric);
    let (v4, v6) = Subnet::Appliance(1).host();
    for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
        echo_through(&fabric.client, lb1.netns(), address);
    }
    assert!(passed(&fabric) > before + 8.0, "the packets went through the program");
    let backend = &fabric.backends[0];
    let (v4, v6) = Subnet::Backend(1).host();
    for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
        echo_through(&fabric.client, backend.netns(), address);
    }
}

/// Sends a line to a listener on `address` in `host`, and pings it. Port 22 in spirit: some service of the host itself.
fn echo_through(client: &Netns, host: &Netns, address: IpAddr) {
    let listener = host
        .enter(|| TcpListener::bind(SocketAddr::new(address, 2222)))
        .expect("in the namespace")
        .expect("a listener");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut line = [0; 4];
        stream.read_exact(&mut line)?;
        stream.write_all(&line)
    });
    let answer = client
        .enter(|| {
            let timeout = Duration::from_secs(3);
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, 2222), timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.write_all(b"ssh?")?;
            let mut line = [0; 4];
            stream.read_exact(&mut line)?;
            Ok::<_, std::io::Error>(line)
        })
        .expect("in the namespace")
        .unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!(&answer, b"ssh?");
    server.join().expect("the server ends").expect("the server served");
    ping(client, address).expect("an answer");
}
