// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a sequence that shows a difference to a short one that still does: pure, the question is asked by the caller.
//!
//! Every question costs a fresh pair of tables, so there is a bound on them; what is found by then is good enough to read.

/// Questions for one difference.
const QUESTIONS_MAX: u32 = 400;

/// Asks whether a shorter sequence still shows it.
pub struct Shrinker<F> {
    shows: F,
    left: u32,
}

impl<F> Shrinker<F> {
    pub const fn new(shows: F) -> Self {
        Self { shows, left: QUESTIONS_MAX }
    }

    /// `events` without what is not needed, its last kept: first all but a tail of it, then pieces of ever smaller size.
    pub fn events<T: Clone>(&mut self, mut events: Vec<T>) -> Vec<T>
    where
        F: FnMut(&[T]) -> bool,
    {
        let mut tail = 1;
        while tail < events.len() {
            if self.ask(&events[events.len() - tail..]) {
                events.drain(..events.len() - tail);
                break;
            }
            tail *= 4;
        }
        let mut piece = events.len() / 2;
        while piece > 0 {
            let mut at = 0;
            while at + piece < events.len() {
                let without = [&events[..at], &events[at + piece..]].concat();
                if self.ask(&without) { events = without } else { at += piece }
            }
            piece /= 2;
        }
        events
    }

    /// The last of `events`, which `frame` finds in it, shorter and with zeros where its octets do not matter.
    pub fn frame<T: Clone>(&mut self, mut events: Vec<T>, frame: fn(&mut T) -> Option<&mut Vec<u8>>) -> Vec<T>
    where
        F: FnMut(&[T]) -> bool,
    {
        let length = events.last_mut().and_then(frame).map_or(0, |frame| frame.len());
        let mut cut = length / 2;
        while cut > 0 {
            let changed = self.try_frame(&events, frame, |frame| frame.truncate(frame.len() - cut));
            match changed {
                Some(shorter) => events = shorter,
                None => cut /= 2,
            }
        }
        for at in 0..length {
            let zeroed = |frame: &mut Vec<u8>| frame.iter_mut().skip(at).take(1).for_each(|octet| *octet = 0);
            events = self.try_frame(&events, frame, zeroed).unwrap_or(events);
        }
        events
    }

    fn try_frame<T: Clone>(
        &mut self,
        events: &[T],
        frame: fn(&mut T) -> Option<&mut Vec<u8>>,
        change: impl Fn(&mut Vec<u8>),
    ) -> Option<Vec<T>>
    where
        F: FnMut(&[T]) -> bool,
    {
        /// The kernel takes no test frame below an Ethernet header.
        const FRAME_MIN: usize = 14;
        let mut changed = events.to_vec();
        let octets = changed.last_mut().and_then(frame)?;
        let before = octets.clone();
        if octets.len() > FRAME_MIN {
            change(octets);
        }
        let is_other = *octets != before && octets.len() >= FRAME_MIN;
        (is_other && self.ask(&changed)).then_some(changed)
    }

    fn ask<T>(&mut self, events: &[T]) -> bool
    where
        F: FnMut(&[T]) -> bool,
    {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        (self.shows)(events)
    }
}

#[test]
fn what_does_not_matter_is_left_out() {
    let mut asked = 0;
    // Shows as long as 7 stands somewhere before 40.
    let mut shrinker = Shrinker::new(|events: &[u32]| {
        asked += 1;
        events.ends_with(&[40]) && events.contains(&7)
    });
    assert_eq!(shrinker.events((0..=40).collect()), [7, 40]);
    assert!(asked < 60, "{asked} questions");
}

#[test]
fn octets_that_do_not_matter_become_zero_or_go() {
    let shows = |events: &[Vec<u8>]| events.last().is_some_and(|frame| frame.len() > 30 && frame[20] == 9);
    let shrunk = Shrinker::new(shows).frame(vec![vec![1; 3], vec![9; 90]], |frame| Some(frame));
    let mut expected = vec![0; 31];
    expected[20] = 9;
    assert_eq!(shrunk, [vec![1; 3], expected]);
    // Nothing is asked without end.
    let never = Shrinker::new(|_: &[Vec<u8>]| false).frame(vec![vec![9; 9_000]], |frame| Some(frame));
    assert_eq!(never, [vec![9; 9_000]]);
}
