// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir status`: is all as wanted, and if not, what and why.

use std::fmt::Write as _;
use std::time::SystemTime;

use weir_api::v1::{BackendState, Condition, DocumentStatus, Lifecycle, Severity, Status};

use super::client::{Call, path};
use super::output::{self, Look, Output, Tone, plain};
use super::table::{Table, broken};
use super::{Exit, Remote, time, views};

/// Errors of a refused document that the page lists; `weir check` says all of them.
const REFUSALS_SHOWN_MAX: usize = 5;

/// Arguments of `weir status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs `weir status`.
pub(super) async fn main(remote: &Remote, _: &Args) -> anyhow::Result<Exit> {
    let answer = remote.client().call(&Call::get("read the status", path(&["status"]))).await?;
    match remote.output {
        Output::Json => output::print_body(&answer.body)?,
        Output::Table => output::print(&page(&answer.read()?, time::now(), Look::of_stdout()))?,
    }
    Ok(Exit::Ok)
}

/// The whole page: problems first, then who announces what over which pools to whom.
pub(super) fn page(status: &Status, now: SystemTime, look: Look) -> String {
    let mut page = String::new();
    head(&mut page, status, now);
    problems(&mut page, status, now, look);
    let overrides = views::overrides(&status.overrides, now);
    for (title, table) in [
        ("VIPs", views::vips(status.vips.iter().map(|(name, vip)| (name.as_str(), vip)), now)),
        ("Pools", views::pools(status.pools.iter().map(|(name, pool)| (name.as_str(), pool)), now)),
        ("Backends that are not usable", not_usable(status, now)),
        ("Peers", views::peers(status.peers.iter().map(|(name, peer)| (name.as_str(), peer)), now)),
        ("Overrides", overrides),
    ] {
        section(&mut page, title, &table, look);
    }
    page
}

fn head(page: &mut String, status: &Status, now: SystemTime) {
    let appliance = &status.appliance;
    let life = match appliance.state {
        Lifecycle::Starting => format!("starting, waits for {}", appliance.waiting_for.join(", ")),
        Lifecycle::Running => format!("running for {}", time::age(appliance.started_at.0, now)),
        Lifecycle::Stopping => "stopping".to_owned(),
    };
    line(page, &format!("{}: {life}, weir {}", plain(&appliance.name), plain(&appliance.version)));
    document(page, &status.document, now);
}

fn document(page: &mut String, document: &DocumentStatus, now: SystemTime) {
    let (accepted, applied) = (document.accepted_generation, document.applied_generation);
    let short: String = document.hash.chars().take(12).collect();
    let state = match applied {
        _ if applied == accepted => format!("generation {accepted} in force"),
        0 => format!("generation {accepted} accepted, none in force yet"),
        _ => format!("generation {accepted} accepted, {applied} in force"),
    };
    let at = time::moment(document.accepted_at.0);
    line(page, &format!("document: {state}, hash {}, accepted {at}", plain(&short)));
    let Some(refused) = &document.last_rejected else { return };
    let (at, ago) = (time::moment(refused.at.0), time::age(refused.at.0, now));
    line(page, &format!("  refused {at} ({ago} ago), the one before stays in force:"));
    for error in refused.errors.iter().take(REFUSALS_SHOWN_MAX) {
        line(page, &format!("  - {}", plain(error)));
    }
    let more = refused.errors.len().saturating_sub(REFUSALS_SHOWN_MAX);
    if more > 0 {
        line(page, &format!("  - {more} more; `weir check` says all"));
    }
}

fn problems(page: &mut String, status: &Status, now: SystemTime, look: Look) {
    let bad = status.conditions.iter().filter(|one| one.state && one.severity != Some(Severity::Info));
    let bad: Vec<&Condition> = bad.collect();
    // The daemon's list has the conditions too, without their times.
    let is_shown = |text: &String| bad.iter().any(|one| text == &format!("{}: {}", one.code, one.message));
    let others = status.problems.iter().filter(|text| !is_shown(text));
    let lines: Vec<String> =
        bad.iter().map(|one| views::condition(one, now)).chain(others.cloned()).collect();
    line(page, "");
    if lines.is_empty() {
        line(page, &look.tint(Tone::Good, "No problems."));
        return;
    }
    line(page, &look.tint(Tone::Bad, &format!("Problems ({})", lines.len())));
    for text in lines {
        let room = look.columns.and_then(|columns| columns.checked_sub(2));
        for (index, part) in broken(&plain(&text), room).iter().enumerate() {
            line(page, &format!("{} {part}", if index == 0 { "!" } else { " " }));
        }
    }
}

fn not_usable(status: &Status, now: SystemTime) -> Table {
    let all = status.pools.iter().flat_map(|(pool, one)| {
        one.backends.iter().map(move |(name, backend)| (pool.as_str(), name.as_str(), backend))
    });
    views::backends(all.filter(|(_, _, backend)| backend.state != BackendState::Usable), now)
}

fn section(page: &mut String, title: &str, table: &Table, look: Look) {
    if table.is_empty() {
        return;
    }
    line(page, "");
    line(page, &look.tint(Tone::Head, title));
    page.push_str(&table.render(look));
}

fn line(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    writeln!(page, "{text}").ok();
}
