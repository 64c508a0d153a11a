// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host that knows its routers by a prefix of addresses only, and takes one session of it,
//! When FRR connects from there, then it is announced to, under its own name in the status;
//! When BIRD connects from elsewhere, then it is a stranger.

use weir_bgp::{PeerConfig, PeerState, Remote};
use weir_lab::{BedLink, BgpBed, Daemon, Tor, TorSession, Transport, wait_until};

use crate::PATIENCE;
use crate::host::{Host, config, peer, plain};

const VIP: &str = "198.51.100.1/32";

#[test]
#[ignore = "needs root and netns"]
fn of_one_prefix() {
    let bed = BgpBed::create(1, 2).expect("a bed");
    let session = |tor| TorSession::plain(BedLink { host: 1, tor }, Transport::V4);
    let known = Tor::start(&bed, 1, Daemon::Frr, vec![session(1)]).expect("a router");
    let stranger = Tor::start(&bed, 2, Daemon::Bird, vec![session(2)]).expect("a router");
    let range = PeerConfig {
        name: "fabric".to_owned(),
        remote: Remote::Range { prefix: "10.9.11.0/24".parse().expect("a prefix"), sessions_max: 1 },
        ..peer(&session(1))
    };
    let mut config = config(1, []);
    config.peers.push(range);
    let host = Host::start(bed.host(1), config).expect("a speaker");
    host.announce([plain(VIP)]).expect("announced");
    known.wait_learnt(VIP, PATIENCE).expect("learnt");
    let name = format!("fabric/{}", session(1).link.tor_addresses().0);
    assert_eq!(host.peer(&name).expect("named after its address").state, PeerState::Established);
    wait_until("the stranger to be counted", PATIENCE, || {
        anyhow::ensure!(host.status().strangers > 0, "nobody came");
        Ok(())
    })
    .expect("counted");
    assert!(!stranger.is_established(&session(2)).expect("bird answers"));
}
