// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Readiness as latches: each subsystem holds one and drops it once it is up; ready means that none is held.
//!
//! A latch is a value, so a subsystem cannot report itself ready twice, and one that never comes up is seen by name.

use std::sync::{Arc, Mutex, PoisonError};

/// The set of parts that are not up yet. Clones see the same set.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<Vec<&'static str>>>,
}

/// Held by a part until it is up; dropping it says so.
#[derive(Debug)]
#[must_use = "dropping the latch says that the part is up"]
pub struct Latch {
    part: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// A set in which nothing is awaited.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `part` to what is awaited, until the latch is dropped.
    pub fn latch(&self, part: &'static str) -> Latch {
        self.with(|waiting| waiting.push(part));
        Latch { part, readiness: self.clone() }
    }

    /// The parts still awaited, in the order in which they were added.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.with(|waiting| waiting.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<&'static str>) -> T) -> T {
        // A poisoned list is still a list: no code path leaves it half changed.
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.readiness.with(|waiting| {
            if let Some(at) = waiting.iter().position(|part| *part == self.part) {
                waiting.remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_latch_is_dropped() {
        let readiness = Readiness::new();
        let document = readiness.latch("document");
        let dataplane = readiness.latch("dataplane");
        assert_eq!(readiness.waiting(), ["document", "dataplane"]);
        drop(document);
        assert_eq!(readiness.clone().waiting(), ["dataplane"]);
        drop(dataplane);
        assert!(readiness.waiting().is_empty());
    }

    #[test]
    fn two_latches_of_one_name_are_counted() {
        let readiness = Readiness::new();
        let first = readiness.latch("uplink");
        let second = readiness.latch("uplink");
        drop(first);
        assert_eq!(readiness.waiting(), ["uplink"]);
        drop(second);
        assert!(readiness.waiting().is_empty());
    }
}
