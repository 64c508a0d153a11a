// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Three namespaces and the veth pairs between them: each way of a packet has pairs of its own, so that every program stays attached
//! while the others are measured.
//!
//! ```text
//!  sender                 lb                      sink
//!   s-drop ───────────── l-drop
//!   s-swap ───────────── l-swap
//!   s-encap ──────────── l-encap
//!   s-weir ───────────── l-weir                              sent back by XDP_TX
//!   s-in ─────────────── l-in     l-out ───────── k-out      the floor, redirected
//!                        l-far    ─────────────── k-far      the appliance's, redirected
//! ```

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_dataplane::kernel::link::ifindex;
use weir_lab::{Netns, Veth, output};

/// Larger than the frames, small enough for one buffer.
const MTU: u16 = 1500;

/// One of the three places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where frames come from.
    Sender,
    /// The appliance.
    Lb,
    /// Where redirected frames end.
    Sink,
}

/// An interface.
pub type Interface = (Place, &'static str);

const PAIRS: [[Interface; 2]; 7] = [
    [(Place::Sender, "s-drop"), (Place::Lb, "l-drop")],
    [(Place::Sender, "s-swap"), (Place::Lb, "l-swap")],
    [(Place::Sender, "s-encap"), (Place::Lb, "l-encap")],
    [(Place::Sender, "s-weir"), (Place::Lb, "l-weir")],
    [(Place::Sender, "s-in"), (Place::Lb, "l-in")],
    [(Place::Lb, "l-out"), (Place::Sink, "k-out")],
    [(Place::Lb, "l-far"), (Place::Sink, "k-far")],
];

/// The namespaces; gone when dropped.
pub struct Network {
    sender: Netns,
    lb: Netns,
    sink: Netns,
}

/// Frames and octets that have come to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Frames.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
}

impl Network {
    /// Makes them.
    pub fn create() -> Result<Self> {
        let network =
            Self { sender: Netns::create("sender")?, lb: Netns::create("lb")?, sink: Netns::create("sink")? };
        for place in [Place::Sender, Place::Lb, Place::Sink] {
            // Nothing but our frames shall come to an interface: they are counted.
            network.at(place).sysctl("ipv6/conf/default/disable_ipv6", "1")?;
            network.at(place).sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        }
        for [(place, name), (peer_place, peer)] in PAIRS {
            let (a, b) = ((network.at(place), name), (network.at(peer_place), peer));
            Veth { a, b, mtu: MTU }.create()?;
        }
        Ok(network)
    }

    /// The namespace of a place.
    pub fn at(&self, place: Place) -> &Netns {
        match place {
            Place::Sender => &self.sender,
            Place::Lb => &self.lb,
            Place::Sink => &self.sink,
        }
    }

    /// The kernel's number of an interface.
    pub fn index(&self, (place, name): Interface) -> Result<u32> {
        self.at(place).enter(|| ifindex(name))?.with_context(|| format!("no interface {name}"))
    }

    /// What has come to an interface so far, to its XDP program too.
    pub fn arrived(&self, (place, name): Interface) -> Result<Arrived> {
        let text = output(std::process::Command::new("ip").args([
            "-n",
            self.at(place).name(),
            "-j",
            "-s",
            "link",
            "show",
            "dev",
            name,
        ]))?;
        let links: Value = serde_json::from_str(&text).context("what `ip` says")?;
        let count = |key: &str| {
            links[0]["stats64"]["rx"][key].as_u64().with_context(|| format!("{key} received by {name}"))
        };
        Ok(Arrived { packets: count("packets")?, octets: count("bytes")? })
    }
}
