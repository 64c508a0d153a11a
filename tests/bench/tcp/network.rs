// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Client, load balancer and server, and two ways between them, since an XDP program on a veth changes what the veth costs.
//!
//! ```text
//!   client                      lb                        server
//!    c-plain 10.0.0.2 ── 10.0.0.1 p-client
//!                                 p-server 10.1.0.1 ── 10.1.0.2 s-plain     straight, HAProxy
//!    c-weir  10.2.0.2 ── 10.2.0.1 w-client
//!                                 w-server 10.3.0.1 ── 10.3.0.2 s-weir      the appliance
//!                                                                           the VIP on lo
//! ```
//! What the server answers to the VIP's clients goes back by the same links, forwarded by the kernel of `lb`: there is no switch here that
//! would carry it. The plain way keeps all offloads of its interfaces. On the other one the client computes its checksums itself, since XDP
//! carries frames as they are.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use weir_lab::{Netns, XdpPass, run};

/// The VIP.
pub const VIP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The server on the appliance's side: the backend.
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 2);
/// Where HAProxy listens.
pub const PROXY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The server on the plain side.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Port of everything.
pub const PORT: u16 = 80;

/// How requests get to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Forwarded by the kernel of `lb`.
    Straight,
    /// By the appliance: MAC rewrite and redirection, direct return.
    Weir,
    /// By HAProxy in TCP mode.
    Haproxy,
}

impl Way {
    /// All of them, in the order of the table.
    pub const ALL: [Way; 3] = [Way::Straight, Way::Weir, Way::Haproxy];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Way::Straight => "straight",
            Way::Weir => "weir",
            Way::Haproxy => "haproxy",
        }
    }

    /// Where the client sends requests.
    pub fn target(self) -> SocketAddr {
        let address = match self {
            Way::Straight => SERVER,
            Way::Weir => VIP,
            Way::Haproxy => PROXY,
        };
        SocketAddr::from((address, PORT))
    }
}

/// The namespaces; gone when dropped.
pub struct Network {
    /// Where requests come from.
    pub client: Netns,
    /// Where the appliance and HAProxy are.
    pub lb: Netns,
    /// Where they go.
    pub server: Netns,
    _passing: XdpPass,
}

impl Network {
    /// Makes them, with addresses and routes.
    pub fn create() -> Result<Self> {
        let (client, lb, server) = (Netns::create("client")?, Netns::create("lb")?, Netns::create("server")?);
        for ((a, a_name, a_address), (b, b_name, b_address)) in [
            ((&client, "c-plain", "10.0.0.2/24"), (&lb, "p-client", "10.0.0.1/24")),
            ((&lb, "p-server", "10.1.0.1/24"), (&server, "s-plain", "10.1.0.2/24")),
            ((&client, "c-weir", "10.2.0.2/24"), (&lb, "w-client", "10.2.0.1/24")),
            ((&lb, "w-server", "10.3.0.1/24"), (&server, "s-weir", "10.3.0.2/24")),
        ] {
            let peer = b.name();
            a.ip(&format!("link add {a_name} type veth peer name {b_name} netns {peer}"))?;
            for (netns, name, address) in [(a, a_name, a_address), (b, b_name, b_address)] {
                netns.ip(&format!("address add {address} dev {name}\nlink set {name} up"))?;
            }
        }
        run(client.command("ethtool").args(["-K", "c-weir", "tx", "off"]))?;
        lb.ip("address add 192.0.2.1/32 dev lo")?;
        server.ip(&format!("address add {VIP}/32 dev lo"))?;
        client.ip(&format!("route add 10.1.0.0/24 via 10.0.0.1\nroute add {VIP} via 10.2.0.1"))?;
        server.ip("route add 10.0.0.0/24 via 10.1.0.1\nroute add 10.2.0.0/24 via 10.3.0.1")?;
        lb.sysctl("ipv4/ip_forward", "1")?;
        for netns in [&client, &lb] {
            // Tens of thousands of connections a second for seconds.
            netns.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        }
        let passing = XdpPass::attach(&server, "s-weir")?;
        Ok(Self { client, lb, server, _passing: passing })
    }
}
