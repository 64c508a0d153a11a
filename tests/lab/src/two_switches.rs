// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One appliance on two switches, and routes over both to backends that need not exist.
//!
//! ```text
//!   tor1  10.0.1.1  2001:db8:1::1 ═══ eth0 ┐
//!                                          ├ lb1: 10.1.0.0/16, 2001:db8:1000::/44 by both
//!   tor2  10.0.2.1  2001:db8:2::1 ═══ eth1 ┘
//! ```
//! Clients' packets are put onto the link of tor1 ([`Stream`]); what the appliance sends is seen at both ([`Watch`]). Nobody
//! speaks BGP: packets are served whether or not anybody is told.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::appliance::Appliance;
use crate::bpf::PinDir;
use crate::document::{self, Checks, Subnet};
use crate::frames::{Mac, Stream, Tallies, Watch};
use crate::link::{Veth, addresses};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::xdp_pass::XdpPass;

/// Room for an outer IPv6 header.
const MTU: u16 = 1600;

/// The switches' Ethernet addresses.
pub const SWITCH_MACS: [Mac; 2] = [[2, 0, 0, 0, 0xa, 1], [2, 0, 0, 0, 0xa, 2]];

/// The appliance's Ethernet addresses.
const OWN_MACS: [Mac; 2] = [[2, 0, 0, 0, 0xb, 1], [2, 0, 0, 0, 0xb, 2]];

/// The backends' prefixes, by family.
const PREFIXES: [&str; 2] = ["10.1.0.0/16", "2001:db8:1000::/44"];

/// An appliance between two switches. Fields end in their order.
#[derive(Debug)]
pub struct TwoSwitches {
    /// The appliance; its daemon is not started.
    pub appliance: Appliance,
    /// The switches.
    pub switches: [Netns; 2],
    watches: [Watch; 2],
    _passing: [XdpPass; 2],
    _pins: PinDir,
    /// Folder and logs of everything.
    pub logs: LogDir,
}

impl TwoSwitches {
    /// Makes the network and the document.
    pub fn build(weir: &Path) -> Result<TwoSwitches> {
        let logs = LogDir::create(None)?;
        let pins = PinDir::create(logs.path())?;
        let host = Netns::create("lb1")?;
        let switches = [Netns::create("tor1")?, Netns::create("tor2")?];
        for (number, switch) in (1..).zip(&switches) {
            link(number, switch, &host)?;
        }
        let (v4, v6) = document::own_addresses(1);
        addresses((&host, "lo"), &[format!("{v4}/32"), format!("{v6}/128")])?;
        let passing = [XdpPass::attach(&switches[0], "lb1")?, XdpPass::attach(&switches[1], "lb1")?];
        let watches = [Watch::start((&switches[0], "lb1"))?, Watch::start((&switches[1], "lb1"))?];
        let appliance = Appliance::prepare(host, "lb1", weir, &logs, &pins)?;
        let text = document::appliance(1, 2, Checks::None, appliance.dir(), pins.path());
        let uplink = "[uplinks.eth0]\nxdp = \"native\"\n";
        let both = format!("{uplink}[uplinks.eth1]\nxdp = \"native\"\n");
        appliance.write_document(&text.replace(uplink, &both))?;
        let two = TwoSwitches { appliance, switches, watches, _passing: passing, _pins: pins, logs };
        two.route(&[1, 2])?;
        Ok(two)
    }

    /// Routes to the backends over these switches, in place of those before.
    pub fn route(&self, switches: &[u8]) -> Result<()> {
        self.appliance.netns().ip(&Self::route_lines(switches))
    }

    /// What [`TwoSwitches::route`] tells `ip`.
    pub fn route_lines(switches: &[u8]) -> String {
        let mut lines = Vec::new();
        for (family, prefix) in PREFIXES.iter().enumerate() {
            let hops = switches.iter().map(|&number| {
                let (v4, v6) = Subnet::Appliance(number).tor();
                let gateway = if family == 0 { v4.to_string() } else { v6.to_string() };
                format!(" nexthop via {gateway} dev eth{}", number - 1)
            });
            lines.push(format!("route replace {prefix}{}", hops.collect::<String>()));
        }
        lines.join("\n")
    }

    /// Starts clients' packets on the link of the first switch.
    pub fn stream(&self, interval: Duration) -> Result<Stream> {
        Stream::start((&self.switches[0], "lb1"), OWN_MACS[0], interval)
    }

    /// What came out so far, at each switch.
    pub fn seen(&self) -> [Tallies; 2] {
        [self.watches[0].tallies(), self.watches[1].tallies()]
    }
}

/// The link of switch `number`: addresses that do not depend on chance, and routes back.
fn link(number: u8, switch: &Netns, host: &Netns) -> Result<()> {
    let name = format!("eth{}", number - 1);
    Veth { a: (switch, "lb1"), b: (host, &name), mtu: MTU }.create()?;
    let index = usize::from(number - 1);
    for (netns, name, mac) in [(switch, "lb1", SWITCH_MACS[index]), (host, name.as_str(), OWN_MACS[index])] {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        netns.ip(&format!("link set {name} address {mac}"))?;
    }
    let ((switch_v4, switch_v6), (host_v4, host_v6)) =
        (Subnet::Appliance(number).tor(), Subnet::Appliance(number).host());
    addresses((switch, "lb1"), &[format!("{switch_v4}/24"), format!("{switch_v6}/64")])?;
    addresses((host, &name), &[format!("{host_v4}/24"), format!("{host_v6}/64")])
}
