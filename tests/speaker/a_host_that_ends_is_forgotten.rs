// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given three hosts announced to FRR, BIRD and GoBGP, without graceful restart and without BFD,
//! When one is killed, one stops by order, and one freezes,
//! Then its routes are gone from each of them: at once if it is dead or said goodbye, after the hold time if it is frozen.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_bgp::Ending;
use weir_lab::{BgpBed, Daemon, Tor, Transport};

use crate::host::{Host, block_on, config, plain};
use crate::{PATIENCE, sessions_of, three};

/// The shortest there is, so that nobody waits long for a frozen host.
const HOLD_TIME: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root and netns"]
fn killed_stopped_and_frozen() {
    let bed = BgpBed::create(3, 3).expect("a bed");
    let tors = three(&bed, 3, &[Transport::V4], Some).expect("routers");
    let [first, second, third] = [1, 2, 3].map(|number| announced(&bed, &tors, number).expect("announced"));
    killed(first, &tors).expect("killed");
    stopped(&second, &tors).expect("stopped");
    frozen(&third, &tors).expect("frozen");
}

/// A host that is Established and announced everywhere.
fn announced(bed: &BgpBed, tors: &[Tor], number: u8) -> Result<Host> {
    let mut config = config(number, sessions_of(tors, number));
    for peer in &mut config.peers {
        peer.hold_time = HOLD_TIME;
    }
    let host = Host::start(bed.host(number), config)?;
    host.announce([plain(&vip(number))])?;
    tors.iter().try_for_each(|tor| tor.wait_learnt_of(number, &vip(number), PATIENCE))?;
    Ok(host)
}

fn vip(number: u8) -> String {
    format!("198.51.100.{number}/32")
}

/// Waits until all have forgotten the VIP of a host and says when the last of them had.
fn forgotten(tors: &[Tor], number: u8, since: Instant) -> Result<Duration> {
    tors.iter().try_for_each(|tor| tor.wait_forgotten(&vip(number), PATIENCE))?;
    Ok(since.elapsed())
}

fn killed(host: Host, tors: &[Tor]) -> Result<()> {
    let since = Instant::now();
    host.kill()?;
    let gone = forgotten(tors, 1, since)?;
    ensure!(gone < Duration::from_secs(1), "the last one took {gone:?}");
    Ok(())
}

fn stopped(host: &Host, tors: &[Tor]) -> Result<()> {
    let since = Instant::now();
    block_on(host.handle().end(Ending::Stop { text: "maintenance".to_owned() }))?;
    let gone = forgotten(tors, 2, since)?;
    ensure!(gone < Duration::from_secs(1), "the last one took {gone:?}");
    for (tor, session) in tors.iter().zip(sessions_of(tors, 2)) {
        let said = tor.last_ending(session)?;
        ensure!(said.0.contains("maintenance"), "{:?} says {said:?}", tor.daemon());
    }
    Ok(())
}

fn frozen(host: &Host, tors: &[Tor]) -> Result<()> {
    let since = Instant::now();
    let frozen = host.freeze();
    let gone = forgotten(tors, 3, since)?;
    ensure!(gone > HOLD_TIME / 2 && gone < HOLD_TIME * 2, "the last one took {gone:?}");
    // It comes back by itself once it may run again. GoBGP rests longer than is worth waiting for.
    drop(frozen);
    let mut soon = tors.iter().filter(|tor| tor.daemon() != Daemon::GoBgp);
    soon.try_for_each(|tor| tor.wait_learnt_of(3, &vip(3), PATIENCE))
}
