// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fair shares and caps in whole rows.

use super::members::Member;

/// What one backend got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Its id.
    pub id: u16,
    /// Rows whose new flows it gets.
    pub rows: u32,
    /// Rows that would be fair by weight and cap among the usable; 0 for the others.
    pub fair: f64,
    /// Whether it may have new flows.
    pub is_usable: bool,
}

impl Eq for Share {}

/// How many rows each member may own, and what is fair.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    /// Weight that counts in this step; 0 for members that take no part.
    effective: Vec<u64>,
    total: u64,
    rows: u32,
    /// Most rows, by seat.
    pub(super) cap: Vec<u32>,
}

impl Quota {
    /// Base weights of all members, by seat.
    pub(super) fn base(weights: &[u32], rows: u32, epsilon_permille: u16) -> Self {
        Self::new(weights.iter().map(|weight| u64::from(*weight) * 1_000).collect(), rows, epsilon_permille)
    }

    /// Base weights × caps of all members; base weights if that leaves nothing.
    pub(super) fn capped(members: &[Member], rows: u32, epsilon_permille: u16) -> Self {
        Self::with_caps(members, |_| true, rows, epsilon_permille)
    }

    /// Base weights × caps of the usable members; their base weights if that leaves nothing.
    pub(super) fn usable(members: &[Member], rows: u32, epsilon_permille: u16) -> Self {
        Self::with_caps(members, Member::is_usable, rows, epsilon_permille)
    }

    fn with_caps(
        members: &[Member],
        takes_part: fn(&Member) -> bool,
        rows: u32,
        epsilon_permille: u16,
    ) -> Self {
        let weights = |cap: fn(&Member) -> u16| -> Vec<u64> {
            let weight = |m: &Member| if takes_part(m) { u64::from(m.weight) * u64::from(cap(m)) } else { 0 };
            members.iter().map(weight).collect()
        };
        let capped = weights(|m| m.cap_permille);
        let effective = if capped.iter().all(|&w| w == 0) { weights(|_| 1_000) } else { capped };
        Self::new(effective, rows, epsilon_permille)
    }

    /// At most 65,535 weights of 42 bits: the sum fits a word.
    fn new(effective: Vec<u64>, rows: u32, epsilon_permille: u16) -> Self {
        let total: u64 = effective.iter().sum();
        let allowed = u128::from(rows) * u128::from(1_000 + u32::from(epsilon_permille));
        let cap = |&weight: &u64| {
            // Rounded up, so that the caps together always hold all rows.
            let slots = (allowed * u128::from(weight)).div_ceil(u128::from(total.max(1)) * 1_000);
            u32::try_from(slots).unwrap_or(u32::MAX).min(rows)
        };
        Self { cap: effective.iter().map(cap).collect(), effective, total, rows }
    }

    /// Weight of a member that counts in this step.
    pub(super) fn weight(&self, seat: u16) -> u64 {
        self.effective.get(usize::from(seat)).copied().unwrap_or(0)
    }

    /// Whether a member's fair share is smaller here than in `before`.
    pub(super) fn is_below(&self, before: &Self, member: usize) -> bool {
        let share = |weight: u64, total: u64| u128::from(weight) * u128::from(total);
        share(self.effective[member], before.total) < share(before.effective[member], self.total)
    }

    /// Fair share of a member in rows. For people and reports; placement compares integers.
    pub(super) fn fair(&self, member: usize) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.effective[member] as f64 / self.total as f64 * f64::from(self.rows)
    }
}
