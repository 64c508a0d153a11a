// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The other algorithm: the table fill of the Maglev paper (Eisenbud et al., NSDI 2016, §3.4), weighted, with four candidates.
//!
//! Rows are a prime number, so that every walk comes by every row. Definition, all in unsigned integers, with vectors in the
//! tests:
//!
//! ```text
//! M       = greatest prime not above the row count of the pool
//! offset  = siphash24(seed, 'o' name) mod M              first row of a member's walk
//! skip    = siphash24(seed, 's' name) mod (M - 1) + 1    its step; the walk is offset, offset + skip, ... mod M
//! turns   : the k-th turn (k = 1, 2, ...) of a member comes at time k / weight; at one time they go by name
//! pass    : at each turn the member takes the next row of its walk that has no member of this pass and not this member of
//!           a former one; who has come by all rows leaves the pass; it ends when every row is taken
//! ```
//!
//! Four passes, each walk from its start, give the four candidates of a row in order: those are the *heads*, made from base
//! weights of all members that are not disabled. The owner now is the head of one further first pass in which only usable
//! members take part, with weight × cap. So a row has: that owner; the first head; the other heads; failed ones last.
//!
//! Turns by virtual time give nobody a whole row less than its fair share, whatever the scale of the weights. Weights that are read as "so many
//! turns in the first round" (Katran's first way) are right only if their sum is near the number of rows.
//!
//! What it does not do is keep owners: a member that leaves shifts turns of others, and the rows that change hands without
//! need are more, the more leave at once. That an old owner is still carried is likely, not certain, so pools with this
//! algorithm are outside the promise (`docs/survival.md`).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use weir_dataplane_core::Row;
use weir_dataplane_core::rendezvous::PoolSeed;
use weir_dataplane_core::siphash::siphash24;

use super::heads::Four;
use super::members::NOBODY;

/// Greatest prime that is not above `rows`; `rows` is at least 2.
pub(super) const fn prime_below(rows: u32) -> u32 {
    let mut candidate = rows;
    while !is_prime(candidate) {
        candidate -= 1;
    }
    candidate
}

/// By trial: no more than a thousand divisions for the largest table.
const fn is_prime(number: u32) -> bool {
    if number < 4 {
        return number >= 2;
    }
    let mut divisor = 2;
    while divisor * divisor <= number {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 1;
    }
    true
}

/// A member's walk over the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    seat: u16,
    offset: u32,
    skip: u32,
}

impl Walk {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder is below its divisor")]
    pub(super) fn new(seed: &PoolSeed, rows: u32, seat: u16, name: &str) -> Self {
        let hash = |kind: u8| {
            let mut message = vec![kind];
            message.extend_from_slice(name.as_bytes());
            siphash24(seed.as_bytes(), &message)
        };
        let offset = (hash(b'o') % u64::from(rows)) as u32;
        let skip = (hash(b's') % u64::from(rows - 1)) as u32 + 1;
        Self { seat, offset, skip }
    }

    /// Whose walk it is.
    pub(super) const fn seat(&self) -> u16 {
        self.seat
    }
}

/// One who takes part in a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walker {
    pub(super) walk: Walk,
    /// Above 0 and below 2^43, so that a product with a number of turns fits a word.
    pub(super) weight: u64,
}

/// Heads of all rows: four passes of these members, given in the order of names.
pub(super) fn heads(rows: u32, members: &[Walker]) -> Vec<Four> {
    let mut heads = vec![[NOBODY; Row::CANDIDATES]; rows as usize];
    for place in 0..Row::CANDIDATES.min(members.len()) {
        let taken = pass(rows, members, |row, seat| heads[row as usize][..place].contains(&seat));
        for (heads, seat) in heads.iter_mut().zip(taken) {
            heads[place] = seat;
        }
    }
    heads
}

/// Owners of all rows if these members alone are there.
pub(super) fn owners(rows: u32, members: &[Walker]) -> Vec<u16> {
    pass(rows, members, |_, _| false)
}

/// One pass; `has` tells whether a former one gave this row to this seat.
fn pass(rows: u32, members: &[Walker], has: impl Fn(u32, u16) -> bool) -> Vec<u16> {
    let mut pass = Pass { rows, taken: vec![NOBODY; rows as usize], free: rows, has };
    let mut walking: Vec<_> = members.iter().map(|m| Walking::new(&m.walk, rows)).collect();
    if members.windows(2).all(|pair| pair[0].weight == pair[1].weight) {
        // Everybody's k-th turn comes at one time: plain rounds in the order of names.
        let mut in_turn: Vec<usize> = (0..members.len()).collect();
        while pass.free > 0 && !in_turn.is_empty() {
            in_turn.retain(|&index| pass.turn(&mut walking[index]));
        }
    } else {
        let mut turns: BinaryHeap<_> = members
            .iter()
            .enumerate()
            .map(|(index, member)| Reverse(Turn { number: 1, weight: member.weight, index }))
            .collect();
        while pass.free > 0
            && let Some(mut turn) = turns.peek_mut()
        {
            if pass.turn(&mut walking[turn.0.index]) {
                turn.0.number += 1;
            } else {
                std::collections::binary_heap::PeekMut::pop(turn);
            }
        }
    }
    pass.taken
}

struct Pass<F> {
    rows: u32,
    taken: Vec<u16>,
    free: u32,
    has: F,
}

impl<F: Fn(u32, u16) -> bool> Pass<F> {
    /// The next row that suits goes to `walking`. `false`: there is none, now or ever.
    fn turn(&mut self, walking: &mut Walking) -> bool {
        while walking.left > 0 && self.free > 0 {
            let row = walking.next(self.rows);
            let taken = &mut self.taken[row as usize];
            if *taken == NOBODY && !(self.has)(row, walking.seat) {
                *taken = walking.seat;
                self.free -= 1;
                return true;
            }
        }
        false
    }
}

/// How far a walk has come.
struct Walking {
    seat: u16,
    at: u32,
    skip: u32,
    /// Rows that it has not come by.
    left: u32,
}

impl Walking {
    fn new(walk: &Walk, rows: u32) -> Self {
        Self { seat: walk.seat, at: walk.offset, skip: walk.skip, left: rows }
    }

    fn next(&mut self, rows: u32) -> u32 {
        let row = self.at;
        // Both are below 2^20: no overflow, and no division.
        self.at += self.skip;
        if self.at >= rows {
            self.at -= rows;
        }
        self.left -= 1;
        row
    }
}

/// The `number`-th turn of the member at `index` in the order of names, at time `number / weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u64,
    weight: u64,
    index: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.number * other.weight, other.number * self.weight);
        ours.cmp(&theirs).then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
