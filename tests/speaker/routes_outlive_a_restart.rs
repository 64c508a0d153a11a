// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a host announced to FRR, BIRD and GoBGP with graceful restart,
//! When it is killed, then its routes stay; when it comes again with fewer, they stay until it has said all, and what it did
//! not say again goes;
//! When it restarts by order, then its routes stay too;
//! When it stops by order, then they are gone from each within a second, although all of this was agreed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_bgp::{Ending, GracefulRestart, SpeakerConfig};
use weir_lab::{BgpBed, Daemon, Tor, TorSession, Transport, hops, wait_until};

use crate::host::{Host, block_on, config, peer_name, plain};
use crate::{PATIENCE, sessions_of, three};

const KEPT: &str = "198.51.100.1/32";
const KEPT_V6: &str = "2001:db8:100::1/128";
const LEFT_OUT: &str = "198.51.100.2/32";

/// Long enough for every router to have acted on the end of a session.
const SETTLED: Duration = Duration::from_millis(1500);

#[test]
#[ignore = "needs root and netns"]
fn killed_restarted_and_stopped() {
    let bed = BgpBed::create(1, 3).expect("a bed");
    let with_restart = |session| Some(TorSession { has_graceful_restart: true, ..session });
    let tors = three(&bed, 1, &[Transport::V4, Transport::Unnumbered], with_restart).expect("routers");
    let host = started(&bed, &tors, false, &[KEPT, KEPT_V6, LEFT_OUT]).expect("announced");
    host.kill().expect("it dies");
    stays(&bed, &tors).expect("kept after a death");

    let host = started(&bed, &tors, true, &[KEPT, KEPT_V6]).expect("announced again");
    for tor in &tors {
        tor.wait_forgotten(LEFT_OUT, PATIENCE).expect("swept");
    }
    block_on(host.handle().end(Ending::Restart { text: "upgrade".to_owned() })).expect("ended");
    drop(host);
    stays(&bed, &tors).expect("kept after a restart");

    let host = started(&bed, &tors, true, &[KEPT, KEPT_V6]).expect("announced again");
    stopped(&bed, &tors, &host).expect("stopped");
}

fn configured(tors: &[Tor], is_restarting: bool) -> SpeakerConfig {
    let restart = GracefulRestart { is_restarting, ..GracefulRestart::default() };
    SpeakerConfig { graceful_restart: Some(restart), ..config(1, sessions_of(tors, 1)) }
}

/// A host that has announced this everywhere, over sessions that stand.
fn started(bed: &BgpBed, tors: &[Tor], is_restarting: bool, prefixes: &[&str]) -> Result<Host> {
    let host = Host::start(bed.host(1), configured(tors, is_restarting))?;
    host.announce(prefixes.iter().map(|prefix| plain(prefix)))?;
    host.handle().release_end_of_rib();
    for tor in tors {
        tor.wait_established(PATIENCE)?;
        for prefix in prefixes {
            for session in tor.sessions() {
                wait_until(&format!("fresh {prefix} at {:?}", tor.daemon()), PATIENCE, || {
                    let path = tor.learnt_over(session, prefix)?;
                    ensure!(path.as_ref().is_some_and(|path| !path.is_stale), "{path:?}");
                    Ok(())
                })?;
            }
        }
    }
    for session in sessions_of(tors, 1) {
        let peer = host.peer(&peer_name(session))?;
        let agreed = peer.negotiated.and_then(|agreed| agreed.graceful_restart.clone());
        ensure!(agreed.is_some_and(|restart| restart.kept_by_peer.ipv4), "no restart with {}", peer.remote);
    }
    Ok(host)
}

/// For some time after the end of a session every router has every route, and the kernel too.
fn stays(bed: &BgpBed, tors: &[Tor]) -> Result<()> {
    for tor in tors {
        for session in tor.sessions() {
            wait_until("the session to be over", PATIENCE, || {
                ensure!(!tor.is_established(session)?, "{} stands", session.name());
                Ok(())
            })?;
        }
    }
    let until = Instant::now() + SETTLED;
    while Instant::now() < until {
        for tor in tors {
            for (family, prefix) in [(4, KEPT), (6, KEPT_V6)] {
                ensure!(!tor.learnt(prefix)?.is_empty(), "{:?} forgot {prefix}", tor.daemon());
                let is_routed = !hops(bed.tor(tor.number()), family, prefix)?.is_empty();
                ensure!(
                    is_routed || tor.daemon() == Daemon::GoBgp,
                    "no route in {:?}'s kernel",
                    tor.daemon()
                );
            }
        }
    }
    Ok(())
}

fn stopped(bed: &BgpBed, tors: &[Tor], host: &Host) -> Result<()> {
    let since = Instant::now();
    block_on(host.handle().end(Ending::Stop { text: "maintenance".to_owned() }))?;
    for tor in tors {
        for (family, prefix) in [(4, KEPT), (6, KEPT_V6)] {
            tor.wait_forgotten(prefix, PATIENCE)?;
            wait_until("the kernel's route to be gone", PATIENCE, || {
                let found = hops(bed.tor(tor.number()), family, prefix)?;
                ensure!(found.is_empty(), "{found:?}");
                Ok(())
            })?;
        }
        let gone = since.elapsed();
        eprintln!("{:?}: gone {gone:?} after the order to stop", tor.daemon());
        ensure!(gone < Duration::from_secs(1), "{:?} took {gone:?}", tor.daemon());
    }
    Ok(())
}
