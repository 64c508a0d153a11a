// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of the paths to backends: a pure function of reports and time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_dataplane_core::bytes::BackendMode;
use weir_dataplane_core::encap::overhead_max;

use super::message::{Refusal, Report, Told, Tunnel};
use crate::next_hop::NextHops;

/// How long a told MTU holds: then the path may have grown, and if not, it is told again (RFC 1191 §6.3, RFC 8201 §4).
pub const MTU_HOLDS: Duration = Duration::from_secs(600);
/// How long after the last one a refusal counts as going on.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(60);
/// Least MTU that an IPv6 client may be told (RFC 8200 §5).
pub const IPV6_MTU_MIN: u16 = 1_280;

/// Least MTU that is believed of a path whose outer headers are IPv6 or IPv4, where pools have UDP in front or none has.
///
/// What is told here is told on to clients, less the outer header. An IPv6 client cannot go below 1,280 octets, so below
/// that and the longest outer header nothing would get through: whoever invents such a message must not have that.
#[expect(clippy::cast_possible_truncation, reason = "asserted below")]
pub const fn mtu_min(is_v6: bool, has_udp: bool) -> u16 {
    let longest = if has_udp { BackendMode::GUE_CANDIDATES } else { BackendMode::IPIP };
    IPV6_MTU_MIN + overhead_max(longest, is_v6) as u16
}
const _: () = assert!(overhead_max(BackendMode::GUE_CANDIDATES, true) <= (u16::MAX - IPV6_MTU_MIN) as u32);

/// Told MTUs that are news in one second; what is told beyond is told again, since packets go on being too large.
///
/// Each new MTU of a path is another entry of the table of next hops, and the one before it is in grace for a second:
/// without a bound, whoever invents messages fills that table (`NEXT_HOPS_MAX`) and keeps next hops that are needed out of it.
pub const NEWS_PER_SECOND: u32 = 512;
const NEWS_WINDOW: Duration = Duration::from_secs(1);
const _: () = assert!(NEWS_PER_SECOND * 4 <= weir_dataplane_core::limits::NEXT_HOPS_MAX);

/// What messages must quote to be about us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ours {
    /// Sources of outer headers.
    pub sources: BTreeSet<IpAddr>,
    /// UDP destination ports of outer headers.
    pub ports: BTreeSet<u16>,
}

/// What is known of one path, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathState {
    /// The MTU that a router told, if less than the link's.
    pub mtu: Option<u16>,
    /// Why packets do not arrive, and who says so.
    pub refused: Option<(Refusal, IpAddr)>,
}

/// Known paths by backend address. No more than there are backends: others are not listened to.
#[derive(Debug, Default)]
pub struct Known {
    lowered: BTreeMap<IpAddr, (u16, Instant)>,
    refused: BTreeMap<IpAddr, (Refusal, IpAddr, Instant)>,
    /// When the second began in which so many told MTUs were news.
    news: Option<(Instant, u32)>,
}

impl Known {
    /// Takes a message. Gives whether [`Self::apply`] or [`Self::status`] answers differently now.
    pub fn handle_report(&mut self, now: Instant, report: &Report, ours: &Ours, hops: &NextHops) -> bool {
        let is_ours = match report.tunnel {
            Tunnel::Ip => true,
            Tunnel::Udp(port) => ours.ports.contains(&port),
        };
        if !is_ours || !ours.sources.contains(&report.source) {
            return false;
        }
        let Some(Ok(paths)) = hops.get(&report.destination) else { return false };
        match report.told {
            Told::Mtu(told) => {
                let Some(link) = paths.iter().map(|path| path.mtu).max() else { return false };
                let least = mtu_min(report.destination.is_ipv6(), !ours.ports.is_empty());
                let told = u16::try_from(told).unwrap_or(u16::MAX).max(least);
                if told >= link {
                    return false;
                }
                let before = self.lowered.get(&report.destination).map_or(link, |known| known.0);
                if told > before || told < before && !self.takes_news(now) {
                    return false;
                }
                self.lowered.insert(report.destination, (told, now + MTU_HOLDS));
                told < before
            }
            Told::Refused(why) => {
                let until = now + REFUSAL_HOLDS;
                match self.refused.entry(report.destination) {
                    Entry::Vacant(unknown) => {
                        unknown.insert((why, report.router, until));
                        true
                    }
                    // What was said first stands as long as it is said again. Messages are easily forged, and a reason or a
                    // router of its own in each would be news with each.
                    Entry::Occupied(mut known) => {
                        if known.get().0 == why {
                            known.get_mut().2 = until;
                        }
                        false
                    }
                }
            }
        }
    }

    /// Whether this second has room for one more told MTU, which is taken.
    fn takes_news(&mut self, now: Instant) -> bool {
        let (since, count) = self.news.filter(|(since, _)| now < *since + NEWS_WINDOW).unwrap_or((now, 0));
        self.news = Some((since, count.saturating_add(1)));
        count < NEWS_PER_SECOND
    }

    /// Forgets what no longer holds. Gives whether there was any.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = (self.lowered.len(), self.refused.len());
        self.lowered.retain(|_, (_, until)| *until > now);
        self.refused.retain(|_, (_, _, until)| *until > now);
        before != (self.lowered.len(), self.refused.len())
    }

    /// Forgets paths to addresses that are no backend's any more.
    pub fn handle_destinations(&mut self, hops: &NextHops) -> bool {
        let before = (self.lowered.len(), self.refused.len());
        self.lowered.retain(|address, _| hops.contains_key(address));
        self.refused.retain(|address, _| hops.contains_key(address));
        before != (self.lowered.len(), self.refused.len())
    }

    /// When [`Self::handle_timeout`] has something to do. Changes with every report.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lowered = self.lowered.values().map(|(_, until)| *until);
        lowered.chain(self.refused.values().map(|(_, _, until)| *until)).min()
    }

    /// `hops` with the MTUs that their paths have.
    pub fn apply(&self, hops: &NextHops) -> NextHops {
        let mut hops = hops.clone();
        for (address, (mtu, _)) in &self.lowered {
            if let Some(Ok(paths)) = hops.get_mut(address) {
                for path in paths {
                    path.mtu = path.mtu.min(*mtu);
                }
            }
        }
        hops
    }

    /// What is known, for people.
    pub fn status(&self) -> BTreeMap<IpAddr, PathState> {
        let mut status: BTreeMap<IpAddr, PathState> = BTreeMap::new();
        const UNKNOWN: PathState = PathState { mtu: None, refused: None };
        for (address, (mtu, _)) in &self.lowered {
            status.entry(*address).or_insert(UNKNOWN).mtu = Some(*mtu);
        }
        for (address, (why, router, _)) in &self.refused {
            status.entry(*address).or_insert(UNKNOWN).refused = Some((*why, *router));
        }
        status
    }
}

#[cfg(test)]
mod tests;
