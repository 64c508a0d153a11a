// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a namespace's kernel would do with a packet: its routes to a prefix, hop by hop.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::output;
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// One way of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Where it leaves.
    pub interface: String,
    /// Its gateway; none if the prefix is on the link. For an IPv4 route this may be an IPv6 address.
    pub gateway: Option<String>,
    /// Who put it there, as `ip route` says it: `bgp`, `bird`, a number.
    pub protocol: String,
    /// Its metric, 0 if none is told.
    pub metric: u64,
}

/// All hops of all routes of a namespace's main table to exactly this prefix (`default` is one), sorted; none if there is no
/// route.
pub fn hops(netns: &Netns, family: u8, prefix: &str) -> Result<Vec<Hop>> {
    let family = format!("-{family}");
    let text = output(Command::new("ip").args([
        "-n",
        netns.name(),
        &family,
        "-json",
        "route",
        "show",
        "exact",
        prefix,
    ]))?;
    let routes: Value = serde_json::from_str(&text).context("read `ip route`")?;
    Ok(read(&routes))
}

/// Notes every change of a namespace's routes, until it is dropped.
#[derive(Debug)]
pub struct RouteWatch {
    process: Process,
}

impl RouteWatch {
    /// Begins to watch.
    pub fn start(netns: &Netns, logs: &LogDir) -> Result<RouteWatch> {
        let mut command = netns.command("ip");
        command.args(["-o", "monitor", "route"]);
        let log = logs.file(&format!("{}-routes.log", netns.name()));
        let process = Process::spawn("ip monitor", &mut command, &log)?;
        let watch = RouteWatch { process };
        // It listens once it notes something.
        wait_until("ip monitor to listen", Duration::from_secs(10), || {
            netns.ip("route add blackhole 203.0.113.255\nroute del blackhole 203.0.113.255")?;
            ensure!(watch.process.log().contains("203.0.113.255"), "it has noted nothing");
            Ok(())
        })?;
        Ok(watch)
    }

    /// How often a route to this prefix was removed. A replacement is no removal.
    pub fn removals(&self, prefix: &str) -> usize {
        let host = prefix.trim_end_matches("/32").trim_end_matches("/128");
        let log = self.process.log();
        log.lines().filter(|line| line.starts_with("Deleted ") && line.contains(host)).count()
    }
}

fn read(routes: &Value) -> Vec<Hop> {
    let mut found = Vec::new();
    for route in routes.as_array().into_iter().flatten() {
        // A multipath route names its hops in a list, a plain one is its own.
        for hop in route["nexthops"].as_array().into_iter().flatten().chain([route]) {
            let Some(interface) = hop["dev"].as_str() else { continue };
            let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
            found.push(Hop {
                interface: interface.to_owned(),
                gateway: gateway.map(str::to_owned),
                protocol: route["protocol"].as_str().unwrap_or_default().to_owned(),
                metric: route["metric"].as_u64().unwrap_or_default(),
            });
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_multipath_routes_are_read() {
        let routes = serde_json::json!([
            {"dst": "192.0.2.1", "via": {"family": "inet6", "host": "fe80::2"}, "dev": "h1", "protocol": "bgp", "metric": 20},
            {"dst": "192.0.2.1", "protocol": "bird", "metric": 32, "flags": [],
             "nexthops": [{"gateway": "10.0.0.2", "dev": "a", "weight": 1}, {"gateway": "10.0.1.2", "dev": "b", "weight": 1}]},
            {"type": "blackhole", "dst": "192.0.2.2", "flags": []}
        ]);
        let told: Vec<String> = read(&routes)
            .iter()
            .map(|hop| {
                format!("{} {} {}", hop.gateway.as_deref().unwrap_or("-"), hop.interface, hop.protocol)
            })
            .collect();
        assert_eq!(told, ["10.0.0.2 a bird", "10.0.1.2 b bird", "fe80::2 h1 bgp"]);
    }
}
