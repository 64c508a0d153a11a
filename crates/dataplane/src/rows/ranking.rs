// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept of a pool between two changes: the heads of its rows, and who owns them by base weights alone.
//!
//! Both depend on seed, names and base weights of the members that are not disabled, and on nothing else. Members have
//! *seats*: a number that stays with a name while others come and go, so that heads need not be written anew. Seats have no
//! say in anything; wherever two members are equal, their names decide.

use super::assign::{self, Base};
use super::heads::{Asked, Four, Heads};
use super::maglev::{self, Walk, Walker};
use super::members::{Member, checked};
use super::order;
use super::share::Quota;
use super::{Algorithm, MemberInput, Rows, RowsError, RowsInput};
use weir_dataplane_core::rendezvous::BackendKey;

/// Of how many members one may change before it is quicker to rank all of them anew.
const CHANGES_PER_MEMBERS: usize = 4;

/// The ranked heads of all rows of a pool, and how far its rows are settled by them.
#[derive(Debug, Clone)]
pub struct Ranking {
    input: RowsInput,
    /// Who sits where; a seat that was left is taken by the next who comes.
    seats: Vec<Option<Seated>>,
    /// Seats in the order of names.
    by_name: Vec<u16>,
    settled: Settled,
}

#[derive(Debug, Clone)]
struct Seated {
    name: String,
    weight: u32,
}

/// What the algorithm makes of the members.
#[derive(Debug, Clone)]
enum Settled {
    Rendezvous {
        asked: Vec<Asked>,
        heads: Heads,
        base: Base,
    },
    Maglev {
        /// In the order of names.
        walks: Vec<Walk>,
        heads: Vec<Four>,
    },
}

impl Ranking {
    /// Ranks the members that are not disabled.
    ///
    /// # Errors
    /// See [`RowsError`].
    pub fn new(input: &RowsInput, members: &[MemberInput<'_>]) -> Result<Self, RowsError> {
        let members = checked(input, members)?;
        let mut ranking = Self {
            input: *input,
            seats: members
                .iter()
                .map(|m| Some(Seated { name: m.name.to_owned(), weight: m.weight }))
                .collect(),
            by_name: (0..).zip(&members).map(|(seat, _)| seat).collect(),
            settled: Settled::Maglev { walks: Vec::new(), heads: Vec::new() },
        };
        ranking.settled = match input.algorithm {
            Algorithm::BoundedRendezvous => {
                let asked = ranking.asked();
                let heads = Heads::new(&input.seed, ranking.row_count(), &asked);
                let base = assign::base(&heads, &ranking.weights(), input.epsilon_permille);
                Settled::Rendezvous { asked, heads, base }
            }
            Algorithm::Maglev => ranking.filled(),
        };
        Ok(ranking)
    }

    /// Ranks other members in place of the present ones. Few changes cost a small part of a new ranking, and give the very same.
    ///
    /// # Errors
    /// See [`RowsError`]; nothing is changed then.
    pub fn update(&mut self, members: &[MemberInput<'_>]) -> Result<(), RowsError> {
        let members = checked(&self.input, members)?;
        if self.is_of(&members) {
            return Ok(());
        }
        let (gone, arrived) = self.reseat(&members);
        let (asked_now, weights) = (self.asked(), self.weights());
        match &mut self.settled {
            Settled::Rendezvous { asked, heads, base } => {
                *asked = asked_now;
                if gone.len().max(arrived.len()) * CHANGES_PER_MEMBERS > asked.len() {
                    heads.ask_all(asked);
                } else {
                    heads.change(&gone, &arrived, asked);
                }
                *base = assign::base(heads, &weights, self.input.epsilon_permille);
            }
            Settled::Maglev { .. } => self.settled = self.filled(),
        }
        Ok(())
    }

    /// Whether this ranking can be brought by [`Ranking::update`] to what this input gives.
    pub fn is_for(&self, input: &RowsInput) -> bool {
        self.input == *input
    }

    /// Whether this ranking is right for a pool as it is: same input, and the same names with the same base weights are
    /// enabled. Ids, caps and other states may differ.
    pub fn covers(&self, input: &RowsInput, members: &[MemberInput<'_>]) -> bool {
        self.is_for(input) && checked(input, members).is_ok_and(|members| self.is_of(&members))
    }

    /// The rows for the members' present ids, caps and states.
    ///
    /// # Errors
    /// [`RowsError::OtherMembers`] if the ranking does not cover the members, and what contradicts itself.
    pub fn assign(&self, members: &[MemberInput<'_>]) -> Result<Rows, RowsError> {
        let by_name = checked(&self.input, members)?;
        if !self.is_of(&by_name) {
            return Err(RowsError::OtherMembers);
        }
        let mut members = vec![Member::NONE; self.seats.len()];
        for (m, seat) in by_name.iter().zip(&self.by_name) {
            members[usize::from(*seat)] =
                Member { id: m.id, weight: m.weight, cap_permille: m.cap_permille, state: m.state };
        }
        Ok(match &self.settled {
            Settled::Rendezvous { asked, heads, base } => {
                let owners = assign::owners(heads, asked, base, &members, self.input.epsilon_permille);
                let usable: Vec<_> = members.iter().map(Member::is_usable).collect();
                let carried = |row, owner| order::carried(heads, asked, row, owner, &usable);
                order::rows(heads.fours(), &members, &owners, carried)
            }
            Settled::Maglev { walks, heads } => {
                let owners = self.maglev_owners(walks, heads, &members);
                let carried = |row: usize, owner| order::carried_with(heads[row], owner);
                order::rows(heads.iter(), &members, &owners, carried)
            }
        })
    }

    /// Bytes of memory that keeping it takes.
    pub fn bytes(&self) -> usize {
        let names: usize = self.seats.iter().flatten().map(|seated| seated.name.capacity()).sum();
        let seats = names + self.seats.capacity() * size_of::<Option<Seated>>() + 2 * self.by_name.capacity();
        seats
            + match &self.settled {
                Settled::Rendezvous { asked, heads, base } => {
                    asked.capacity() * size_of::<Asked>() + heads.bytes() + base.bytes()
                }
                Settled::Maglev { walks, heads } => {
                    walks.capacity() * size_of::<Walk>() + heads.capacity() * size_of::<Four>()
                }
            }
    }

    fn is_of(&self, members: &[MemberInput<'_>]) -> bool {
        self.by_name.len() == members.len()
            && self.by_name.iter().zip(members).all(|(seat, m)| {
                let seated = self.seated(*seat);
                seated.name == m.name && seated.weight == m.weight
            })
    }

    /// Gives every member a seat, those who are known their own. Gives the seats of who leaves and of who arrives; who has
    /// another weight does both.
    fn reseat(&mut self, members: &[MemberInput<'_>]) -> (Vec<u16>, Vec<u16>) {
        let (mut gone, mut arrived) = (Vec::new(), Vec::new());
        let mut old = self.by_name.iter().copied().peekable();
        let mut places: Vec<Option<u16>> = Vec::with_capacity(members.len());
        for member in members {
            while let Some(seat) = old.next_if(|seat| self.seated(*seat).name.as_str() < member.name) {
                gone.push(seat);
            }
            let known = old.next_if(|seat| self.seated(*seat).name == member.name);
            if let Some(seat) = known.filter(|seat| self.seated(*seat).weight != member.weight) {
                gone.push(seat);
                arrived.push(seat);
            }
            places.push(known);
        }
        gone.extend(old);
        for &seat in gone.iter().filter(|seat| !arrived.contains(seat)) {
            self.seats[usize::from(seat)] = None;
        }
        let mut free = 0..;
        self.by_name.clear();
        for (member, place) in members.iter().zip(places) {
            let seat = place.unwrap_or_else(|| {
                let is_free = |seat: &u16| self.seats.get(usize::from(*seat)).is_none_or(Option::is_none);
                let seat = free.find(is_free).expect("fewer members than numbers");
                arrived.push(seat);
                seat
            });
            let index = usize::from(seat);
            self.seats.resize_with(self.seats.len().max(index + 1), || None);
            self.seats[index] = Some(Seated { name: member.name.to_owned(), weight: member.weight });
            self.by_name.push(seat);
        }
        (gone, arrived)
    }

    fn seated(&self, seat: u16) -> &Seated {
        self.seats[usize::from(seat)].as_ref().expect("a seat in the order of names is taken")
    }

    /// All members with their keys, in the order of names.
    fn asked(&self) -> Vec<Asked> {
        let asked = |&seat: &u16| {
            let seated = self.seated(seat);
            Asked { seat, key: BackendKey::new(&self.input.seed, &seated.name, seated.weight) }
        };
        self.by_name.iter().map(asked).collect()
    }

    /// Base weights by seat, 0 where nobody sits.
    fn weights(&self) -> Vec<u32> {
        self.seats.iter().map(|seated| seated.as_ref().map_or(0, |seated| seated.weight)).collect()
    }

    /// Heads of the members in Maglev's way.
    fn filled(&self) -> Settled {
        let rows = self.row_count();
        let walks: Vec<_> = self
            .by_name
            .iter()
            .map(|&seat| Walk::new(&self.input.seed, rows, seat, &self.seated(seat).name))
            .collect();
        let walkers: Vec<_> = walks
            .iter()
            .map(|&walk| Walker { walk, weight: u64::from(self.seated(walk.seat()).weight) })
            .collect();
        Settled::Maglev { heads: maglev::heads(rows, &walkers), walks }
    }

    fn maglev_owners(&self, walks: &[Walk], heads: &[Four], members: &[Member]) -> assign::Owners<'_> {
        let rows = self.row_count();
        let quota = Quota::usable(members, rows, 0);
        let as_if: Vec<u16> = heads.iter().map(|heads| heads[0]).collect();
        let walkers: Vec<_> = walks
            .iter()
            .map(|&walk| Walker { walk, weight: quota.weight(walk.seat()) })
            .filter(|walker| walker.weight > 0)
            .collect();
        // One and the same cap on everybody is none: only proportions matter.
        let mut caps = members.iter().filter(|m| m.is_here()).map(|m| m.cap_permille);
        let first = caps.next();
        let is_as_if = walkers.len() == walks.len() && caps.all(|cap| Some(cap) == first);
        let now = if is_as_if { as_if.clone() } else { maglev::owners(rows, &walkers) };
        assign::Owners { as_if: as_if.into(), now, quota }
    }

    /// The first four heads of all rows, by seat.
    #[cfg(test)]
    pub(super) fn fours(&self) -> Vec<Four> {
        match &self.settled {
            Settled::Rendezvous { heads, .. } => heads.fours().copied().collect(),
            Settled::Maglev { heads, .. } => heads.clone(),
        }
    }

    /// Names by seat.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = Option<&str>> {
        self.seats.iter().map(|seated| seated.as_ref().map(|seated| seated.name.as_str()))
    }

    /// Rows of the pool.
    fn row_count(&self) -> u32 {
        self.input.algorithm.row_count(self.input.max_backends)
    }
}
