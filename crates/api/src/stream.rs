// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events to one reader, as server-sent events.
//!
//! ```text
//!  retry: 2000
//!                                                a reader that reconnects waits 2 s
//!  id: 5f1c0-17
//!  event: backend
//!  data: {"at":…,"kind":"backend","object":"backend/web/b1",…}
//!
//!  : keep-alive                                  after 15 s without an event
//! ```
//!
//! A reader owns a place in the log and no buffer. One that falls behind the log's ring gets `overflow` and is cut off; one
//! that does not read at all is cut off by [`Progress`], since nothing can be said to it any more.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::Stream;
use tokio::sync::watch;

use crate::events::{EventLog, Next};
use crate::stats::Stats;
use crate::v1::{Event, EventKind, PreciseTime};

/// Readers at once; another one is answered 503.
pub(crate) const WATCHERS_MAX: u64 = 64;
/// Events that are written at once.
const BATCH: usize = 128;
/// Longest silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a reader waits before it connects again.
const RETRY: &str = "retry: 2000\n\n";
/// A stream that was not asked for its next bytes for so long has a reader that does not read.
const STALLED_AFTER: Duration = Duration::from_secs(45);

/// Whether a connection carries a stream, and when that was last asked for bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    /// Whether a stream is under way.
    pub(crate) fn is_streaming(&self) -> bool {
        self.last().is_some()
    }

    /// Whether a stream is under way whose reader does not read.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        self.last().is_some_and(|last| now.saturating_duration_since(last) > STALLED_AFTER)
    }

    /// The stream was asked for bytes at `at`, or is over.
    pub(crate) fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader's place among at most [`WATCHERS_MAX`].
#[derive(Debug)]
pub(crate) struct Seat(Arc<Stats>);

impl Seat {
    /// A place, if there is one.
    pub(crate) fn take(stats: &Arc<Stats>) -> Option<Self> {
        let more = |taken: u64| (taken < WATCHERS_MAX).then_some(taken + 1);
        stats.watchers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(stats)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// After the event with this number.
    After(u64),
    /// With what comes next, after a word that something was missed.
    Resync,
}

/// A stream that has not ended.
struct Follower {
    log: Arc<EventLog>,
    latest: watch::Receiver<u64>,
    after: u64,
    /// Kinds to tell; empty for all.
    kinds: BTreeSet<EventKind>,
    stopping: watch::Receiver<bool>,
    progress: Progress,
    /// To be written before anything else.
    head: Option<String>,
    is_over: bool,
    seat: Seat,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.progress.set(None);
    }
}

/// The bytes for one reader, until it goes, falls behind, or the server stops.
pub(crate) fn stream(
    log: Arc<EventLog>,
    start: Start,
    kinds: BTreeSet<EventKind>,
    stopping: watch::Receiver<bool>,
    progress: Progress,
    seat: Seat,
) -> impl Stream<Item = Result<String, Infallible>> + Send {
    let latest = log.subscribe();
    let mut head = RETRY.to_owned();
    let after = match start {
        Start::After(number) => number,
        Start::Resync => {
            let now = *latest.borrow();
            let words = "events were missed: read the state anew";
            head.push_str(&frame(&log.id(now), &own(EventKind::Resync, words)));
            now
        }
    };
    progress.set(Some(Instant::now()));
    let head = Some(head);
    let follower = Follower { log, latest, after, kinds, stopping, progress, head, is_over: false, seat };
    futures_util::stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await?;
        Some((Ok(text), follower))
    })
}

impl Follower {
    /// The next bytes, `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            self.progress.set(Some(Instant::now()));
            if let Some(head) = self.head.take() {
                return Some(head);
            }
            if self.is_over || *self.stopping.borrow() {
                return None;
            }
            // Before the look at the log: what comes in between wakes the wait below.
            self.latest.borrow_and_update();
            match self.log.after(self.after, BATCH) {
                Next::Lost => return Some(self.cut_off()),
                Next::Events(events) if !events.is_empty() => {
                    let text = self.frames(&events);
                    if !text.is_empty() {
                        return Some(text);
                    }
                    continue;
                }
                Next::Events(_) => {}
            }
            tokio::select! {
                // CANCEL: a new number stays marked as unseen; the log outlives its readers.
                changed = self.latest.changed() => changed.ok()?,
                // CANCEL: looked at again at the top.
                _ = self.stopping.wait_for(|stop| *stop) => {}
                // CANCEL: only a wait is lost.
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(": keep-alive\n\n".to_owned()),
            }
        }
    }

    fn frames(&mut self, events: &[(u64, Arc<Event>)]) -> String {
        let mut text = String::new();
        for (number, event) in events {
            self.after = *number;
            if self.kinds.is_empty() || self.kinds.contains(&event.kind) {
                text.push_str(&frame(&self.log.id(*number), event));
            }
        }
        text
    }

    fn cut_off(&mut self) -> String {
        self.is_over = true;
        self.seat.0.overflows.fetch_add(1, Ordering::Relaxed);
        let words = "the reader was too slow: connect again and read the state anew";
        frame(&self.log.id(self.after), &own(EventKind::Overflow, words))
    }
}

/// An event for one reader only.
fn own(kind: EventKind, message: &str) -> Event {
    Event {
        at: PreciseTime(SystemTime::now()),
        kind,
        object: "events".to_owned(),
        from: None,
        to: None,
        code: String::new(),
        message: message.to_owned(),
    }
}

fn frame(id: &str, event: &Event) -> String {
    // Strings and enums in a struct can always be written as JSON, and JSON strings hold no line ends.
    let data = serde_json::to_string(event).unwrap_or_default();
    let mut text = String::with_capacity(data.len() + 64);
    // Writing to a string cannot fail.
    write!(text, "id: {id}\nevent: {}\ndata: {data}\n\n", event.kind.name()).ok();
    text
}
