// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of services by packets made to try them: pure bookkeeping.
//!
//! An outcome is *fresh* while the tables that the packet went through are in force. When they change it is *stale*: good
//! enough to keep an announced VIP for the moment until the next packet, never to announce one.

use std::collections::BTreeMap;

use weir_dataplane::forwarding::Service;

use super::desired::Target;
use super::plan::{ServiceKey, key};

/// Outcomes by service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verified {
    services: BTreeMap<ServiceKey, Tried>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tried {
    outcome: Result<(), String>,
    is_fresh: bool,
}

impl Verified {
    pub(super) fn handle_outcome(&mut self, service: &Service, outcome: Result<(), String>) {
        self.services.insert(key(service), Tried { outcome, is_fresh: true });
    }

    /// The tables went from `before` to `after`: what changed has to be tried again, what left is forgotten.
    pub(super) fn handle_change(&mut self, before: &Target, after: &Target) {
        let mut changed: BTreeMap<&str, bool> = BTreeMap::new();
        fn by_key(target: &Target) -> BTreeMap<ServiceKey, &Service> {
            target.state.services.values().map(|one| (key(one), one)).collect()
        }
        let new = by_key(after);
        let old = (before.state.services != after.state.services).then(|| by_key(before));
        self.services.retain(|key, tried| {
            let Some((name, _)) = new.get(key).and_then(|one| after.state.pools.get_key_value(&one.pool))
            else {
                return false;
            };
            let is_changed =
                *changed.entry(name.as_str()).or_insert_with(|| is_pool_changed(name, before, after));
            tried.is_fresh &= !is_changed && old.as_ref().is_none_or(|old| old.get(key) == new.get(key));
            true
        });
    }

    /// Nobody knows what is in the tables.
    pub(super) fn handle_doubt(&mut self) {
        for tried in self.services.values_mut() {
            tried.is_fresh = false;
        }
    }

    /// Whether nothing has changed since a packet came through.
    pub(super) fn is_fresh(&self, service: &Service) -> bool {
        self.services.get(&key(service)).is_some_and(|tried| tried.is_fresh && tried.outcome.is_ok())
    }

    /// What speaks against announcing the service, or against leaving it announced.
    pub(super) fn obstacle(&self, service: &Service, is_told: bool) -> Option<String> {
        let Some(tried) = self.services.get(&key(service)) else {
            return Some("no packet was made to try it yet".to_owned());
        };
        match &tried.outcome {
            Err(why) => Some(format!("a packet made to try it did not come through: {why}")),
            Ok(()) if tried.is_fresh || is_told => None,
            Ok(()) => Some("no packet was made to try the present tables yet".to_owned()),
        }
    }
}

fn is_pool_changed(name: &str, before: &Target, after: &Target) -> bool {
    let (Some(old), Some(new)) = (before.state.pools.get(name), after.state.pools.get(name)) else {
        return true;
    };
    old != new
        || new
            .backends
            .values()
            .any(|one| before.next_hops.get(&one.address) != after.next_hops.get(&one.address))
}
