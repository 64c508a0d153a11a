// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host with sessions to FRR, BIRD and GoBGP,
//! When it announces prefixes of both families with and without attributes, withdraws them, and the routers ask again,
//! Then each router has exactly that, over each session.

use anyhow::{Result, ensure};
use weir_bgp::Advertisement;
use weir_lab::{BgpBed, Daemon, Tor, Transport, wait_until};

use crate::host::{Host, config, peer_name, plain};
use crate::{PATIENCE, sessions_of, three};

const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:100::1/128";

#[test]
#[ignore = "needs root and netns"]
fn numbered() {
    let bed = BgpBed::create(1, 3).expect("a bed");
    let tors = three(&bed, 1, &[Transport::V4, Transport::V6], |session| session).expect("routers");
    let host = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    announced(&host, &tors).expect("announced");
}

fn announced(host: &Host, tors: &[Tor]) -> Result<()> {
    for tor in tors {
        tor.wait_established(PATIENCE)?;
    }
    host.announce([plain(V4), plain(V6)])?;
    for tor in tors {
        for prefix in [V4, V6] {
            tor.wait_learnt(prefix, PATIENCE)?;
        }
    }
    let rich = Advertisement {
        med: Some(7),
        communities: vec![65000 << 16 | 100],
        large_communities: vec![[65010, 1, 2]],
        prepend: 1,
        ..plain(V4)
    };
    host.announce([rich, plain(V6)])?;
    for tor in tors {
        for session in tor.sessions() {
            wait_until("the attributes", PATIENCE, || {
                let path = tor.learnt_over(session, V4)?.unwrap_or_default();
                ensure!(path.as_path == [65010, 65010] && path.med == Some(7), "{path:?}");
                ensure!(path.communities == ["65000:100"], "{path:?}");
                ensure!(path.large_communities == ["65010:1:2"], "{path:?}");
                Ok(())
            })?;
        }
    }
    host.announce([plain(V6)])?;
    for tor in tors {
        tor.wait_forgotten(V4, PATIENCE)?;
        for session in tor.sessions().iter().filter(|_| tor.daemon() != Daemon::GoBgp) {
            let before = host.peer(&peer_name(session))?.counters.messages_out.update;
            tor.refresh(session)?;
            host.wait_peer(&peer_name(session), "UPDATEs after a refresh", |peer| {
                peer.counters.messages_out.update > before
            })?;
        }
        tor.wait_learnt(V6, PATIENCE)?;
    }
    Ok(())
}
