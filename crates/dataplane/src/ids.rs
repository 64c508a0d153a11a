// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small stable ids, found again by identity: pure bookkeeping.
//!
//! An id goes through three stages: *in use* (somebody wants it), *retired* (nobody wants it, but flows or packets in
//! flight may still name it), *free*. A retired id that is wanted again comes back as it was. Only the sweeper, having
//! seen that nothing names it any more, frees it.

use std::collections::{BTreeMap, BTreeSet};

/// What an id stands for: a hash of names and addresses, never 0.
pub(crate) type Identity = u64;

/// Ids `first..first + count` and what they stand for.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    by_identity: BTreeMap<Identity, u32>,
    retired: BTreeSet<u32>,
    free: BTreeSet<u32>,
}

/// All ids are in use or retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no id is free")]
pub(crate) struct NoneFree;

impl Ids {
    /// No id in use.
    pub(crate) fn new(first: u32, count: u32) -> Self {
        Self {
            by_identity: BTreeMap::new(),
            retired: BTreeSet::new(),
            free: (first..first + count).collect(),
        }
    }

    /// Takes over what a former process left: `id` stands for `identity`, and is retired until somebody wants it.
    pub(crate) fn adopt(&mut self, id: u32, identity: Identity) {
        self.free.remove(&id);
        self.by_identity.insert(identity, id);
        self.retired.insert(id);
    }

    /// The id of `identity`, a new one if need be. The flag tells whether it is new.
    ///
    /// # Errors
    /// [`NoneFree`].
    pub(crate) fn want(&mut self, identity: Identity) -> Result<(u32, bool), NoneFree> {
        if let Some(&id) = self.by_identity.get(&identity) {
            self.retired.remove(&id);
            return Ok((id, false));
        }
        let id = self.free.pop_first().ok_or(NoneFree)?;
        self.by_identity.insert(identity, id);
        Ok((id, true))
    }

    /// The id of `identity`, if somebody wants it.
    pub(crate) fn in_use(&self, identity: Identity) -> Option<u32> {
        self.by_identity.get(&identity).copied().filter(|id| !self.retired.contains(id))
    }

    /// Retires every id in use that is not `wanted`; gives those newly retired.
    pub(crate) fn retain(&mut self, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        let gone: Vec<u32> = self
            .by_identity
            .values()
            .copied()
            .filter(|id| !wanted(*id) && !self.retired.contains(id))
            .collect();
        self.retired.extend(&gone);
        gone
    }

    /// Frees every id whose identity `wanted` does not hold, retired or not; for ids that nothing in flight can misuse.
    pub(crate) fn free_all_but(&mut self, wanted: &BTreeSet<Identity>) {
        let (retired, free) = (&mut self.retired, &mut self.free);
        self.by_identity.retain(|identity, id| {
            let stays = wanted.contains(identity);
            if !stays {
                retired.remove(id);
                free.insert(*id);
            }
            stays
        });
    }

    /// Ids that are retired.
    pub(crate) fn retired(&self) -> impl Iterator<Item = u32> {
        self.retired.iter().copied()
    }

    /// Ids that are in use or retired.
    pub(crate) fn held(&self) -> impl Iterator<Item = u32> {
        self.by_identity.values().copied()
    }

    /// Frees retired ids.
    ///
    /// # Panics
    /// If one is not retired: freeing an id in use would give its flows to a stranger.
    pub(crate) fn release(&mut self, ids: &BTreeSet<u32>) {
        for id in ids {
            assert!(self.retired.remove(id), "id {id} is not retired");
        }
        self.by_identity.retain(|_, held| !ids.contains(held));
        self.free.extend(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_retired_id_comes_back_to_its_owner_and_to_nobody_else() {
        let mut ids = Ids::new(1, 2);
        assert_eq!(ids.want(10), Ok((1, true)));
        assert_eq!(ids.retain(|_| false), vec![1]);
        assert_eq!(ids.want(20), Ok((2, true)));
        assert_eq!(ids.want(30), Err(NoneFree));
        assert_eq!([10, 20, 30].map(|identity| ids.in_use(identity)), [None, Some(2), None]);
        assert_eq!(ids.want(10), Ok((1, false)));
        assert_eq!(ids.in_use(10), Some(1));
    }

    #[test]
    fn an_adopted_id_is_found_by_its_identity() {
        let mut ids = Ids::new(1, 3);
        ids.adopt(2, 77);
        assert_eq!(ids.want(88), Ok((1, true)));
        assert_eq!(ids.want(77), Ok((2, false)));
        assert_eq!(ids.want(99), Ok((3, true)));
    }

    #[test]
    fn what_is_not_wanted_is_free_at_once() {
        let mut ids = Ids::new(0, 2);
        ids.want(10).unwrap();
        ids.want(20).unwrap();
        ids.free_all_but(&BTreeSet::from([20]));
        assert_eq!(ids.want(30), Ok((0, true)));
        assert_eq!(ids.want(20), Ok((1, false)));
    }

    proptest! {
        #[test]
        fn two_identities_never_share_an_id(steps in proptest::collection::vec((0..4_u8, 1..9_u64), 1..200)) {
            let mut ids = Ids::new(1, 5);
            let mut model: BTreeMap<Identity, u32> = BTreeMap::new();
            for (step, identity) in steps {
                match step {
                    0 | 1 => if let Ok((id, new)) = ids.want(identity) {
                        prop_assert_eq!(new, !model.contains_key(&identity));
                        prop_assert_eq!(*model.entry(identity).or_insert(id), id);
                    },
                    2 => {
                        ids.retain(|id| id % 2 == 0);
                    }
                    _ => {
                        let retired: Vec<u32> = ids.retired().collect();
                        if let Some(&id) = retired.first() {
                            ids.release(&BTreeSet::from([id]));
                            model.retain(|_, held| *held != id);
                        }
                    }
                }
                let distinct: BTreeSet<u32> = model.values().copied().collect();
                prop_assert_eq!(distinct.len(), model.len());
            }
        }
    }
}
