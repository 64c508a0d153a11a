// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir show bgp`: the speaker and its sessions, one session in words, its prefixes.

use std::time::SystemTime;

use clap::ValueEnum;
use weir_api::v1::{
    AdvertisedRoute, AdvertisedRouteList, Bgp, BgpStatus, ImportedRoute, Peer, ReceivedRoute,
    ReceivedRouteList,
};

use super::super::client::{Answer, Call, path};
use super::super::output::{self, Look, Output, plain};
use super::super::table::Table;
use super::super::{Exit, Remote, time, views};
use super::{peer, show};

/// Prefixes asked for at once when all are shown.
const PAGE: usize = 5_000;
/// Most pages of a table: ten million prefixes, beyond what any peer is told.
const PAGES_MAX: usize = 2_000;

/// Arguments of `weir show bgp`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this peer, in detail; one session of a range is RANGE/ADDRESS
    #[arg(value_parser = super::name)]
    name: Option<String>,
    /// Its prefixes one by one, instead
    #[arg(requires = "name")]
    prefixes: Option<Prefixes>,
    /// Only so many prefixes, 1 to 10000; left out, a table has all, json 1000
    #[arg(long, value_name = "NUMBER", requires = "prefixes", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: Option<u16>,
    /// Only prefixes behind this one
    #[arg(long, value_name = "PREFIX", requires = "prefixes")]
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Prefixes {
    /// What it was told
    Advertised,
    /// What it has told us
    Received,
}

/// Runs `weir show bgp`.
pub(super) async fn main(remote: &Remote, args: &Args) -> anyhow::Result<Exit> {
    let (now, look) = (time::now(), Look::of_stdout());
    match (&args.name, args.prefixes) {
        (None, _) => show(remote, &["bgp"], |bgp: Bgp| speaker(&bgp, now, look)).await,
        (Some(name), None) => show(remote, &["peers", name], |one: Peer| peer::page(&one, now, look)).await,
        (Some(name), Some(prefixes)) => routes(remote, name, prefixes, args, look).await,
    }
}

/// The speaker and a table of its sessions.
pub(super) fn speaker(bgp: &Bgp, now: SystemTime, look: Look) -> String {
    let status = &bgp.status;
    let mut page = String::new();
    let imported: Vec<String> =
        status.imported.iter().map(|(family, route)| format!("{family} {}", way(route, now))).collect();
    super::detail::facts(
        &mut page,
        [
            ("as", status.asn.to_string()),
            ("router id", status.router_id.clone()),
            ("listens on", status.listen.join(", ")),
            ("families", status.families.join(", ")),
            ("established", format!("{} of {}", status.established, status.sessions)),
            ("default routes taken", imported.join("; ")),
            ("to be mended", status.faults.join("; ")),
            ("cannot be announced", status.rejected.join(", ")),
            ("turned away", turned_away(status)),
        ],
    );
    page.push('\n');
    let peers = bgp.peers.iter().map(|(name, peer)| (name.as_str(), peer));
    page.push_str(&views::sessions(peers, now).render(look));
    page
}

/// `via 10.0.0.1, fe80::1 on eth1 for 2h`.
fn way(route: &ImportedRoute, now: SystemTime) -> String {
    let ways = route.next_hops.iter().map(|hop| {
        let interface = hop.interface.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
        format!("{}{interface}{}", hop.gateway, if hop.in_use { "" } else { ", not used now" })
    });
    let ways: Vec<String> = ways.collect();
    let since = route.since.map_or_else(String::new, |at| format!(" for {}", time::age(at.0, now)));
    match ways.as_slice() {
        [] => "none".to_owned(),
        ways => format!("via {}{since}", ways.join(" and ")),
    }
}

fn turned_away(status: &BgpStatus) -> String {
    let counts = [
        (status.strangers_total.0, "connections from addresses that are no peer's"),
        (status.refused_total.0, "connections of peers that had too many"),
    ];
    let told = counts.into_iter().filter(|(times, _)| *times > 0);
    told.map(|(times, what)| format!("{times} {what}")).collect::<Vec<_>>().join(", ")
}

async fn routes(
    remote: &Remote,
    name: &str,
    prefixes: Prefixes,
    args: &Args,
    look: Look,
) -> anyhow::Result<Exit> {
    let (resource, purpose) = match prefixes {
        Prefixes::Advertised => ("adj-rib-out", format!("show what peer `{name}` was told")),
        Prefixes::Received => ("adj-rib-in", format!("show what peer `{name}` has told us")),
    };
    let base = path(&["peers", name, resource]);
    let ask = async |limit: Option<usize>, cursor: Option<&str>| -> anyhow::Result<Answer> {
        let limit = limit.map(|limit| format!("limit={limit}"));
        let cursor = cursor.map(|cursor| format!("cursor={}", escaped(cursor)));
        let query: Vec<String> = limit.into_iter().chain(cursor).collect();
        let question = if query.is_empty() { "" } else { "?" };
        let path = format!("{base}{question}{}", query.join("&"));
        Ok(remote.client().call(&Call::get(&purpose, path)).await?)
    };
    let limit = args.limit.map(usize::from);
    if remote.output == Output::Json {
        output::print_body(&ask(limit, args.cursor.as_deref()).await?.body)?;
        return Ok(Exit::Ok);
    }
    let (mut advertised, mut received) = (Vec::new(), Vec::new());
    let mut cursor = args.cursor.clone();
    for _ in 0..PAGES_MAX {
        let answer = ask(Some(limit.unwrap_or(PAGE)), cursor.as_deref()).await?;
        cursor = match prefixes {
            Prefixes::Advertised => {
                let page: AdvertisedRouteList = answer.read()?;
                advertised.extend(page.items);
                page.next
            }
            Prefixes::Received => {
                let page: ReceivedRouteList = answer.read()?;
                received.extend(page.items);
                page.next
            }
        };
        if cursor.is_none() || limit.is_some() {
            break;
        }
    }
    let mut page = match prefixes {
        Prefixes::Advertised => told(&advertised).render(look),
        Prefixes::Received => heard(&received, time::now()).render(look),
    };
    if let Some(cursor) = cursor {
        page.push_str(&format!("\nMore: go on with --cursor {}\n", plain(&cursor)));
    }
    output::print(&page)?;
    Ok(Exit::Ok)
}

/// What was typed stays the value of its parameter.
fn escaped(text: &str) -> String {
    path(&[text]).trim_start_matches("/v1/").replace("%2E", ".")
}

/// What a peer was told.
pub(super) fn told(routes: &[AdvertisedRoute]) -> Table {
    let mut table = Table::new(&["PREFIX", "NEXT HOP", "MED", "BANDWIDTH", "AS PATH", "COMMUNITIES"]);
    for route in routes {
        table.row([
            route.prefix.as_str().into(),
            route.next_hop.to_string().into(),
            route.med.map_or_else(String::new, |med| med.to_string()).into(),
            route.link_bandwidth.map_or_else(String::new, bits).into(),
            route.as_path.as_str().into(),
            communities(&route.communities, &route.large_communities).into(),
        ]);
    }
    table
}

/// What a peer has told us.
pub(super) fn heard(routes: &[ReceivedRoute], now: SystemTime) -> Table {
    let mut table = Table::new(&["PREFIX", "NEXT HOP", "MED", "ORIGIN", "AGE", "AS PATH", "COMMUNITIES"]);
    for route in routes {
        let hops: Vec<String> = route.next_hops.iter().map(ToString::to_string).collect();
        let age = time::age(route.received_at.0, now);
        table.row([
            route.prefix.as_str().into(),
            hops.join(",").into(),
            route.med.map_or_else(String::new, |med| med.to_string()).into(),
            route.origin.as_str().into(),
            if route.is_stale { format!("{age} stale") } else { age }.into(),
            route.as_path.as_str().into(),
            communities(&route.communities, &route.large_communities).into(),
        ]);
    }
    table
}

fn communities(plain: &[String], large: &[String]) -> String {
    plain.iter().chain(large).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Bytes per second as links are sold: `25 Gbit/s`.
fn bits(bytes: u64) -> String {
    let bits = u128::from(bytes) * 8;
    for (unit, size) in [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000)] {
        if bits >= size {
            let tenths = bits * 10 / size;
            return match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                rest => format!("{}.{rest} {unit}", tenths / 10),
            };
        }
    }
    format!("{bits} bit/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_bits() {
        for (bytes, shown) in [
            (0, "0 bit/s"),
            (125, "1 kbit/s"),
            (3_125_000_000, "25 Gbit/s"),
            (312_500_000, "2.5 Gbit/s"),
            (u64::MAX, "147573952589.6 Gbit/s"),
        ] {
            assert_eq!(bits(bytes), shown);
        }
    }

    #[test]
    fn a_cursor_stays_a_value() {
        assert_eq!(escaped("198.51.100.10/32"), "198.51.100.10%2F32");
        assert_eq!(escaped("x&limit=1"), "x%26limit%3D1");
    }
}
