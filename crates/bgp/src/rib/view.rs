// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one peer was told, to be read by others: shares the wanted set instead of copying it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Export, Told, Wanted};
use crate::advertise::Prefix;
use crate::config::Family;
use crate::status::AdvertisedRoute;
use crate::wire::{AsPath, NextHop};

/// The Adj-RIB-Out of a session that has nothing left to say; cheap to clone. Empty without a session.
#[derive(Debug, Clone, Default)]
pub struct AdjRibOutView {
    wanted: Arc<Wanted>,
    export: Option<Export>,
}

impl AdjRibOutView {
    /// What a session with these measures tells of a wanted set.
    pub fn new(wanted: Arc<Wanted>, export: Option<Export>) -> Self {
        Self { wanted, export }
    }

    /// Number of prefixes of a family.
    pub fn len(&self, family: Family) -> usize {
        if !self.export.as_ref().is_some_and(|export| export.sends_family(family)) {
            return 0;
        }
        self.wanted.paths.iter().filter(|(prefix, _)| prefix.family() == family).count()
    }

    /// Whether the peer was told of this prefix.
    pub fn contains(&self, prefix: &Prefix) -> bool {
        self.export.as_ref().is_some_and(|export| export.sends(prefix)) && self.wanted.contains(prefix)
    }

    /// Whether nothing at all was told.
    pub fn is_empty(&self) -> bool {
        Family::ALL.into_iter().all(|family| self.len(family) == 0)
    }

    /// The prefixes of a family with what was told of them, sorted.
    pub fn iter(&self, family: Family) -> impl Iterator<Item = AdvertisedRoute> + '_ {
        self.iter_after(family, None)
    }

    /// As [`Self::iter`], beginning behind a prefix, be it there or not: what comes before costs nothing.
    pub fn iter_after(
        &self,
        family: Family,
        after: Option<Prefix>,
    ) -> impl Iterator<Item = AdvertisedRoute> + '_ {
        let from = after.map_or(0, |after| self.wanted.paths.partition_point(|(prefix, _)| *prefix <= after));
        let told = self.export.as_ref().filter(|export| export.families.contains(family));
        let told = told.and_then(|export| Some((export, export.next_hop(family)?)));
        told.into_iter().flat_map(move |(export, next_hop)| {
            let of_family = self.wanted.paths.iter().skip(from);
            let of_family = of_family.filter(move |(prefix, _)| prefix.family() == family);
            of_family.map(move |(prefix, attributes)| {
                let told = Told::new(attributes, &export.policy);
                AdvertisedRoute {
                    prefix: *prefix,
                    next_hop: match next_hop {
                        NextHop::V4(address) => IpAddr::V4(address),
                        NextHop::V6(address) => IpAddr::V6(address),
                    },
                    as_path: AsPath::own(export.asn, told.path_length).to_string(),
                    med: told.med,
                    communities: told.communities,
                    large_communities: told.large_communities,
                    link_bandwidth: told.link_bandwidth.map(|(bytes, _)| bytes),
                }
            })
        })
    }
}
