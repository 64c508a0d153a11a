// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host whose sessions with FRR, BIRD and GoBGP have a key (TCP MD5), or require hop limit 255 (GTSM), over every
//! transport,
//! When both sides have it, then all are Established; when the sides differ, then none ever is, and the status says that the
//! connection does not come about.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_bgp::{PeerState, Secret, SpeakerConfig};
use weir_lab::{BgpBed, Tor, TorSession, Transport, wait_until};

use crate::host::{Host, config, peer_name, plain};
use crate::{PATIENCE, sessions_of, three};

const VIP: &str = "198.51.100.1/32";

/// For what must never happen; several attempts to connect long.
const NEVER: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root and netns"]
fn the_same_key_and_another() {
    let bed = BgpBed::create(2, 3).expect("a bed");
    let with_key = |session: TorSession| {
        // gobgpd gives the kernel no key for an address with a scope. Nor can that session go without: the kernel knows keys
        // by address alone, and this one is that of the other routers too.
        let is_impossible = session.link.tor == 3 && session.transport == Transport::Unnumbered;
        (!is_impossible).then(|| TorSession { md5: Some("k3y-of-the-fabric".to_owned()), ..session })
    };
    let tors = three(&bed, 2, &Transport::ALL, with_key).expect("routers");
    let same = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    let mut other = config(2, sessions_of(&tors, 2));
    for peer in &mut other.peers {
        peer.md5 = Secret::new("another-key");
    }
    compared(&bed, &tors, &same, other).expect("keys");
}

#[test]
#[ignore = "needs root and netns"]
fn hop_limits_on_both_sides_and_on_one() {
    let bed = BgpBed::create(2, 3).expect("a bed");
    // The second host's sessions are plain at the ToR.
    let guarded = |session: TorSession| {
        let has_gtsm = session.link.host == 1;
        Some(TorSession { has_gtsm, ..session })
    };
    let tors = three(&bed, 2, &Transport::ALL, guarded).expect("routers");
    let same = Host::start(bed.host(1), config(1, sessions_of(&tors, 1))).expect("a speaker");
    let mut other = config(2, sessions_of(&tors, 2));
    for peer in &mut other.peers {
        peer.has_gtsm = true;
    }
    compared(&bed, &tors, &same, other).expect("hop limits");
}

/// The first host's sessions stand and carry; the second's never do.
fn compared(bed: &BgpBed, tors: &[Tor], same: &Host, other: SpeakerConfig) -> Result<()> {
    let other = Host::start(bed.host(2), other)?;
    same.announce([plain(VIP)])?;
    for tor in tors {
        tor.wait_learnt_of(1, VIP, PATIENCE)?;
    }
    let since = std::time::Instant::now();
    wait_until("long enough", PATIENCE, || {
        let status = other.status();
        let up = status.peers.iter().find(|(_, peer)| peer.counters.established > 0);
        // Not to be waited out: it is wrong at once.
        assert!(up.is_none(), "{up:?}");
        ensure!(since.elapsed() >= NEVER, "only {:?}", since.elapsed());
        Ok(())
    })?;
    for session in sessions_of(tors, 2) {
        let peer = other.peer(&peer_name(session))?;
        ensure!(peer.state != PeerState::Established, "{peer:?}");
    }
    Ok(())
}
