// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with sessions to FRR, BIRD and GoBGP over IPv4, over IPv6 and by interface alone,
//! When it announces prefixes of both families with and without attributes, withdraws them, and the routers ask again,
//! Then each router has exactly that over each session, also in its kernel, where IPv4 goes via IPv6 link-local.

use anyhow::{Context, Result, ensure};
use weir_bgp::Advertisement;
use weir_lab::{BgpBed, Daemon, Tor, Transport, hops, wait_until};

use crate::host::{Host, config, peer_name, plain};
use crate::{PATIENCE, sessions_of, three};

const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:100::1/128";

/// GRACEFUL_SHUTDOWN (RFC 8326).
const GSHUT: u32 = 0xFFFF_0000;

#[test]
#[ignore = "needs root and netns"]
fn over_every_transport() {
    let bed = BgpBed::create(1, 3).expect("a bed");
    let tors = three(&bed, 1, &Transport::ALL, Some).expect("routers");
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    for tor in &tors {
        tor.wait_established(PATIENCE).expect("sessions");
    }
    host.announce([plain(V4), plain(V6)]).expect("announced");
    for tor in &tors {
        next_hops(&bed, tor).expect("next hops");
    }
    attributes(&host, &tors).expect("attributes");
    drained(&host, &tors).expect("drained");
    withdrawn(&host, &tors).expect("withdrawn");
    refreshed(&host, &tors).expect("refreshed");
    nothing_was_taken(&host, &tors).expect("own routes");
}

/// Both prefixes over each session, and all of them in the kernel.
fn next_hops(bed: &BgpBed, tor: &Tor) -> Result<()> {
    for prefix in [V4, V6] {
        tor.wait_learnt(prefix, PATIENCE)?;
    }
    if tor.daemon() == Daemon::GoBgp {
        return Ok(());
    }
    let link = tor.sessions()[0].link;
    let (v4, v6) = link.host_addresses();
    for (family, prefix, gateways) in [
        (4, V4, vec![v4.to_string(), v6.to_string(), link.host_link_local().to_string()]),
        (6, V6, vec![v6.to_string(), link.host_link_local().to_string()]),
    ] {
        wait_until(&format!("{prefix} in the kernel of {:?}", tor.daemon()), PATIENCE, || {
            let found = hops(bed.tor(tor.number()), family, prefix)?;
            let found: Vec<_> = found.iter().filter_map(|hop| hop.gateway.clone()).collect();
            for gateway in &gateways {
                ensure!(found.contains(gateway), "no {gateway} in {found:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Waits until each router has a path over each session of which this holds.
fn each_path(tors: &[Tor], prefix: &str, holds: impl Fn(&Tor, &weir_lab::Learnt) -> bool) -> Result<()> {
    for tor in tors {
        for session in tor.sessions() {
            wait_until(&format!("{prefix} over {} of {:?}", session.name(), tor.daemon()), PATIENCE, || {
                let path = tor.learnt_over(session, prefix)?.context("no path")?;
                ensure!(holds(tor, &path), "{path:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn attributes(host: &Host, tors: &[Tor]) -> Result<()> {
    let rich = |prefix| Advertisement {
        med: Some(7),
        communities: vec![65000 << 16 | 100],
        large_communities: vec![[65010, 1, 2]],
        prepend: 1,
        link_bandwidth: Some(125_000_000),
        ..plain(prefix)
    };
    host.announce([rich(V4), rich(V6)])?;
    for prefix in [V4, V6] {
        each_path(tors, prefix, |_, path| {
            path.as_path == [65010, 65010]
                && path.med == Some(7)
                && path.communities == ["65000:100"]
                && path.large_communities == ["65010:1:2"]
                && path.extended_communities.is_some()
        })?;
    }
    Ok(())
}

/// FRR puts a path that is about to leave behind all others by itself.
fn drained(host: &Host, tors: &[Tor]) -> Result<()> {
    host.announce([Advertisement { communities: vec![GSHUT], ..plain(V4) }, plain(V6)])?;
    each_path(tors, V4, |tor, path| {
        let is_last = tor.daemon() != Daemon::Frr || path.local_preference == Some(0);
        is_last && path.as_path == [65010] && path.communities.len() == 1
    })
}

fn withdrawn(host: &Host, tors: &[Tor]) -> Result<()> {
    host.announce([plain(V6)])?;
    for tor in tors {
        tor.wait_forgotten(V4, PATIENCE)?;
        tor.wait_learnt(V6, PATIENCE)?;
    }
    Ok(())
}

fn refreshed(host: &Host, tors: &[Tor]) -> Result<()> {
    // GoBGP never asks.
    let asking = tors.iter().filter(|tor| tor.daemon() != Daemon::GoBgp);
    for (tor, session) in asking.flat_map(|tor| tor.sessions().iter().map(move |session| (tor, session))) {
        let name = peer_name(session);
        let before = host.peer(&name)?.counters.messages_out.update;
        tor.refresh(session)?;
        host.wait_peer(&name, "UPDATEs after a refresh", |peer| {
            peer.counters.messages_out.update > before && peer.counters.messages_in.refresh > 0
        })?;
        ensure!(tor.learnt_over(session, V6)?.is_some(), "{name} lost its route");
    }
    Ok(())
}

/// FRR sends our own prefixes back; they are loops, and not received.
fn nothing_was_taken(host: &Host, tors: &[Tor]) -> Result<()> {
    for session in tors.iter().filter(|tor| tor.daemon() == Daemon::Frr).flat_map(Tor::sessions) {
        let peer = host.wait_peer(&peer_name(session), "own routes to come back", |peer| {
            peer.counters.received_ipv4.looped + peer.counters.received_ipv6.looped > 0
        })?;
        let counted = peer.counters.received_ipv4.announced + peer.counters.received_ipv6.announced;
        ensure!(counted == 0 && peer.adj_rib_in.is_empty(), "{peer:?}");
    }
    Ok(())
}
