// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of a pool: which backend a new flow goes to, and who else may own an old one. Bounded rendezvous.
//!
//! A pure function of (seed, names, base weights, caps, states): no history, no floating point, no clock, and neither
//! the order of the members nor their ids have a say, so appliances agree and a rebooted one builds the same rows.
//!
//! ```text
//! members ──rank──► heads of each row ──assign──► owners ──order──► Row = 4 ids
//!          (dear: rows × members scores;  (cheap: a few passes over the rows;
//!           only names and base weights)   caps and states)
//! ```
//!
//! [`Ranking`] keeps the dear part, so a health flip or a drain costs only the cheap one, and brings it up to date when
//! members come, go or change their weights: see [`heads`].
//!
//! # Who owns a row
//!
//! Owners are settled in three steps, each starting from the one before and moving as few rows as it can:
//! 1. *base*: every member takes part with its base weight and a cap of `(1 + ε)` of its fair share. All rows ask for
//!    their first head, then those refused for their second, then the third, in the order of their numbers; a row that
//!    all three refuse goes to the one least over its cap.
//! 2. *capped*: fair shares are base weight × cap. A member whose share fell keeps its first rows up to its cap and sheds
//!    the rest, which ask again in the same way. Others keep theirs. This is "the owner as if nobody drained or failed".
//! 3. *now*: rows of members that may not have new flows ask again among the usable of their first three heads; rows with
//!    no or one choice come first, so that the others can make room. Everybody else keeps what he has and is
//!    less over his fair share than before, since that only rises when others leave.
//!
//! So a drain or a health flip moves the rows of that backend and hardly any other, there and back. Measured against the
//! plain way, one greedy pass over the usable heads (100 backends, 65,536 rows, ε = 1 %; `benches/rows.rs`):
//!
//! ```text
//!                            this way           plain way
//! heaviest backend           1.016 of fair      1.015
//! one removed, one added     1.21 %, 1.20 %     1.22 %, 1.19 %    of rows moved; 1.01 % and 0.99 % are unavoidable
//! one drains or fails        1.015 %            1.208 %           1.015 % unavoidable
//! a drained one removed      0.34 %             0.01 %            0: what the drain saved is paid here, if it ever is
//! half of the caps halved    1.021 of fair      1.131             shed rows go where there is room
//! ```
//!
//! # What a row carries
//!
//! The four heads, ranked among **all members that are not disabled**, whatever their state. If fewer than two of them are
//! usable and the last is not, the next usable member in rendezvous order replaces the last. Order: the owner; the owner
//! as if nobody drained or failed; the others by rank; failed ones behind all.
//!
//! The promise: *after any single add, remove, drain, cap change or health flip (and their opposites) the old owner
//! of a row is still carried, unless it is the one removed.* Why it holds: an owner is one of the row's first three
//! heads. A state or a cap does not change heads, one removal lifts the others, one addition pushes the third to the
//! fourth place. It holds for every row that has a usable backend among its first three heads before the change; that
//! is every row while at most two members are out. With all three out, the owner is the only guest among four, and
//! four places cannot carry every backend that one change could make or have made an owner: then the promise is
//! "never without a usable candidate", and that the guest is carried on when one of those three comes back. A raised
//! base weight counts as an addition. A lowered one may drop that backend from some of its own rows (it is why slow
//! start and load lower the cap and leave the weight alone), never another backend.
//!
//! A *disabled* member may receive nothing, so it is not carried: disabling equals removing, enabling equals adding. A
//! caller that cannot reach a backend (no next hop) reports it as failed.
//!
//! All that is about bounded rendezvous. [`maglev`] is the other [`Algorithm`], which promises less.

mod assign;
mod change;
mod error;
mod heads;
mod maglev;
mod members;
mod order;
mod ranking;
mod share;

pub use change::Change;
pub use error::RowsError;
pub use members::check_size;
pub use ranking::Ranking;
pub use share::Share;

use crate::forwarding::BackendState;
use weir_dataplane_core::Row;
use weir_dataplane_core::rendezvous::PoolSeed;

/// Fewest rows of a pool: 32 KiB.
pub const ROWS_MIN: u32 = 4_096;
/// Most rows of a pool: 8 MiB, and 34 MiB of the daemon's memory for what is kept of them.
pub const ROWS_MAX: u32 = 1_048_576;
/// Rows per declared backend: a backend's share of 512 rows varies by 4.4 % before the bound evens it out.
pub const ROWS_PER_BACKEND: u32 = 512;
/// Most scores (rows × members) that a pool may need; a pool beyond it is refused. Many seconds of one core, which the bench `rows` prints.
pub const SCORES_MAX: u64 = 1 << 31;
/// How far over its fair share a backend may get by default, in 1/1000.
pub const EPSILON_PERMILLE_DEFAULT: u16 = 10;
/// Heads that may own a row; the fourth is there for the day one is added before them.
const OWNER_HEADS: usize = 3;

/// How rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// Weighted rendezvous with bounded loads.
    #[default]
    BoundedRendezvous,
    /// The Maglev table, weighted: nobody gets a whole row less than is fair, but old owners are not kept for certain.
    Maglev,
}

impl Algorithm {
    /// Name in documents and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BoundedRendezvous => "rendezvous",
            Self::Maglev => "maglev",
        }
    }

    /// Number of rows of a pool that declares this many backends: [`row_count`], or the greatest prime below.
    pub const fn row_count(self, max_backends: u32) -> u32 {
        let rows = row_count(max_backends);
        match self {
            Self::BoundedRendezvous => rows,
            Self::Maglev => maglev::prime_below(rows),
        }
    }
}

/// What rows of a pool depend on besides its members. Any change of it moves most flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsInput {
    /// How the rows are made.
    pub algorithm: Algorithm,
    /// Secret of the pool.
    pub seed: PoolSeed,
    /// Most backends the pool will ever have; gives the number of rows.
    pub max_backends: u32,
    /// How far over its fair share a backend may get, in 1/1000.
    pub epsilon_permille: u16,
}

/// One backend of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberInput<'a> {
    /// Id that the rows carry; at least 1, unique in the pool. Has no influence on placement.
    pub id: u16,
    /// Stable name, unique in the pool. All placement goes by it.
    pub name: &'a str,
    /// Base weight, at least 1.
    pub weight: u32,
    /// Share of the base weight it may carry now, in 1/1000, at most 1000.
    pub cap_permille: u16,
    /// What it may receive.
    pub state: BackendState,
}

/// The rows of one pool and what each backend got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    rows: Vec<Row>,
    shares: Vec<Share>,
}

impl Rows {
    /// The rows, as they shall lie in the map.
    pub fn as_slice(&self) -> &[Row] {
        &self.rows
    }

    /// What each member that is not disabled got, in the order of ids.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Whether any member may have new flows. If not, rows carry the heads for the sake of established flows, and position
    /// 0 is a backend that must not have new ones.
    pub fn has_usable(&self) -> bool {
        self.shares.iter().any(|share| share.is_usable)
    }

    /// What replacing these rows by `new` does. Ids must mean the same backends in both.
    pub fn change(&self, new: &Self) -> Change {
        Change::between(self, new)
    }
}

/// Number of rows of a pool that declares this many backends: next power of two of 512 times it, 4,096 to 1,048,576.
///
/// Never made from the present number of backends: scores are keyed by row, another count reshuffles everything.
pub const fn row_count(max_backends: u32) -> u32 {
    let rows = max_backends.saturating_mul(ROWS_PER_BACKEND);
    if rows >= ROWS_MAX {
        ROWS_MAX
    } else if rows <= ROWS_MIN {
        ROWS_MIN
    } else {
        rows.next_power_of_two()
    }
}

/// The rows of a pool with these members.
///
/// # Errors
/// Members that contradict each other or the input, and pools beyond [`SCORES_MAX`]; see [`RowsError`].
pub fn build(input: &RowsInput, members: &[MemberInput<'_>]) -> Result<Rows, RowsError> {
    Ranking::new(input, members)?.assign(members)
}

#[cfg(test)]
mod tests;
