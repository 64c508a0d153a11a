// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lab: network namespaces on one machine, real daemons in them, real traffic between them.
//!
//! Scenarios and the demo describe *what* happens; this crate owns *how* the network under it is made. It knows Weir from
//! the outside only: its command line, its documents, its socket. Everything runs inside `scripts/isolated.sh`; namespaces
//! are refused elsewhere, so that nothing here can touch the machine's own network.
//!
//! ```text
//!   client ── eth0 ─┐                         ┌─ b1.eth0  backend: nginx, agent, VIPs on lo
//!                   ├─ ToR (FRR, L4 ECMP) ────┼─ b2.eth0
//!   lb1.eth0 ───────┤   one veth each,        └─ b3.eth0
//!   lb2.eth0 ───────┘   direct server return through the ToR
//! ```
//! Conditions are polled with a deadline (`wait`), never slept for; when a scenario panics the logs of its daemons are
//! printed (`logs`). A child ends with the value that started it (`process`), and with the namespace set at the latest.

mod api;
mod appliance;
mod backend;
mod bgp_bed;
mod bird;
mod bpf;
mod capture;
mod command;
mod dialect;
pub mod document;
mod downloads;
mod events;
mod fabric;
mod frames;
mod frr;
mod gobgp;
mod http;
mod kept;
mod layers;
mod link;
mod load;
mod logs;
mod netns;
mod nginx;
mod observed;
mod ping;
mod process;
mod rogue;
mod routes;
mod tap;
mod tor;
mod tunnel;
mod two_switches;
mod wait;
mod xdp_pass;

pub use api::{Api, Metrics, get_over_socket};
pub use appliance::{Answer, Appliance};
pub use backend::Backend;
pub use bgp_bed::{BedLink, BgpBed, TOR_LINK_LOCAL};
pub use bird::Bird;
pub use bpf::PinDir;
pub use capture::Capture;
pub use command::{output, run};
pub use downloads::Downloads;
pub use events::{Event, Events};
pub use fabric::{Fabric, Layout};
pub use frames::{Mac, Sent, Stream, Tallies, Watch, inject, syn};
pub use frr::Frr;
pub use gobgp::GoBgp;
pub use http::{Connection, Reply, get};
pub use kept::Kept;
pub use layers::{HOST_MAC, Layers, SWITCH_MAC, Stack};
pub use link::{End, Veth, addresses, default_route};
pub use load::{Load, Outcome, Tally, recovery, requests};
pub use logs::LogDir;
pub use netns::Netns;
pub use nginx::{BIG_BYTES, Nginx, SLOW_BYTES};
pub use observed::{seconds, seconds_now, sentence};
pub use ping::ping;
pub use process::Process;
pub use rogue::{Misbehaviour, Rogue};
pub use routes::{Hop, RouteWatch, hops};
pub use tap::Tap;
pub use tor::{Daemon, Learnt, Notice, Tor, TorSession, Transport};
pub use tunnel::TunnelSyn;
pub use two_switches::{SWITCH_MACS, TwoSwitches};
pub use wait::{fair, slowness, wait_until};
pub use xdp_pass::XdpPass;
