// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Second half of the story: what the backends do, and what operators ask for.
//!
//! One backend is drained while long downloads through it go on, one loses its server, one its link, at last there is none:
//! both VIPs are withdrawn with their reason, and come back with the backends. A bad document is refused, a good one changes
//! nothing that it does not mean to change. Both appliances see all of it, each by its own checks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::document::Subnet;
use weir_lab::{
    Appliance, Capture, Downloads, Fabric, Load, Outcome, Tally, document, seconds, seconds_now, sentence,
    wait_until,
};

use crate::report::Report;
use crate::story::{PATIENCE, REQUESTS_AFTER};

/// Downloads that a drained backend has to finish.
const DOWNLOADS: usize = 100;

/// A port that refuses must be found within this.
const REFUSED_LIMIT: Duration = Duration::from_secs(3);

/// A silent host must be found within this.
const SILENT_LIMIT: Duration = Duration::from_secs(6);

/// From a verdict to the kernel's rows.
const ROWS_LIMIT: Duration = Duration::from_millis(50);

/// From the decision to withdraw to the update on the wire.
const WIRE_LIMIT: Duration = Duration::from_millis(5);

const POOLS: [&str; 2] = ["web4", "web6"];
const VIPS: [&str; 2] = ["www4", "www6"];

/// Tells it; the first step that does not hold ends it.
pub(crate) fn tell(fabric: &mut Fabric, report: &mut Report) -> Result<()> {
    report.step("checks", |_| checked(fabric))?;
    report.step("drain", |report| drain(fabric, report))?;
    report.step("server dies", |report| server_dies(fabric, report))?;
    report.step("host dies", |report| host_dies(fabric, report))?;
    report.step("none is left", |report| none_left(fabric, report))?;
    report.step("all are back", |report| all_back(fabric, report))?;
    report.step("bad reload", |_| bad_reload(fabric))?;
    report.step("good reload", |report| good_reload(fabric, report))
}

fn wait_all(fabric: &Fabric, backend: &str, state: &str) -> Result<()> {
    fabric.appliances.iter().try_for_each(|appliance| appliance.wait_both(backend, state, PATIENCE))
}

fn checked(fabric: &Fabric) -> Result<String> {
    fabric.wait_usable(PATIENCE)?;
    Ok("lb1 and lb2 find b1, b2 and b3 well, each through the tunnel, over IPv4 and IPv6".into())
}

/// Runs a client command on every appliance; each has its own overrides.
fn everywhere(fabric: &Fabric, arguments: &[&str]) -> Result<()> {
    for appliance in &fabric.appliances {
        let answer = appliance.ask(arguments)?;
        ensure!(answer.code == Some(0), "weir {arguments:?} on {}: {answer:?}", appliance.name());
    }
    Ok(())
}

fn drain(fabric: &Fabric, report: &mut Report) -> Result<String> {
    let downloads = Downloads::start(&fabric.client, &document::targets(), "b1", DOWNLOADS)?;
    let load = Load::start(&fabric.client, &document::targets())?;
    load.wait_more(REQUESTS_AFTER / 4, PATIENCE)?;
    for pool in POOLS {
        everywhere(fabric, &["drain", &format!("{pool}/b1"), "--reason", "a new disk"])?;
    }
    wait_all(fabric, "b1", "draining")?;
    let drained = Instant::now();
    ensure!(downloads.all_running(), "the downloads ended before the drain began");
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let outcomes = load.stop()?;
    let tally = Tally::of(&outcomes);
    report.figure("drain_failed", tally.failed);
    let (whole, broken) = match downloads.finish() {
        Ok(count) => (count, None),
        Err(error) => (0, Some(error)),
    };
    report.figure("drain_downloads_whole", whole);
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    let new = after(&outcomes, drained).spread.get("b1").copied().unwrap_or_default();
    ensure!(new == 0, "b1 took {new} new connections after it was drained");
    if let Some(error) = broken {
        return Err(error);
    }
    for pool in POOLS {
        everywhere(fabric, &["undrain", &format!("{pool}/b1")])?;
    }
    wait_all(fabric, "b1", "usable")?;
    Ok(format!(
        "b1: no new connection, {whole} long downloads through it ended whole; 0 of {} requests failed; undrained",
        tally.total
    ))
}

/// What came of the requests that began after a moment.
fn after(outcomes: &[Outcome], moment: Instant) -> Tally {
    let late: Vec<Outcome> = outcomes.iter().filter(|outcome| outcome.started > moment).cloned().collect();
    Tally::of(&late)
}

/// How a death was found: the slowest of all appliances and pools.
struct Found {
    detection: Duration,
    rows: Duration,
}

/// Lets a backend die under load, and waits until all have found it. Failures may only begin before the rows have changed.
fn dies(
    fabric: &mut Fabric,
    backend: &str,
    die: impl FnOnce(&mut Fabric) -> Result<()>,
) -> Result<(Found, Tally)> {
    let load = Load::start(&fabric.client, &document::targets())?;
    load.wait_more(REQUESTS_AFTER / 4, PATIENCE)?;
    let (died, died_at) = (Instant::now(), seconds_now());
    die(fabric)?;
    let mut found = Found { detection: Duration::ZERO, rows: Duration::ZERO };
    let mut all_in_force: f64 = 0.0;
    for appliance in &fabric.appliances {
        for pool in POOLS {
            let status = appliance.wait_backend(pool, backend, "failed", PATIENCE)?;
            let (verdict, in_force) = (seconds(&status["verdict_at"])?, seconds(&status["in_force_at"])?);
            found.detection = found.detection.max(between(died_at, verdict)?);
            found.rows = found.rows.max(between(verdict, in_force)?);
            all_in_force = all_in_force.max(in_force);
        }
    }
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let outcomes = load.stop()?;
    let late = after(&outcomes, died + between(died_at, all_in_force)?);
    ensure!(late.total > REQUESTS_AFTER / 2, "only {} requests began after the rows had changed", late.total);
    ensure!(
        late.failed == 0,
        "{} of {} requests failed after the rows had changed: {:?}",
        late.failed,
        late.total,
        late.reasons
    );
    Ok((found, Tally::of(&outcomes)))
}

/// Time between two moments in seconds since 1970.
fn between(from: f64, to: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(to - from).with_context(|| format!("{to} is before {from}"))
}

fn server_dies(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let (found, tally) = dies(fabric, "b2", |fabric| fabric.backends[1].kill_web())?;
    report.milliseconds("backend_detection_ms", found.detection);
    report.milliseconds("backend_rows_changed_ms", found.rows);
    report.figure("backend_killed_failed", tally.failed);
    ensure!(found.detection <= REFUSED_LIMIT, "found after {} ms", found.detection.as_millis());
    ensure!(found.rows <= ROWS_LIMIT, "rows changed {} ms after the verdict", found.rows.as_millis());
    Ok(format!(
        "b2 refuses: found by all after {} ms at the latest, rows changed {:.1} ms after the verdict; {} of {} requests \
         failed, none of those after that",
        found.detection.as_millis(),
        found.rows.as_secs_f64() * 1e3,
        tally.failed,
        tally.total
    ))
}

fn host_dies(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let (found, tally) = dies(fabric, "b3", |fabric| fabric.silence(3))?;
    report.milliseconds("backend_silent_detection_ms", found.detection);
    report.milliseconds("backend_silent_rows_changed_ms", found.rows);
    report.figure("backend_silent_failed", tally.failed);
    ensure!(found.detection <= SILENT_LIMIT, "found after {} ms", found.detection.as_millis());
    ensure!(found.rows <= ROWS_LIMIT, "rows changed {} ms after the verdict", found.rows.as_millis());
    Ok(format!(
        "b3 is silent: found by all after {} ms at the latest, rows changed {:.1} ms after the verdict; {} of {} requests \
         failed, none of those after that",
        found.detection.as_millis(),
        found.rows.as_secs_f64() * 1e3,
        tally.failed,
        tally.total
    ))
}

fn none_left(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let captures: Vec<Capture> =
        fabric.appliances.iter().map(|lb| capture(fabric, lb)).collect::<Result<_>>()?;
    let died = Instant::now();
    fabric.backends[0].kill_web()?;
    fabric.wait_routes(&[], PATIENCE)?;
    let gone = died.elapsed();
    let mut slowest = Duration::ZERO;
    let mut reason = String::new();
    for (appliance, seen) in fabric.appliances.iter().zip(&captures) {
        for (vip, prefix) in VIPS.iter().zip(document::vip_prefixes()) {
            let status = appliance.wait_withheld(vip, "backends", PATIENCE)?;
            reason = sentence(&status, "backends").context("a reason without a sentence")?.to_owned();
            let wire = wait_until("the withdrawal on the wire", PATIENCE, || {
                seen.withdrawals(&prefix).first().copied().context("not yet")
            })?;
            slowest = slowest.max(between(seconds(&status["decided_at"])?, wire)?);
        }
    }
    report.milliseconds("all_down_withdraw_wire_ms", slowest);
    report.milliseconds("all_down_route_gone_ms", gone);
    ensure!(slowest <= WIRE_LIMIT, "the update left {slowest:?} after the decision");
    Ok(format!(
        "b1 refuses too: both VIPs out of the ToR's kernel after {} ms, the updates {:.1} ms after the decision; \"{reason}\"",
        gone.as_millis(),
        slowest.as_secs_f64() * 1e3
    ))
}

fn capture(fabric: &Fabric, appliance: &Appliance) -> Result<Capture> {
    let log = fabric.logs.file(&format!("bgp-{}.log", appliance.name()));
    Capture::start(&fabric.tor, appliance.name(), "tcp port 179", &log)
}

fn all_back(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let begun = Instant::now();
    for backend in &mut fabric.backends[..2] {
        backend.start_web()?;
    }
    fabric.unsilence(3)?;
    for appliance in &fabric.appliances {
        appliance.wait_withheld("www4", "settle", PATIENCE)?;
    }
    fabric.wait_routes(&[1, 2], PATIENCE)?;
    let announced = begun.elapsed();
    report.milliseconds("all_back_announce_ms", announced);
    fabric.wait_usable(PATIENCE)?;
    let tally = weir_lab::requests(&fabric.client, &document::targets(), REQUESTS_AFTER)?;
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    ensure!(tally.spread.len() == fabric.backends.len(), "only {:?} answered", tally.spread);
    Ok(format!(
        "held for its time, then announced by both, {} ms after the backends; 0 of {} requests failed, all three serve",
        announced.as_millis(),
        tally.total
    ))
}

fn generations(fabric: &Fabric) -> Result<Vec<u64>> {
    let generation = |appliance: &Appliance| {
        let status = appliance.status()?;
        status["document"]["applied_generation"]
            .as_u64()
            .with_context(|| format!("no generation in {status}"))
    };
    fabric.appliances.iter().map(generation).collect()
}

fn bad_reload(fabric: &Fabric) -> Result<String> {
    let before = generations(fabric)?;
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("pool = \"web6\"", "pool = \"wbe6\"")?;
    let answer = lb1.ask(&["reload"])?;
    lb1.edit_document("pool = \"wbe6\"", "pool = \"web6\"")?;
    let words = format!("{}{}", answer.said, answer.complained);
    ensure!(answer.code == Some(1) && words.contains("wbe6"), "{answer:?}");
    ensure!(generations(fabric)? == before, "a refused document was counted");
    fabric.wait_routes(&[1, 2], Duration::ZERO)?;
    let line = words.lines().find(|line| line.contains("wbe6")).unwrap_or_default();
    Ok(format!("refused, nothing changed: {}", line.trim()))
}

fn good_reload(fabric: &Fabric, report: &mut Report) -> Result<String> {
    let since = established(fabric)?;
    let captures: Vec<Capture> =
        fabric.appliances.iter().map(|lb| capture(fabric, lb)).collect::<Result<_>>()?;
    let before: Vec<Vec<usize>> = captures.iter().map(withdrawals).collect();
    let old = generations(fabric)?;
    let load = Load::start(&fabric.client, &document::targets())?;
    load.wait_more(REQUESTS_AFTER / 4, PATIENCE)?;
    for pool in POOLS {
        let section = format!("[pools.{pool}.backends.b1]\n");
        for appliance in &fabric.appliances {
            appliance.edit_document(&section, &format!("{section}weight = 50\n"))?;
        }
    }
    everywhere(fabric, &["reload"])?;
    wait_until("the new document to be in force", PATIENCE, || {
        let now = generations(fabric)?;
        ensure!(now.iter().zip(&old).all(|(now, old)| now > old), "{old:?} then, {now:?} now");
        Ok(())
    })?;
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let tally = Tally::of(&load.stop()?);
    report.figure("reload_failed", tally.failed);
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    ensure!(established(fabric)? == since, "a BGP session was touched");
    let now: Vec<Vec<usize>> = captures.iter().map(withdrawals).collect();
    ensure!(now == before, "a VIP was withdrawn");
    Ok(format!(
        "another weight for b1: in force on both; no session, no announcement touched, 0 of {} requests failed",
        tally.total
    ))
}

/// Withdrawals of each VIP that a capture has seen; its file may hold those of an earlier step.
fn withdrawals(seen: &Capture) -> Vec<usize> {
    document::vip_prefixes().iter().map(|prefix| seen.withdrawals(prefix).len()).collect()
}

/// How often each session came up, as the ToR says.
fn established(fabric: &Fabric) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    for number in 1..=2 {
        let (v4, v6) = Subnet::Appliance(number).host();
        for neighbour in [v4.to_string(), v6.to_string()] {
            let answer = fabric.frr.json(&format!("show bgp neighbors {neighbour}"))?;
            let since = answer[&neighbour]["connectionsEstablished"].as_i64();
            all.push(since.with_context(|| format!("no session with {neighbour}"))?);
        }
    }
    Ok(all)
}
