// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker against real routers: FRR, BIRD and GoBGP as ToRs of one host, one file per sentence.
//!
//! The speaker runs in this process, on a thread inside the host's namespace (`host`), so that a scenario can ask it
//! everything, freeze it and kill it. What concerns the whole appliance is in `tests/scenarios`. One test binary, because
//! each links for long; all need root and run inside `scripts/isolated.sh` (`make test`).

mod a_host_that_ends_is_forgotten;
mod a_new_link_local_address_is_found;
mod a_range_takes_whoever_connects;
mod default_routes_follow_the_routers;
mod host;
mod keys_and_hop_limits_guard_a_session;
mod keys_and_hop_limits_keep_others_off;
mod operators_words_cross;
mod routes_outlive_a_restart;
mod speakers_meet_without_addresses;
mod strangers_cannot_exhaust_it;
mod three_routers_take_what_is_announced;
mod too_many_prefixes_end_a_session;
mod two_hosts_share_a_prefix;

use std::time::Duration;

use anyhow::Result;
use weir_lab::{BedLink, BgpBed, Daemon, Tor, TorSession, Transport};

/// Generous, for what only has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// FRR, BIRD and GoBGP as ToRs 1, 2, 3, each with a session over each of these transports to each of the hosts, after
/// `change`, which may also leave one out.
fn three(
    bed: &BgpBed,
    hosts: u8,
    transports: &[Transport],
    change: impl Fn(TorSession) -> Option<TorSession>,
) -> Result<Vec<Tor>> {
    let mut tors = Vec::new();
    for (number, daemon) in (1..).zip(Daemon::ALL) {
        let links = (1..=hosts).map(|host| BedLink { host, tor: number });
        let sessions = links.flat_map(|link| transports.iter().map(move |on| TorSession::plain(link, *on)));
        tors.push(Tor::start(bed, number, daemon, sessions.filter_map(&change).collect())?);
    }
    Ok(tors)
}

/// The sessions of all these ToRs with one host.
fn sessions_of(tors: &[Tor], host: u8) -> impl Iterator<Item = &TorSession> {
    tors.iter().flat_map(Tor::sessions).filter(move |session| session.link.host == host)
}
