// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir show`: objects as the daemon sees them, all of a kind or one by name.

mod bgp;
mod detail;
mod events;
mod peer;

use std::time::SystemTime;

use clap::Subcommand;
use serde::de::DeserializeOwned;
use weir_api::v1::{Appliance, Backend, BackendList, OverrideList, Peer, PeerList, Pool, PoolList};
use weir_api::v1::{Service, ServiceList, Vip, VipList};

use super::client::{Call, path};
use super::output::{self, Look, Output};
use super::table::Table;
use super::{Exit, Remote, time, views};

/// Arguments of `weir show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// VIPs: announced or not, to whom, and why not
    #[command(alias = "vip")]
    Vips(Named),
    /// Services and what they carried
    #[command(alias = "service")]
    Services(Named),
    /// Pools and how many of their backends are usable
    #[command(alias = "pool")]
    Pools(Named),
    /// Backends: state, checks, flows
    #[command(alias = "backend")]
    Backends(Backends),
    /// The BGP speaker and its sessions, one of them, or its prefixes
    Bgp(bgp::Args),
    /// BGP sessions
    #[command(alias = "peer")]
    Peers(Named),
    /// What operators set beside the document
    #[command(alias = "override")]
    Overrides,
    /// The document in force, with every default filled in
    Document,
    /// The process, its host and its packet path
    Appliance,
    /// What changed: backends, VIPs, sessions, documents, overrides
    #[command(alias = "event")]
    Events(events::Args),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Only this one, in detail
    #[arg(value_parser = name)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Backends {
    /// Those of one pool, or one backend in detail
    #[arg(value_name = "POOL[/BACKEND]", value_parser = name)]
    name: Option<String>,
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name is missing".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Runs `weir show`.
pub(super) async fn main(remote: &Remote, args: &Args) -> anyhow::Result<Exit> {
    let now = time::now();
    let look = Look::of_stdout();
    let rows = |table: Table| table.render(look);
    match &args.what {
        What::Vips(Named { name: None }) => {
            show(remote, &["vips"], |all: VipList| rows(vips(&all.items, now))).await
        }
        What::Vips(Named { name: Some(name) }) => {
            show(remote, &["vips", name], |vip: Vip| detail::vip(&vip, now, look)).await
        }
        What::Services(Named { name: None }) => {
            show(remote, &["services"], |all: ServiceList| rows(services(&all.items, now))).await
        }
        What::Services(Named { name: Some(name) }) => {
            show(remote, &["services", name], |service: Service| detail::service(&service, now, look)).await
        }
        What::Pools(Named { name: None }) => {
            show(remote, &["pools"], |all: PoolList| rows(pools(&all.items, now))).await
        }
        What::Pools(Named { name: Some(name) }) => {
            show(remote, &["pools", name], |pool: Pool| detail::pool(&pool, now, look)).await
        }
        What::Backends(Backends { name }) => match name.as_deref().map(|name| name.split_once('/')) {
            // All pools with their backends: the API has no list of its own for them.
            None => show(remote, &["pools"], |all: PoolList| rows(of_all_pools(&all.items, now))).await,
            Some(None) => {
                let pool = name.as_deref().unwrap_or_default();
                show(remote, &["pools", pool, "backends"], |all: BackendList| rows(backends(&all.items, now)))
                    .await
            }
            Some(Some((pool, backend))) => {
                let path = ["pools", pool, "backends", backend];
                show(remote, &path, |backend: Backend| detail::backend(&backend, now, look)).await
            }
        },
        What::Peers(Named { name: None }) => {
            show(remote, &["peers"], |all: PeerList| rows(peers(&all.items, now))).await
        }
        What::Peers(Named { name: Some(name) }) => {
            show(remote, &["peers", name], |peer: Peer| peer::page(&peer, now, look)).await
        }
        What::Bgp(args) => bgp::main(remote, args).await,
        What::Overrides => {
            show(remote, &["overrides"], |all: OverrideList| rows(views::overrides(&all.items, now))).await
        }
        What::Document => show(remote, &["document"], |document| detail::toml(&document)).await,
        What::Appliance => {
            show(remote, &["appliance"], |appliance: Appliance| detail::appliance(&appliance, now, look))
                .await
        }
        What::Events(args) => events::main(remote, args).await,
    }
}

/// Asks for one path and shows the answer.
async fn show<T: DeserializeOwned>(
    remote: &Remote,
    segments: &[&str],
    render: impl FnOnce(T) -> String,
) -> anyhow::Result<Exit> {
    let purpose = match segments {
        [kind] => format!("show {kind}"),
        ["pools", pool, "backends", backend] => format!("show backend `{pool}/{backend}`"),
        ["pools", pool, "backends"] => format!("show the backends of pool `{pool}`"),
        [kind, name, ..] => format!("show {} `{name}`", kind.trim_end_matches('s')),
        [] => "show".to_owned(),
    };
    let answer = remote.client().call(&Call::get(&purpose, path(segments))).await?;
    match remote.output {
        Output::Json => output::print_body(&answer.body)?,
        Output::Table => output::print(&render(answer.read()?))?,
    }
    Ok(Exit::Ok)
}

fn vips(items: &[Vip], now: SystemTime) -> Table {
    views::vips(items.iter().map(|item| (item.name.as_str(), &item.status)), now)
}

fn services(items: &[Service], now: SystemTime) -> Table {
    views::services(items.iter().map(|item| (item.name.as_str(), &item.status)), now)
}

fn pools(items: &[Pool], now: SystemTime) -> Table {
    views::pools(items.iter().map(|item| (item.name.as_str(), &item.status)), now)
}

fn peers(items: &[Peer], now: SystemTime) -> Table {
    views::peers(items.iter().map(|item| (item.name.as_str(), &item.status)), now)
}

fn backends(items: &[Backend], now: SystemTime) -> Table {
    views::backends(items.iter().map(|item| (item.pool.as_str(), item.name.as_str(), &item.status)), now)
}

fn of_all_pools(pools: &[Pool], now: SystemTime) -> Table {
    let all = pools.iter().flat_map(|pool| {
        pool.status.backends.iter().map(|(name, backend)| (pool.name.as_str(), name.as_str(), backend))
    });
    views::backends(all, now)
}

#[cfg(test)]
mod tests {
    use weir_api::v1::{AdvertisedRouteList, ReceivedRouteList};

    use super::super::tests::{answer, expect};
    use super::*;

    fn now() -> SystemTime {
        time::parse_moment("2026-03-01T12:00:00Z").expect("a moment")
    }

    #[test]
    fn lists_are_as_expected() {
        let lists = [
            ("vips", vips(&answer::<VipList>("/v1/vips").items, now())),
            ("services", services(&answer::<ServiceList>("/v1/services").items, now())),
            ("pools", pools(&answer::<PoolList>("/v1/pools").items, now())),
            ("backends", of_all_pools(&answer::<PoolList>("/v1/pools").items, now())),
            ("backends of web", backends(&answer::<BackendList>("/v1/pools/web/backends").items, now())),
            ("peers", peers(&answer::<PeerList>("/v1/peers").items, now())),
            ("advertised", bgp::told(&answer::<AdvertisedRouteList>("/v1/peers/tor1/adj-rib-out").items)),
            ("received", bgp::heard(&answer::<ReceivedRouteList>("/v1/peers/tor1/adj-rib-in").items, now())),
            ("overrides", views::overrides(&answer::<OverrideList>("/v1/overrides").items, now())),
        ];
        let text: String = lists
            .iter()
            .map(|(name, table)| format!("--- {name}\n{}", table.render(Look::default())))
            .collect();
        expect("show_lists", &text);
    }

    #[test]
    fn details_are_as_expected() {
        let look = Look::default();
        let pages = [
            ("vips www", detail::vip(&answer("/v1/vips/www"), now(), look)),
            ("vips api", detail::vip(&answer("/v1/vips/api"), now(), look)),
            ("services dns-udp", detail::service(&answer("/v1/services/dns-udp"), now(), look)),
            ("pools web", detail::pool(&answer("/v1/pools/web"), now(), look)),
            ("backends web/b3", detail::backend(&answer("/v1/pools/web/backends/b3"), now(), look)),
            ("bgp", bgp::speaker(&answer("/v1/bgp"), now(), look)),
            ("peers tor1", peer::page(&answer("/v1/peers/tor1"), now(), look)),
            ("peers tor2", peer::page(&answer("/v1/peers/tor2"), now(), look)),
            ("peers edge", peer::page(&answer("/v1/peers/edge"), now(), look)),
            ("appliance", detail::appliance(&answer("/v1/appliance"), now(), look)),
            ("document", detail::toml(&answer("/v1/document"))),
        ];
        let text: String = pages.iter().map(|(name, page)| format!("--- {name}\n{page}\n")).collect();
        expect("show_details", &text);
    }
}
