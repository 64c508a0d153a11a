// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The log of events: a ring that every reader walks at its own pace.
//!
//! ```text
//!  publish ──► ring of 4,096 ──► watch<latest number> wakes readers ──► each reads from its own place
//! ```
//!
//! A reader buffers nothing; one that falls a whole ring behind has lost events and is told so. Ids are
//! `<boot>-<number>`: numbers begin at 1 with each boot, so that an id of an earlier process is never taken for one of this.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::v1::{Event, EventKind, PreciseTime};

/// Events that are kept. A reader that is further behind must read the state anew.
pub const EVENTS_KEPT: usize = 4_096;

/// A change to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it happened.
    pub at: SystemTime,
    /// Of what kind.
    pub kind: EventKind,
    /// Which object.
    pub object: String,
    /// State before.
    pub from: Option<String>,
    /// State now.
    pub to: Option<String>,
    /// Why, as a word.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
}

/// The events of this process.
#[derive(Debug)]
pub struct EventLog {
    boot: String,
    ring: Mutex<Ring>,
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The oldest first; the last one has the number `latest`.
    events: VecDeque<Arc<Event>>,
    latest: u64,
}

/// The next events for one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These, each with its number; none when there is nothing new.
    Events(Vec<(u64, Arc<Event>)>),
    /// Some were lost: the ring begins after the reader's place.
    Lost,
}

impl EventLog {
    /// An empty log of the process that started at `started`.
    pub fn new(started: SystemTime) -> Self {
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Two starts of one appliance are never within a microsecond.
        let boot = format!("{:x}", since.as_micros());
        Self { boot, ring: Mutex::default(), latest: watch::Sender::new(0) }
    }

    /// Tells a change to all readers.
    pub fn publish(&self, change: Change) {
        let Change { at, kind, object, from, to, code, message } = change;
        let event = Event { at: PreciseTime(at), kind, object, from, to, code, message };
        let latest = {
            let mut ring = self.ring();
            if ring.events.len() == EVENTS_KEPT {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(event));
            ring.latest += 1;
            ring.latest
        };
        self.latest.send_replace(latest);
    }

    /// The id of an event by its number.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.boot)
    }

    /// The number of an id that is still known here: its successor is in the ring or yet to come.
    pub fn resume(&self, id: &str) -> Option<u64> {
        let (boot, number) = id.rsplit_once('-')?;
        let number = number.parse().ok()?;
        let ring = self.ring();
        (boot == self.boot && number <= ring.latest && number >= ring.first() - 1).then_some(number)
    }

    /// The number before the oldest event that is kept: what comes after it is all that is still known.
    pub fn oldest(&self) -> u64 {
        self.ring().first() - 1
    }

    /// The number of the latest event, and a wake-up at each new one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// Events after number `after`, at most `max`.
    pub fn after(&self, after: u64, max: usize) -> Next {
        let ring = self.ring();
        let first = ring.first();
        let Some(skip) = (after + 1).checked_sub(first) else { return Next::Lost };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let events = ring.events.iter().skip(skip).take(max);
        Next::Events((after + 1..).zip(events.map(Arc::clone)).collect())
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        // A poisoned ring is still a ring: no code path leaves it half changed.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Number of the oldest event that is kept, or of the next one when none is.
    fn first(&self) -> u64 {
        self.latest + 1 - self.events.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn change(object: &str) -> Change {
        Change {
            at: UNIX_EPOCH,
            kind: EventKind::Vip,
            object: object.to_owned(),
            from: None,
            to: Some("announced".to_owned()),
            code: String::new(),
            message: String::new(),
        }
    }

    fn numbers(next: &Next) -> Vec<u64> {
        match next {
            Next::Events(events) => events.iter().map(|(number, _)| *number).collect(),
            Next::Lost => panic!("lost"),
        }
    }

    #[test]
    fn readers_walk_the_ring_at_their_own_pace() {
        let log = EventLog::new(UNIX_EPOCH);
        assert_eq!((log.oldest(), numbers(&log.after(0, 10)).len()), (0, 0));
        for object in ["a", "b", "c"] {
            log.publish(change(object));
        }
        assert_eq!(numbers(&log.after(0, 2)), [1, 2]);
        assert_eq!(numbers(&log.after(2, 10)), [3]);
        assert_eq!(numbers(&log.after(3, 10)), [0; 0]);
        assert_eq!(*log.subscribe().borrow(), 3);
    }

    #[test]
    fn a_reader_a_whole_ring_behind_has_lost_events() {
        let log = EventLog::new(UNIX_EPOCH);
        for _ in 0..EVENTS_KEPT {
            log.publish(change("a"));
        }
        assert_eq!(numbers(&log.after(0, 1)), [1]);
        log.publish(change("a"));
        assert_eq!(log.after(0, 1), Next::Lost);
        assert_eq!(numbers(&log.after(1, 1)), [2]);
        assert_eq!(numbers(&log.after(1, usize::MAX)).len(), EVENTS_KEPT);
        assert_eq!(log.oldest(), 1);
    }

    #[test]
    fn ids_are_resumed_only_where_nothing_is_missed() {
        let started = UNIX_EPOCH + Duration::from_secs(1);
        let log = EventLog::new(started);
        let id = log.id(0);
        assert_eq!(log.resume(&id), Some(0));
        assert_eq!(log.resume(&log.id(1)), None, "of the future");
        for _ in 0..=EVENTS_KEPT {
            log.publish(change("a"));
        }
        assert_eq!(log.resume(&id), None, "the first event after it is gone");
        assert_eq!(log.resume(&log.id(1)), Some(1));
        let later = EventLog::new(started + Duration::from_secs(1));
        later.publish(change("a"));
        assert_eq!(log.resume(&later.id(1)), None, "of another boot");
        for bad in ["", "-", "1", "x-y", "f4240-", "f4240-99999999999999999999"] {
            assert_eq!(log.resume(bad), None, "{bad}");
        }
    }
}
