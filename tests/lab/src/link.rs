// SPDX-License-Identifier: Apache-2.0 OR MIT
//! veth pairs between namespaces, made so that XDP and TCP work over them.
//!
//! A sender's checksum offload leaves half-made checksums in the frame, which XDP passes on as they are, and segmentation
//! offload makes frames larger than the MTU; both are off on both ends.

use anyhow::Result;

use crate::command::run;
use crate::netns::Netns;

/// One end of a pair to be made: in which namespace, under which name.
pub type End<'a> = (&'a Netns, &'a str);

/// A veth pair to be made.
#[derive(Debug)]
pub struct Veth<'a> {
    /// One end.
    pub a: End<'a>,
    /// The other end.
    pub b: End<'a>,
    /// MTU of both ends; at most about 3,500 where native XDP shall run.
    pub mtu: u16,
}

impl Veth<'_> {
    /// Makes the pair with both ends up. It vanishes with either namespace.
    pub fn create(&self) -> Result<()> {
        let ((a, a_name), (b, b_name)) = (self.a, self.b);
        a.ip(&format!(
            "link add {a_name} mtu {mtu} type veth peer name {b_name} mtu {mtu} netns {b}",
            mtu = self.mtu,
            b = b.name()
        ))?;
        for (netns, name) in [self.a, self.b] {
            let off = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"];
            run(netns.command("ethtool").args(["-K", name]).args(off))?;
            netns.ip(&format!("link set {name} up"))?;
        }
        Ok(())
    }
}

/// Gives an interface its addresses, each with its prefix length.
pub fn addresses(end: End<'_>, addresses: &[String]) -> Result<()> {
    let (netns, name) = end;
    let lines: Vec<String> = addresses
        .iter()
        .map(|address| {
            let without_detection = if address.contains(':') { " nodad" } else { "" };
            format!("address add {address} dev {name}{without_detection}")
        })
        .collect();
    netns.ip(&lines.join("\n"))
}

/// Default routes of both families.
pub fn default_route(netns: &Netns, v4: &str, v6: &str) -> Result<()> {
    netns.ip(&format!("route add default via {v4}\nroute add default via {v6}"))
}
