// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One document for all fixtures, as the kernel and as the host know it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use weir_agent::AgentConfig;
use weir_dataplane_core::bytes::Address;
use weir_dataplane_core::decap::AgentTables;

/// Addresses of the fixtures.
pub const CLIENT: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];
pub const APPLIANCE: [&str; 2] = ["192.0.2.1", "2001:db8:ffff::1"];
pub const HOST: [&str; 2] = ["10.1.0.1", "fd00::1"];
pub const VIP: [&str; 2] = ["198.51.100.10", "2001:db8:100::10"];

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The document; VIP prefixes are nested, so that the longest must win.
pub fn config(pin_dir: &Path) -> AgentConfig {
    let text = format!(
        r#"
        interfaces = {{ unused = {{ xdp = "native" }} }}
        appliances = ["192.0.2.0/24", "2001:db8:ffff::/48"]
        vips = ["198.51.0.0/16", "198.51.100.0/24", "198.51.100.10", "2001:db8:100::/48"]
        addresses = ["10.1.0.1", "fd00::1"]
        pin_dir = "{}"
        "#,
        pin_dir.display()
    );
    AgentConfig::parse(&text, Path::new("fixture")).unwrap()
}

/// A folder on bpffs that only this test uses. Tests run in a set of namespaces with a bpffs of its own.
pub fn pin_dir(test: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/weir-agent-{test}-{}", std::process::id()))
}

/// The tables in ordinary memory, searched from one end to the other.
pub struct HostTables {
    appliances: Vec<IpNet>,
    vips: Vec<IpNet>,
    addresses: Vec<IpAddr>,
}

impl HostTables {
    pub fn new(config: &AgentConfig) -> Self {
        Self {
            appliances: config.appliances.iter().copied().collect(),
            vips: config.vips.iter().copied().collect(),
            addresses: config.addresses.iter().flatten().copied().collect(),
        }
    }

    /// The prefix that a VIP index of these tables stands for.
    pub fn vip_prefix(&self, index: u32) -> IpNet {
        self.vips[usize::try_from(index).unwrap()]
    }
}

fn ip_of(address: &Address) -> IpAddr {
    let octets: Vec<u8> = address.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
    IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()).to_canonical()
}

impl AgentTables for HostTables {
    fn is_appliance(&self, source: &Address) -> bool {
        self.appliances.iter().any(|prefix| prefix.contains(&ip_of(source)))
    }

    fn is_own(&self, destination: &Address) -> bool {
        self.addresses.contains(&ip_of(destination))
    }

    fn is_gue_port(&self, port_be: u16) -> bool {
        u16::from_be(port_be) == 6080
    }

    fn vip(&self, destination: &Address) -> Option<u32> {
        let holds = |(_, prefix): &(usize, &IpNet)| prefix.contains(&ip_of(destination));
        let longest =
            self.vips.iter().enumerate().filter(holds).max_by_key(|(_, prefix)| prefix.prefix_len());
        longest.map(|(index, _)| u32::try_from(index).unwrap())
    }
}
