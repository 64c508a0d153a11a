// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given two hosts that announce the same prefix to FRR and to BIRD by interface alone,
//! When both stand, then the kernel of each router spreads over both (ECMP, IPv4 via IPv6);
//! When the link of one goes down and comes up again, then the other one is used alone meanwhile, and both afterwards.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use weir_lab::{BedLink, BgpBed, Daemon, TOR_LINK_LOCAL, Tor, TorSession, Transport, hops, wait_until};

use crate::PATIENCE;
use crate::host::{Host, config, plain};
use crate::sessions_of;

const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:100::1/128";

#[test]
#[ignore = "needs root and netns"]
fn over_unnumbered_links() {
    let bed = BgpBed::create(2, 2).expect("a bed");
    // FRR 8.4 takes a group of kernel nexthop objects up again that the kernel has shortened when a link went down.
    let tors: Vec<Tor> = [(1, Daemon::Frr, "no zebra nexthop kernel enable\n"), (2, Daemon::Bird, "")]
        .map(|(number, daemon, more)| {
            let sessions =
                [1, 2].map(|host| TorSession::plain(BedLink { host, tor: number }, Transport::Unnumbered));
            Tor::start_with(&bed, number, daemon, sessions.to_vec(), more).expect("a router")
        })
        .into();
    let _hosts = [1, 2].map(|number| {
        let host = Host::start(bed.host(number), config(number, sessions_of(&tors, number)));
        let host = host.expect("a speaker");
        host.announce([plain(V4), plain(V6)]).expect("announced");
        host
    });
    spread(&bed, &[1, 2]).expect("both");
    for number in [1, 2] {
        bed.unplug(BedLink { host: 1, tor: number }).expect("down");
    }
    spread(&bed, &[2]).expect("the other one alone");
    for number in [1, 2] {
        bed.plug(BedLink { host: 1, tor: number }, TOR_LINK_LOCAL).expect("up");
    }
    spread(&bed, &[1, 2]).expect("both again");
}

/// Waits until the kernels of both routers send both prefixes to exactly these hosts.
fn spread(bed: &BgpBed, hosts: &[u8]) -> Result<()> {
    let want: BTreeSet<String> = hosts.iter().map(|host| format!("h{host}")).collect();
    for tor in [1, 2] {
        for (family, prefix) in [(4, V4), (6, V6)] {
            wait_until(&format!("{prefix} of ToR {tor} over {want:?}"), PATIENCE, || {
                let found = hops(bed.tor(tor), family, prefix)?;
                let have: BTreeSet<String> = found.iter().map(|hop| hop.interface.clone()).collect();
                ensure!(have == want, "{found:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}
