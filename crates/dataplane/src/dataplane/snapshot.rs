// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables read back into memory, for asking the same packet logic on the host.

use std::sync::atomic::Ordering;

use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::names;

use super::{Dataplane, program};
use crate::host::HostTables;
use crate::kernel::clock::{self, ClockError};

impl Dataplane {
    /// A copy of all tables, flows included, as they are now. Not a consistent cut: packets go on meanwhile.
    ///
    /// # Errors
    /// When the kernel's clock cannot be read.
    pub fn snapshot(&mut self) -> Result<HostTables, ClockError> {
        let maps = &self.maps;
        let mut host =
            HostTables::new(maps.flows.len() as usize, HashKeys::from_seed(&self.config.hash_seed));
        host.services.clone_from(&self.tables.service_map);
        host.pools = (0..maps.pools.len()).map(|id| maps.pools.read(id).rows).collect();
        host.rows = (0..maps.rows.len()).map(|index| maps.rows.read(index)).collect();
        host.backends = (0..maps.backends.len()).map(|id| maps.backends.read(id)).collect();
        host.next_hops = (0..maps.next_hops.len()).map(|id| maps.next_hops.read(id)).collect();
        host.knobs = maps.knobs.read(0);
        host.prefixes = maps.prefixes.iter().filter_map(Result::ok).map(|(_, value)| value).collect();
        self.copy_flows(&host);
        self.copy_others(&host);
        host.tick.store(self.tick()?, Ordering::Relaxed);
        Ok(host)
    }

    /// Brings the flow table of a former [`Dataplane::snapshot`] up to date.
    ///
    /// # Panics
    /// If `host` has another number of flow sets.
    pub fn copy_flows(&self, host: &HostTables) {
        assert_eq!(host.flows.len(), self.maps.flows.len() as usize, "a snapshot of this dataplane");
        for (set, slots) in (0..).zip(&host.flows) {
            for index in 0..SLOTS_PER_SET {
                slots[index]
                    .store(self.maps.flows.word(set, index).load(Ordering::Acquire), Ordering::Release);
            }
        }
    }

    /// Brings budgets and first fragments of a former [`Dataplane::snapshot`] up to date. Of the processors' own budgets the
    /// fullest word is taken: that of the one that a private copy's caller stays on.
    ///
    /// # Panics
    /// If a thread panicked while it looked at them.
    pub fn copy_others(&self, host: &HostTables) {
        let spent = (0..self.maps.budgets.len()).map(|index| (index, self.maps.budgets.read(index)));
        *host.budgets.lock().expect("nobody panics while holding it") =
            spent.filter(|(_, word)| *word != 0).collect();
        let learned = self.maps.learned.get(&0, 0).ok().and_then(|words| words.iter().max().copied());
        host.learned.store(learned.unwrap_or_default(), Ordering::Relaxed);
        *host.fragments.lock().expect("nobody panics while holding it") =
            self.maps.fragments.iter().filter_map(Result::ok).collect();
    }

    /// The clock as programs see it now: 14 bits of seconds.
    ///
    /// # Errors
    /// When the kernel's clock cannot be read.
    pub fn tick(&mut self) -> Result<u16, ClockError> {
        let clock = program(&mut self.object, names::PROGRAM_CLOCK).expect("loaded when opened");
        Ok(clock::tick(clock::jiffies(clock)?, self.tick_factor))
    }
}
