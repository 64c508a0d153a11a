// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one peer was told, to be read by others: shares the wanted set instead of copying it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Export, Wanted};
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
        let Some(export) = self.export else { return 0 };
        if !export.families.contains(family) || export.next_hop(family).is_none() {
            return 0;
        }
        self.wanted.paths.iter().filter(|(prefix, _)| prefix.family() == family).count()
    }

    /// Whether the peer was told of this prefix.
    pub fn contains(&self, prefix: &Prefix) -> bool {
        self.export.is_some_and(|export| export.sends(prefix)) && self.wanted.contains(prefix)
    }

    /// Whether nothing at all was told.
    pub fn is_empty(&self) -> bool {
        Family::ALL.into_iter().all(|family| self.len(family) == 0)
    }

    /// The prefixes of a family with what was told of them, sorted.
    pub fn iter(&self, family: Family) -> impl Iterator<Item = AdvertisedRoute> + '_ {
        let told = self.export.and_then(|export| Some((export, export.next_hop(family)?)));
        let told = told.filter(|(export, _)| export.families.contains(family));
        told.into_iter().flat_map(move |(export, next_hop)| {
            let of_family = self.wanted.paths.iter().filter(move |(prefix, _)| prefix.family() == family);
            of_family.map(move |(prefix, attributes)| AdvertisedRoute {
                prefix: *prefix,
                next_hop: match next_hop {
                    NextHop::V4(address) => IpAddr::V4(address),
                    NextHop::V6(address) => IpAddr::V6(address),
                },
                as_path: AsPath::own(export.asn, 1 + usize::from(attributes.prepend)).to_string(),
                med: attributes.med,
                communities: attributes.communities.clone(),
                large_communities: attributes.large_communities.clone(),
                link_bandwidth: None,
            })
        })
    }
}
