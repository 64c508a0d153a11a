// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The dear part of rendezvous: the best members of every row by score, kept from one change to the next.
//!
//! A row needs four heads and keeps eight. They are always the true first ones of all members, so that
//!
//! ```text
//! one leaves    it goes out of the rows that name it; a row that runs below four asks every member again
//! one arrives   one score a row: it comes in where it is better than the last head that is known
//! re-weighted   leaves and arrives: another weight is another order
//! ```
//!
//! and nothing depends on the way that led there: a history of changes ends in the heads of a fresh build, but for how many
//! of the last four are known. A row loses a head with the probability that a leaving member is among its eight, and gets one
//! back with the probability that an arriving one is, so that few rows ever ask again.
//!
//! Memory: 16 bytes of heads and 16 of the row's key for each row. The keys are kept because making one costs two hashes, ten
//! times what a score does.

use super::members::NOBODY;
use weir_dataplane_core::Row;
use weir_dataplane_core::rendezvous::{BackendKey, PoolSeed, RowKey, Score};

/// Heads that are kept for a row.
pub(super) const DEPTH: usize = 2 * Row::CANDIDATES;

/// Seats of a row's first members, best first, [`NOBODY`] behind the last that is known.
type Known = [u16; DEPTH];

/// The four candidates of a row by rank.
pub(super) type Four = [u16; Row::CANDIDATES];

/// A member that is asked for scores. Given in the order of names, in which equal scores go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) seat: u16,
    pub(super) key: BackendKey,
}

/// Heads of all rows.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    keys: Vec<RowKey>,
    known: Vec<Known>,
}

impl Heads {
    /// All rows ask all members.
    pub(super) fn new(seed: &PoolSeed, rows: u32, members: &[Asked]) -> Self {
        let keys: Vec<_> = (0..rows).map(|row| RowKey::new(seed, row)).collect();
        let known = keys.iter().map(|key| best(key, members)).collect();
        Self { keys, known }
    }

    /// The same for other members; the rows stay.
    pub(super) fn ask_all(&mut self, members: &[Asked]) {
        for (key, known) in self.keys.iter().zip(&mut self.known) {
            *known = best(key, members);
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<RowKey>() + self.known.capacity() * size_of::<Known>()
    }

    /// The first four of a row.
    pub(super) fn four(&self, row: usize) -> &Four {
        self.known[row].first_chunk().expect("eight heads hold four")
    }

    /// The first four of all rows.
    pub(super) fn fours(&self) -> impl ExactSizeIterator<Item = &Four> {
        self.known.iter().map(|known| known.first_chunk().expect("eight heads hold four"))
    }

    /// Members leave and arrive; `after` are all members then. Who is in both lists changed its weight.
    pub(super) fn change(&mut self, gone: &[u16], arrived: &[u16], after: &[Asked]) {
        for &seat in gone {
            self.remove(seat);
        }
        let by_seat = BySeat::new(after);
        for (others, &seat) in (after.len() - arrived.len()..).zip(arrived) {
            self.insert(seat, others, &by_seat);
        }
        let wanted = after.len().min(Row::CANDIDATES);
        for (key, known) in self.keys.iter().zip(&mut self.known) {
            if wanted > 0 && known[wanted - 1] == NOBODY {
                *known = best(key, after);
            }
        }
    }

    fn remove(&mut self, seat: u16) {
        for known in &mut self.known {
            // All eight are compared without a branch: hardly any row has it.
            if known.iter().fold(false, |has, head| has | (*head == seat)) {
                let place = known.iter().position(|head| *head == seat).expect("just found");
                known.copy_within(place + 1.., place);
                known[DEPTH - 1] = NOBODY;
            }
        }
    }

    /// Puts `seat` into the rows where it is among the known; `others` members are ranked there already.
    fn insert(&mut self, seat: u16, others: usize, members: &BySeat) {
        let key = members.key(seat);
        for (row, known) in self.keys.iter().zip(&mut self.known) {
            let depth = if known[DEPTH - 1] == NOBODY {
                known.iter().position(|head| *head == NOBODY).unwrap_or(DEPTH)
            } else {
                DEPTH
            };
            // Behind the last known there is nobody, or it cannot be told who.
            let is_all = depth == others;
            if !is_all && depth > 0 && row.is_surely_worse(key, members.key(known[depth - 1])) {
                continue;
            }
            let is_better = |score: Score, than: u16| {
                let other = row.score(members.key(than));
                score < other || score == other && members.place(seat) < members.place(than)
            };
            let score = row.score(key);
            let mut place = depth;
            while place > 0 && is_better(score, known[place - 1]) {
                place -= 1;
            }
            if place < depth || is_all && depth < DEPTH {
                known.copy_within(place..DEPTH - 1, place + 1);
                known[place] = seat;
            }
        }
    }

    /// The best eligible member behind the first four heads of a row.
    pub(super) fn next_behind(&self, row: u32, members: &[Asked], eligible: &[bool]) -> Option<u16> {
        let known = &self.known[row as usize];
        let is_eligible = |seat: u16| eligible.get(usize::from(seat)) == Some(&true);
        if let Some(seat) = known[Row::CANDIDATES..].iter().copied().find(|seat| is_eligible(*seat)) {
            return Some(seat);
        }
        let key = &self.keys[row as usize];
        let mut best = (Score::WORST, None);
        for member in members.iter().filter(|member| is_eligible(member.seat)) {
            if let Some(score) = key.score_below(&member.key, best.0)
                && !known[..Row::CANDIDATES].contains(&member.seat)
            {
                best = (score, Some(member.seat));
            }
        }
        best.1
    }
}

/// Members found by their seats.
struct BySeat {
    /// Key, and place in the order of names.
    seats: Vec<Option<(BackendKey, usize)>>,
}

impl BySeat {
    fn new(members: &[Asked]) -> Self {
        let seats = members.iter().map(|member| usize::from(member.seat) + 1).max().unwrap_or(0);
        let mut by_seat = vec![None; seats];
        for (place, member) in members.iter().enumerate() {
            by_seat[usize::from(member.seat)] = Some((member.key, place));
        }
        Self { seats: by_seat }
    }

    fn get(&self, seat: u16) -> &(BackendKey, usize) {
        self.seats[usize::from(seat)].as_ref().expect("heads name members only")
    }

    fn key(&self, seat: u16) -> &BackendKey {
        &self.get(seat).0
    }

    fn place(&self, seat: u16) -> usize {
        self.get(seat).1
    }
}

/// The smallest scores of a row. Members are asked in the order of names, and only a smaller score displaces one, so equal
/// scores go by name.
fn best(row: &RowKey, members: &[Asked]) -> Known {
    let mut best = [(Score::WORST, NOBODY); DEPTH];
    for member in members {
        if let Some(score) = row.score_below(&member.key, best[DEPTH - 1].0) {
            let place = best.iter().position(|(other, _)| score < *other).unwrap_or(DEPTH - 1);
            best.copy_within(place..DEPTH - 1, place + 1);
            best[place] = (score, member.seat);
        }
    }
    best.map(|(_, seat)| seat)
}
