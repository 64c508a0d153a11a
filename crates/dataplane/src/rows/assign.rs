// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The cheap part: who owns each row, within the caps. The three steps are told in the head of [`super`].

use std::borrow::Cow;

use super::OWNER_HEADS;
use super::heads::{Asked, Four, Heads};
use super::members::{Member, NOBODY};
use super::share::Quota;

/// Owners of all rows by seat.
pub(super) struct Owners<'a> {
    /// As if nobody drained or failed; [`NOBODY`] only if there are no members.
    pub(super) as_if: Cow<'a, [u16]>,
    /// Now; [`NOBODY`] only if nobody is usable.
    pub(super) now: Vec<u16>,
    /// What is fair now.
    pub(super) quota: Quota,
}

/// The first step, which only names and base weights have a say in: kept with the heads.
#[derive(Debug, Clone)]
pub(super) struct Base {
    quota: Quota,
    owner: Vec<u16>,
}

impl Base {
    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.owner.capacity() * size_of::<u16>()
    }
}

/// Settles all rows of a pool by base weights, which are 0 for seats that nobody has.
pub(super) fn base(heads: &Heads, weights: &[u32], epsilon_permille: u16) -> Base {
    let rows = heads.fours().len();
    let quota = Quota::base(weights, u32::try_from(rows).unwrap_or(u32::MAX), epsilon_permille);
    let everybody: Vec<_> = weights.iter().map(|weight| *weight != 0).collect();
    let mut owner = vec![NOBODY; rows];
    Settling::new(heads, &[], &everybody, &quota, &mut owner).settle();
    Base { quota, owner }
}

/// Settles all rows of a pool by caps and states.
pub(super) fn owners<'a>(
    heads: &Heads,
    asked: &[Asked],
    base: &'a Base,
    members: &[Member],
    epsilon_permille: u16,
) -> Owners<'a> {
    let rows = u32::try_from(base.owner.len()).unwrap_or(u32::MAX);
    let mut owner = Cow::Borrowed(base.owner.as_slice());
    let capped = Quota::capped(members, rows, epsilon_permille);
    let sheds: Vec<_> = (0..members.len()).map(|member| capped.is_below(&base.quota, member)).collect();
    if sheds.contains(&true) {
        let everybody: Vec<_> = members.iter().map(Member::is_here).collect();
        let owner = owner.to_mut();
        shed(heads, owner, &sheds, &capped);
        Settling::new(heads, asked, &everybody, &capped, owner).settle();
    }

    let usable: Vec<_> = members.iter().map(Member::is_usable).collect();
    let quota = Quota::usable(members, rows, epsilon_permille);
    let mut now = owner.clone().into_owned();
    if members.iter().any(|m| m.is_here() && !m.is_usable()) {
        for owner in now.iter_mut().filter(|owner| usable.get(usize::from(**owner)) == Some(&false)) {
            *owner = NOBODY;
        }
        Settling::new(heads, asked, &usable, &quota, &mut now).settle();
    }
    Owners { as_if: owner, now, quota }
}

/// Takes rows from members that are over their cap: the last ones of those that another member could take.
///
/// A row whose first heads all have to shed stays where it is. It would only come back over somebody's cap, and counting
/// it first leaves less for the rows that can go.
fn shed(heads: &Heads, owner: &mut [u16], sheds: &[bool], quota: &Quota) {
    let mut load = vec![0_u32; sheds.len()];
    let mut movable = Vec::new();
    for ((row, owner), heads) in owner.iter().enumerate().zip(heads.fours()) {
        if is_set(sheds, *owner) {
            let stays = heads[..OWNER_HEADS].iter().all(|head| *head == NOBODY || is_set(sheds, *head));
            if stays { load[usize::from(*owner)] += 1 } else { movable.push(row) }
        }
    }
    for row in movable {
        let member = usize::from(owner[row]);
        if load[member] < quota.cap[member] {
            load[member] += 1;
        } else {
            owner[row] = NOBODY;
        }
    }
}

/// One round of giving the rows that have no owner to those of their heads who are eligible.
struct Settling<'a> {
    heads: &'a Heads,
    asked: &'a [Asked],
    eligible: &'a [bool],
    cap: &'a [u32],
    owner: &'a mut [u16],
    load: Vec<u32>,
}

impl<'a> Settling<'a> {
    fn new(
        heads: &'a Heads,
        asked: &'a [Asked],
        eligible: &'a [bool],
        quota: &'a Quota,
        owner: &'a mut [u16],
    ) -> Self {
        let mut load = vec![0; eligible.len()];
        for owner in owner.iter() {
            if let Some(load) = load.get_mut(usize::from(*owner)) {
                *load += 1;
            }
        }
        Self { heads, asked, eligible, cap: &quota.cap, owner, load }
    }

    fn settle(mut self) {
        if !self.eligible.contains(&true) {
            return;
        }
        let mut asking = self.settle_without_choice();
        for wish in 0..OWNER_HEADS {
            asking.retain(|&row| {
                let Some(member) = self.choices(row).nth(wish) else { return true };
                let is_free = self.load[usize::from(member)] < self.cap[usize::from(member)];
                if is_free {
                    self.give(row, member);
                }
                !is_free
            });
        }
        for row in asking {
            if let Some(member) = self.choices(row).reduce(|best, other| self.lighter(best, other)) {
                self.give(row, member);
            }
        }
    }

    /// Gives rows with at most one choice to it, cap or not, and lists the rows that have a choice.
    fn settle_without_choice(&mut self) -> Vec<u32> {
        let mut asking = Vec::new();
        for row in (0..).take(self.owner.len()) {
            if self.owner[row as usize] != NOBODY {
                continue;
            }
            let mut choices = self.choices(row);
            match (choices.next(), choices.next()) {
                (Some(_), Some(_)) => asking.push(row),
                (Some(only), None) => self.give(row, only),
                (None, _) => {
                    if let Some(member) = self.beyond(row) {
                        self.give(row, member);
                    }
                }
            }
        }
        asking
    }

    /// Eligible heads that may own the row, by rank.
    fn choices(&self, row: u32) -> impl Iterator<Item = u16> + use<'a> {
        let heads: &'a Four = self.heads.four(row as usize);
        let eligible = self.eligible;
        heads[..OWNER_HEADS].iter().copied().filter(move |member| is_set(eligible, *member))
    }

    /// The next eligible member when none of the first three heads is.
    fn beyond(&self, row: u32) -> Option<u16> {
        let last = self.heads.four(row as usize)[OWNER_HEADS];
        if is_set(self.eligible, last) {
            Some(last)
        } else {
            self.heads.next_behind(row, self.asked, self.eligible)
        }
    }

    /// The one that would be less over its cap with one more row; the first if equal.
    fn lighter(&self, first: u16, second: u16) -> u16 {
        let (a, b) = (usize::from(first), usize::from(second));
        let weigh = |load: usize, cap: usize| u64::from(self.load[load] + 1) * u64::from(self.cap[cap]);
        if weigh(b, a) < weigh(a, b) { second } else { first }
    }

    fn give(&mut self, row: u32, member: u16) {
        self.owner[row as usize] = member;
        self.load[usize::from(member)] += 1;
    }
}

/// Whether a member's flag is set; never for [`NOBODY`].
pub(super) fn is_set(flags: &[bool], member: u16) -> bool {
    flags.get(usize::from(member)) == Some(&true)
}
