// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The story: what happens, in order, and what must hold for each step. First half; the second is in `backends`.
//!
//! Two appliances announce one IPv4 and one IPv6 VIP to a router. Traffic is spread over both and over three backends. One
//! appliance is stopped cleanly, one is killed outright, both come back; a number of connections opened at the beginning
//! lives through all of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::{Fabric, Kept, Load, Tally, document, recovery, requests, wait_until};

use crate::report::Report;

/// Requests of the first look at the spread.
const REQUESTS: usize = 2000;

/// Connections that stay open from beginning to end.
const KEPT: usize = 40;

/// Successes in a row that count as recovered.
const RECOVERED_RUN: usize = 50;

/// A dead appliance must be out of the router's kernel after this.
const ROUTE_GONE_LIMIT: Duration = Duration::from_secs(1);

/// Generous, for what is not a promise but only has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Requests made after a change has settled, to see that nothing fails later.
pub(crate) const REQUESTS_AFTER: usize = 400;

/// Tells the whole story; the first step that does not hold ends it.
pub(crate) fn tell(fabric: &mut Fabric, report: &mut Report) -> Result<()> {
    report.step("start", |_| start(fabric))?;
    report.step("sessions", |_| sessions(fabric))?;
    report.step("routes", |_| routes(fabric))?;
    report.step("requests", |report| spread(fabric, report))?;
    let mut kept = None;
    report.step("connections", |_| {
        let open = Kept::open(&fabric.client, &document::targets(), KEPT)?;
        let count = open.count();
        kept = Some(open);
        Ok(format!("{count} connections opened, to be kept to the end"))
    })?;
    report.step("clean stop", |report| clean_stop(fabric, report))?;
    report.step("start again", |report| start_again(fabric, report))?;
    report.step("kill", |report| kill(fabric, report))?;
    report.step("adopt", |_| adopt(fabric))?;
    report.step("survivors", |report| {
        let kept = kept.as_mut().ok_or_else(|| anyhow::anyhow!("no connections were opened"))?;
        let outcome = kept.check();
        report.figure("connections_kept", kept.count());
        outcome.map(|()| format!("all {} connections lived through all of it", kept.count()))
    })
}

fn start(fabric: &mut Fabric) -> Result<String> {
    fabric.start_agents()?;
    for appliance in &mut fabric.appliances {
        // The story tells how fast a dead daemon is routed around; with graceful restart its routes would stay.
        appliance.edit_document("[bgp]\n", "[bgp]\ngraceful_restart = \"off\"\n")?;
        appliance.spawn()?;
    }
    for appliance in &mut fabric.appliances {
        appliance.wait_ready()?;
    }
    Ok(format!(
        "client, ToR (FRR), {} appliances, {} backends with nginx and agent",
        fabric.appliances.len(),
        fabric.backends.len()
    ))
}

fn sessions(fabric: &Fabric) -> Result<String> {
    for number in 1..=2 {
        fabric.wait_sessions(number)?;
    }
    Ok("Established over IPv4 and IPv6 with lb1 and lb2".into())
}

fn routes(fabric: &Fabric) -> Result<String> {
    fabric.wait_routes(&[1, 2], PATIENCE)?;
    // A backend that comes up later takes rows, and a connection of before then depends on the one appliance that knows it.
    fabric.wait_usable(PATIENCE)?;
    let [v4, v6] = document::vip_prefixes();
    Ok(format!("the ToR's kernel has {v4} and {v6}, each over lb1 and lb2"))
}

fn spread(fabric: &Fabric, report: &mut Report) -> Result<String> {
    let before = flows(fabric)?;
    let tally = requests(&fabric.client, &document::targets(), REQUESTS)?;
    report.figure("requests", serde_json::json!({"total": tally.total, "failed": tally.failed}));
    report.figure("spread", serde_json::json!(tally.spread));
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    let share = wait_until("the appliances to have counted every flow", PATIENCE, || {
        let share: Vec<f64> = flows(fabric)?.iter().zip(&before).map(|(now, before)| now - before).collect();
        ensure!(share.iter().sum::<f64>() >= tally.total as f64, "{share:?} of {} flows", tally.total);
        Ok(share)
    })?;
    let by_appliance: serde_json::Map<_, _> = fabric
        .appliances
        .iter()
        .zip(&share)
        .map(|(appliance, flows)| (appliance.name().to_owned(), (*flows).into()))
        .collect();
    report.figure("spread_appliances", by_appliance);
    // A fair share of 2,000 hashed flows lies far within these bounds; a broken hash or row does not.
    let backends = fabric.backends.len();
    ensure!(tally.spread.len() == backends, "only {:?} answered", tally.spread);
    let least = tally.total / backends / 2;
    ensure!(tally.spread.values().all(|count| *count >= least), "uneven: {:?}", tally.spread);
    ensure!(
        share.iter().all(|flows| *flows >= tally.total as f64 / 5.0),
        "uneven over appliances: {share:?}"
    );
    let answers: Vec<String> = tally.spread.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let flows: Vec<String> =
        share.iter().enumerate().map(|(n, flows)| format!("lb{} {flows}", n + 1)).collect();
    Ok(format!("{REQUESTS} requests, 0 failed: {}; flows {}", answers.join(", "), flows.join(", ")))
}

/// Flows that began on each appliance, as its metrics say.
fn flows(fabric: &Fabric) -> Result<Vec<f64>> {
    let created = |a: &weir_lab::Appliance| Ok(a.metrics()?.count("weir_service_flows_created_total", &[]));
    fabric.appliances.iter().map(created).collect()
}

fn clean_stop(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let load = Load::start(&fabric.client, &document::targets())?;
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let asked = Instant::now();
    fabric.appliances[1].signal(libc::SIGTERM)?;
    fabric.wait_routes(&[1], PATIENCE)?;
    let withdrawn = asked.elapsed();
    report.milliseconds("withdraw_ms", withdrawn);
    let still_attached = fabric.appliances[1].xdp_program()?.is_some();
    let status = fabric.appliances[1].wait_end(PATIENCE)?;
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let tally = Tally::of(&load.stop()?);
    report.figure("clean_stop_failed", tally.failed);
    ensure!(still_attached, "lb2 detached its program before the ToR had stopped using it");
    ensure!(status.success(), "lb2 ended with {status}");
    ensure!(fabric.appliances[1].xdp_program()?.is_none(), "lb2 left its program attached");
    ensure!(fabric.appliances[1].pins()?.is_empty(), "lb2 left pins behind");
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    Ok(format!(
        "lb2: withdrawn from the ToR's kernel after {} ms, then detached; 0 of {} requests failed",
        withdrawn.as_millis(),
        tally.total
    ))
}

fn start_again(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let begun = Instant::now();
    fabric.appliances[1].spawn()?;
    fabric.wait_routes(&[1, 2], PATIENCE)?;
    let announced = begun.elapsed();
    report.milliseconds("announce_ms", announced);
    fabric.appliances[1].wait_ready()?;
    fabric.wait_usable(PATIENCE)?;
    Ok(format!("lb2: from start to routes in the ToR's kernel {} ms", announced.as_millis()))
}

fn kill(fabric: &mut Fabric, report: &mut Report) -> Result<String> {
    let load = Load::start(&fabric.client, &document::targets())?;
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let killed = Instant::now();
    fabric.appliances[0].kill()?;
    fabric.wait_routes(&[2], PATIENCE)?;
    let gone = killed.elapsed();
    report.milliseconds("sigkill_route_gone_ms", gone);
    load.wait_more(REQUESTS_AFTER, PATIENCE)?;
    let outcomes = load.stop()?;
    let tally = Tally::of(&outcomes);
    report.figure("sigkill_failed", tally.failed);
    let recovered = recovery(&outcomes, killed, RECOVERED_RUN);
    if let Some(time) = recovered {
        report.milliseconds("sigkill_recovery_ms", time);
    }
    ensure!(
        gone < ROUTE_GONE_LIMIT,
        "lb1 was in the ToR's kernel for {} ms after its death",
        gone.as_millis()
    );
    let recovered = recovered.ok_or_else(|| anyhow::anyhow!("requests kept failing: {:?}", tally.reasons))?;
    let late = outcomes.iter().filter(|o| o.started >= killed + gone && o.result.is_err()).count();
    ensure!(late == 0, "{late} requests failed after the route was gone: {:?}", tally.reasons);
    ensure!(fabric.appliances[0].xdp_program()?.is_some(), "lb1's program did not survive its daemon");
    Ok(format!(
        "lb1: gone from the ToR's kernel after {} ms, requests fine after {} ms, {} of {} failed; its program stays",
        gone.as_millis(),
        recovered.as_millis(),
        tally.failed,
        tally.total
    ))
}

fn adopt(fabric: &mut Fabric) -> Result<String> {
    let before = fabric.appliances[0].pins()?;
    ensure!(!before.is_empty(), "lb1 left nothing to adopt");
    fabric.appliances[0].start()?;
    fabric.wait_routes(&[1, 2], PATIENCE)?;
    let after = fabric.appliances[0].pins()?;
    // The program is the new daemon's own, put on the old link.
    let adopted = |pins: &std::collections::BTreeMap<_, String>| {
        pins.values().filter(|number| !number.starts_with("prog_id")).cloned().collect::<Vec<_>>()
    };
    let (before, after) = (adopted(&before), adopted(&after));
    ensure!(before == after, "pins changed: {before:?} before, {after:?} after");
    let tally = requests(&fabric.client, &document::targets(), REQUESTS_AFTER)?;
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.total, tally.reasons);
    Ok(format!(
        "lb1: all {} pins adopted as they were; 0 of {} requests failed over both",
        after.len(),
        tally.total
    ))
}
