// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network of scenarios about BGP alone: hosts that announce, ToRs that listen, and a link between each two of them.
//!
//! ```text
//!   h1 ──t1──────h1── t1      link of host I and ToR J: subnet 10.9.IJ.0/24 and 2001:db8:9IJ::/64,
//!      ──t2───┐                  the ToR has .1, ::1 and fe80::1, the host .2, ::2 and fe80::I:2
//!   h2 ──t1───│──h2── t1      an end is named after what is behind it
//!      ──t2─┐ └──h1── t2
//!           └────h2── t2
//! ```
//! A host sees the same link-local address on every link, as real switches may have it: who keys a peer by its address alone
//! fails here. (FRR 8.4 as a ToR takes two paths with one next hop on two interfaces for one, so hosts differ.) Nothing runs in the namespaces; scenarios start routers (`tor`) and speakers in them.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use crate::link::{Veth, addresses};
use crate::logs::LogDir;
use crate::netns::Netns;

/// Link-local address of every ToR's end.
pub const TOR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A link between a host and a ToR, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BedLink {
    /// Which host.
    pub host: u8,
    /// Which ToR.
    pub tor: u8,
}

impl BedLink {
    /// The ToR's numbered addresses.
    pub fn tor_addresses(self) -> (Ipv4Addr, Ipv6Addr) {
        self.numbered(1)
    }

    /// The host's numbered addresses.
    pub fn host_addresses(self) -> (Ipv4Addr, Ipv6Addr) {
        self.numbered(2)
    }

    /// The host's link-local address, the same on all its links.
    pub fn host_link_local(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, u16::from(self.host), 2)
    }

    /// Name of the ToR's interface.
    pub fn tor_interface(self) -> String {
        format!("h{}", self.host)
    }

    /// Name of the host's interface.
    pub fn host_interface(self) -> String {
        format!("t{}", self.tor)
    }

    /// Link-layer address of the host's end.
    pub fn host_mac(self) -> String {
        self.mac(2)
    }

    fn mac(self, last: u8) -> String {
        format!("02:00:00:{:02x}:{:02x}:{last:02x}", self.host, self.tor)
    }

    fn numbered(self, last: u8) -> (Ipv4Addr, Ipv6Addr) {
        let number = 10 * self.host + self.tor;
        // Written in decimal digits in both families: link 12 is 10.9.12.0/24 and 2001:db8:912::/64.
        let group = 0x900 + 16 * u16::from(self.host) + u16::from(self.tor);
        (Ipv4Addr::new(10, 9, number, last), Ipv6Addr::new(0x2001, 0xdb8, group, 0, 0, 0, 0, u16::from(last)))
    }
}

/// Hosts and ToRs with their links, and nothing that runs.
#[derive(Debug)]
pub struct BgpBed {
    hosts: Vec<Netns>,
    tors: Vec<Netns>,
    /// Folder and logs of everything.
    pub logs: LogDir,
}

impl BgpBed {
    /// Makes 1 to 9 hosts and 1 to 9 ToRs and links each host to each ToR. The ToRs forward and spread by ports.
    pub fn create(hosts: u8, tors: u8) -> Result<BgpBed> {
        ensure!((1..=9).contains(&hosts) && (1..=9).contains(&tors), "1 to 9 of each");
        let made = |role: &str, count: u8| -> Result<Vec<Netns>> {
            (1..=count).map(|number| Netns::create(&format!("{role}{number}"))).collect()
        };
        let bed = BgpBed { hosts: made("h", hosts)?, tors: made("t", tors)?, logs: LogDir::create(None)? };
        for tor in &bed.tors {
            for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/fib_multipath_hash_policy"] {
                tor.sysctl(key, "1")?;
            }
        }
        for (host, tor) in (1..=hosts).flat_map(|host| (1..=tors).map(move |tor| (host, tor))) {
            bed.connect(BedLink { host, tor })?;
        }
        Ok(bed)
    }

    /// A host's namespace, from 1.
    pub fn host(&self, number: u8) -> &Netns {
        &self.hosts[usize::from(number) - 1]
    }

    /// A ToR's namespace, from 1.
    pub fn tor(&self, number: u8) -> &Netns {
        &self.tors[usize::from(number) - 1]
    }

    fn connect(&self, link: BedLink) -> Result<()> {
        let (tor, host) = (self.tor(link.tor), self.host(link.host));
        let (tor_name, host_name) = (link.tor_interface(), link.host_interface());
        Veth { a: (tor, &tor_name), b: (host, &host_name), mtu: 1500 }.create()?;
        let ends = [
            (tor, &tor_name, link.mac(1), link.tor_addresses(), TOR_LINK_LOCAL),
            (host, &host_name, link.mac(2), link.host_addresses(), link.host_link_local()),
        ];
        for (netns, name, mac, (v4, v6), link_local) in ends {
            // No address of the kernel's own making, now or when the link comes back.
            netns.ip(&format!(
                "link set {name} address {mac}\nlink set {name} addrgenmode none\naddress flush dev {name} scope link"
            ))?;
            addresses((netns, name), &[format!("{v4}/24"), format!("{v6}/64"), format!("{link_local}/64")])?;
        }
        Ok(())
    }

    /// Takes the ToR's end of a link down; the host sees the carrier go.
    pub fn unplug(&self, link: BedLink) -> Result<()> {
        self.tor(link.tor).ip(&format!("link set {} down", link.tor_interface()))
    }

    /// Brings it up again, with this link-local address: the kernel keeps none over a down.
    pub fn plug(&self, link: BedLink, link_local: Ipv6Addr) -> Result<()> {
        let (tor, end) = (self.tor(link.tor), link.tor_interface());
        tor.ip(&format!("link set {end} up"))?;
        addresses((tor, &end), &[format!("{link_local}/64")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_links_share_a_subnet() {
        let links = (1..=9).flat_map(|host| (1..=9).map(move |tor| BedLink { host, tor }));
        let all: std::collections::BTreeSet<_> =
            links.flat_map(|link| [link.tor_addresses(), link.host_addresses()]).collect();
        assert_eq!(all.len(), 2 * 81);
        let link = BedLink { host: 1, tor: 2 };
        assert_eq!(link.tor_addresses().0.to_string(), "10.9.12.1");
        assert_eq!(link.host_addresses().1.to_string(), "2001:db8:912::2");
    }
}
