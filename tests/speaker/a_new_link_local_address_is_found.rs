// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with an unnumbered session to FRR,
//! When the link goes down and comes up with another link-local address at the router's end, as after a change of hardware,
//! Then the host learns it from the router's advertisements and is Established with it, without a word in any document.

use std::net::{IpAddr, Ipv6Addr};

use weir_bgp::PeerState;
use weir_lab::{BedLink, BgpBed, Daemon, Tor, TorSession, Transport};

use crate::host::{Host, config, peer_name, plain};
use crate::{PATIENCE, sessions_of};

const VIP: &str = "198.51.100.1/32";
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

#[test]
#[ignore = "needs root and netns"]
fn after_a_change_at_the_router() {
    let bed = BgpBed::create(1, 1).expect("a bed");
    let link = BedLink { host: 1, tor: 1 };
    let session = TorSession::plain(link, Transport::Unnumbered);
    let tors = [Tor::start(&bed, 1, Daemon::Frr, vec![session]).expect("a router")];
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    host.announce([plain(VIP)]).expect("announced");
    tors[0].wait_learnt(VIP, PATIENCE).expect("learnt");

    bed.unplug(link).expect("down");
    bed.plug(link, OTHER).expect("up");
    let name = peer_name(&tors[0].sessions()[0]);
    let found = host.wait_peer(&name, "a session with the new address", |peer| {
        peer.state == PeerState::Established && peer.address == Some(IpAddr::V6(OTHER))
    });
    found.expect("found");
    tors[0].wait_learnt(VIP, PATIENCE).expect("learnt again");
}
