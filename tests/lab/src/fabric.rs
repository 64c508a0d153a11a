// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network of the demo and of most scenarios: a client, a ToR running FRR, appliances and backends around it.
//!
//! ```text
//!   client (MTU 1500) ──┐        ┌── b1, b2, b3   nginx, VIPs on lo, agent on eth0
//!                      ToR ──────┘
//!   lb1, lb2 ───────────┘   MTU 1600: an encapsulated packet of 1,540 bytes fits
//! ```
//! The ToR spreads by ports (L4 hash) over what its BGP sessions announce, one IPv4 and one IPv6 session per appliance.
//! Its ends of the appliances' links run a passing XDP program, without which veth delivers nothing that XDP transmits.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::appliance::Appliance;
use crate::backend::Backend;
use crate::bpf::PinDir;
use crate::command::output;
use crate::document::{self, APPLIANCE_AS, Checks, Subnet, TOR_AS, VIP_V4, VIP_V6};
use crate::frr::Frr;
use crate::link::{Veth, addresses, default_route};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::wait::wait_until;
use crate::xdp_pass::XdpPass;

/// What clients have.
const MTU_CLIENT: u16 = 1500;

/// Room for an outer IPv6 header.
const MTU_FABRIC: u16 = 1600;

/// Sessions Established and routes in the kernel, on a busy machine.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(30);

/// How large a fabric is, and with what it runs.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Appliances, 1 to 9.
    pub appliances: u8,
    /// Backends, 1 to 9.
    pub backends: u8,
    /// The `weir` program.
    pub weir: PathBuf,
    /// How the appliances check the backends.
    pub checks: Checks,
    /// Folder that keeps the logs.
    pub keep_logs: Option<PathBuf>,
}

impl Layout {
    /// Two appliances, three backends, checked as by default.
    pub fn demo(weir: impl Into<PathBuf>) -> Layout {
        Layout { appliances: 2, backends: 3, weir: weir.into(), checks: Checks::Defaults, keep_logs: None }
    }

    /// One appliance, two backends: enough for what concerns one appliance only.
    pub fn small(weir: impl Into<PathBuf>) -> Layout {
        Layout { appliances: 1, backends: 2, ..Layout::demo(weir) }
    }
}

/// A running fabric. Fields end in their order: daemons before the namespaces they live in, the logs last.
#[derive(Debug)]
pub struct Fabric {
    /// The appliances, first to last.
    pub appliances: Vec<Appliance>,
    /// The backends, first to last.
    pub backends: Vec<Backend>,
    /// The ToR's FRR.
    pub frr: Frr,
    passing: Vec<XdpPass>,
    /// Where requests come from.
    pub client: Netns,
    /// The router between all.
    pub tor: Netns,
    _pins: PinDir,
    /// Folder and logs of everything.
    pub logs: LogDir,
}

impl Fabric {
    /// Makes the network with its router and web servers. No `weir` runs yet; documents are in place.
    pub fn build(layout: &Layout) -> Result<Fabric> {
        ensure!((1..=9).contains(&layout.appliances) && (1..=9).contains(&layout.backends), "1 to 9 of each");
        let logs = LogDir::create(layout.keep_logs.clone())?;
        let pins = PinDir::create(logs.path())?;
        let tor = Netns::create("tor")?;
        for key in [
            "ipv4/ip_forward",
            "ipv6/conf/all/forwarding",
            "ipv4/fib_multipath_hash_policy",
            "ipv6/fib_multipath_hash_policy",
        ] {
            tor.sysctl(key, "1")?;
        }
        let client = Netns::create("client")?;
        attach(&tor, "client", &client, Subnet::Client, MTU_CLIENT)?;
        let mut passing = Vec::new();
        let mut appliances = Vec::new();
        for number in 1..=layout.appliances {
            let name = format!("lb{number}");
            let netns = Netns::create(&name)?;
            attach(&tor, &name, &netns, Subnet::Appliance(number), MTU_FABRIC)?;
            passing.push(XdpPass::attach(&tor, &name)?);
            let (v4, v6) = document::own_addresses(number);
            addresses((&netns, "lo"), &[format!("{v4}/32"), format!("{v6}/128")])?;
            let appliance = Appliance::prepare(netns, &name, &layout.weir, &logs, &pins)?;
            appliance.write_document(&document::appliance(
                number,
                layout.backends,
                layout.checks,
                appliance.dir(),
                pins.path(),
            ))?;
            appliances.push(appliance);
        }
        let mut backends = Vec::new();
        for number in 1..=layout.backends {
            backends.push(backend(number, &tor, &layout.weir, &logs, &pins)?);
        }
        let frr = Frr::start(&tor, &logs, "tor", &tor_configuration(layout.appliances))?;
        Ok(Fabric { appliances, backends, frr, passing, client, tor, _pins: pins, logs })
    }

    /// [`Fabric::build`] and [`Fabric::run`].
    pub fn up(layout: &Layout) -> Result<Fabric> {
        let mut fabric = Fabric::build(layout)?;
        fabric.run()?;
        Ok(fabric)
    }

    /// Starts all agents and appliances, and waits until the ToR routes to every appliance and each of them has found every
    /// backend well: only then do all choose alike.
    pub fn run(&mut self) -> Result<()> {
        self.start_agents()?;
        for appliance in &mut self.appliances {
            appliance.spawn()?;
        }
        for appliance in &mut self.appliances {
            appliance.wait_ready()?;
        }
        let count = u8::try_from(self.appliances.len()).context("at most nine")?;
        let all: Vec<u8> = (1..=count).collect();
        self.wait_routes(&all, CONVERGENCE_LIMIT)?;
        self.wait_usable(CONVERGENCE_LIMIT)
    }

    /// Waits until every appliance says that all its backends are usable.
    pub fn wait_usable(&self, limit: Duration) -> Result<()> {
        self.appliances.iter().try_for_each(|appliance| appliance.wait_usable(limit))
    }

    /// Starts the agents of all backends and waits for them.
    pub fn start_agents(&mut self) -> Result<()> {
        for backend in &mut self.backends {
            backend.spawn_agent()?;
        }
        for backend in &mut self.backends {
            backend.wait_agent()?;
        }
        Ok(())
    }

    /// Numbers of the appliances to which the ToR's kernel sends packets for a VIP prefix.
    pub fn routes(&self, prefix: &str) -> Result<BTreeSet<u8>> {
        interfaces(&self.tor, prefix)?.iter().map(|name| appliance_number(name)).collect()
    }

    /// Waits until the ToR's kernel routes both VIPs to exactly these appliances.
    pub fn wait_routes(&self, appliances: &[u8], limit: Duration) -> Result<()> {
        let want: BTreeSet<u8> = appliances.iter().copied().collect();
        let routed = wait_until(&format!("routes to appliances {want:?}"), limit, || {
            for prefix in document::vip_prefixes() {
                let have = self.routes(&prefix)?;
                ensure!(have == want, "{prefix} goes to {have:?}");
            }
            Ok(())
        });
        routed.with_context(|| self.router_state())
    }

    /// What the ToR knows: its sessions, what it learnt, what it made of that.
    fn router_state(&self) -> String {
        let [v4, v6] = document::vip_prefixes();
        let questions = [
            "show bgp ipv4 unicast summary".to_owned(),
            "show bgp ipv6 unicast summary".to_owned(),
            format!("show bgp ipv4 unicast {v4}"),
            format!("show bgp ipv6 unicast {v6}"),
            "show ip route".to_owned(),
            "show ipv6 route".to_owned(),
            "show bgp nexthop".to_owned(),
        ];
        let answer = |question: &String| {
            let answer = self.frr.vtysh(question).unwrap_or_else(|error| format!("{error:#}"));
            format!("ToR: {question}\n{answer}")
        };
        questions.iter().map(answer).collect::<Vec<_>>().join("\n")
    }

    /// Gives an appliance another interface in place of its uplink, on which a program of somebody else's sits already, as
    /// after a change of hardware. That program is in the way until the value is dropped.
    pub fn replace_uplink(&mut self, appliance: u8) -> Result<XdpPass> {
        let name = format!("lb{appliance}");
        let host = self.appliances[usize::from(appliance) - 1].netns();
        Veth { a: (&self.tor, "spare"), b: (host, "spare"), mtu: MTU_FABRIC }.create()?;
        let squatter = XdpPass::attach(host, "spare")?;
        // With the one end goes the other.
        host.ip("link del eth0")?;
        for (netns, name) in [(host, "eth0"), (&self.tor, name.as_str())] {
            netns.ip(&format!("link set spare down\nlink set spare name {name}\nlink set {name} up"))?;
        }
        self.passing.push(XdpPass::attach(&self.tor, &name)?);
        number_link(&self.tor, &name, host, Subnet::Appliance(appliance))?;
        Ok(squatter)
    }

    /// Takes a backend off the network without a word: its link to the ToR goes down.
    pub fn silence(&self, backend: u8) -> Result<()> {
        self.tor.ip(&format!("link set b{backend} down"))
    }

    /// Brings a backend's link up again.
    pub fn unsilence(&self, backend: u8) -> Result<()> {
        self.tor.ip(&format!("link set b{backend} up"))
    }

    /// Waits until both sessions of an appliance are Established.
    pub fn wait_sessions(&self, appliance: u8) -> Result<()> {
        let (v4, v6) = Subnet::Appliance(appliance).host();
        self.frr.wait_established(&v4.to_string(), CONVERGENCE_LIMIT)?;
        self.frr.wait_established(&v6.to_string(), CONVERGENCE_LIMIT)
    }
}

/// Interfaces over which a namespace's kernel routes a prefix; none if there is no such route.
fn interfaces(netns: &Netns, prefix: &str) -> Result<Vec<String>> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let text =
        output(Command::new("ip").args(["-n", netns.name(), family, "-json", "route", "show", prefix]))?;
    let routes: Value = serde_json::from_str(&text).context("read `ip route`")?;
    let mut interfaces = Vec::new();
    for route in routes.as_array().into_iter().flatten() {
        let hops = route["nexthops"].as_array().into_iter().flatten().chain([route]);
        interfaces.extend(hops.filter_map(|hop| hop["dev"].as_str()).map(str::to_owned));
    }
    Ok(interfaces)
}

/// The ToR's interfaces are named after what is behind them.
fn appliance_number(interface: &str) -> Result<u8> {
    let number = interface.strip_prefix("lb").and_then(|number| number.parse().ok());
    number.with_context(|| format!("there is no appliance behind {interface}"))
}

/// Links a host to the ToR, with addresses of both families and a default route.
fn attach(tor: &Netns, tor_end: &str, host: &Netns, subnet: Subnet, mtu: u16) -> Result<()> {
    Veth { a: (tor, tor_end), b: (host, "eth0"), mtu }.create()?;
    number_link(tor, tor_end, host, subnet)
}

fn number_link(tor: &Netns, tor_end: &str, host: &Netns, subnet: Subnet) -> Result<()> {
    let ((tor_v4, tor_v6), (host_v4, host_v6)) = (subnet.tor(), subnet.host());
    addresses((tor, tor_end), &[format!("{tor_v4}/24"), format!("{tor_v6}/64")])?;
    addresses((host, "eth0"), &[format!("{host_v4}/24"), format!("{host_v6}/64")])?;
    default_route(host, &tor_v4.to_string(), &tor_v6.to_string())
}

fn backend(number: u8, tor: &Netns, weir: &Path, logs: &LogDir, pins: &PinDir) -> Result<Backend> {
    let name = format!("b{number}");
    let netns = Netns::create(&name)?;
    attach(tor, &name, &netns, Subnet::Backend(number), MTU_FABRIC)?;
    addresses((&netns, "lo"), &[format!("{VIP_V4}/32"), format!("{VIP_V6}/128")])?;
    // The VIP is everybody's: never answer who has it.
    netns.sysctl("ipv4/conf/all/arp_ignore", "1")?;
    netns.sysctl("ipv4/conf/all/arp_announce", "2")?;
    Backend::prepare(netns, number, weir, logs, pins)
}

fn tor_configuration(appliances: u8) -> String {
    // Without kernel nexthop objects: FRR 8.4 takes a group up again that the kernel has shortened when a link went down,
    // believes it whole, and never installs the returned next hop.
    let mut text = format!(
        "no zebra nexthop kernel enable\nrouter bgp {TOR_AS}\n bgp router-id 10.255.0.1\n bgp bestpath as-path multipath-relax\n \
         no bgp default ipv4-unicast\n no bgp ebgp-requires-policy\n"
    );
    let neighbours: Vec<_> = (1..=appliances).map(|number| Subnet::Appliance(number).host()).collect();
    for (v4, v6) in &neighbours {
        for address in [v4.to_string(), v6.to_string()] {
            // Writing to a string cannot fail.
            writeln!(
                text,
                " neighbor {address} remote-as {APPLIANCE_AS}\n neighbor {address} timers 3 9\n \
                 neighbor {address} timers connect 1"
            )
            .ok();
        }
    }
    for family in ["ipv4", "ipv6"] {
        writeln!(text, " address-family {family} unicast\n  maximum-paths 64").ok();
        for (v4, v6) in &neighbours {
            let address = if family == "ipv4" { v4.to_string() } else { v6.to_string() };
            writeln!(text, "  neighbor {address} activate\n  neighbor {address} maximum-prefix 100").ok();
        }
        writeln!(text, " exit-address-family").ok();
    }
    text + "exit\n"
}
