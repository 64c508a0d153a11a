// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long FRR's kernel keeps the route of a speaker that froze or died, with BFD and without.
//!
//! Graceful restart is off: its purpose is to keep routes. GoBGP speaks no BFD, so it cannot be timed frozen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::document::{APPLIANCE_AS, Checks, Subnet, TOR_AS};
use weir_lab::{
    BedLink, BgpBed, Bird, Daemon, Fabric, Frr, GoBgp, Layout, Netns, Tor, TorSession, Transport, hops,
    wait_until,
};

use crate::report::Samples;
use crate::subject::{Kind, SPEAKER};

/// Each takes some seconds of waiting for sessions.
pub const ROUNDS_MAX: usize = 5;

const LINK: BedLink = BedLink { host: 1, tor: 1 };
const VIP: &str = "198.51.100.10/32";
const LIMIT: Duration = Duration::from_secs(30);
const BFD_INTERVAL: Duration = Duration::from_millis(100);

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Freeze,
    Kill,
}

/// One round: every death of every speaker that can die it.
pub fn measure(samples: &mut Samples) -> Result<()> {
    for kind in Kind::ALL {
        for (has_bfd, death, key) in [
            (true, Death::Freeze, "bfd_freeze_gone_ms"),
            (false, Death::Kill, "kill_gone_ms"),
            (true, Death::Kill, "bfd_kill_gone_ms"),
        ] {
            let took = match kind {
                Kind::Weir => appliance(has_bfd, death),
                Kind::Bird => bird(has_bfd, death),
                Kind::GoBgp if has_bfd => continue,
                Kind::GoBgp => gobgp(death),
            };
            let took = took.with_context(|| format!("{} {death:?}, BFD {has_bfd}", kind.name()))?;
            samples.add(kind, key, took.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// The whole appliance, with a backend that its checks find well.
fn appliance(has_bfd: bool, death: Death) -> Result<Duration> {
    let layout = Layout { checks: Checks::Quick, backends: 1, ..Layout::small(env!("CARGO_BIN_EXE_weir")) };
    let mut fabric = Fabric::build(&layout)?;
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("asn = 65010\n", "asn = 65010\ngraceful_restart = \"off\"\n")?;
    if has_bfd {
        lb1.edit_document("hold_time = \"9s\"\n", "hold_time = \"9s\"\nbfd = true\n")?;
        fabric.frr.start_bfdd(&fabric.tor, &fabric.logs, "tor")?;
        let (v4, v6) = Subnet::Appliance(1).host();
        let [v4, v6] =
            [v4.to_string(), v6.to_string()].map(|host| format!("neighbor {host} bfd profile bench"));
        let profile =
            ["configure terminal", "bfd", "profile bench", "transmit-interval 100", "receive-interval 100"];
        fabric.frr.configure(&profile)?;
        fabric.frr.configure(&["configure terminal", &format!("router bgp {TOR_AS}"), &v4, &v6])?;
    }
    fabric.start_agents()?;
    fabric.appliances[0].start()?;
    standing(&fabric.tor, &fabric.frr, has_bfd)?;
    let since = Instant::now();
    fabric.appliances[0].signal(match death {
        Death::Freeze => libc::SIGSTOP,
        Death::Kill => libc::SIGKILL,
    })?;
    gone(&fabric.tor, since)
}

/// A link to a ToR that will have one session.
fn bed(has_bfd: bool) -> Result<(BgpBed, Tor)> {
    let bed = BgpBed::create(1, 1)?;
    let bfd = has_bfd.then_some(BFD_INTERVAL);
    let session = TorSession { bfd, has_ipv6: false, ..TorSession::plain(LINK, Transport::V4) };
    let tor = Tor::start(&bed, 1, Daemon::Frr, vec![session])?;
    Ok((bed, tor))
}

fn bird(has_bfd: bool, death: Death) -> Result<Duration> {
    let (bed, tor) = bed(has_bfd)?;
    let bird = Bird::start(bed.host(1), &bed.logs, "speaker", &bird_config(has_bfd))?;
    standing(bed.tor(1), tor.frr()?, has_bfd)?;
    let since = die(bird.pid(), death)?;
    gone(bed.tor(1), since)
}

fn gobgp(death: Death) -> Result<Duration> {
    let (bed, tor) = bed(false)?;
    let gobgp = GoBgp::start(bed.host(1), &bed.logs, "speaker", &gobgp_config())?;
    gobgp.gobgp(&format!("global rib add {VIP}"))?;
    standing(bed.tor(1), tor.frr()?, false)?;
    let since = die(gobgp.pid(), death)?;
    gone(bed.tor(1), since)
}

/// Waits until the ToR's kernel has the route, and BFD is up and as fast as it will be.
fn standing(tor: &Netns, frr: &Frr, has_bfd: bool) -> Result<()> {
    wait_until("the ToR's route", LIMIT, || {
        ensure!(!hops(tor, 4, VIP)?.is_empty(), "there is none");
        Ok(())
    })?;
    if !has_bfd {
        return Ok(());
    }
    wait_until("BFD to be up and fast", LIMIT, || {
        let peers = frr.json("show bfd peers")?;
        let peers = peers.as_array().context("a list")?;
        let is_fast = |peer: &Value| peer["remote-transmit-interval"] == 100;
        ensure!(!peers.is_empty(), "no sessions");
        ensure!(peers.iter().all(|peer| peer["status"] == "up" && is_fast(peer)), "{peers:?}");
        Ok(())
    })
}

fn die(pid: u32, death: Death) -> Result<Instant> {
    let signal = match death {
        Death::Freeze => rustix::process::Signal::STOP,
        Death::Kill => rustix::process::Signal::KILL,
    };
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("process number")?;
    let since = Instant::now();
    rustix::process::kill_process(pid, signal)?;
    Ok(since)
}

fn gone(tor: &Netns, since: Instant) -> Result<Duration> {
    wait_until("the route to be gone", LIMIT, || {
        ensure!(hops(tor, 4, VIP)?.is_empty(), "it is there");
        Ok(())
    })?;
    Ok(since.elapsed())
}

fn bird_config(has_bfd: bool) -> String {
    let tor = LINK.tor_addresses().0;
    let (bfd, on) = match has_bfd {
        true => (
            "protocol bfd { interface \"t1\" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }\n",
            "bfd on;",
        ),
        false => ("", ""),
    };
    format!(
        "router id {SPEAKER};\nprotocol device {{}}\n{bfd}protocol static {{ ipv4; route {VIP} blackhole; }}\n\
         protocol bgp p {{ local {SPEAKER} as {APPLIANCE_AS}; neighbor {tor} as {TOR_AS}; {on}\n\
         ipv4 {{ import none; export all; }}; connect delay time 1;\n\
         connect retry time 1; error wait time 1, 2; }}\n"
    )
}

fn gobgp_config() -> String {
    let tor = LINK.tor_addresses().0;
    format!(
        "[global.config]\nas = {APPLIANCE_AS}\nrouter-id = \"{SPEAKER}\"\n[[neighbors]]\n[neighbors.config]\n\
         neighbor-address = \"{tor}\"\npeer-as = {TOR_AS}\n[neighbors.timers.config]\nconnect-retry = 1\n"
    )
}
