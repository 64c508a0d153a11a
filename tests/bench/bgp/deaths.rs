// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long FRR's kernel keeps the route of a speaker that froze or died, with BFD and without.
//!
//! Graceful restart is off: its purpose is to keep routes. GoBGP speaks no BFD, so it cannot be timed frozen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{BedLink, BgpBed, Bird, Daemon, GoBgp, Tor, TorSession, Transport, hops, wait_until};

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
    for kind in [Kind::Bird, Kind::GoBgp] {
        for (has_bfd, death, key) in [
            (true, Death::Freeze, "bfd_freeze_gone_ms"),
            (false, Death::Kill, "kill_gone_ms"),
            (true, Death::Kill, "bfd_kill_gone_ms"),
        ] {
            if has_bfd && kind == Kind::GoBgp {
                continue;
            }
            let took = other(kind, has_bfd, death).with_context(|| format!("{} {death:?}", kind.name()))?;
            samples.add(kind, key, took.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// BIRD or gobgpd as the announcer of one VIP.
fn other(kind: Kind, has_bfd: bool, death: Death) -> Result<Duration> {
    let bed = BgpBed::create(1, 1)?;
    let bfd = has_bfd.then_some(BFD_INTERVAL);
    let session = TorSession { bfd, has_ipv6: false, ..TorSession::plain(LINK, Transport::V4) };
    let tor = Tor::start(&bed, 1, Daemon::Frr, vec![session])?;
    let pid = match kind {
        Kind::Bird => {
            let bird = Bird::start(bed.host(1), &bed.logs, "speaker", &bird_config(has_bfd))?;
            let pid = bird.pid();
            return timed(&bed, &tor, pid, has_bfd, death, bird);
        }
        Kind::GoBgp | Kind::Weir => {
            let gobgp = GoBgp::start(bed.host(1), &bed.logs, "speaker", &gobgp_config())?;
            gobgp.gobgp(&format!("global rib add {VIP}"))?;
            (gobgp.pid(), gobgp)
        }
    };
    timed(&bed, &tor, pid.0, has_bfd, death, pid.1)
}

/// Waits until all stands, ends the process, and says when the kernel's route was gone. `daemon` lives until then.
fn timed<D>(bed: &BgpBed, tor: &Tor, pid: u32, has_bfd: bool, death: Death, daemon: D) -> Result<Duration> {
    let route = || hops(bed.tor(1), 4, VIP);
    wait_until("the ToR's route", LIMIT, || {
        ensure!(!route()?.is_empty(), "there is none");
        Ok(())
    })?;
    if has_bfd {
        wait_until("BFD to be up", LIMIT, || {
            let peers = tor.frr()?.json("show bfd peers")?;
            ensure!(peers[0]["status"] == "up", "{peers}");
            Ok(())
        })?;
    }
    let signal = match death {
        Death::Freeze => rustix::process::Signal::STOP,
        Death::Kill => rustix::process::Signal::KILL,
    };
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("process number")?;
    let since = Instant::now();
    rustix::process::kill_process(pid, signal)?;
    wait_until("the route to be gone", LIMIT, || {
        ensure!(route()?.is_empty(), "it is there");
        Ok(())
    })?;
    let took = since.elapsed();
    drop(daemon);
    Ok(took)
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
