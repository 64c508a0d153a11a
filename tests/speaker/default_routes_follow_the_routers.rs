// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host that imports default routes from FRR and BIRD by interface alone, and has one of its operator's,
//! When both announce theirs, then the host's kernel spreads over both, IPv4 via IPv6 link-local;
//! When one dies, then the other is used alone; when the last one says goodbye, then no route of ours is left, and the
//! operator's is as it was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_bgp::{Families, FibConfig, SpeakerConfig};
use weir_lab::{BedLink, BgpBed, Daemon, TOR_LINK_LOCAL, Tor, TorSession, Transport, hops, wait_until};

use crate::host::{Host, config};
use crate::{PATIENCE, sessions_of};

#[test]
#[ignore = "needs root and netns"]
fn over_two_unnumbered_routers() {
    let bed = BgpBed::create(1, 2).expect("a bed");
    let host = bed.host(1);
    host.ip("route add default dev lo metric 500\nroute add default dev lo metric 5000")
        .expect("the operator's");
    let mut tors: Vec<Tor> = [(1, Daemon::Frr), (2, Daemon::Bird)]
        .map(|(number, daemon)| {
            let plain = TorSession::plain(BedLink { host: 1, tor: number }, Transport::Unnumbered);
            let session = TorSession { originates_default: true, ..plain };
            Tor::start(&bed, number, daemon, vec![session]).expect("a router")
        })
        .into();
    let _speaker = Host::start(host, importing(&tors)).expect("a speaker");
    routed(&bed, &["t1", "t2"]).expect("over both");

    drop(tors.remove(0));
    let since = Instant::now();
    routed(&bed, &["t2"]).expect("over the one that lives");
    let gone = since.elapsed();
    assert!(gone < Duration::from_secs(1), "the dead one was used for {gone:?}");

    tors[0].shut_down(&tors[0].sessions()[0], "bye").expect("shut down");
    routed(&bed, &[]).expect("over none");
    let kept = hops(host, 4, "default").expect("routes");
    assert!(kept.iter().any(|hop| hop.metric == 500), "the operator's is gone: {kept:?}");
}

fn importing(tors: &[Tor]) -> SpeakerConfig {
    let mut config = config(1, sessions_of(tors, 1));
    config.fib = Some(FibConfig::default());
    for peer in &mut config.peers {
        peer.import_default = Families::BOTH;
    }
    config
}

/// Waits until our default routes of both families leave by exactly these interfaces.
fn routed(bed: &BgpBed, interfaces: &[&str]) -> Result<()> {
    let want: BTreeSet<&str> = interfaces.iter().copied().collect();
    for family in [4, 6] {
        wait_until(&format!("default routes of IPv{family} over {want:?}"), PATIENCE, || {
            let found = hops(bed.host(1), family, "default")?;
            let ours: Vec<_> =
                found.iter().filter(|hop| hop.protocol == FibConfig::PROTOCOL_DEFAULT.to_string()).collect();
            let have: BTreeSet<&str> = ours.iter().map(|hop| hop.interface.as_str()).collect();
            ensure!(have == want, "{found:?}");
            let gateway = TOR_LINK_LOCAL.to_string();
            ensure!(ours.iter().all(|hop| hop.gateway.as_deref() == Some(&gateway)), "{ours:?}");
            Ok(())
        })?;
    }
    Ok(())
}
