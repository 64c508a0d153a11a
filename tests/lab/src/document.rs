// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Addresses of the fabric, and the documents that appliances and agents are given.
//!
//! ```text
//!   client    10.0.0.2        2001:db8:0::2
//!   lbN       10.0.N.2        2001:db8:N::2         own: 192.0.2.N, 2001:db8:ffff::N
//!   bN        10.1.N.2        2001:db8:100N::2      VIPs on lo: 198.51.100.10, 2001:db8:100::10
//!   ToR       the .1 and ::1 of each
//! ```

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The IPv4 VIP of every lab.
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

/// The IPv6 VIP of every lab.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

/// Port of the services.
pub const PORT: u16 = 80;

/// AS number of the ToR.
pub const TOR_AS: u32 = 65000;

/// AS number of all appliances.
pub const APPLIANCE_AS: u32 = 65010;

/// Where requests go: both services.
pub fn targets() -> [SocketAddr; 2] {
    [SocketAddr::new(VIP_V4.into(), PORT), SocketAddr::new(VIP_V6.into(), PORT)]
}

/// The VIPs as prefixes: what a route to one looks like.
pub fn vip_prefixes() -> [String; 2] {
    [format!("{VIP_V4}/32"), format!("{VIP_V6}/128")]
}

/// A pair of subnets, one per family, between the ToR and one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subnet {
    /// The client's.
    Client,
    /// An appliance's, from 1.
    Appliance(u8),
    /// A backend's, from 1.
    Backend(u8),
}

impl Subnet {
    /// The ToR's address, IPv4 and IPv6.
    pub fn tor(self) -> (Ipv4Addr, Ipv6Addr) {
        self.addresses(1)
    }

    /// The host's address, IPv4 and IPv6.
    pub fn host(self) -> (Ipv4Addr, Ipv6Addr) {
        self.addresses(2)
    }

    fn addresses(self, last: u8) -> (Ipv4Addr, Ipv6Addr) {
        let (v4, v6) = match self {
            Subnet::Client => ([10, 0, 0], 0),
            Subnet::Appliance(number) => ([10, 0, number], u16::from(number)),
            Subnet::Backend(number) => ([10, 1, number], 0x1000 + u16::from(number)),
        };
        (
            Ipv4Addr::new(v4[0], v4[1], v4[2], last),
            Ipv6Addr::new(0x2001, 0xdb8, v6, 0, 0, 0, 0, u16::from(last)),
        )
    }
}

/// An appliance's own addresses, on its loopback: sources of its tunnels.
pub fn own_addresses(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(192, 0, 2, number), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(number)))
}

/// How the backends of a document are checked, and with it how patient announcements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Not at all.
    None,
    /// As the documentation says that it is by default.
    Defaults,
    /// In a fraction of the usual time, for what is not about the time.
    Quick,
}

impl Checks {
    /// Lines of a pool's check.
    fn pool(self) -> &'static str {
        match self {
            Checks::None => "",
            Checks::Defaults => "check = { kind = \"http\", path = \"/healthz\" }\n",
            Checks::Quick => {
                "check = { kind = \"http\", path = \"/healthz\", interval = \"500ms\", timeout = \"400ms\", \
                 fast_interval = \"100ms\", down_interval = \"500ms\" }\n"
            }
        }
    }

    /// Lines of a VIP's announcement.
    fn vip(self) -> &'static str {
        match self {
            Checks::None | Checks::Defaults => "",
            Checks::Quick => "announce = { up_hold = \"1s\", down_hold = \"1s\" }\n",
        }
    }
}

/// Document of appliance `number`, which keeps its files in `dir` and its pins below `pins`, and balances over `backends`
/// backends.
pub fn appliance(number: u8, backends: u8, checks: Checks, dir: &Path, pins: &Path) -> String {
    let (tor_v4, tor_v6) = Subnet::Appliance(number).tor();
    let (own_v4, own_v6) = own_addresses(number);
    let (dir, pins) = (dir.display(), pins.display());
    let mut text = format!(
        r#"[bootstrap]
instance = "lb{number}"
api_socket = "{dir}/api.sock"
state_dir = "{dir}/state"
pin_dir = "{pins}"
[bootstrap.capacity]
services = 64
backends = 64
flow_slots = 65536
rows = 262144
[appliance]
name = "lb{number}"
router_id = "{own_v4}"
source_v4 = "{own_v4}"
source_v6 = "{own_v6}"
hash_seed_file = "{dir}/hash-seed"
drain_wait = "1s"
[uplinks.eth0]
xdp = "native"
[bgp]
asn = {APPLIANCE_AS}
[peers.tor-v4]
address = "{tor_v4}"
remote_as = {TOR_AS}
hold_time = "9s"
connect_retry = "1s"
[peers.tor-v6]
address = "{tor_v6}"
remote_as = {TOR_AS}
hold_time = "9s"
connect_retry = "1s"
"#
    );
    for (family, vip) in [(4, IpAddr::V4(VIP_V4)), (6, IpAddr::V6(VIP_V6))] {
        text += &format!(
            "[vips.www{family}]\naddress = \"{vip}\"\n{announce}\
             [services.http{family}]\nvip = \"www{family}\"\nprotocol = \"tcp\"\nport = {PORT}\npool = \"web{family}\"\n\
             [pools.web{family}]\nmode = \"ipip\"\nmax_backends = 64\n{check}",
            announce = checks.vip(),
            check = checks.pool(),
        );
        for backend in 1..=backends {
            let (v4, v6) = Subnet::Backend(backend).host();
            let address = if family == 4 { IpAddr::V4(v4) } else { IpAddr::V6(v6) };
            // Writing to a string cannot fail.
            writeln!(text, "[pools.web{family}.backends.b{backend}]\naddress = \"{address}\"").ok();
        }
    }
    text
}

/// Document of the agent of backend `number`, which keeps its pins below `pins`.
pub fn agent(number: u8, pins: &Path) -> String {
    let pins = pins.display();
    format!(
        r#"instance = "b{number}"
interfaces = {{ eth0 = {{ xdp = "native" }} }}
appliances = ["192.0.2.0/24", "2001:db8:ffff::/48"]
vips = ["198.51.100.0/24", "2001:db8:100::/48"]
metrics_listen = "127.0.0.1:9181"
pin_dir = "{pins}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_hosts_share_an_address() {
        let subnets =
            (1..=9).flat_map(|n| [Subnet::Appliance(n), Subnet::Backend(n)]).chain([Subnet::Client]);
        let all: Vec<_> = subnets.flat_map(|subnet| [subnet.tor(), subnet.host()]).collect();
        let unique: std::collections::BTreeSet<_> =
            all.iter().flat_map(|(a, b)| [IpAddr::V4(*a), IpAddr::V6(*b)]).collect();
        assert_eq!(unique.len(), 2 * all.len());
        assert!(!unique.contains(&IpAddr::V6(VIP_V6)));
    }

    #[test]
    fn documents_name_every_backend_in_both_families() {
        let text = appliance(1, 3, Checks::Defaults, Path::new("/x"), Path::new("/y"));
        for name in
            ["pools.web4.backends.b3", "pools.web6.backends.b3", "10.1.3.2", "2001:db8:1003::2", "/healthz"]
        {
            assert!(text.contains(name), "{name}");
        }
    }
}
