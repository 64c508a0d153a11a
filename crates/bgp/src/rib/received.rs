// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one peer has told (Adj-RIB-In): for display, and for whoever picks default routes out of it. Pure.
//!
//! Bounded: a number of prefixes per family, and of each path as much as is shown. While the peer restarts its routes are
//! stale: kept until told again, until End-of-RIB, or until the session says that time is over (RFC 4724 §4.2). While the peer
//! tells everything of a family again (RFC 7313 §4), what is not told by its end goes; until then it is as good as ever.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::advertise::Prefix;
use crate::config::{Families, Family};
use crate::status::ReceivedRoute;
use crate::wire::{AsPath, Origin, PathAttributes, Segment, SegmentKind};

/// Communities kept of each kind; more are left out of what is shown.
pub const COMMUNITIES_KEPT_MAX: usize = 32;
/// Octets kept of an AS_PATH in words; what is beyond is shown as `…`.
pub const AS_PATH_TEXT_MAX: usize = 255;

/// More prefixes of a family than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// The family.
    pub family: Family,
    /// How many are allowed.
    pub max: u32,
}

/// A path as far as it is kept; shared by the prefixes of one UPDATE.
#[derive(Debug)]
pub struct ReceivedPath {
    next_hops: Vec<IpAddr>,
    as_path: String,
    as_path_len: u32,
    first_as: Option<u32>,
    origin: u8,
    med: Option<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
}

impl ReceivedPath {
    /// What is kept of these attributes, for prefixes with these next hops.
    pub fn new(attributes: &PathAttributes, next_hops: Vec<IpAddr>) -> Self {
        let path = attributes.full_path().unwrap_or_default();
        let kept = |count: usize| count.min(COMMUNITIES_KEPT_MAX);
        let communities = &attributes.communities;
        let large = &attributes.large_communities;
        Self {
            next_hops,
            as_path: as_path_text(&path),
            as_path_len: hops(&path),
            first_as: path.segments.first().and_then(|segment| segment.asns.first()).copied(),
            origin: match attributes.origin {
                Some(Origin::Igp) => 0,
                Some(Origin::Egp) => 1,
                Some(Origin::Incomplete) | None => 2,
            },
            med: attributes.med,
            communities: communities[..kept(communities.len())].to_vec(),
            large_communities: large[..kept(large.len())].to_vec(),
        }
    }
}

/// Length of a path: a set counts as one (RFC 4271 §9.1.2.2).
fn hops(path: &AsPath) -> u32 {
    let of = |segment: &Segment| match segment.kind {
        SegmentKind::Set => 1,
        SegmentKind::Sequence => segment.asns.len(),
    };
    u32::try_from(path.segments.iter().map(of).sum::<usize>()).unwrap_or(u32::MAX)
}

fn as_path_text(path: &AsPath) -> String {
    let mut text = path.to_string();
    if text.len() > AS_PATH_TEXT_MAX {
        // Digits, spaces and brackets: every octet is a character.
        text.truncate(AS_PATH_TEXT_MAX - '…'.len_utf8());
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[derive(Debug)]
struct Entry {
    path: Arc<ReceivedPath>,
    received_at: Instant,
    is_stale: bool,
    /// The peer tells everything of its family again, and this not yet.
    is_awaited: bool,
}

fn index(family: Family) -> usize {
    match family {
        Family::Ipv4Unicast => 0,
        Family::Ipv6Unicast => 1,
    }
}

/// The routes of one peer.
#[derive(Debug, Default)]
pub struct AdjRibIn {
    max: u32,
    routes: BTreeMap<Prefix, Entry>,
    /// Of `routes`, by family; and how many of those are stale.
    counts: [(u32, u32); 2],
    version: u64,
}

impl AdjRibIn {
    /// An empty one for at most `max` prefixes of a family.
    pub fn new(max: u32) -> Self {
        Self { max, ..Self::default() }
    }

    fn count(&mut self, family: Family) -> &mut (u32, u32) {
        &mut self.counts[index(family)]
    }

    /// The peer announces `prefix`. What is stale makes room if there is none.
    pub fn announce(
        &mut self,
        now: Instant,
        prefix: Prefix,
        path: &Arc<ReceivedPath>,
    ) -> Result<(), TooMany> {
        let (family, max) = (prefix.family(), self.max);
        if self.len(family) >= max && !self.routes.contains_key(&prefix) {
            let mut only = Families::default();
            only.insert(family);
            self.drop_stale(only);
            if self.len(family) >= max {
                return Err(TooMany { family, max });
            }
        }
        let entry = Entry { path: Arc::clone(path), received_at: now, is_stale: false, is_awaited: false };
        match self.routes.insert(prefix, entry) {
            None => self.count(family).0 += 1,
            Some(old) => self.count(family).1 -= u32::from(old.is_stale),
        }
        self.version += 1;
        Ok(())
    }

    /// The peer has no route for `prefix` any more.
    pub fn withdraw(&mut self, prefix: &Prefix) {
        if let Some(old) = self.routes.remove(prefix) {
            let count = self.count(prefix.family());
            count.0 -= 1;
            count.1 -= u32::from(old.is_stale);
            self.version += 1;
        }
    }

    /// Forgets everything of these families.
    pub fn drop_families(&mut self, families: Families) {
        self.retain(|prefix, _| !families.contains(prefix.family()));
    }

    /// Forgets what is stale of these families: the peer did not tell it again.
    pub fn drop_stale(&mut self, families: Families) {
        if families.iter().any(|family| self.count(family).1 > 0) {
            self.retain(|prefix, entry| !(entry.is_stale && families.contains(prefix.family())));
        }
    }

    /// The peer begins to tell everything of `family` again (BoRR).
    pub fn begin_refresh(&mut self, family: Family) {
        for (prefix, entry) in &mut self.routes {
            entry.is_awaited |= prefix.family() == family;
        }
    }

    /// That was everything (EoRR): what was not told again since its begin is gone. Without a begin nothing is.
    pub fn end_refresh(&mut self, family: Family) {
        self.retain(|prefix, entry| !(entry.is_awaited && prefix.family() == family));
    }

    fn retain(&mut self, is_kept: impl Fn(&Prefix, &Entry) -> bool) {
        let before = self.routes.len();
        let mut counts = [(0, 0); 2];
        self.routes.retain(|prefix, entry| {
            let is_kept = is_kept(prefix, entry);
            let count = &mut counts[index(prefix.family())];
            count.0 += u32::from(is_kept);
            count.1 += u32::from(is_kept && entry.is_stale);
            is_kept
        });
        self.counts = counts;
        self.version += u64::from(self.routes.len() != before);
    }

    /// The peer restarts: routes of `kept` become stale, everything else is forgotten, and so is what was stale before, for
    /// a peer that never finishes would keep it for ever (RFC 4724 §4.2).
    pub fn peer_restarts(&mut self, kept: Families) {
        self.retain(|prefix, entry| kept.contains(prefix.family()) && !entry.is_stale);
        for entry in self.routes.values_mut() {
            (entry.is_stale, entry.is_awaited) = (true, false);
        }
        for count in &mut self.counts {
            count.1 = count.0;
        }
        self.version += 1;
    }

    /// Number of prefixes of a family.
    pub fn len(&self, family: Family) -> u32 {
        self.counts[index(family)].0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Families with stale routes.
    pub fn stale(&self) -> Families {
        Families { ipv4: self.counts[0].1 > 0, ipv6: self.counts[1].1 > 0 }
    }

    /// Changes with every change of [`AdjRibIn::snapshot`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The routes sorted by prefix; `now` by both clocks tells when each was received.
    pub fn snapshot(&self, now: Instant, calendar: SystemTime) -> Arc<[ReceivedRoute]> {
        let route = |(prefix, entry): (&Prefix, &Entry)| {
            let path = &entry.path;
            ReceivedRoute {
                prefix: *prefix,
                next_hops: path.next_hops.clone(),
                as_path: path.as_path.clone(),
                as_path_len: path.as_path_len,
                first_as: path.first_as,
                origin: path.origin,
                med: path.med,
                communities: path.communities.clone(),
                large_communities: path.large_communities.clone(),
                is_stale: entry.is_stale,
                received_at: calendar
                    .checked_sub(now.saturating_duration_since(entry.received_at))
                    .unwrap_or(calendar),
            }
        };
        self.routes.iter().map(route).collect()
    }
}

#[cfg(test)]
mod tests;
