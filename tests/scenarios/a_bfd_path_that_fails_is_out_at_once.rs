// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance whose sessions with the ToR are watched by BFD at 3 × 100 ms,
//! When the daemon freezes, dies, or the ToR's BFD dies,
//! Then the routes are out of the ToR's kernel within a detection time and a little, graceful restart or not; and when one end
//! takes BFD down on purpose, BGP does not even notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::document::{self, Checks, Subnet, TOR_AS};
use weir_lab::{Fabric, Layout, hops, wait_until};

use crate::{PATIENCE, weir};

/// A detection time of 3 × 100 ms, and what FRR and its kernel need; half a second is for machines that are busy.
const GONE_LIMIT: Duration = Duration::from_millis(400);
const BUSY: Duration = Duration::from_millis(500);

/// One appliance and one backend, BFD at both ends; no daemon of ours runs yet.
fn watched_fabric(tor: &[&str]) -> Result<Fabric> {
    let layout = Layout { checks: Checks::Quick, backends: 1, ..Layout::small(weir()) };
    let mut fabric = Fabric::build(&layout)?;
    fabric.frr.start_bfdd(&fabric.tor, &fabric.logs, "tor")?;
    let profile =
        ["configure terminal", "bfd", "profile lab", "transmit-interval 100", "receive-interval 100"];
    fabric.frr.configure(&profile)?;
    let router = format!("router bgp {TOR_AS}");
    fabric.frr.configure(&[&["configure terminal", router.as_str()], tor].concat())?;
    Ok(fabric)
}

/// The same over the fabric's numbered sessions, with both daemons running and BFD up.
fn numbered(bgp: &str) -> Result<Fabric> {
    let (v4, v6) = Subnet::Appliance(1).host();
    let commands = [v4.to_string(), v6.to_string()].map(|host| format!("neighbor {host} bfd profile lab"));
    let mut fabric = watched_fabric(&commands.each_ref().map(String::as_str))?;
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("asn = 65010\n", &format!("asn = 65010\n{bgp}"))?;
    lb1.edit_document("hold_time = \"9s\"\n", "hold_time = \"9s\"\nbfd = true\n")?;
    run(&mut fabric)?;
    Ok(fabric)
}

fn run(fabric: &mut Fabric) -> Result<()> {
    fabric.start_agents()?;
    fabric.appliances[0].start()?;
    watched(fabric)
}

/// Routes are there, and FRR says of every session that it is up and as fast as asked for.
fn watched(fabric: &Fabric) -> Result<()> {
    fabric.wait_routes(&[1], PATIENCE)?;
    wait_until("BFD to be up and fast", PATIENCE, || {
        let peers = fabric.frr.json("show bfd peers")?;
        let peers = peers.as_array().context("a list")?;
        ensure!(!peers.is_empty(), "no sessions");
        for peer in peers {
            let is_fast = [&peer["remote-transmit-interval"], &peer["remote-receive-interval"]]
                .iter()
                .all(|interval| interval.as_u64() == Some(100));
            ensure!(peer["status"] == "up" && is_fast, "{peer}");
        }
        Ok(())
    })
}

fn gone(fabric: &Fabric, since: Instant) -> Result<Duration> {
    fabric.wait_routes(&[], PATIENCE)?;
    Ok(since.elapsed())
}

/// Prints what was measured, and holds it to the limit as a whole and to a looser one each time.
fn judge(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    eprintln!(
        "{what} -> gone from the ToR's kernel: n={} min={min:?} p50={median:?} max={max:?}",
        times.len()
    );
    assert!(median < GONE_LIMIT && max < GONE_LIMIT + BUSY, "{what}: {times:?}");
}

fn freezes(fabric: &Fabric, rounds: usize) -> Result<Vec<Duration>> {
    let lb1 = &fabric.appliances[0];
    let mut times = Vec::new();
    for _ in 0..rounds {
        watched(fabric)?;
        let frozen = Instant::now();
        lb1.signal(libc::SIGSTOP)?;
        let gone = gone(fabric, frozen);
        lb1.signal(libc::SIGCONT)?;
        times.push(gone?);
    }
    watched(fabric)?;
    Ok(times)
}

fn kills(fabric: &mut Fabric, rounds: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        watched(fabric)?;
        let killed = Instant::now();
        fabric.appliances[0].kill()?;
        times.push(gone(fabric, killed)?);
        fabric.appliances[0].start()?;
    }
    Ok(times)
}

fn conditions(fabric: &Fabric) -> Result<Vec<String>> {
    let status = fabric.appliances[0].status()?;
    let conditions = status["conditions"].as_array().context("conditions")?;
    Ok(conditions.iter().filter_map(|one| one["code"].as_str()).map(str::to_owned).collect())
}

/// Times that the ToR's sessions have come up, and whether they stand.
fn tor_sessions(fabric: &Fabric) -> Result<Vec<(u64, bool)>> {
    let (v4, v6) = Subnet::Appliance(1).host();
    let of = |host: String| {
        let answer: Value = fabric.frr.json(&format!("show bgp neighbors {host}"))?;
        let peer = &answer[&host];
        let count = peer["connectionsEstablished"].as_u64().context("a count")?;
        Ok((count, peer["bgpState"] == "Established"))
    };
    [v4.to_string(), v6.to_string()].into_iter().map(of).collect()
}

/// Graceful restart is on, as by default: a frozen host is no restart.
#[test]
#[ignore = "needs root and netns"]
fn frozen_with_graceful_restart() {
    let fabric = numbered("").expect("the fabric");
    judge("frozen, graceful restart on", freezes(&fabric, 3).expect("rounds"));
}

#[test]
#[ignore = "needs root and netns"]
fn killed_without_graceful_restart() {
    let mut fabric = numbered("graceful_restart = \"off\"\n").expect("the fabric");
    judge("killed, graceful restart off", kills(&mut fabric, 3).expect("rounds"));
}

/// The figures of the closing note.
#[test]
#[ignore = "measures: 20 freezes and 20 kills, minutes"]
fn the_spread_of_freezes_and_kills() {
    let mut fabric = numbered("graceful_restart = \"off\"\n").expect("the fabric");
    judge("frozen, graceful restart off", freezes(&fabric, 20).expect("rounds"));
    judge("killed, graceful restart off", kills(&mut fabric, 20).expect("rounds"));
    drop(fabric);
    let fabric = numbered("").expect("the fabric");
    judge("frozen, graceful restart on", freezes(&fabric, 20).expect("rounds"));
}

/// Default routes that the appliance took from the ToR: all but the fabric's own.
fn imported(fabric: &Fabric) -> Result<usize> {
    let lb1 = fabric.appliances[0].netns();
    Ok(hops(lb1, 4, "default")?.len() + hops(lb1, 6, "default")?.len() - 2)
}

/// A fabric whose ToR announces default routes that the appliance takes.
fn importing() -> Result<Fabric> {
    let mut fabric = numbered("")?;
    fabric.appliances[0].stop()?;
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("bfd = true\n", "bfd = true\nimport_default = true\n")?;
    let router = format!("router bgp {TOR_AS}");
    let (v4, v6) = Subnet::Appliance(1).host();
    for (family, host) in [("ipv4", v4.to_string()), ("ipv6", v6.to_string())] {
        let family = format!("address-family {family} unicast");
        let originate = format!("neighbor {host} default-originate");
        fabric.frr.configure(&[
            "configure terminal",
            &router,
            "bgp graceful-restart",
            &family,
            &originate,
        ])?;
    }
    fabric.appliances[0].start()?;
    watched(&fabric)?;
    wait_until("both default routes", PATIENCE, || {
        let imported = imported(&fabric)?;
        ensure!(imported == 2, "{imported}");
        Ok(())
    })?;
    Ok(fabric)
}

/// The ToR's bgpd dies alone: its bfdd says Down for it, which is no failure of the path. What was imported stays while the
/// peer restarts.
#[test]
#[ignore = "needs root and netns"]
fn a_restart_of_the_tors_bgp_is_no_failure() {
    let mut fabric = importing().expect("the fabric");
    fabric.frr.kill_bgpd().expect("it dies");
    wait_until("BFD's end by the peer", PATIENCE, || {
        let log = fabric.appliances[0].log();
        ensure!(log.matches("ended by the peer with its BGP").count() == 2, "not yet");
        Ok(())
    })
    .expect("told");
    let log = fabric.appliances[0].log();
    assert!(!log.contains("BFD: the path is down"), "{log}");
    assert_eq!(imported(&fabric).expect("routes"), 2, "kept while it restarts");
}

/// The peer's wish is no failure; its death is, and takes what was imported from it.
#[test]
#[ignore = "needs root and netns"]
fn the_tors_goodbye_and_the_death_of_its_bfd() {
    let mut fabric = importing().expect("the fabric");
    let before = tor_sessions(&fabric).expect("sessions");
    let shutdown = |word: &str| {
        fabric.frr.configure(&["configure terminal", "bfd", "profile lab", word]).expect("configured");
    };
    shutdown("shutdown");
    let log = |fabric: &Fabric, text: &str, count: usize| {
        let log = fabric.appliances[0].log();
        let lines = log.lines().filter(|line| line.contains(text)).count();
        ensure!(lines >= count, "{lines} times");
        Ok(())
    };
    let goodbye = "\"peer\":\"AdminDown\"";
    wait_until("both to have heard it", PATIENCE, || log(&fabric, goodbye, 2)).expect("heard");
    // Long enough for the condition, so also long enough for BGP to have fallen.
    wait_until("the condition", PATIENCE, || {
        let conditions = conditions(&fabric)?;
        ensure!(conditions.iter().any(|code| code == "bfd-down"), "{conditions:?}");
        Ok(())
    })
    .expect("it is told");
    assert_eq!(tor_sessions(&fabric).expect("sessions"), before, "BGP stands as it did");
    shutdown("no shutdown");
    watched(&fabric).expect("up again");
    wait_until("the condition to go", PATIENCE, || {
        let conditions = conditions(&fabric)?;
        ensure!(conditions.iter().all(|code| !code.starts_with("bfd-")), "{conditions:?}");
        Ok(())
    })
    .expect("it is over");

    let killed = Instant::now();
    fabric.frr.kill_bfdd().expect("it dies");
    wait_until("our end of both sessions", PATIENCE, || {
        log(&fabric, "\"notification sent\"", 2)?;
        log(&fabric, "BFD down (10)", 2)
    })
    .expect("we end them");
    let ended = killed.elapsed();
    wait_until("what was imported to go", GONE_LIMIT, || {
        let imported = imported(&fabric)?;
        ensure!(imported == 0, "{imported}");
        Ok(())
    })
    .expect("dropped");
    eprintln!("bfdd killed -> both sessions ended by us: {ended:?}");
    assert!(ended < GONE_LIMIT + BUSY, "{ended:?}");
    // Not strict: without BFD they come back.
    fabric.wait_sessions(1).expect("sessions");
    fabric.wait_routes(&[1], PATIENCE).expect("routes");
}

/// Without addresses: link-local, the neighbour learnt from its router advertisements.
#[test]
#[ignore = "needs root and netns"]
fn frozen_on_an_unnumbered_link() {
    let (v4, v6) = Subnet::Appliance(1).host();
    let (no_v4, no_v6) = (format!("no neighbor {v4}"), format!("no neighbor {v6}"));
    let tor = [
        no_v4.as_str(),
        no_v6.as_str(),
        "neighbor lb1 interface remote-as external",
        "neighbor lb1 timers 3 9",
        "neighbor lb1 timers connect 1",
        "neighbor lb1 bfd profile lab",
        "address-family ipv4 unicast",
        "neighbor lb1 activate",
        "exit-address-family",
        "address-family ipv6 unicast",
        "neighbor lb1 activate",
    ];
    let mut fabric = watched_fabric(&tor).expect("the fabric");
    let (tor_v4, tor_v6) = Subnet::Appliance(1).tor();
    let lb1 = &fabric.appliances[0];
    let rest = format!("remote_as = {TOR_AS}\nhold_time = \"9s\"\nconnect_retry = \"1s\"\n");
    lb1.edit_document(&format!("[peers.tor-v6]\naddress = \"{tor_v6}\"\n{rest}"), "").expect("one peer");
    let unnumbered = "interface = \"eth0\"\nbfd = true";
    lb1.edit_document(&format!("address = \"{tor_v4}\""), unnumbered).expect("unnumbered");
    run(&mut fabric).expect("up");
    judge("frozen, unnumbered", freezes(&fabric, 2).expect("rounds"));
    for prefix in document::vip_prefixes() {
        assert_eq!(fabric.routes(&prefix).expect("routes").len(), 1);
    }
}

/// FRR makes a multihop session of it where `ttl-security` is on (`docs/adr/0019-bfd-on-threads-of-its-own.md`): the two never
/// meet, BGP lives, and that is told.
#[test]
#[ignore = "needs root and netns"]
fn a_session_that_never_comes_up_is_told() {
    let (v4, _) = Subnet::Appliance(1).host();
    let commands = [format!("neighbor {v4} ttl-security hops 1"), format!("neighbor {v4} bfd profile lab")];
    let mut fabric = watched_fabric(&commands.each_ref().map(String::as_str)).expect("the fabric");
    let (tor_v4, _) = Subnet::Appliance(1).tor();
    let address = format!("address = \"{tor_v4}\"\n");
    let lb1 = &fabric.appliances[0];
    lb1.edit_document(&address, &format!("{address}bfd = true\nttl_security = true\n")).expect("it takes it");
    fabric.start_agents().expect("agents");
    fabric.appliances[0].start().expect("it starts");
    fabric.wait_sessions(1).expect("BGP does not wait for BFD");
    wait_until("the condition", PATIENCE, || {
        let conditions = conditions(&fabric)?;
        ensure!(conditions.iter().any(|code| code == "bfd-never-up"), "{conditions:?}");
        Ok(())
    })
    .expect("it is told");
    fabric.wait_routes(&[1], PATIENCE).expect("routes");
}
