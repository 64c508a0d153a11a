// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given clients with an MTU of 1,500 and a fabric with room for the outer header,
//! When a link on the way gets a smaller MTU, in front of an appliance, in front of the backends or behind them,
//! Then who sent too much is told, its kernel remembers, and all of the request or answer arrives, in both families.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use weir_lab::document::{Checks, Subnet, VIP_V4, VIP_V6};
use weir_lab::{BIG_BYTES, Fabric, Layout, Netns, document, get, output, wait_until};

use crate::{PATIENCE, small_fabric, weir};

/// Fits the web server's header buffer, and does not fit five packets of 1,500.
const QUERY_BYTES: usize = 7500;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The MTU that a host's kernel remembers of the way to `destination`, if it was told one.
fn remembered(host: &Netns, destination: IpAddr) -> anyhow::Result<Option<u32>> {
    let text = output(host.command("ip").args(["route", "get", &destination.to_string()]))?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).map(|mtu| mtu.parse().with_context(|| format!("an MTU in {text}"))).transpose()
}

#[test]
#[ignore = "needs root and netns"]
fn a_client_learns_what_fits_the_tunnel() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    // A packet within a packet of 1,500: less an outer header of IPv4, less one of IPv6.
    let vips: [(IpAddr, u32); 2] = [(VIP_V4.into(), 1480), (VIP_V6.into(), 1460)];
    let long = format!("/?{}", "q".repeat(QUERY_BYTES));
    lb1.netns().ip("link set eth0 mtu 1500").expect("a smaller MTU");
    for ((vip, mtu), target) in vips.into_iter().zip(document::targets()) {
        assert_eq!(remembered(&fabric.client, vip).expect("a route"), None, "{vip}: nobody was told yet");
        // The first requests may still go by the MTU of before.
        wait_until(&format!("the client to know the MTU of {vip}"), PATIENCE, || {
            let reply = fabric.client.enter(|| get(target, &long, TIMEOUT))??;
            ensure!(reply.status == 200, "status {}", reply.status);
            let found = remembered(&fabric.client, vip)?;
            ensure!(found == Some(mtu), "{found:?}");
            Ok(())
        })
        .expect("told, and the request arrives");
    }
    let metrics = lb1.metrics().expect("metrics");
    let told = metrics.count("weir_xdp_packets_total", &["verdict=\"answer_too_big\""]);
    assert!(told >= 2.0, "{told} answers");
}

/// How often a backend's kernel was told that a packet did not fit, whether or not it sent one: IPv4 and IPv6.
fn told(backend: &Netns) -> [u64; 2] {
    let read = |path: &str| output(backend.command("cat").arg(path)).expect("counters");
    let (v4, v6) = (read("/proc/net/snmp"), read("/proc/net/snmp6"));
    let mut lines = v4.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let unreachable = pairs.find(|(name, _)| *name == "InDestUnreachs").expect("a counter").1;
    let too_big = v6.lines().find_map(|line| line.strip_prefix("Icmp6InPktTooBigs")).expect("a counter");
    [unreachable, too_big].map(|value| value.trim().parse().expect("a number"))
}

/// Connections go by the first appliance, and what the switch says of them comes to the second, as with ECMP it may: only copies
/// for all candidates reach the right backend.
#[test]
#[ignore = "needs root and netns"]
fn a_backend_learns_what_fits_a_client_from_an_appliance_that_never_saw_it() {
    let layout = Layout { appliances: 2, checks: Checks::Quick, ..Layout::small(weir()) };
    let fabric = Fabric::up(&layout).expect("the fabric comes up");
    let prefixes = document::vip_prefixes();
    for (protocols, appliance) in [(["tcp", "tcp"], 1), (["icmp", "ipv6-icmp"], 2)] {
        let (v4, v6) = Subnet::Appliance(appliance).host();
        for ((option, protocol), (prefix, to)) in
            ["-4", "-6"].iter().zip(protocols).zip(prefixes.iter().zip([IpAddr::from(v4), v6.into()]))
        {
            let lines = [
                format!("route add {prefix} via {to} table {appliance}"),
                format!("rule add pref {appliance} ipproto {protocol} lookup {appliance}"),
            ];
            for line in lines {
                let words = std::iter::once(*option).chain(line.split(' '));
                output(fabric.tor.command("ip").args(words)).expect("a route of its own");
            }
        }
    }
    let hosts: Vec<&Netns> = fabric.backends.iter().map(|backend| backend.netns()).collect();
    let before: Vec<[u64; 2]> = hosts.iter().map(|host| told(host)).collect();

    fabric.tor.ip("link set client mtu 1400").expect("a smaller MTU");
    let (client_v4, client_v6) = Subnet::Client.host();
    for (target, client) in document::targets().into_iter().zip([IpAddr::from(client_v4), client_v6.into()]) {
        let reply = fabric.client.enter(|| get(target, "/big", TIMEOUT)).expect("in the namespace");
        let reply = reply.unwrap_or_else(|error| panic!("a large answer from {target}: {error:#}"));
        assert_eq!(reply.body.len(), BIG_BYTES);
        // Who sent the answer knows; the other was told of a connection that it has not.
        let known: Vec<_> = hosts.iter().map(|host| remembered(host, client).expect("a route")).collect();
        assert!(
            known == [Some(1400), None] || known == [None, Some(1400)],
            "the backends remember {known:?} of {client}"
        );
    }
    for (host, before) in hosts.iter().zip(before) {
        let now = told(host);
        assert!(now[0] > before[0] && now[1] > before[1], "{}: {before:?}, then {now:?}", host.name());
    }
    let metrics = fabric.appliances[1].metrics().expect("metrics");
    let counted = |verdict| metrics.count("weir_xdp_packets_total", &[&format!("verdict=\"{verdict}\"")]);
    let [handed, copies] = ["pass_to_clone", "forward_icmp_copy"].map(counted);
    assert!(handed >= 2.0 && copies == 2.0 * handed, "{handed} errors, {copies} copies");
}

/// The switch alone knows of the link to the backend: it tells whom the outer header names as the source.
#[test]
#[ignore = "needs root and netns"]
fn a_client_learns_what_fits_a_link_behind_the_switch() {
    let fabric = small_fabric();
    let lb1 = &fabric.appliances[0];
    let long = format!("/?{}", "q".repeat(QUERY_BYTES));
    let request = |target| {
        let reply = fabric.client.enter(|| get(target, &long, PATIENCE)).expect("in the namespace");
        let reply = reply.unwrap_or_else(|error| panic!("a large request to {target}: {error:#}"));
        assert_eq!(reply.status, 200, "{target}");
    };
    let said = || {
        let status = lb1.status().expect("a status");
        let conditions = status["conditions"].as_array().expect("conditions").clone();
        conditions.into_iter().find(|condition| condition["code"] == "path-mtu-low")
    };
    let vips: [(IpAddr, u32); 2] = [(VIP_V4.into(), 1480), (VIP_V6.into(), 1460)];
    for ((vip, _), target) in vips.into_iter().zip(document::targets()) {
        request(target);
        assert_eq!(remembered(&fabric.client, vip).expect("a route"), None, "{vip}: everything fitted");
    }
    assert_eq!(said(), None);

    for backend in 1..=fabric.backends.len() {
        fabric.tor.ip(&format!("link set b{backend} mtu 1500")).expect("a smaller MTU");
    }
    for ((vip, mtu), target) in vips.into_iter().zip(document::targets()) {
        // What was too large is lost; sent again, it is answered, and what fits arrives: all within one request.
        request(target);
        assert_eq!(remembered(&fabric.client, vip).expect("a route"), Some(mtu), "{vip}");
    }
    let condition = said().expect("a condition");
    let message = condition["message"].as_str().unwrap_or_default();
    assert_eq!(message.matches(" 1500 bytes").count(), 2, "a backend's path in each family: {message}");
    let metrics = lb1.metrics().expect("metrics");
    let told = metrics.count("weir_xdp_packets_total", &["verdict=\"answer_too_big\""]);
    assert!(told >= 2.0, "{told} answers");
}
