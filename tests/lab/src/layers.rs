// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One appliance whose addresses are on a tagged device, on a bond of two links, or on a tagged device on a bond.
//!
//! ```text
//!   tor                                    lb1
//!   br0 ─┬─ sw0 ════════════════════ eth0 ─┬─ bond0 [.TAG]   10.0.1.2, 2001:db8:1::2
//!        └─ sw1 ════════════════════ eth1 ─┘
//!   br0 [.TAG]  10.0.1.1, 2001:db8:1::1; without a bond: sw0 [.TAG] ═ eth0 [.TAG]
//! ```
//! Nobody speaks BGP, and backends need not exist. The kernel must have 802.1Q devices and bonds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::appliance::Appliance;
use crate::bpf::PinDir;
use crate::command::run;
use crate::document::{self, Checks, Subnet};
use crate::frames::{Mac, Stream, Watch, inject};
use crate::link::{Veth, addresses};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::tap::Tap;
use crate::xdp_pass::XdpPass;

/// Room for an outer IPv6 header.
const MTU: u16 = 1600;

/// The switch's Ethernet address.
pub const SWITCH_MAC: Mac = [2, 0, 0, 0, 0xa, 1];

/// The appliance's Ethernet address.
pub const HOST_MAC: Mac = [2, 0, 0, 0, 0xb, 1];

/// What is on the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// Two links and a bond, active-backup; otherwise one link.
    pub is_bond: bool,
    /// Tag of the device that has the addresses.
    pub tag: Option<u16>,
}

impl Stack {
    /// The document's uplink.
    pub fn uplink(self) -> &'static str {
        if self.is_bond { "bond0" } else { "eth0" }
    }

    /// The interface of the routes.
    fn device(self, below: &str) -> String {
        self.tag.map_or_else(|| below.to_owned(), |tag| format!("{below}.{tag}"))
    }

    fn links(self) -> usize {
        if self.is_bond { 2 } else { 1 }
    }
}

/// An appliance and its switch. Fields end in their order.
#[derive(Debug)]
pub struct Layers {
    /// The appliance; its daemon is not started.
    pub appliance: Appliance,
    /// The switch.
    pub switch: Netns,
    /// What comes in at the switch's end of each link.
    pub watches: Vec<Watch>,
    /// The same, frame by frame.
    pub taps: Vec<Tap>,
    _passing: Vec<XdpPass>,
    _pins: PinDir,
    /// Folder and logs of everything.
    pub logs: LogDir,
}

impl Layers {
    /// Makes the network and the document.
    pub fn build(weir: &Path, stack: Stack) -> Result<Layers> {
        let logs = LogDir::create(None)?;
        let pins = PinDir::create(logs.path())?;
        let (switch, host) = (Netns::create("tor1")?, Netns::create("lb1")?);
        let (mut passing, mut watches, mut taps) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..stack.links() {
            let (far, near) = (format!("sw{number}"), format!("eth{number}"));
            Veth { a: (&switch, &far), b: (&host, &near), mtu: MTU }.create()?;
            // Tags stay in the frame, where XDP sees them, as with a NIC that does not take them out.
            for (netns, name) in [(&switch, &far), (&host, &near)] {
                run(netns.command("ethtool").args(["-K", name, "txvlan", "off", "rxvlan", "off"]))?;
            }
            passing.push(XdpPass::attach(&switch, &far)?);
            watches.push(Watch::start((&switch, &far))?);
            taps.push(Tap::start((&switch, &far))?);
        }
        let below = if stack.is_bond { "br0" } else { "sw0" };
        if stack.is_bond {
            let bridge = format!("link add br0 mtu {MTU} type bridge");
            switch.ip(&format!("{bridge}\nlink set sw0 master br0\nlink set sw1 master br0"))?;
            let bond = format!("link add bond0 mtu {MTU} type bond mode active-backup miimon 10");
            let members =
                ["eth0", "eth1"].map(|name| format!("link set {name} down\nlink set {name} master bond0"));
            host.ip(&format!("{bond}\n{}\n{}", members[0], members[1]))?;
        }
        let ends = [(&switch, below, SWITCH_MAC), (&host, stack.uplink(), HOST_MAC)];
        let ((switch_v4, switch_v6), (host_v4, host_v6)) =
            (Subnet::Appliance(1).tor(), Subnet::Appliance(1).host());
        let own = [
            [format!("{switch_v4}/24"), format!("{switch_v6}/64")],
            [format!("{host_v4}/24"), format!("{host_v6}/64")],
        ];
        for ((netns, name, mac), own) in ends.into_iter().zip(own) {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            netns.ip(&format!("link set {name} address {mac}\nlink set {name} up"))?;
            let device = stack.device(name);
            if let Some(tag) = stack.tag {
                netns.ip(&format!(
                    "link add link {name} name {device} type vlan id {tag}\nlink set {device} up"
                ))?;
            }
            addresses((netns, &device), &own)?;
        }
        let (v4, v6) = document::own_addresses(1);
        addresses((&host, "lo"), &[format!("{v4}/32"), format!("{v6}/128")])?;
        let device = stack.device(stack.uplink());
        host.ip(&format!(
            "route add 10.1.0.0/16 via {switch_v4} dev {device}\nroute add 2001:db8:1000::/44 via {switch_v6} dev {device}"
        ))?;
        let appliance = Appliance::prepare(host, "lb1", weir, &logs, &pins)?;
        let text = document::appliance(1, 2, Checks::None, appliance.dir(), pins.path());
        appliance
            .write_document(&text.replace("[uplinks.eth0]", &format!("[uplinks.{}]", stack.uplink())))?;
        Ok(Layers { appliance, switch, watches, taps, _passing: passing, _pins: pins, logs })
    }

    /// Puts one frame onto link `number` (from 0), from the switch's end.
    pub fn inject(&self, number: usize, frame: &[u8]) -> Result<()> {
        inject((&self.switch, &format!("sw{number}")), frame)
    }

    /// Starts clients' packets on link `number`.
    pub fn stream(&self, number: usize, interval: Duration) -> Result<Stream> {
        Stream::start((&self.switch, &format!("sw{number}")), HOST_MAC, interval)
    }
}
