// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From documents to what a replay is opened with and told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use weir_dataplane::DataplaneConfig;
use weir_dataplane::forwarding::{Backend, BackendState, ForwardingState, Vip, VipPrefix};
use weir_dataplane::next_hop::{MacAddress, NextHop, NextHops, Unresolved};
use weir_dataplane::replay::{INGRESS, Setting};

use super::section::{SECTION, Section, State, VipState};
use crate::config;
use crate::model::{Document, Generation};
use crate::overrides::Overrides;
use crate::reconcile::desired::{Admin, Snapshot, desired, destinations};
use crate::reconcile::first_results::FirstResults;
use crate::translate;

/// Interface index of the second uplink; the first is the one that frames come in by.
const OTHER_UPLINKS: u32 = 1_000;

/// A document with its section.
#[derive(Debug)]
pub(super) struct Given {
    document: Document,
    section: Section,
}

impl Given {
    /// Reads a file.
    pub(super) fn load(file: &Path) -> Result<Self> {
        let (mut document, text) = config::load_for_forwarding(file, SECTION)?;
        let section = Section::read(file, &text)?;
        // Nobody checks here: what backends may receive is written in the section.
        for pool in document.pools.values_mut() {
            pool.check = None;
        }
        Ok(Self { document, section })
    }

    /// What the private copy is opened with.
    pub(super) fn open_with(&self) -> Result<DataplaneConfig> {
        let seed = match self.section.hash_seed()? {
            Some(seed) => seed,
            None => {
                let file = &self.document.appliance.hash_seed_file;
                let seed = config::read_hash_seed(file).with_context(|| {
                    format!("{}; `replay.hash_seed` in the document would be used instead", file.display())
                })?;
                seed.0
            }
        };
        Ok(translate::dataplane(&self.document, seed))
    }

    /// Names of the uplinks by interface index.
    pub(super) fn uplinks(&self) -> Vec<(u32, String)> {
        (0..).map(ifindex).zip(self.section.uplinks()).collect()
    }

    /// What the private copy is told.
    pub(super) fn setting(&self) -> Result<Setting> {
        let mut next_hops = NextHops::new();
        for address in destinations(&self.document) {
            let hops: Vec<NextHop> = self.section.hops(address)?.iter().map(next_hop).collect();
            next_hops.insert(address, if hops.is_empty() { Err(Unresolved::NoRoute) } else { Ok(hops) });
        }
        let target = desired(&Snapshot {
            document: &self.document,
            generation: Generation::default(),
            next_hops: &next_hops,
            targets: &Arc::default(),
            readings: &BTreeMap::new(),
            first_results: &FirstResults::default(),
            overrides: &Overrides::default(),
            admin: Admin::default(),
        })
        .target;
        let mut state = target.state.clone();
        self.set_backends(&mut state)?;
        self.set_vips(&mut state)?;
        for pool in self.section.rows.keys() {
            ensure!(state.pools.contains_key(pool), "`replay.rows.{pool}`: no pool has this name");
        }
        Ok(Setting {
            state,
            next_hops: target.next_hops.clone(),
            rows: self.section.rows.clone().into_iter().collect(),
            uplinks: self.uplinks().into_iter().map(|(index, _)| index).filter(|i| *i != INGRESS).collect(),
        })
    }

    fn set_backends(&self, state: &mut ForwardingState) -> Result<()> {
        let mut backend_of = |part: &str, pool: &str, name: &str, edit: &mut dyn FnMut(&mut _)| {
            let found = state.pools.get_mut(pool).and_then(|pool| pool.backends.get_mut(name));
            edit(found.with_context(|| format!("`replay.{part}.{pool}.{name}`: there is no such backend"))?);
            anyhow::Ok(())
        };
        for (pool, backends) in &self.section.backends {
            for (name, &given) in backends {
                let set = &mut |one: &mut Backend| {
                    one.state = match given {
                        State::Usable => BackendState::Usable,
                        State::Draining => BackendState::Draining,
                        State::Failed => BackendState::Failed,
                        State::Disabled => BackendState::Disabled,
                    };
                };
                backend_of("backends", pool, name, set)?;
            }
        }
        for (pool, backends) in &self.section.caps {
            for (name, &cap) in backends {
                ensure!(cap <= 1000, "`replay.caps.{pool}.{name}` is {cap}; 0 to 1000 are possible");
                backend_of("caps", pool, name, &mut |one| one.cap_permille = cap)?;
            }
        }
        Ok(())
    }

    fn set_vips(&self, state: &mut ForwardingState) -> Result<()> {
        for name in self.section.vips.keys() {
            ensure!(self.document.vips.contains_key(name), "`replay.vips.{name}`: no VIP has this name");
        }
        // A VIP is up unless the section says otherwise; only one that is answers.
        for (name, vip) in &self.document.vips {
            let is_up = self.section.vips.get(name).is_none_or(|state| *state == VipState::Up);
            let prefix = VipPrefix { address: vip.prefix.address(), length: vip.prefix.length() };
            state.vips.insert(prefix, Vip { answers_echo: vip.echo && is_up });
        }
        Ok(())
    }
}

/// Interface index of the uplink at this place.
fn ifindex(place: u32) -> u32 {
    if place == 0 { INGRESS } else { OTHER_UPLINKS + place }
}

fn next_hop(hop: &super::section::Hop) -> NextHop {
    let place = u32::try_from(hop.uplink).expect("a few uplinks");
    NextHop {
        ifindex: ifindex(place),
        source_mac: mac(hop.source_mac),
        destination_mac: mac(hop.destination_mac),
        mtu: hop.mtu,
        vlan: hop.vlan,
        is_on_link: hop.is_on_link,
    }
}

fn mac(octets: [u8; 6]) -> MacAddress {
    octets
}
