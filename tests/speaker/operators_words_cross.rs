// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with sessions to FRR, BIRD and GoBGP,
//! When the router's operator shuts a session down with a text,
//! Then the host shows that text. (The other way round: `a_host_that_ends_is_forgotten`.)

use weir_lab::{BgpBed, Tor, Transport};

use crate::host::{Host, config, peer_name};
use crate::{PATIENCE, sessions_of, three};

const TEXT: &str = "new-optics-tonight";

#[test]
#[ignore = "needs root and netns"]
fn the_routers_text_is_shown() {
    let bed = BgpBed::create(1, 3).expect("a bed");
    let tors = three(&bed, 1, &[Transport::V4], Some).expect("routers");
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    for tor in &tors {
        tor.wait_established(PATIENCE).expect("sessions");
        tor.shut_down(&tor.sessions()[0], TEXT).expect("shut down");
    }
    for session in tors.iter().flat_map(Tor::sessions) {
        let told = host.wait_peer(&peer_name(session), "a NOTIFICATION with the text", |peer| {
            peer.last_received.as_ref().is_some_and(|last| last.text.contains(TEXT))
        });
        told.expect("told");
    }
}
